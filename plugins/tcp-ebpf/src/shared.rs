//! What is known and the programs it comes from, each under its lock.
//!
//! One lock is held by whoever has the kernel go through all that is open, another by whoever
//! has it go through all sockets, for as long as that takes, so that there is one of each at a time. A third is
//! on what is known ([`Inner`]), and is held for a batch of records, or for as long as samples are made: events are
//! taken over while sockets are looked at. It is taken after the others. The
//! host is told of what processes do with none but the first two, and asked with none.

use crate::actual::{Actual, SharedActual};
use crate::asks::{Asks, Meanwhile};
use crate::clock::Clock;
use crate::config::Settings;
use crate::engine::{Engine, Losses};
use crate::handover::State;
use crate::looks::Looks;
use crate::observed::Observed;
use crate::tracker::Tracker;
use gantry_plugin_api::{Host, tracing};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// Events that are taken over under one lock.
const BATCH: usize = 4096;

/// How often one scan goes through all once more, where it did not find some that
/// did not end: those were passed over, or their end was not told.
const AGAIN: usize = 2;

/// Between two batches, so that who waits for the lock has it: a lock that is
/// free for an instant only goes to the one that had it.
pub(crate) const BREATH: Duration = Duration::from_micros(100);

/// How long it is waited for one who is about to tell something: whoever writes into the
/// ring is interrupted for moments only, if the machine itself is not.
const BUSY: u32 = 2000;

/// What is wrong where it takes longer.
const UNFINISHED: &str =
    "an event is being written for longer than 0.2 s: the machine is short of processor time";

/// How long where somebody listened is remembered, for what was taken there: as long as
/// it is shown.
const LISTENED: u64 = 600_000_000_000;

/// What is known, and where it comes from.
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
    /// Where connections really go.
    pub actual: Option<SharedActual>,
    /// What the last scan complained of, and the last look at all sockets.
    scan_trouble: Option<String>,
    look_trouble: Option<String>,
    observed: Observed,
}

impl Inner {
    /// What the kernel was asked in vain, for people.
    pub fn troubles(&self) -> impl Iterator<Item = &String> {
        self.scan_trouble.iter().chain(&self.look_trouble)
    }
}

/// All of it, each under its lock.
#[derive(Debug)]
pub struct Shared {
    host: Host,
    clock: Clock,
    asks: Asks,
    /// When all sockets are looked at.
    looks: Mutex<Looks>,
    /// Who looks at them when it is time. Without it who scans does.
    looker: OnceLock<Thread>,
    scanning: Mutex<()>,
    looking: Mutex<()>,
    inner: Mutex<Inner>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Meanwhile for &Shared {
    fn read(&mut self) -> u64 {
        // What is left is read when it goes on: it stops again where there is no room.
        while self.take_some() {}
        self.lock().engine.found()
    }

    fn look_for(&mut self, what: u32) -> Result<(), String> {
        self.lock().engine.look_for(what)
    }
}

impl Shared {
    /// One that knows nothing yet.
    pub fn new(host: &Host, settings: Settings, mut engine: Engine) -> Self {
        let clock = Clock::of(&host.proc());
        // Before the programs are asked anything: what begins from now on is told.
        let (proc, translates) = (host.proc(), settings.translations);
        let actual = translates
            .then(|| Actual::start(&proc, clock, settings.rules.host_netns, &[1, std::process::id()]));
        let actual = actual.map(SharedActual::new);
        let mut tracker = Tracker::new(settings);
        tracker.really = actual.clone().map(|actual| Box::new(actual) as _);
        tracker.began = clock.now();
        let asks = engine.asks();
        let inner = Inner {
            tracker,
            engine,
            lost: Losses::default(),
            resyncs: 0,
            actual,
            scan_trouble: None,
            look_trouble: None,
            observed: Observed::new(clock),
        };
        Self {
            host: host.clone(),
            clock,
            asks,
            looks: Mutex::new(Looks::new(Instant::now())),
            looker: OnceLock::new(),
            scanning: Mutex::default(),
            looking: Mutex::default(),
            inner: Mutex::new(inner),
        }
    }

    /// The clock that the programs use.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Now, by that.
    pub fn now(&self) -> u64 {
        self.clock.now()
    }

    /// All that is known, for as long as the answer lives.
    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        locked(&self.inner)
    }

    /// The same, where nobody has it at the moment.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, Inner>> {
        match self.inner.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Looks at all sockets are a thread's from here on, which is woken when it is time for one.
    pub(crate) fn is_looked_by(&self, looker: Thread) {
        // There is one of them.
        let _ = self.looker.set(looker);
    }

    /// Takes a batch of records over; whether there may be more.
    pub(crate) fn take_some(&self) -> bool {
        self.take() == BATCH
    }

    fn take(&self) -> usize {
        let (count, observed) = {
            let Inner { tracker, engine, observed, .. } = &mut *self.lock();
            let count = engine.drain(BATCH, |record| {
                observed.saw(record);
                tracker.event(record);
            });
            (count, observed.take())
        };
        if !observed.is_empty() {
            self.host.observe(&observed);
        }
        count
    }

    /// Lets go of network namespaces in which nobody is any more.
    pub fn look_at_namespaces(&self) {
        let Some(actual) = self.lock().actual.clone() else { return };
        // Without the lock on what is known: the host is asked.
        actual.lock().look(|netns| {
            let container = self.host.container_of_network_namespace(u64::from(netns))?;
            self.host.processes(container).first().map(|process| process.pid)
        });
    }

