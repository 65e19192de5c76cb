//! The way to a runtime's socket. A path may lead over a file system that hangs,
//! and all runtimes are asked on one thread: paths are looked up on another one.
//!
//! One look-up at a time, as each thread takes memory. One that takes longer lets
//! the others go by; of one runtime no second one is begun until it is back, so
//! that a runtime holds one thread at most.

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use std::io;
use std::os::unix::net::UnixStream as Blocking;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// Where nothing hangs a look-up takes some µs.
const MOMENT: Duration = Duration::from_millis(100);

/// Whose turn it is among all sockets.
#[derive(Debug, Clone)]
pub struct Turn(Arc<Semaphore>);

impl Default for Turn {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

/// Where a runtime listens.
#[derive(Debug, Clone)]
pub struct Door {
    path: Arc<Path>,
    turn: Turn,
    /// Taken until a look-up of this path is back.
    own: Arc<Semaphore>,
}

impl Door {
    /// At a path in the agent's own view.
    pub fn new(path: PathBuf, turn: &Turn) -> Self {
        Self { path: path.into(), turn: turn.clone(), own: Arc::new(Semaphore::new(1)) }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether something lies there. Waits for ever where its file system hangs.
    ///
    /// # Errors
    /// Where that cannot be seen.
    pub async fn is_there(&self) -> io::Result<bool> {
        self.look(Path::try_exists).await
    }

    /// A connection. Waits for ever where its file system hangs.
    ///
    /// # Errors
    /// Where nobody accepts it.
    pub async fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::from_std(self.look(connected).await?)
    }

    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        // Neither is ever closed.
        let own = Arc::clone(&self.own).acquire_owned().await.map_err(io::Error::other)?;
        let turn = self.turn.0.acquire().await.map_err(io::Error::other)?;
        let path = Arc::clone(&self.path);
        let mut looked = spawn_blocking(move || {
            let _own = own;
            look(&path)
        });
        let done = match timeout(MOMENT, &mut looked).await {
            Ok(done) => done,
            Err(_) => {
                drop(turn);
                looked.await
            }
        };
        done.map_err(io::Error::other)?
    }
}

/// Without waiting: where too many wait to be accepted already, it fails.
fn connected(path: &Path) -> io::Result<Blocking> {
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &address)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn one_that_hangs_holds_no_other_and_one_thread() {
        let dir = tempfile::tempdir().expect("a directory");
        let turn = Turn::default();
        let (hangs, well) = (Door::new("/hangs".into(), &turn), Door::new(dir.path().into(), &turn));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (end, ends) = mpsc::channel::<()>();
        let (begins, begun) = mpsc::channel();
        let patience = Duration::from_secs(60);
        runtime.block_on(async {
            let first = hangs.clone();
            let first = tokio::spawn(async move {
                let look = move |_: &Path| {
                    begins.send(()).expect("it is waited for");
                    // Until the test lets go.
                    let _ = ends.recv();
                    Ok(1)
                };
                first.look(look).await
            });
            let there = timeout(patience, async {
                // The one that hangs has the turn first.
                tokio::task::yield_now().await;
                well.is_there().await
            });
            assert!(there.await.expect("it is let by").expect("it is there"));
            begun.recv_timeout(patience).expect("it was begun");
            let second = timeout(MOMENT, hangs.look(|_| Ok(2))).await;
            assert!(second.is_err(), "no second one is begun");
            drop(end);
            assert_eq!(first.await.expect("it is back").expect("it found it"), 1);
            assert_eq!(hangs.look(|_| Ok(2)).await.expect("it is free again"), 2);
        });
    }

    #[test]
    fn it_connects_and_says_why_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("socket");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let door = Door::new(path.clone(), &Turn::default());
            assert!(!door.is_there().await.expect("it can be seen"));
            assert_eq!(door.connect().await.expect_err("nobody").kind(), io::ErrorKind::NotFound);
            let listener = std::os::unix::net::UnixListener::bind(&path).expect("own directory");
            door.connect().await.expect("somebody listens");
            drop(listener);
            assert_eq!(door.connect().await.expect_err("nobody").kind(), io::ErrorKind::ConnectionRefused);
        });
    }
}
