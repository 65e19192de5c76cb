//! The agent's end of the control socket.

use super::routes;
use crate::agent::Agent;
use crate::http::Answer;
use crate::http::connection::{self, Bounds, Door};
use crate::metrics::own::Own;
use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as Probe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use warp::filters::BoxedFilter;

/// People ask one thing at a time.
const BOUNDS: Bounds = Bounds {
    connections: 64,
    // On this machine a head comes at once.
    head: Duration::from_secs(2),
    progress: Duration::from_secs(60),
    life: Duration::from_secs(60),
};

/// The socket, and which file it is.
#[derive(Debug)]
pub struct Bound {
    listener: UnixListener,
    pub file: SocketFile,
}

/// A file, whatever its name is by now.
#[derive(Debug, Clone)]
pub struct SocketFile {
    path: PathBuf,
    number: (u64, u64),
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        let metadata = std::fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_owned(), number: (metadata.dev(), metadata.ino()) })
    }

    /// Removes it, unless somebody put something else in its place.
    pub fn remove(&self) {
        if Self::at(&self.path).is_ok_and(|found| found.number == self.number) {
            // It may just have been removed; then there is nothing to do.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Makes the socket, in place of one that an agent left behind that was killed.
pub fn bind(path: &Path) -> Result<Bound, String> {
    if let Some(why) = super::too_long(path) {
        return Err(why);
    }
    let at = |error: io::Error| {
        let remedy = "name another place with --socket";
        format!("{}: {error}; {remedy}", path.display())
    };
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o755).create(dir).map_err(at)?;
    }
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(format!(
                "{} is there and is no socket; remove it, or name another place",
                path.display()
            ));
        }
        Ok(_) if Probe::connect(path).is_ok() => {
            return Err(format!(
                "another program listens at {}; stop it, or name another place",
                path.display()
            ));
        }
        Ok(_) => std::fs::remove_file(path).map_err(at)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(at(error)),
    }
    let listener = UnixListener::bind(path).map_err(at)?;
    // Whoever connects before this is judged by his credentials all the same.
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(at)?;
    let file = SocketFile::at(path).map_err(at)?;
    Ok(Bound { listener, file })
}

struct Unix {
    listener: UnixListener,
    agent: Arc<Agent>,
}

impl Door for Unix {
    type Stream = UnixStream;

    fn name(&self) -> &'static str {
        "control"
    }

    fn own(&self) -> &Own {
        &self.agent.fleet.parts().own
    }

    async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }

    fn routes(&self, stream: &UnixStream) -> BoxedFilter<(Answer,)> {
        let own = rustix::process::geteuid().as_raw();
        match stream.peer_cred() {
            Ok(peer) if peer.uid() == 0 || peer.uid() == own => routes::all(self.agent.clone()),
            Ok(peer) => {
                tracing::warn!("control socket: user {} was refused", peer.uid());
                routes::refused(format!(
                    "user {} may not command this agent; ask as root or as user {own}",
                    peer.uid()
                ))
            }
            Err(error) => routes::refused(format!("SO_PEERCRED: {error}: nobody knows who asks")),
        }
    }
}

/// Serves until `ending` says so.
pub async fn serve(bound: Bound, agent: Arc<Agent>, ending: watch::Receiver<bool>) {
    connection::serve(Arc::new(Unix { listener: bound.listener, agent }), BOUNDS, ending).await;
}
