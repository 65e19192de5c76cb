//! What is known: the containers, who waits for theirs to be known, the last victims.
//!
//! The host's calls cost microseconds, and kills are rare: it is asked with the lock on
//! all of this.

use crate::config::Config;
use crate::containers::Containers;
use crate::counted::{Place, Told, Use};
use crate::counters::Counters;
use crate::engine::{Engine, Losses};
use crate::handover::{Handed, Victims};
use crate::kill::Kill;
use crate::metrics;
use crate::own::{Own, Reason};
use crate::record::{Mark, ROOT};
use crate::scope::Scope;
use gantry_plugin_api::host::Clock;
use gantry_plugin_api::identity::{EventKind, Observation};
use gantry_plugin_api::{ContainerRef, Host, Process, Sink, tracing};
use std::collections::{HashSet, VecDeque};
use std::time::Duration;

/// How long it is waited until somebody knows whose a victim's cgroup is.
const HOLD: Duration = Duration::from_secs(30);

/// Victims that wait for that, and events that wait until counting begins: some 300
/// bytes each.
const MAX_WAITING: usize = 4096;

/// Rows of the view.
const MAX_KILLS: usize = 256;

/// Lines of the log between two collections.
const MAX_LINES: u32 = 20;

/// Events that are taken over at once: more than fit into the ring.
const BATCH: usize = 1 << 14;

/// A victim whose container nobody knows yet.
#[derive(Debug)]
struct Waiting {
    mark: Mark,
    since: Duration,
    is_told: bool,
}

/// All that is known.
#[derive(Debug)]
pub struct State {
    config: Config,
    /// What tells of kills; `None`: the counters alone do.
    pub engine: Option<Engine>,
    counters: Result<Counters, String>,
    containers: Containers,
    own: Own,
    is_active: bool,
    early: Vec<Mark>,
    early_lost: u64,
    victims: Victims,
    waiting: VecDeque<Waiting>,
    kills: VecDeque<Kill>,
    young_from: Option<u64>,
    lines: u32,
    /// What is wrong with a counter.
    trouble: Option<String>,
}

impl State {
    /// One that knows nothing yet.
    pub fn new(host: &Host, config: Config, engine: Option<Engine>) -> Self {
        Self {
            config,
            counters: Counters::of(host, engine.is_some()),
            engine,
            containers: Containers::default(),
            own: Own::new(host),
            is_active: false,
            early: Vec::new(),
            early_lost: 0,
            victims: Victims::default(),
            waiting: VecDeque::new(),
            kills: VecDeque::new(),
            young_from: None,
            lines: 0,
            trouble: None,
        }
    }

    /// Other settings hold from now on.
    pub fn reconfigure(&mut self, config: Config) {
        self.config = config;
    }

    /// Why counters cannot be read, or one of them.
    pub fn trouble(&self) -> Option<&String> {
        self.counters.as_ref().err().or(self.trouble.as_ref())
    }

    /// What is counted of the plugin itself.
    pub fn own(&self) -> &Own {
        &self.own
    }

    /// Whether somebody waits for a container to be known.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The last victims, the last first.
    pub fn kills(&self) -> impl Iterator<Item = &Kill> {
        self.kills.iter().rev()
    }

    /// Takes over what was told until now, and tries those again that wait.
    pub fn take(&mut self, host: &Host) {
        self.try_again(host);
        let mut marks = Vec::new();
        if let Some(engine) = &mut self.engine {
            engine.drain(BATCH, |mark| marks.push(mark));
        }
        for mark in marks {
            if self.is_active {
                self.mark(host, mark);
            } else if self.early.len() < MAX_WAITING {
                self.early.push(mark);
            } else {
                self.early_lost += 1;
            }
        }
    }

    /// Somebody was marked.
    pub fn mark(&mut self, host: &Host, mark: Mark) {
        if !mark.may_be_kill() {
            self.own.not_killed.inc();
            return;
        }
        // In their order: the numbers rise.
        let follows = self.waiting.iter().any(|waiting| place(&waiting.mark) == place(&mark));
        match self.whose(host, &mark) {
            Some(container) if !follows => self.count(host, &mark, container),
            _ if mark.cgroup <= ROOT => self.is_nobodys(host, &mark, Reason::NoContainer),
            _ if self.waiting.len() >= MAX_WAITING => self.is_nobodys(host, &mark, Reason::WaitingFull),
            _ => {
                let mut waiting = Waiting { mark, since: host.now(Clock::Monotonic), is_told: false };
                waiting.tell(host);
                self.waiting.push_back(waiting);
            }
        }
    }

