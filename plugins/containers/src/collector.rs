//! The metrics of all containers: at collections, and when a container ends.

use crate::application::Applications;
use crate::figures::Figures;
use crate::figures::kept::Counters;
use crate::info;
use crate::known::{Known, News};
use crate::metrics::APPLICATION_TYPE;
use crate::restarts::Restarts;
use crate::volumes::Volumes;
use gantry_cgroupfs::Layout;
use gantry_plugin_api::{Container, ContainerRef, Error, Host, Sink};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// Descriptors that are kept open, of those that a process may have: half.
fn descriptors() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    usize::try_from(limit.unwrap_or(1 << 20) / 2).unwrap_or(1024)
}

/// All there is.
#[derive(Debug)]
pub struct Collector {
    host: Host,
    figures: Figures,
    volumes: Volumes,
    applications: Applications,
    restarts: Restarts,
}

/// What the next instance is told.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Past {
    restarts: Restarts,
    counters: Vec<(u64, String, Counters)>,
}

impl Collector {
    /// # Errors
    /// Where the machine's cgroups cannot be found.
    pub fn new(host: &Host) -> Result<Self, Error> {
        let layout = Layout::read(&host.proc(), &host.cgroup()).map_err(Error::unsupported)?;
        Ok(Self {
            host: host.clone(),
            figures: Figures::new(layout, descriptors()),
            volumes: Volumes::new(&host.proc(), &host.sys()),
            applications: Applications::new(&host.proc()),
            restarts: Restarts::default(),
        })
    }

    /// Hears what happened, and reads containers that end.
    pub fn hear(&mut self, news: &News, known: &Known) {
        news.executed.iter().for_each(|process| self.applications.forget(process));
        for container in &news.changed {
            if let Some(known) = known.get(*container).filter(|known| is_shown(known)) {
                if let Some(cgroups) = news.cgroups.get(container) {
                    self.figures.container_is(*container, cgroups);
                }
                self.restarts.count(*container, known);
            }
        }
        for (container, known) in news.gone.iter().filter(|(_, known)| is_shown(known)) {
            self.figures.container_goes(*container);
            self.restarts.count(*container, known);
        }
        for container in &news.exited {
            // The last one of it: the runtime removes the cgroup next.
            if self.host.processes(*container).is_empty() {
                self.figures.read(*container);
            }
        }
    }

    /// Emits the samples of all containers that there are.
    pub fn collect(&mut self, known: &Known, sink: &mut Sink<'_>) {
        let there: Vec<(ContainerRef, &Arc<Container>)> =
            known.all().filter(|(_, known)| is_shown(known)).collect();
        self.figures.containers_are(there.iter().map(|(container, _)| *container));
        let mut budget = self.applications.begin();
        let mut first = Vec::with_capacity(there.len());
        for (container, known) in &there {
            info::emit(*container, known, sink);
            let processes = self.host.processes(*container);
            first.extend(processes.first().map(|process| (*container, &***known, process.pid)));
            for application in self.applications.of(&processes, &mut budget) {
                sink.container(&APPLICATION_TYPE, *container, &[application], 1);
            }
        }
        let host = &self.host;
        let open_files = |container: ContainerRef| {
            let processes = host.processes(container).into_iter().take(MOST_PROCESSES);
            processes.filter_map(|process| host.open_files(process)).flatten().collect()
        };
        self.volumes.containers_are(first.into_iter(), &open_files);
        for (container, _) in &there {
            self.volumes.emit(*container, sink);
        }
        // What is gone is known for a while, and shown as it was.
        let host = &self.host;
        let is_known = |container| host.container(container).is_some();
        self.figures.collect(sink, &mut self.volumes, &is_known);
        self.restarts.emit(sink, |container| {
            known.get(container).map_or_else(|| is_known(container), |known| is_shown(known))
        });
    }

    /// What the next instance is told.
    pub fn past(&mut self) -> Past {
        Past { restarts: self.restarts.clone(), counters: self.figures.past() }
    }

    /// What the instance before told.
    pub fn set_past(&mut self, past: Past) {
        self.restarts.set_past(past.restarts);
        self.figures.set_past(past.counters);
    }

    /// Ends the threads that ask file systems; how many are stuck and left behind.
    pub fn stop(&mut self, deadline: Duration) -> usize {
        self.volumes.stop(deadline)
    }
}

/// Whoever runs it did not ask to be left alone.
fn is_shown(known: &Container) -> bool {
    !known.opted_out.iter().any(|name| name == "containers")
}

/// Of a service with hundreds of processes, some say what it has open.
const MOST_PROCESSES: usize = 16;