    /// Takes over all that was told until now, also where one who tells is interrupted.
    ///
    /// # Errors
    /// It is interrupted for too long.
    pub fn drain(&self) -> Result<(), String> {
        let until = self.lock().engine.told();
        let mut waited = 0;
        while waited < BUSY {
            let count = self.take();
            if self.lock().engine.is_read(until) {
                return Ok(());
            }
            if count == 0 {
                waited += 1;
                std::thread::park_timeout(BREATH);
            }
        }
        Err(UNFINISHED.to_owned())
    }

    /// The same where it makes no difference to what follows.
    fn drain_for_now(&self) {
        if let Err(error) = self.drain() {
            tracing::warn!("{error}");
        }
    }

    /// Looks at all that is open: the counts are of now then. And has all sockets looked at, where
    /// it is time for that.
    pub fn scan(&self) {
        {
            let _scanning = locked(&self.scanning);
            if self.go_through() {
                self.lock().tracker.scanned(self.clock.now());
            }
        }
        self.note_losses();
        if self.lock().tracker.listens.take_unbound() {
            locked(&self.looks).wanted();
        }
        if self.is_look_due() {
            match self.looker.get() {
                Some(looker) => looker.unpark(),
                None => self.look_at_sockets(),
            }
        }
    }

    /// Whether it is time to look at all sockets.
    pub(crate) fn is_look_due(&self) -> bool {
        locked(&self.looks).is_due(Instant::now())
    }

    /// Goes through all that is open; whether that is known then.
    fn go_through(&self) -> bool {
        let gone = self.try_to_go_through();
        let inner = &mut *self.lock();
        if !inner.tracker.is_active() {
            return false;
        }
        if gone != Ok(true) {
            inner.tracker.not_scanned();
        }
        let is_known = gone == Ok(true);
        inner.scan_trouble = gone.err();
        is_known
    }

    fn try_to_go_through(&self) -> Result<bool, String> {
        // Also where there is no scan: what was told until now counts now.
        self.drain()?;
        {
            let inner = &mut *self.lock();
            if !inner.tracker.is_active() {
                return Ok(false);
            }
            inner.tracker.begin_scan();
        }
        for _ in 0..=AGAIN {
            if !self.asks.live(&mut &*self)? {
                return Ok(false);
            }
            // What is about to be told may be the end of one that was not found.
            self.drain()?;
            if self.lock().tracker.connections.not_found() == 0 {
                break;
            }
        }
        Ok(true)
    }

    /// What was lost since the last time: all sockets are looked at after it, when it is
    /// time for that.
    pub fn note_losses(&self) {
        let inner = &mut *self.lock();
        let losses = inner.engine.losses();
        inner.lost.ring += losses.ring;
        inner.lost.storage += losses.storage;
        inner.lost.missed += losses.missed;
        inner.lost.malformed += losses.malformed;
        inner.lost.listens += losses.listens;
        if losses.any() {
            locked(&self.looks).lost();
        }
    }

    /// Whether something was lost after which not all sockets were looked at yet.
    pub fn is_loss_pending(&self) -> bool {
        locked(&self.looks).is_lost()
    }

    /// Looks at all sockets that processes hold.
    pub fn look_at_sockets(&self) {
        let _looking = locked(&self.looking);
        let begun = *locked(&self.looks);
        let looked = self.try_to_look();
        if let Err(error) = &looked {
            tracing::warn!("sockets: {error}");
        }
        let is_over = locked(&self.looks).looked(begun, Instant::now(), looked.is_err());
        let inner = &mut *self.lock();
        inner.resyncs += u64::from(is_over);
        inner.look_trouble = looked.err();
    }

    fn try_to_look(&self) -> Result<(), String> {
        self.drain()?;
        self.lock().tracker.begin_listening();
        // Who listens is what was told, as long as nobody can look.
        if !self.asks.listening(&mut &*self)? {
            return Ok(());
        }
        self.drain()?;
        self.lock().tracker.end_listening(self.clock.now());
        self.asks.forget_listening(self.clock.now().saturating_sub(LISTENED))?;
        self.asks.others(&mut &*self)?;
        self.drain()?;
        self.lock().tracker.looked();
        Ok(())
    }

    /// Counting begins.
    pub fn activate(&self, before: Option<State>) {
        let scanning = locked(&self.scanning);
        self.drain_for_now();
        let goes_on = before.is_some();
        // What was lost before anything counts is in no count; but what began then is open still.
        if !goes_on && self.lock().engine.losses().any() {
            locked(&self.looks).lost();
        }
        self.lock().tracker.activate(before, self.clock.now());
        if self.go_through() {
            self.lock().tracker.scanned(self.clock.now());
        }
        drop(scanning);
        self.note_losses();
        if goes_on && self.lock().tracker.overheld > 0 {
            locked(&self.looks).lost();
        }
    }

    /// Other settings hold from now on; what was counted until then counted by those
    /// before.
    pub fn reconfigure(&self, settings: Settings) {
        let _scanning = locked(&self.scanning);
        if self.go_through() {
            self.lock().tracker.scanned(self.clock.now());
        }
        self.lock().tracker.reconfigure(settings);
    }

    /// Ends, and says what the next generation needs.
    pub fn stop(&self) -> State {
        let _scanning = locked(&self.scanning);
        // All that is open must be known before the programs are gone: the next
        // generation takes what was there before it for counted. Twice, for what an
        // iterator passes over. Not later: what is kept of a socket is true only as
        // long as the programs follow it.
        for _ in 0..2 {
            self.go_through();
        }
        let cut = self.clock.now();
        {
            let inner = &mut *self.lock();
            inner.tracker.ends_at(cut);
            inner.engine.detach();
        }
        if let Err(error) = self.drain() {
            // What is not read was this generation's to count.
            tracing::warn!("{error}");
            self.lock().tracker.connections.scan_failed();
        }
        self.note_losses();
        self.lock().tracker.state(cut)
    }
}
