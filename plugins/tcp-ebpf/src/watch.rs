//! A running tracker: what is known, the thread that takes events over as they come, and the one
//! that looks at all sockets now and then.

use crate::clock::Clock;
use crate::config::Settings;
use crate::engine::Engine;
use crate::handover::State;
use crate::latency;
use crate::shared::{BREATH, Inner, Shared};
use crate::waiter::Waiter;
use gantry_plugin_api::{Host, tracing};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long events wait at most. The programs wake the reader only when there
/// are many.
const EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// How often it is looked which network namespaces are there still. A socket keeps one
/// alive for as long after its last process.
const NAMESPACES: Duration = Duration::from_secs(10);

/// Not at all.
const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// A running tracker.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Shared>,
    wake: OwnedFd,
    ends: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
    looker: Option<JoinHandle<()>>,
}

impl Watch {
    /// Begins to buffer. `Err`: why there can be no events here.
    pub fn start(host: &Host, settings: Settings) -> Result<Self, String> {
        Self::over(Engine::start(&host.sys(), &settings)?, host, settings)
    }

    /// The same over programs that are loaded.
    pub fn over(engine: Engine, host: &Host, settings: Settings) -> Result<Self, String> {
        for missing in engine.missing() {
            tracing::warn!("{missing}");
        }
        let failed = |call: &str, error: std::io::Error| format!("{call}: {error}");
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| failed("eventfd", errno.into()))?;
        let waiter = Waiter::new(engine.events(), &wake).map_err(|error| failed("epoll", error))?;
        let shared = Arc::new(Shared::new(host, settings, engine));
        let reads = Arc::clone(&shared);
        let ends = Arc::new(AtomicBool::new(false));
        let mut watch = Self { shared, wake, ends, reader: None, looker: None };
        watch.reader = Some(spawn("tcp-events", move || read(&reads, &waiter))?);
        watch.shared.look_at_sockets();
        let (looks, ends) = (Arc::clone(&watch.shared), Arc::clone(&watch.ends));
        let looker = spawn("tcp-looks", move || look(&looks, &ends))?;
        watch.shared.is_looked_by(looker.thread().clone());
        watch.looker = Some(looker);
        Ok(watch)
    }

    /// All that is known, for as long as the answer lives.
    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.shared.lock()
    }

    /// The same, where nobody has it at the moment.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, Inner>> {
        self.shared.try_lock()
    }

    /// What gives [`pairs`](crate::emit::pairs) whenever it is asked.
    pub fn pairs(&self) -> impl FnMut() -> Vec<latency::Pair> + Send + 'static {
        let shared = Arc::clone(&self.shared);
        move || crate::emit::pairs(&shared.lock().tracker)
    }

    /// As [`Shared::clock`].
    pub fn clock(&self) -> Clock {
        self.shared.clock()
    }

    /// As [`Shared::now`].
    pub fn now(&self) -> u64 {
        self.shared.now()
    }

    /// As [`Shared::drain`].
    ///
    /// # Errors
    /// As there.
    pub fn drain(&self) -> Result<(), String> {
        self.shared.drain()
    }

    /// As [`Shared::scan`].
    pub fn scan(&self) {
        self.shared.scan();
    }

    /// As [`Shared::note_losses`].
    pub fn note_losses(&self) {
        self.shared.note_losses();
    }

    /// As [`Shared::activate`].
    pub fn activate(&self, before: Option<State>) {
        self.shared.activate(before);
    }

    /// As [`Shared::reconfigure`].
    pub fn reconfigure(&self, settings: Settings) {
        self.shared.reconfigure(settings);
    }

    /// Ends, and says what the next generation needs.
    pub fn stop(&mut self) -> State {
        self.join();
        self.shared.stop()
    }

    fn join(&mut self) {
        // What is in the way of a write to an eventfd is that it was written to.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
        self.ends.store(true, Relaxed);
        for thread in [self.looker.take(), self.reader.take()].into_iter().flatten() {
            thread.thread().unpark();
            // A panic of it was said already.
            let _ = thread.join();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.join();
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, String> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(body);
    thread.map_err(|error| format!("clone: {error}"))
}

/// Looks at all sockets whenever it is woken and time for that, until it is to end. Who collects
/// does not wait for it: with 40,000 sockets it takes some 0.1 s.
fn look(shared: &Shared, ends: &AtomicBool) {
    while !ends.load(Relaxed) {
        if shared.is_look_due() {
            shared.look_at_sockets();
        }
        std::thread::park();
    }
}

/// Until it is to end.
fn read(shared: &Shared, waiter: &Waiter) {
    let mut may_be_more = false;
    let mut looked = Instant::now();
    while !waiter.wait(if may_be_more { &NOW } else { &EVERY }).stop {
        may_be_more = shared.take_some();
        if may_be_more {
            std::thread::park_timeout(BREATH);
        }
        if looked.elapsed() >= NAMESPACES {
            looked = Instant::now();
            shared.look_at_namespaces();
        }
    }
}
