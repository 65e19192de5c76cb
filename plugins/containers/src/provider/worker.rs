//! The thread of one runtime: sessions, one after the other, until it is stopped.

use super::backoff::Backoff;
use super::link::Link;
use super::outcome::Outcome;
use super::{Again, Ended, Failed, Provider};
use gantry_plugin_api::Error;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// Between two sessions with a runtime that somebody must configure first.
const RARELY: Duration = Duration::from_secs(60);

/// A runtime's thread.
#[derive(Debug)]
pub struct Worker {
    link: Arc<Link>,
    ending: watch::Sender<bool>,
    /// Disconnected by the end of the thread. Waited for by one at a time.
    ended: Mutex<Receiver<()>>,
}

impl Worker {
    /// Begins. That the runtime is not there is no error.
    ///
    /// # Errors
    /// Where the system gives no thread or no descriptors.
    pub fn start(provider: impl Provider, link: Arc<Link>) -> Result<Self, Error> {
        let name = format!("containers-{}", provider.runtime());
        let failed = |error: std::io::Error| Error::new(format!("a thread for {name}: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(failed)?;
        let (ending, mut ended) = watch::channel(false);
        let (alive, at_end) = mpsc::channel::<()>();
        let shared = Arc::clone(&link);
        let body = move || {
            let _alive = alive;
            let mark = Mark(&shared);
            runtime.block_on(async {
                tokio::select! {
                    // The sender is gone only with the plugin itself.
                    _ = ended.wait_for(|ending| *ending) => {}
                    () = sessions(provider, &shared) => {}
                }
            });
            std::mem::forget(mark);
        };
        // The handle is let go: who joins it cannot say for how long at most.
        std::thread::Builder::new().name(name.clone()).spawn(body).map_err(failed)?;
        Ok(Self { link, ending, ended: Mutex::new(at_end) })
    }

    /// What it shares.
    pub fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Tells it to end, and does not wait.
    pub fn end(&self) {
        // Without a receiver it has ended already.
        let _ = self.ending.send(true);
    }

    /// Waits for its end, at most so long; whether it ended.
    pub fn join(&self, at_most: Duration) -> bool {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        !matches!(ended.recv_timeout(at_most), Err(mpsc::RecvTimeoutError::Timeout))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end();
    }
}

/// Says that the thread is no more, where a panic unwinds it.
struct Mark<'a>(&'a Link);

impl Drop for Mark<'_> {
    fn drop(&mut self) {
        self.0.dead();
    }
}

async fn sessions(mut provider: impl Provider, link: &Arc<Link>) {
    let mut backoff = Backoff::default();
    // Polled and not watched with inotify: what must be noticed is that somebody
    // answers, and a socket file is there before its Docker, and after it died.
    // A directory that is made later, or mounted over, cannot be watched either.
    loop {
        let begun = Instant::now();
        let there = provider.socket().try_exists();
        if let Err(error) = &there {
            link.failing(&unreachable(error));
        } else if there.is_ok_and(|there| there) {
            link.tried();
            let ended = match provider.session(link).await {
                Ok(never) => match never {},
                Err(ended) => ended,
            };
            match ended.again {
                Again::Unused => link.unused(&ended),
                Again::Soon | Again::Rarely => link.failing(&ended),
            }
            link.flush();
            if ended.again != Again::Soon {
                rest(link).await;
            }
        } else {
            link.absent();
        }
        let wait = backoff.after(begun.elapsed(), link.take_listed());
        // The host saw a container of this runtime: it is probably there.
        if timeout(wait, link.wanted.added()).await.is_ok() && wait > Backoff::least() {
            sleep(Backoff::least()).await;
        }
    }
}

/// A directory on the way to the socket may not be entered, say.
fn unreachable(error: &std::io::Error) -> Ended {
    let remedy = match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            "; run as root or in the group of its directory, or add CAP_DAC_READ_SEARCH to grant where this plugin \
             runs in a process of its own"
        }
        _ => "",
    };
    Failed { outcome: Outcome::Failed, detail: format!("{error}{remedy}") }.into_ended("connect")
}

/// A long time in which nothing that the host wants can be had.
async fn rest(link: &Link) {
    let drain = async {
        loop {
            link.wanted.added().await;
            link.wanted.take();
        }
    };
    // It has no end of its own.
    let _: Result<(), _> = timeout(RARELY, drain).await;
}
