//! How far away destinations are: echoes from the container's own network namespace,
//! by a thread of its own, away from collections.
//!
//! The times are the kernel's: a request's when its driver sends it, an answer's when it
//! arrives. So nobody has to be woken for either: the thread looks each tenth of a second
//! while something is on its way.
//!
//! # Layout
//! * [`echo`]: the messages. [`door`]: the sockets. [`rounds`]: whom to ask when, and what
//!   that gives.

pub mod door;
pub mod echo;
pub mod rounds;

use crate::addresses::namespace_of;
use crate::metrics;
use door::{Came, Door};
use echo::Echo;
use gantry_plugin_api::{ContainerRef, Counter, Host, tracing};
use rounds::{Moment, Outcome, Rounds, Target};
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

/// How often it is looked while something is on its way. The times are the kernel's: a
/// later look makes them no longer.
const TICK: Duration = Duration::from_millis(100);

/// Network namespaces that are asked from, with two sockets each: of 20,000 descriptors.
const MAX_NAMESPACES: usize = 2048;

/// Messages that are taken from a socket at one look: a container may send itself any
/// number of them.
const MAX_READ: usize = 1024;

/// What is asked, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How often each is asked.
    pub interval: Duration,
    /// How many are, in all.
    pub most: usize,
}

/// Who is far from whom.
pub type Pair = (ContainerRef, IpAddr);

#[derive(Debug)]
struct Orders {
    settings: Settings,
    stops: bool,
    tally: Tally,
    /// Collections since the beginning. At each it is found out whose connections are.
    collections: u32,
}

/// What went wrong since the last look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests for which there was no room.
    pub beyond: u64,
    /// Answers that are nobody's.
    pub strange: u64,
    /// Answers without a time.
    pub unmeasured: u64,
    /// Requests from network namespaces that could not be entered, or in which there can
    /// be no socket.
    pub closed: u64,
}