    fn try_again(&mut self, host: &Host) {
        if self.waiting.is_empty() {
            return;
        }
        let now = host.now(Clock::Monotonic);
        let mut unknown = HashSet::new();
        for mut waiting in std::mem::take(&mut self.waiting) {
            let place = place(&waiting.mark);
            let found = if unknown.contains(&place) { None } else { self.whose(host, &waiting.mark) };
            match found {
                Some(container) => self.count(host, &waiting.mark, container),
                None if now.saturating_sub(waiting.since) >= HOLD => {
                    self.is_nobodys(host, &waiting.mark, Reason::UnknownCgroup);
                }
                None => {
                    unknown.insert(place);
                    waiting.tell(host);
                    self.waiting.push_back(waiting);
                }
            }
        }
    }

    /// By its cgroup, and before that is known by the process. A container that was known
    /// before the agent began anew has its cgroups before the host finds them again.
    fn whose(&self, host: &Host, mark: &Mark) -> Option<ContainerRef> {
        if mark.cgroup <= ROOT {
            return None;
        }
        let Process { pid, start } = process(mark);
        host.container_of_cgroup(mark.hierarchy, mark.cgroup)
            .or_else(|| host.container_of_pid(pid, start))
            .or_else(|| self.containers.of(place(mark)))
    }

    fn count(&mut self, host: &Host, mark: &Mark, container: ContainerRef) {
        if !self.victims.add(mark.victim()) {
            return;
        }
        let known = self.containers.get(host, container, self.counters.as_mut().ok());
        let scope = Scope::of(mark, known.level(mark.hierarchy));
        let Told::Kill { missed } = known.counted.mark(mark, scope) else {
            self.own.not_killed.inc();
            return;
        };
        self.own.found.add(missed as f64);
        let kill = Kill::of(mark, Some((container, &known.id)), scope, now(host));
        if !known.left_alone {
            self.tell(kill);
        }
    }

    fn is_nobodys(&mut self, host: &Host, mark: &Mark, reason: Reason) {
        if self.victims.add(mark.victim()) {
            self.own.unattributed(reason);
            let scope = if mark.limit.is_some() { Scope::Ancestor } else { Scope::Node };
            self.tell(Kill::of(mark, None, scope, now(host)));
        }
    }

    fn tell(&mut self, kill: Kill) {
        if self.config.log_kills {
            self.lines = self.lines.saturating_add(1);
            if self.lines <= MAX_LINES {
                tracing::warn!("{kill}");
            }
        }
        if self.kills.len() >= MAX_KILLS {
            self.kills.pop_front();
        }
        self.kills.push_back(kill);
    }

    /// Counting begins.
    pub fn activate(&mut self, host: &Host, before: Option<Handed>) {
        self.take(host);
        self.is_active = true;
        let goes_on = before.is_some();
        let is_told = self.engine.is_some();
        let youngest = || self.counters.as_ref().ok().and_then(Counters::youngest);
        match before {
            None => self.young_from = youngest(),
            Some(before) => {
                // Files of another kind have other numbers, and begin anew.
                let is_same = before.is_told == is_told;
                self.young_from = if is_same { before.young_from } else { youngest() };
                for victim in before.victims {
                    self.victims.add(victim);
                }
                self.kills = before.kills.into_iter().take(MAX_KILLS).collect();
                self.containers.restore(before.counted);
                if !is_same {
                    self.containers.forget_numbers();
                }
                let since = host.now(Clock::Monotonic);
                let waiting = before.waiting.into_iter().take(MAX_WAITING);
                self.waiting = waiting.map(|mark| Waiting { mark, since, is_told: false }).collect();
            }
        }
        let early = std::mem::take(&mut self.early);
        if goes_on {
            self.own.lost([0, 0, self.early_lost]);
            self.try_again(host);
            early.into_iter().for_each(|mark| self.mark(host, mark));
        }
        // What is lost before anything counts is nobody's concern.
        self.losses();
        self.look(host);
    }

