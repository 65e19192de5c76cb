//! Users' Podmans, which come with the users' sessions and go with them.
//!
//! Found by looking, each 5 s: a directory of a user's is made and mounted over
//! when the session begins. On a thread of its own, as a user may mount what
//! never answers on the way there: then no more are found, and all others are
//! asked.

use crate::workers::Workers;
use gantry_plugin_api::{Error, tracing};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The most that are asked: each costs a thread.
const MOST: usize = 16;
/// The most users that are looked at.
const MOST_USERS: usize = 1024;
/// Between two looks: as a runtime's thread waits for its socket.
const EVERY: Duration = Duration::from_secs(5);

/// Where users' directories lie.
const DIRECTORY: &str = "/run/user";

/// The thread that looks for them. With the value it ends.
#[derive(Debug)]
pub struct Finder {
    ending: Mutex<Option<Sender<()>>>,
    /// Disconnected by the end of the thread.
    ended: Mutex<Receiver<()>>,
}

impl Finder {
    /// Begins, beneath the node's root.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn start(root: PathBuf, deadline: Duration, workers: Arc<Workers>) -> Result<Self, Error> {
        let (ending, until) = mpsc::channel::<()>();
        let (alive, ended) = mpsc::channel::<()>();
        let body = move || {
            let _alive = alive;
            let mut were_too_many = false;
            loop {
                let mut sockets = sockets(&root);
                let too_many = sockets.len() > MOST;
                if too_many && !were_too_many {
                    tracing::warn!(
                        "{} users run a Podman; the first {MOST} of them are asked: name others in podman.socket",
                        sockets.len()
                    );
                }
                were_too_many = too_many;
                sockets.truncate(MOST);
                workers.users_are(&sockets, deadline);
                if until.recv_timeout(EVERY) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("containers-users".to_owned()).spawn(body);
        thread.map_err(|error| Error::new(format!("a thread that looks for users' Podmans: {error}")))?;
        Ok(Self { ending: Mutex::new(Some(ending)), ended: Mutex::new(ended) })
    }

    /// Tells it to end, and does not wait.
    pub fn end(&self) {
        drop(self.ending.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Waits for its end, at most so long; whether it ended.
    pub fn join(&self, at_most: Duration) -> bool {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.recv_timeout(at_most) != Err(RecvTimeoutError::Timeout)
    }
}

/// The sockets that users' Podmans listen at, as they are seen on the node, by
/// the users' numbers. Root's own is none of them.
pub fn sockets(root: &Path) -> Vec<String> {
    let directory = root.join(DIRECTORY.trim_start_matches('/'));
    let names = std::fs::read_dir(directory).into_iter().flatten().flatten().take(MOST_USERS);
    let users = names.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut users: Vec<u32> = users.filter(|uid| *uid != 0).collect();
    users.sort_unstable();
    let socket = |uid: u32| format!("{DIRECTORY}/{uid}/podman/podman.sock");
    let is_there = |socket: &String| {
        let found = std::fs::metadata(root.join(socket.trim_start_matches('/')));
        found.is_ok_and(|found| found.file_type().is_socket())
    };
    users.into_iter().map(socket).filter(is_there).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn sockets_of_users_are_found_and_nothing_else() {
        let root = tempfile::tempdir().expect("a directory");
        assert!(sockets(root.path()).is_empty(), "nobody is there");
        let mut listeners = Vec::new();
        for user in ["1001", "999", "0", "lost+found", "-1"] {
            let directory = root.path().join(format!("run/user/{user}/podman"));
            std::fs::create_dir_all(&directory).expect("a directory");
            listeners.push(UnixListener::bind(directory.join("podman.sock")).expect("a socket"));
        }
        let file = root.path().join("run/user/1002/podman/podman.sock");
        std::fs::create_dir_all(file.parent().expect("below the root")).expect("a directory");
        std::fs::write(file, "").expect("a file");
        let found = ["/run/user/999/podman/podman.sock", "/run/user/1001/podman/podman.sock"];
        assert_eq!(sockets(root.path()), found);
    }
}
