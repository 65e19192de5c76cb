//! The runtimes that are asked, as the configuration says.

use crate::config::Config;
use crate::containerd::{self, Containerd};
use crate::cri::{self, Cri};
use crate::docker::{self, Docker};
use crate::podman::{self, Podman};
use crate::provider::bounds::Losses;
use crate::provider::door::{Door, Turn};
use crate::provider::first::{First, Firsts};
use crate::provider::link::Link;
use crate::provider::worker::Task;
use crate::systemd::{self, Systemd};
use gantry_plugin_api::identity::Metadata;
use gantry_plugin_api::{Container, Error, Host};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// All that can be asked, as the manifest names them.
pub const ALL: [&str; 5] = [docker::RUNTIME, podman::RUNTIME, cri::CONTAINERD, cri::CRIO, systemd::RUNTIME];

/// One that is asked.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    kind: Kind,
    /// Its socket, as it is configured.
    pub socket: &'a str,
    deadline: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Docker,
    Podman,
    Cri,
    Containerd,
    Systemd,
}

/// All of them.
pub fn asked(config: &Config) -> Vec<Asked<'_>> {
    let Config { docker, podman, cri, containerd, systemd, .. } = config;
    let all = [
        (Kind::Docker, docker.asked().collect::<Vec<_>>(), docker.deadline),
        (Kind::Podman, podman.asked().collect(), podman.deadline),
        (Kind::Cri, cri.asked().collect(), cri.deadline),
        (Kind::Containerd, containerd.asked().collect(), containerd.deadline),
        (Kind::Systemd, systemd.asked().collect(), systemd.deadline),
    ];
    let each = all.into_iter().flat_map(|(kind, sockets, deadline)| {
        sockets.into_iter().map(move |socket| Asked { kind, socket, deadline: deadline.0 })
    });
    each.collect()
}

/// A user's Podman, which listens there.
pub fn of_user(socket: &str, deadline: Duration) -> Asked<'_> {
    Asked { kind: Kind::Podman, socket, deadline }
}

/// Tells the host which runtimes are not asked, though the manifest names them,
/// and which users' are besides: it waits for the names of no others.
///
/// # Errors
/// Where the host does not take it.
pub fn tell(asked: &[Asked<'_>], host: &Host) -> Result<(), Error> {
    for runtime in ALL {
        let of_this = |one: &&Asked<'_>| one.may_be().contains(&runtime);
        let mut told = Vec::new();
        if !asked.iter().filter(of_this).any(|one| one.user().is_none()) {
            told.push(Metadata { runtime_id: String::new(), container: Container::default(), removed: true });
        }
        told.extend(asked.iter().filter(of_this).filter_map(Asked::of_whom));
        if !told.is_empty() {
            host.provide(runtime, &told)?;
        }
    }
    Ok(())
}

impl Asked<'_> {
    /// As it is called, until it says so itself.
    pub fn runtime(&self) -> &'static str {
        match self.kind {
            Kind::Docker => docker::RUNTIME,
            Kind::Podman => podman::RUNTIME,
            Kind::Cri => cri::guess(self.socket),
            Kind::Containerd => containerd::RUNTIME,
            Kind::Systemd => systemd::RUNTIME,
        }
    }

    /// All that it may turn out to be.
    fn may_be(&self) -> Vec<&'static str> {
        match self.kind {
            // Which of the two it is it says itself.
            Kind::Cri => vec![cri::CONTAINERD, cri::CRIO],
            _ => vec![self.runtime()],
        }
    }

    /// By which API it is asked: the key of its section.
    pub fn api(&self) -> &'static str {
        match self.kind {
            Kind::Docker => "docker",
            Kind::Podman => "podman",
            Kind::Cri => "cri",
            Kind::Containerd => "containerd",
            Kind::Systemd => "systemd",
        }
    }

    /// The user who runs it, where it is one of `/run/user/UID/…`.
    pub fn user(&self) -> Option<u32> {
        let rest = self.socket.strip_prefix("/var").unwrap_or(self.socket).strip_prefix("/run/user/")?;
        rest.split('/').next()?.parse().ok().filter(|uid| *uid != 0)
    }

    /// What the host is told of whose it is, where it is a user's.
    pub fn of_whom(&self) -> Option<Metadata> {
        let mut container = Container::default();
        container.names.insert(Metadata::USER.to_owned(), self.user()?.to_string());
        Some(Metadata { runtime_id: String::new(), container, removed: false })
    }

    /// Its socket in the agent's own view.
    pub fn path(&self, root: &Path) -> PathBuf {
        root.join(self.socket.trim_start_matches('/'))
    }

    /// What is to be done for it. Its socket is found when its turn among all comes.
    pub fn task(&self, host: &Host, losses: &Arc<Losses>, turn: &Turn, firsts: &Firsts) -> Task {
        // For a user's nobody waits at first: it may be found at any time.
        let first = if self.user().is_none() { firsts.of(self.may_be()) } else { First::default() };
        let (door, deadline) = (Door::new(self.path(&host.root()), turn), self.deadline);
        let link = move |requests: &[&'static str]| {
            let losses = Arc::clone(losses);
            Link::new(host.clone(), self.runtime(), self.api(), self.socket.into(), requests, losses)
                .of_user(self.user())
                .with_first(first)
        };
        match self.kind {
            Kind::Docker => Task::new(Docker { door, deadline }, link(&docker::REQUESTS)),
            Kind::Podman => Task::new(Podman { door, deadline }, link(&podman::REQUESTS)),
            Kind::Cri => Task::new(Cri { door, deadline }, link(&cri::REQUESTS)),
            Kind::Containerd => {
                let link = link(&containerd::REQUESTS).unsaid(&containerd::UNSAID);
                Task::new(Containerd::new(door, deadline), link)
            }
            Kind::Systemd => {
                // The path of a unit's cgroup says what it is.
                let link = link(&systemd::REQUESTS).lacking(systemd::LACK).unsaid(&[]);
                Task::new(Systemd::new(door, deadline), link)
            }
        }
    }
}
