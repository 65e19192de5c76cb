//! The tracker and the programs under one lock, and the thread that takes
//! events over as they come.

use crate::config::Settings;
use crate::engine::{Engine, Losses};
use crate::handover::State;
use crate::observed::Observed;
use crate::record::Record;
use crate::tracker::Tracker;
use crate::waiter::Waiter;
use gantry_plugin_api::{Host, tracing};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::time::{ClockId, clock_gettime};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long events wait at most. The programs wake the reader only when there
/// are many.
const EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Not at all.
const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Events that are taken over under one lock.
const BATCH: usize = 4096;

/// How often one scan goes through all once more, where it did not find some that
/// did not end: those were passed over, or their end was not told.
const AGAIN: usize = 2;

/// Between two batches, so that who waits for the lock has it: a lock that is
/// free for an instant only goes to the one that had it.
const BREATH: Duration = Duration::from_micros(100);

/// After a loss all sockets are looked at, but not more often than this.
const AFTER_LOSS: Duration = Duration::from_secs(5);

/// And now and then without one: for listening sockets that changed hands.
const NOW_AND_THEN: Duration = Duration::from_secs(300);

/// Now, by the clock that the programs use.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or_default()
}

/// What is under the lock.
#[derive(Debug)]
pub struct Inner {
    /// What is known.
    pub tracker: Tracker,
    /// Where it comes from.
    pub engine: Engine,
    /// What was not seen, in all.
    pub lost: Losses,
    /// Looks at all sockets after a loss.
    pub resyncs: u64,
    /// What a look at the kernel last complained of.
    pub trouble: Option<String>,
    observed: Observed,
    next_look: Instant,
    loss_pending: bool,
}

/// A running tracker.
#[derive(Debug)]
pub struct Watch {
    inner: Arc<Mutex<Inner>>,
    wake: OwnedFd,
    thread: Option<JoinHandle<()>>,
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
        let mut inner = Inner::new(host, settings, engine);
        inner.look_at_sockets();
        let inner = Arc::new(Mutex::new(inner));
        let shared = Arc::clone(&inner);
        let thread = std::thread::Builder::new()
            .name("tcp-events".to_owned())
            .spawn(move || read(&shared, &waiter))
            .map_err(|error| failed("clone", error))?;
        Ok(Self { inner, wake, thread: Some(thread) })
    }

    /// All that is known, for as long as the answer lives.
    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    /// The same, where nobody has it at the moment.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, Inner>> {
        match self.inner.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Ends, and says what the next generation needs.
    pub fn stop(&mut self) -> State {
        self.join();
        let mut inner = self.lock();
        // All that is open must be known before the programs are gone: the next
        // generation takes what was there before it for counted. Twice, for what an
        // iterator passes over. Not later: what is kept of a socket is true only as
        // long as the programs follow it.
        for _ in 0..2 {
            inner.scan_without_end();
            inner.drain();
        }
        let cut = now();
        inner.tracker.ends_at(cut);
        inner.engine.detach();
        inner.drain();
        inner.note_losses();
        inner.tracker.state(cut)
    }

    fn join(&mut self) {
        // What is in the way of a write to an eventfd is that it was written to.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
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

fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Until it is to end.
fn read(inner: &Mutex<Inner>, waiter: &Waiter) {
    let mut may_be_more = false;
    while !waiter.wait(if may_be_more { &NOW } else { &EVERY }).stop {
        may_be_more = lock(inner).take_some();
        if may_be_more {
            std::thread::park_timeout(BREATH);
        }
    }
}

impl Inner {
    /// One that knows nothing yet.
    pub fn new(host: &Host, settings: Settings, engine: Engine) -> Self {
        let mut tracker = Tracker::new(settings);
        tracker.began = now();
        Self {
            tracker,
            engine,
            lost: Losses::default(),
            resyncs: 0,
            trouble: None,
            observed: Observed::new(host.clone()),
            next_look: Instant::now() + NOW_AND_THEN,
            loss_pending: false,
        }
    }

    /// Takes events over; whether there may be more.
    fn take_some(&mut self) -> bool {
        let Self { tracker, engine, observed, .. } = self;
        let count = engine.drain(BATCH, |record| {
            observed.saw(record);
            tracker.event(record);
        });
        observed.tell();
        count == BATCH
    }

    /// Takes over all that was told until now.
    pub fn drain(&mut self) {
        // Bounded: whoever tells faster than this takes keeps nobody here for ever.
        for _ in 0..1000 {
            if !self.take_some() {
                return;
            }
        }
    }

    /// Looks at all that is open: the counts are of now then.
    pub fn scan(&mut self) {
        let is_scanned = self.scan_without_end();
        // Also where there is no scan: what was told until now counts now.
        self.drain();
        for _ in 0..AGAIN {
            if !is_scanned || self.tracker.connections.not_found() == 0 {
                break;
            }
            let Some(live) = self.live() else { break };
            self.tracker.scan_more(&live);
            self.drain();
        }
        if is_scanned {
            self.tracker.scanned(now());
        }
        self.note_losses();
        let due = if self.loss_pending { self.next_look - NOW_AND_THEN + AFTER_LOSS } else { self.next_look };
        if Instant::now() >= due {
            if self.loss_pending {
                self.resyncs += 1;
                self.loss_pending = false;
            }
            self.look_at_sockets();
        }
    }

    /// What was lost since the last look: all sockets are looked at after it.
    pub fn note_losses(&mut self) {
        let losses = self.engine.losses();
        self.lost.ring += losses.ring;
        self.lost.storage += losses.storage;
        self.lost.missed += losses.missed;
        self.lost.malformed += losses.malformed;
        self.loss_pending |= losses.any();
    }

    /// Whether something was lost after which not all sockets were looked at yet.
    pub fn is_loss_pending(&self) -> bool {
        self.loss_pending
    }

    fn scan_without_end(&mut self) -> bool {
        if !self.tracker.is_active() {
            return false;
        }
        match self.live() {
            Some(live) => self.tracker.scan(&live),
            None => {
                self.tracker.not_scanned();
                return false;
            }
        }
        true
    }

    /// All that is open, where that can be known.
    fn live(&mut self) -> Option<Vec<Record>> {
        match self.engine.live() {
            Ok(live) => {
                self.trouble = None;
                live
            }
            Err(error) => {
                self.trouble = Some(error);
                None
            }
        }
    }

    /// Looks at all sockets that processes hold.
    pub fn look_at_sockets(&mut self) {
        self.next_look = Instant::now() + NOW_AND_THEN;
        match self.engine.sockets() {
            Ok(Some(found)) => self.tracker.sockets(&found, now()),
            // Who listens is what was told, as long as nobody can look.
            Ok(None) => {}
            Err(error) => {
                tracing::warn!("sockets: {error}");
                self.trouble = Some(error);
            }
        }
    }

    /// Counting begins.
    pub fn activate(&mut self, before: Option<State>) {
        self.drain();
        let live = self.live();
        let goes_on = before.is_some();
        self.tracker.activate(before, live.as_deref(), now());
        if goes_on {
            self.note_losses();
            self.loss_pending |= self.tracker.overheld > 0;
        } else {
            // What was lost before anything counts is nobody's concern, but for
            // sockets that were there before and are.
            self.loss_pending |= self.engine.losses().storage > 0;
        }
        self.drain();
        self.tracker.scanned(now());
    }
}
