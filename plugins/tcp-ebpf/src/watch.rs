//! The tracker and the programs under one lock, and the thread that takes
//! events over as they come.

use crate::config::Settings;
use crate::engine::{Engine, Losses};
use crate::handover::State;
use crate::observed::Observed;
use crate::tracker::Tracker;
use gantry_plugin_api::{Host, tracing};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::time::{ClockId, clock_gettime};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long events wait at most. The programs wake the reader only when there
/// are many.
const EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Events that are taken over under one lock.
const BATCH: usize = 4096;

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
    wake: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Begins to buffer. `Err`: why there can be no events here.
    pub fn start(host: &Host, settings: Settings) -> Result<Self, String> {
        let engine = Engine::start(&host.sys(), &settings)?;
        let failed = |call: &str, error: std::io::Error| format!("{call}: {error}");
        let events = engine.events().map_err(|error| failed("fcntl(F_DUPFD_CLOEXEC)", error))?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| failed("eventfd", errno.into()))?;
        let mut inner = Inner {
            tracker: Tracker::new(settings),
            engine,
            lost: Losses::default(),
            resyncs: 0,
            trouble: None,
            observed: Observed::new(host.clone()),
            next_look: Instant::now() + NOW_AND_THEN,
            loss_pending: false,
        };
        inner.look_at_sockets();
        let (inner, wake) = (Arc::new(Mutex::new(inner)), Arc::new(wake));
        let (shared, woken) = (Arc::clone(&inner), Arc::clone(&wake));
        let thread = std::thread::Builder::new()
            .name("tcp-events".to_owned())
            .spawn(move || read(&shared, &events, &woken))
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
        // generation takes what was there before it for counted.
        inner.scan_without_end();
        inner.drain();
        let cut = now();
        inner.engine.detach();
        inner.drain();
        inner.scan_without_end();
        inner.tracker.state(cut)
    }

    fn join(&mut self) {
        // What is in the way of a write to an eventfd is that it was written to.
        let _ = rustix::io::write(&*self.wake, &1_u64.to_ne_bytes());
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

/// Until it is woken.
fn read(inner: &Mutex<Inner>, events: &OwnedFd, wake: &OwnedFd) {
    loop {
        let mut fds = [PollFd::new(wake, PollFlags::IN), PollFd::new(events, PollFlags::IN)];
        // An interrupt is as good as a wake-up.
        let _ = poll(&mut fds, Some(&EVERY));
        if !fds[0].revents().is_empty() {
            return;
        }
        while lock(inner).take_some() {}
    }
}

impl Inner {
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
        if self.scan_without_end() {
            self.drain();
            self.tracker.scanned(now());
        }
        let losses = self.engine.losses();
        self.lost.ring += losses.ring;
        self.lost.storage += losses.storage;
        self.lost.missed += losses.missed;
        self.lost.malformed += losses.malformed;
        self.loss_pending |= losses.any();
        let due = if self.loss_pending { self.next_look - NOW_AND_THEN + AFTER_LOSS } else { self.next_look };
        if Instant::now() >= due {
            if self.loss_pending {
                self.resyncs += 1;
                self.loss_pending = false;
            }
            self.look_at_sockets();
        }
    }

    fn scan_without_end(&mut self) -> bool {
        if !self.engine.scans() || !self.tracker.is_active() {
            return false;
        }
        match self.engine.live() {
            Ok(live) => {
                self.tracker.scan(&live);
                self.trouble = None;
                true
            }
            Err(error) => {
                self.trouble = Some(error);
                false
            }
        }
    }

    fn look_at_sockets(&mut self) {
        self.next_look = Instant::now() + NOW_AND_THEN;
        match self.engine.sockets() {
            Ok(found) => self.tracker.sockets(&found, now()),
            Err(error) => {
                tracing::warn!("sockets: {error}");
                self.trouble = Some(error);
            }
        }
    }

    /// Counting begins.
    pub fn activate(&mut self, before: Option<State>) {
        self.drain();
        let live = self.engine.live().unwrap_or_else(|error| {
            self.trouble = Some(error);
            Vec::new()
        });
        self.tracker.activate(before, &live, now());
        // What was lost before is nobody's concern.
        let _ = self.engine.losses();
        self.drain();
        self.tracker.scanned(now());
    }
}
