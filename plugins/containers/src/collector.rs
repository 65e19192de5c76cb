//! The metrics of all containers: at collections, and when a container ends.

use crate::application::looks::{Looked, Question};
use crate::application::{Applications, Questions};
use crate::brief::Brief;
use crate::figures::Figures;
use crate::figures::kept::Counters;
use crate::info;
use crate::known::{Known, News};
use crate::metrics::APPLICATION_TYPE;
use crate::restarts::Restarts;
use crate::systemd;
use crate::volumes::{Answers, Asked, Seen, Volumes};
use gantry_cgroupfs::Layout;
use gantry_plugin_api::host::Clock;
use gantry_plugin_api::identity::Cgroup;
use gantry_plugin_api::{ContainerRef, Error, Host, Sink};
use serde::{Deserialize, Serialize};

/// Descriptors that are kept open, of those that a process may have: half.
fn descriptors() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    usize::try_from(limit.unwrap_or(1 << 20) / 2).unwrap_or(1024)
}

/// The part of them that is for mounts: one a container, where of cgroups it
/// is a dozen.
const FOR_MOUNTS: usize = 8;

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
        let for_mounts = descriptors() / FOR_MOUNTS;
        Ok(Self {
            host: host.clone(),
            figures: Figures::new(layout, descriptors() - for_mounts),
            volumes: Volumes::new(&host.proc(), &host.sys(), &host.root(), for_mounts),
            applications: Applications::default(),
            restarts: Restarts::default(),
        })
    }

    /// Hears in which cgroups a container is.
    pub fn is_in(&mut self, container: ContainerRef, cgroups: &[Cgroup]) {
        self.figures.container_is(container, cgroups);
    }

    /// Hears what happened, and reads containers that end.
    pub fn hear(&mut self, news: &News, known: &Known) {
        if news.lost {
            // Who runs another program now was not heard.
            self.applications.forget_all();
        }
        news.executed.iter().for_each(|process| self.applications.forget(process));
        for container in &news.changed {
            let there = known.get(*container);
            if there.is_some_and(|known| !known.is_shown()) {
                // It has just said that it opts out, and is not one that is gone.
                self.figures.forget(*container);
                self.restarts.forget(*container);
            }
            if let Some(known) = there.filter(|known| known.is_shown()) {
                self.restarts.count(*container, known);
            }
        }
        for (container, known) in news.gone.iter().filter(|(_, known)| known.is_shown()) {
            self.figures.container_goes(*container);
            self.volumes.let_go(*container);
            self.restarts.count(*container, known);
        }
        for container in &news.exited {
            // The last one of it: the runtime removes the cgroup next.
            if self.host.processes(*container).is_empty() {
                self.figures.read(*container);
                self.volumes.let_go(*container);
            }
        }
        // Without collections nobody else forgets what the host has forgotten.
        self.figures.sweep(&|container, key| is_known(&self.host, container, key));
        self.restarts.sweep(|container| is_known(&self.host, container, self.figures.key(container)));
    }

    /// Looks at what there is, and says which file systems are to be asked and
    /// which programs are to be looked at.
    pub fn begin(&mut self, known: &Known) -> (Asked, Vec<Question>) {
        let (host, applications) = (&self.host, &mut self.applications);
        let mut questions: Questions = applications.begin();
        let first = known.all().filter(|(_, known)| known.is_shown()).filter_map(|(container, known)| {
            let processes = host.processes(container);
            applications.ask(&processes, &mut questions);
            let (is_unit, pid) = (known.runtime() == systemd::RUNTIME, processes.first()?.pid);
            Some((container, Seen { volumes: &known.volumes, is_unit, pid }))
        });
        let open_files = |container: ContainerRef| {
            let processes = host.processes(container);
            let beyond = processes.len().saturating_sub(MOST_PROCESSES) as u64;
            let files = processes.into_iter().take(MOST_PROCESSES);
            (files.filter_map(|process| host.open_files(process)).flatten().collect(), beyond)
        };
        let asked = self.volumes.containers_are(first, &open_files, host.now(Clock::Monotonic));
        (asked, questions.into_inner())
    }

    /// Emits the samples of all containers that there are.
    pub fn collect(&mut self, known: &Known, answers: &Answers, looked: Looked, sink: &mut Sink<'_>) {
        let there: Vec<(ContainerRef, &Brief)> = known.all().filter(|(_, known)| known.is_shown()).collect();
        self.figures.containers_are(there.iter().map(|(container, _)| *container));
        self.applications.learn(looked);
        for (container, known) in &there {
            info::emit(*container, known, sink);
            let processes = self.host.processes(*container);
            for application in self.applications.of(&processes) {
                sink.container(&APPLICATION_TYPE, *container, &[application], 1);
            }
            self.volumes.emit(*container, answers, sink);
        }
        self.volumes.report(answers, sink);
        let (hung, not_asked) = self.applications.left_out();
        for (reason, count) in [("program_hung", hung), ("program_not_asked", not_asked)] {
            if count > 0 {
                sink.skipped(reason, count);
            }
        }
        // What is gone is known for a while, and shown as it was.
        let host = &self.host;
        self.figures.collect(sink, &self.volumes, &|container, key| is_known(host, container, key));
        let figures = &self.figures;
        self.restarts.emit(sink, |container| {
            known
                .get(container)
                .map_or_else(|| is_known(host, container, figures.key(container)), Brief::is_shown)
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
}

/// Whether the host knows it still. By one of its cgroups, where there is one:
/// to be told all of it only to know that costs a hundred times as much.
fn is_known(host: &Host, container: ContainerRef, key: Option<(u32, u64)>) -> bool {
    match key {
        Some((hierarchy, id)) => host.container_of_cgroup(hierarchy, id) == Some(container),
        None => host.container(container).is_some(),
    }
}

/// Of a service with hundreds of processes, some say what it has open.
const MOST_PROCESSES: usize = 16;