impl Tally {
    /// Each reason with its number.
    pub fn tell(&self, mut give: impl FnMut(&'static str, u64)) {
        for (reason, count) in [
            ("latency_destinations_beyond", self.beyond),
            ("latency_strange_answer", self.strange),
            ("latency_unmeasured", self.unmeasured),
            ("latency_no_socket", self.closed),
        ] {
            if count > 0 {
                give(reason, count);
            }
        }
    }
}

/// Shows none of it any more.
pub fn forget(host: &Host) {
    for family in [&metrics::LATENCY, &metrics::LATENCY_LOST] {
        host.metrics().retain(family, |_, _| false);
    }
}

/// The thread that asks.
#[derive(Debug)]
pub struct Latency {
    shared: Arc<(Mutex<Orders>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Latency {
    /// Begins. Before each round `wants` says who is to be asked.
    ///
    /// # Errors
    /// There can be no thread.
    pub fn start(
        host: &Host,
        settings: Settings,
        wants: impl FnMut() -> Vec<Pair> + Send + 'static,
    ) -> std::io::Result<Self> {
        let orders = Orders { settings, stops: false, tally: Tally::default(), collections: 0 };
        let shared = Arc::new((Mutex::new(orders), Condvar::new()));
        let (asks, host) = (Arc::clone(&shared), host.clone());
        let thread = std::thread::Builder::new()
            .name("tcp-latency".to_owned())
            .spawn(move || Asker::new(host).run(&asks, wants))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Other settings hold from the next round on.
    pub fn reconfigure(&self, settings: Settings) {
        lock(&self.shared.0).settings = settings;
    }

    /// What went wrong since it was asked last. To be asked at each collection.
    pub fn tally(&self) -> Tally {
        let mut orders = lock(&self.shared.0);
        orders.collections = orders.collections.saturating_add(1);
        std::mem::take(&mut orders.tally)
    }

    /// Ends. What it counted stays.
    pub fn stop(&mut self) {
        lock(&self.shared.0).stops = true;
        self.shared.1.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of it was said already.
            let _ = thread.join();
        }
    }
}

impl Drop for Latency {
    fn drop(&mut self) {
        self.stop();
    }
}

fn lock(shared: &Mutex<Orders>) -> MutexGuard<'_, Orders> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A socket, and what it sent.
#[derive(Debug)]
struct Open {
    door: Door,
    sequence: u16,
    id: u16,
    /// The kernel's number of the next request; not known after one that it refused.
    number: Option<u32>,
}

/// All that the thread has.
#[derive(Debug)]
struct Asker {
    host: Host,
    rounds: Rounds,
    doors: HashMap<(u32, bool), Option<Open>>,
    paths: HashMap<u32, std::path::PathBuf>,
    /// Who wants to know of each.
    whose: HashMap<Target, Vec<ContainerRef>>,
    lost: HashMap<Pair, Counter>,
    begun: Instant,
    secret: RandomState,
    requests: u64,
    tally: Tally,
    has_warned: bool,
}

impl Asker {
    fn new(host: Host) -> Self {
        Self {
            host,
            rounds: Rounds::default(),
            doors: HashMap::new(),
            paths: HashMap::new(),
            whose: HashMap::new(),
            lost: HashMap::new(),
            begun: Instant::now(),
            secret: RandomState::new(),
            requests: 0,
            tally: Tally::default(),
            has_warned: false,
        }
    }

    fn run(mut self, shared: &(Mutex<Orders>, Condvar), mut wants: impl FnMut() -> Vec<Pair>) {
        let mut next = Instant::now();
        loop {
            let left = next.saturating_duration_since(Instant::now());
            let pause = if self.rounds.is_idle() { left } else { left.min(TICK) };
            let (settings, is_known) = {
                let waited = shared.1.wait_timeout_while(lock(&shared.0), pause, |orders| !orders.stops);
                let (mut orders, _) = waited.unwrap_or_else(PoisonError::into_inner);
                if orders.stops {
                    return;
                }
                self.tell(&mut orders.tally);
                // The first one may be at its beginning.
                (orders.settings, orders.collections > 1)
            };
            if Instant::now() >= next {
                next = Instant::now() + settings.interval;
                self.begin(&wants(), settings);
                if is_known {
                    self.forget();
                }
            }
            self.ask();
            self.hear();
        }
    }

    fn tell(&mut self, tally: &mut Tally) {
        let Tally { beyond, unmeasured, closed, .. } = std::mem::take(&mut self.tally);
        tally.beyond += beyond;
        tally.strange += std::mem::take(&mut self.rounds.strange);
        tally.unmeasured += unmeasured;
        tally.closed += closed;
    }

    fn now(&self) -> Moment {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let real = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Moment { steady: nanos(self.begun.elapsed()), real: nanos(real) }
    }

    /// A round begins: whose namespace is which is looked at anew, and what is of no use
    /// any more is closed, since a socket keeps its namespace alive.
    fn begin(&mut self, pairs: &[Pair], settings: Settings) {
        self.paths.clear();
        self.whose.clear();
        let proc = self.host.proc();
        let mut namespaces: HashMap<ContainerRef, Option<u32>> = HashMap::new();
        let mut over = 0;
        for (container, ip) in pairs {
            let netns = *namespaces.entry(*container).or_insert_with(|| {
                let processes = self.host.processes(*container);
                let (netns, path) =
                    processes.iter().take(4).find_map(|process| namespace_of(&proc, process.pid))?;
                let has_room = self.paths.len() < MAX_NAMESPACES || self.paths.contains_key(&netns);
                has_room.then(|| self.paths.entry(netns).or_insert(path))?;
                Some(netns)
            });
            let Some(netns) = netns else { continue };
            let target = Target { netns, ip: *ip };
            if self.whose.len() >= settings.most && !self.whose.contains_key(&target) {
                over += 1;
                continue;
            }
            self.whose.entry(target).or_default().push(*container);
        }
        let now = self.now().steady;
        self.tally.beyond += over + self.rounds.begin(self.whose.keys().copied(), settings.interval, now);
        let wanted: HashSet<(u32, bool)> = self.whose.keys().map(Target::door).collect();
        // One that refused a request does not know its number any more, and one that could
        // not be opened is tried again.
        self.doors.retain(|key, open| {
            wanted.contains(key) && open.as_ref().is_some_and(|open| open.number.is_some())
        });
    }

    /// What nobody wants to know any more is not shown any more. Before it is known who
    /// wants what, it is what the generation before handed over.
    fn forget(&mut self) {
        let kept: HashSet<Pair> =
            self.whose.iter().flat_map(|(target, those)| those.iter().map(|one| (*one, target.ip))).collect();
        let is_kept = |container: Option<ContainerRef>, labels: &[String]| {
            let ip = labels.first().and_then(|label| label.parse().ok());
            container.zip(ip).is_some_and(|pair| kept.contains(&pair))
        };
        for family in [&metrics::LATENCY, &metrics::LATENCY_LOST] {
            self.host.metrics().retain(family, is_kept);
        }
        self.lost.retain(|pair, _| kept.contains(pair));
    }

    fn ask(&mut self) {
        while let Some(target) = self.rounds.due(self.now().steady) {
            let cookie = self.secret.hash_one(self.requests);
            self.requests += 1;
            let at = self.now();
            let Some(open) = self.open(target) else {
                self.rounds.refused(target);
                continue;
            };
            open.sequence = open.sequence.wrapping_add(1);
            let echo = Echo { id: open.id, sequence: open.sequence, cookie };
            match open.door.send(&echo, target.ip) {
                Ok(()) => {
                    let number = open.number;
                    open.number = number.map(|number| number.wrapping_add(1));
                    self.rounds.asked(target, &echo, number, at);
                }
                Err(_) => {
                    open.number = None;
                    self.rounds.refused(target);
                    self.note(target, Outcome::Lost);
                }
            }
        }
    }

    /// The socket for it, opened where there is none. One that cannot be opened is tried
    /// again in the next round.
    fn open(&mut self, target: Target) -> Option<&mut Open> {
        let (paths, secret, warned) = (&self.paths, &self.secret, &mut self.has_warned);
        let open = || {
            let door = Door::open(paths.get(&target.netns)?, target.ip.is_ipv4());
            let warn = |error: &gantry_netlink::Error| {
                if !std::mem::replace(warned, true) {
                    tracing::warn!(
                        "no echoes from network namespace {}: {error}; latency is not known there. CAP_NET_RAW, \
                         or net.ipv4.ping_group_range within it, would allow them",
                        target.netns
                    );
                }
            };
            let door = door.inspect_err(warn).ok()?;
            Some(Open { door, sequence: 0, id: secret.hash_one(target.door()) as u16, number: Some(0) })
        };
        let opened = self.doors.entry(target.door()).or_insert_with(open).as_mut();
        self.tally.closed += u64::from(opened.is_none());
        opened
    }

    fn hear(&mut self) {
        // Others have nothing to say that anybody waits for.
        for key in &self.rounds.awaited() {
            let Some(open) = self.doors.get_mut(key).and_then(Option::as_mut) else { continue };
            for _ in 0..MAX_READ {
                match open.door.sent() {
                    Some(Came::Sent(number, stamp)) => self.rounds.left(*key, number, stamp),
                    Some(_) => {}
                    None => break,
                }
            }
            for _ in 0..MAX_READ {
                match open.door.came() {
                    // What other processes of the namespace sent comes to a raw socket too.
                    Some(Came::Answer(echo, from, stamp)) if open.door.chooses_id() || echo.id == open.id => {
                        self.rounds.came(*key, &echo, from, stamp);
                    }
                    Some(_) => {}
                    None => break,
                }
            }
        }
        let mut settled = Vec::new();
        self.rounds.settle(self.now().steady, |target, outcome| settled.push((target, outcome)));
        for (target, outcome) in settled {
            self.note(target, outcome);
        }
    }

    fn note(&mut self, target: Target, outcome: Outcome) {
        self.tally.unmeasured += u64::from(outcome == Outcome::Unmeasured);
        let ip = target.ip.to_string();
        for container in self.whose.get(&target).into_iter().flatten() {
            let (metrics, labels) = (self.host.metrics(), [ip.as_str()]);
            // Also where nothing was lost: what is 0 is said to be so.
            let lost = self
                .lost
                .entry((*container, target.ip))
                .or_insert_with(|| metrics.counter(&metrics::LATENCY_LOST, Some(*container), &labels));
            match outcome {
                Outcome::Answered(seconds) => {
                    metrics.gauge(&metrics::LATENCY, Some(*container), &labels).set(seconds);
                }
                Outcome::Lost => {
                    lost.inc();
                    // What was once is not what is.
                    metrics.forget(&metrics::LATENCY, Some(*container), &labels);
                }
                Outcome::Unmeasured => {}
            }
        }
    }
}