    fn losses(&mut self) -> Losses {
        self.engine.as_mut().map(Engine::losses).unwrap_or_default()
    }

    /// Looks at all containers and their counters.
    fn look(&mut self, host: &Host) {
        self.containers.refresh(host, self.counters.as_mut().ok());
        let Ok(counters) = &mut self.counters else { return };
        let waiting = self.waiting.iter().map(|waiting| place(&waiting.mark)).collect();
        let is_for = if self.engine.is_some() { Use::Checks } else { Use::Counts };
        self.trouble = None;
        let found = self.containers.look(counters, self.young_from, is_for, &waiting, &mut self.trouble);
        self.own.found.add(found as f64);
        if found > 0 && self.engine.is_some() {
            tracing::warn!("{found} kills of which the cgroups' counters alone tell: their events were lost");
        }
    }

    /// A collection.
    pub fn collect(&mut self, host: &Host, sink: &mut Sink<'_>) {
        self.take(host);
        if self.is_active {
            self.look(host);
            let losses = self.losses();
            self.own.lost([losses.ring, losses.malformed, 0]);
            // Where none were lost nothing is said.
            for (reason, count) in [("ring_full_lost", losses.ring), ("malformed_lost", losses.malformed)] {
                if count > 0 {
                    sink.skipped(reason, count);
                }
            }
        } else {
            self.containers.refresh(host, self.counters.as_mut().ok());
        }
        if let Some(more) = self.lines.checked_sub(MAX_LINES).filter(|more| *more > 0) {
            tracing::warn!("{more} more processes were killed for want of memory since the last collection");
        }
        self.lines = 0;
        let knows_scope = self.engine.is_some();
        for (container, known) in self.containers.iter().filter(|(_, known)| known.is_shown()) {
            let counted = &known.counted;
            sink.container(&metrics::KILLS, container, &[], counted.kills());
            for scope in Scope::ALL {
                let count = counted.of(scope);
                // Rare, and where there are no events all there is.
                let is_ordinary = scope != Scope::Unknown && knows_scope;
                if is_ordinary || count > 0 {
                    sink.container(&metrics::EVENTS, container, &[scope.as_str()], count);
                }
            }
        }
        if let Some(engine) = &self.engine {
            let bytes = engine.map_bytes();
            host.report("bpf_map_bytes", bytes as f64);
            sink.node(&metrics::MAP_BYTES, &[], bytes);
            for program in engine.programs() {
                let is_loaded = program.outcome == gantry_bpf::Outcome::Loaded;
                sink.node(&metrics::PROGRAM, &[program.program], is_loaded);
            }
        }
    }

    /// Ends: what was told until now is counted.
    pub fn stop(&mut self, host: &Host) {
        if let Some(engine) = &mut self.engine {
            engine.detach();
        }
        self.take(host);
        if self.is_active {
            let losses = self.losses();
            self.own.lost([losses.ring, losses.malformed, 0]);
        }
    }

    /// What the next instance needs.
    pub fn handed(&self) -> Handed {
        Handed {
            counted: self.containers.counted(),
            victims: self.victims.all(),
            waiting: self.waiting.iter().map(|waiting| waiting.mark.clone()).collect(),
            kills: self.kills.iter().cloned().collect(),
            young_from: self.young_from,
            is_told: self.engine.is_some(),
        }
    }
}

impl Waiting {
    /// Tells the identity service once where the process was: it may not have heard of
    /// one that lived for moments.
    fn tell(&mut self, host: &Host) {
        if std::mem::replace(&mut self.is_told, true) {
            return;
        }
        host.observe(&[Observation {
            kind: EventKind::ProcessStarted,
            process: process(&self.mark),
            hierarchy: self.mark.hierarchy,
            cgroup: self.mark.cgroup,
            network_namespace: 0,
        }]);
    }
}

fn place(mark: &Mark) -> Place {
    (mark.hierarchy, mark.cgroup)
}

fn process(mark: &Mark) -> Process {
    let tick = 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1);
    Process { pid: mark.pid, start: mark.start / tick.max(1) }
}

fn now(host: &Host) -> f64 {
    host.now(Clock::Realtime).as_secs_f64()
}
