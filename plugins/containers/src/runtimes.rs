//! The runtimes that are asked, as the configuration says.

use crate::config::Config;
use crate::cri::{self, Cri};
use crate::docker::{self, Docker};
use crate::podman::{self, Podman};
use crate::provider::bounds::Losses;
use crate::provider::link::Link;
use crate::provider::worker::Worker;
use crate::systemd::{self, Systemd};
use gantry_plugin_api::{Error, Host};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

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
    Systemd,
}

/// All of them.
pub fn asked(config: &Config) -> Vec<Asked<'_>> {
    let Config { docker, podman, cri, systemd, .. } = config;
    let all = [
        (Kind::Docker, docker.asked().collect::<Vec<_>>(), docker.deadline),
        (Kind::Podman, podman.asked().collect(), podman.deadline),
        (Kind::Cri, cri.asked().collect(), cri.deadline),
        (Kind::Systemd, systemd.asked().collect(), systemd.deadline),
    ];
    let each = all.into_iter().flat_map(|(kind, sockets, deadline)| {
        sockets.into_iter().map(move |socket| Asked { kind, socket, deadline: deadline.0 })
    });
    each.collect()
}

impl Asked<'_> {
    /// As it is called, until it says so itself.
    pub fn runtime(&self) -> &'static str {
        match self.kind {
            Kind::Docker => docker::RUNTIME,
            Kind::Podman => podman::RUNTIME,
            Kind::Cri => cri::guess(self.socket),
            Kind::Systemd => systemd::RUNTIME,
        }
    }

    /// Its socket in the agent's own view.
    pub fn path(&self, root: &Path) -> PathBuf {
        root.join(self.socket.trim_start_matches('/'))
    }

    /// Begins to ask it.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn start(&self, host: &Host, losses: &Arc<Losses>) -> Result<Worker, Error> {
        let (socket, deadline) = (self.path(&host.root()), self.deadline);
        let link = |requests: &[&'static str]| {
            Link::new(host.clone(), self.runtime(), self.socket.into(), requests, Arc::clone(losses))
        };
        match self.kind {
            Kind::Docker => Worker::start(Docker { socket, deadline }, Arc::new(link(&docker::REQUESTS))),
            Kind::Podman => Worker::start(Podman { socket, deadline }, Arc::new(link(&podman::REQUESTS))),
            Kind::Cri => Worker::start(Cri { socket, deadline }, Arc::new(link(&cri::REQUESTS))),
            Kind::Systemd => {
                let link = link(&systemd::REQUESTS).lacking(systemd::LACK);
                Worker::start(Systemd::new(socket, deadline), Arc::new(link))
            }
        }
    }
}
