//! The threads that ask runtimes: one for those of the configuration, and one for
//! each of users' Podmans, which come and go.

use crate::provider::bounds::Losses;
use crate::provider::door::Turn;
use crate::provider::link::Link;
use crate::provider::worker::Worker;
use crate::runtimes::{self, Asked};
use gantry_plugin_api::identity::Metadata;
use gantry_plugin_api::{Error, Host, tracing};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
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
        let turn = Turn::default();
        let configured = Worker::start(asked.iter().map(|one| one.task(host, losses, &turn)).collect())?;
        Ok(Self { host: host.clone(), losses: Arc::clone(losses), configured, users: RwLock::default() })
    }

    /// What each shares.
    pub fn links(&self) -> Vec<Arc<Link>> {
        let users = self.users();
        let all = std::iter::once(&self.configured).chain(users.all.iter().map(|(_, worker)| worker));
        all.flat_map(Worker::links).cloned().collect()
    }

    /// These users' Podmans are there, and no others. One that is configured is
    /// asked already.
    pub fn users_are(&self, sockets: &[String], deadline: Duration) {
        let is_configured = |socket: &String| {
            self.configured.links().iter().any(|link| link.socket().as_os_str() == &**socket)
        };
        let mut users = self.users.write().unwrap_or_else(PoisonError::into_inner);
        if users.ended {
            return;
        }
        let gone = users.all.extract_if(.., |(socket, _)| !sockets.contains(socket));
        for (socket, _) in gone.collect::<Vec<_>>() {
            // Nobody waits for names from there any more.
            if let Err(error) = self.tell(&runtimes::of_user(&socket, deadline), true) {
                tracing::warn!("podman at {socket}: {error}");
            }
        }
        for socket in sockets.iter().filter(|socket| !is_configured(socket)) {
            if users.all.iter().any(|(known, _)| known == socket) {
                continue;
            }
            let asked = runtimes::of_user(socket, deadline);
            match self.tell(&asked, false).and_then(|()| self.start_one(&asked)) {
                Ok(worker) => users.all.push((socket.clone(), worker)),
                Err(error) => tracing::warn!("podman at {socket} is not asked: {error}"),
            }
        }
    }

    fn start_one(&self, asked: &Asked<'_>) -> Result<Worker, Error> {
        Worker::start(vec![asked.task(&self.host, &self.losses, &Turn::default())])
    }

    /// Tells the host whether a user's is asked.
    fn tell(&self, asked: &Asked<'_>, removed: bool) -> Result<(), Error> {
        let whom = asked.of_whom().map(|whom| Metadata { removed, ..whom });
        whom.map_or(Ok(()), |whom| self.host.provide(asked.runtime(), &[whom]))
    }

    /// Tells all to end, and does not wait. None begins after that.
    pub fn end(&self) {
        self.configured.end();
        let mut users = self.users.write().unwrap_or_else(PoisonError::into_inner);
        users.ended = true;
        users.all.iter().for_each(|(_, worker)| worker.end());
    }

    /// Waits for their ends, as long as `left` says; how many did not end.
    pub fn join(&self, left: &dyn Fn() -> Duration) -> usize {
        let users = self.users();
        let all = std::iter::once(&self.configured).chain(users.all.iter().map(|(_, worker)| worker));
        all.filter(|worker| !worker.join(left())).count()
    }

    /// Each change of it is one call.
    fn users(&self) -> RwLockReadGuard<'_, Users> {
        self.users.read().unwrap_or_else(PoisonError::into_inner)
    }
}
