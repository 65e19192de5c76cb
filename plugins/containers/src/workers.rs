//! The threads that ask runtimes: one for those of the configuration, and one for
//! each of users' Podmans, which come and go.

use crate::provider::bounds::Losses;
use crate::provider::door::Turn;
use crate::provider::first::Firsts;
use crate::provider::link::Link;
use crate::provider::worker::Worker;
use crate::runtimes::{self, Asked};
use gantry_plugin_api::identity::Metadata;
use gantry_plugin_api::{Error, Host, tracing};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

/// All of them. Shared by the plugin's threads.
#[derive(Debug)]
pub struct Workers {
    host: Host,
    losses: Arc<Losses>,
    configured: Worker,
    users: RwLock<Users>,
}

/// Those of users.
#[derive(Debug, Default)]
struct Users {
    /// By their sockets.
    all: Vec<(String, Worker)>,
    /// None begins any more.
    ended: bool,
}

impl Workers {
    /// Begins to ask these.
    ///
    /// # Errors
    /// Where the system gives no threads.
    pub fn start(asked: &[Asked<'_>], host: &Host, losses: &Arc<Losses>) -> Result<Self, Error> {
        let (turn, firsts) = (Turn::default(), Firsts::default());
        let tasks = asked.iter().map(|one| one.task(host, losses, &turn, &firsts));
        let configured = Worker::start(tasks.collect())?;
        Ok(Self { host: host.clone(), losses: Arc::clone(losses), configured, users: RwLock::default() })
    }

    /// What those of the configuration share.
    pub fn configured(&self) -> &[Arc<Link>] {
        self.configured.links()
    }

    /// What each shares.
    pub fn links(&self) -> Vec<Arc<Link>> {
        let users = self.users();
        let all = std::iter::once(&self.configured).chain(users.all.iter().map(|(_, worker)| worker));
        all.flat_map(Worker::links).cloned().collect()
    }

    /// These users' Podmans are there, and no others. A user whose Podman is
    /// configured is asked already. For one thread.
    pub fn users_are(&self, sockets: &[String], deadline: Duration) {
        let configured: Vec<u32> = self.configured.links().iter().filter_map(|link| user_of(link)).collect();
        let wanted = |socket: &&String| {
            let user = runtimes::of_user(socket, deadline).user();
            user.is_some_and(|user| !configured.contains(&user))
        };
        let sockets: Vec<&String> = sockets.iter().filter(wanted).collect();
        let gone: Vec<_> = {
            let mut users = self.write();
            if users.ended {
                return;
            }
            users.all.extract_if(.., |(socket, _)| !sockets.contains(&&*socket)).collect()
        };
        // The host may take its time: nobody is kept waiting meanwhile.
        for (socket, worker) in gone {
            drop(worker);
            // Nobody waits for names from there any more.
            if let Err(error) = self.tell(&runtimes::of_user(&socket, deadline), true) {
                tracing::warn!("podman at {socket}: {error}");
            }
        }
        for socket in sockets {
            if self.users().all.iter().any(|(known, _)| known == socket) {
                continue;
            }
            let asked = runtimes::of_user(socket, deadline);
            match self.start_one(&asked).and_then(|worker| self.tell(&asked, false).map(|()| worker)) {
                Ok(worker) => {
                    let mut users = self.write();
                    if users.ended {
                        // It was told to end by being dropped.
                        return;
                    }
                    users.all.push((socket.clone(), worker));
                }
                Err(error) => tracing::warn!("podman at {socket} is not asked: {error}"),
            }
        }
    }

    fn start_one(&self, asked: &Asked<'_>) -> Result<Worker, Error> {
        Worker::start(vec![asked.task(&self.host, &self.losses, &Turn::default(), &Firsts::default())])
    }

    /// Tells the host whether a user's is asked.
    fn tell(&self, asked: &Asked<'_>, removed: bool) -> Result<(), Error> {
        let whom = asked.of_whom().map(|whom| Metadata { removed, ..whom });
        whom.map_or(Ok(()), |whom| self.host.provide(asked.runtime(), &[whom]))
    }

    /// Tells all to end, and does not wait. None begins after that.
    pub fn end(&self) {
        self.configured.end();
        let mut users = self.write();
        users.ended = true;
        users.all.iter().for_each(|(_, worker)| worker.end());
    }

    /// Waits for their ends, as long as `left` says; how many did not end.
    pub fn join(&self, left: &dyn Fn() -> Duration) -> usize {
        let users = self.users();
        let all = std::iter::once(&self.configured).chain(users.all.iter().map(|(_, worker)| worker));
        all.filter(|worker| !worker.join(left())).count()
    }

    fn write(&self) -> RwLockWriteGuard<'_, Users> {
        self.users.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Each change of it is one call.
    fn users(&self) -> RwLockReadGuard<'_, Users> {
        self.users.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The user whose Podman is asked there, if it is one's.
fn user_of(link: &Link) -> Option<u32> {
    runtimes::of_user(link.socket().to_str()?, Duration::ZERO).user()
}
