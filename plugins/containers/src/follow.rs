//! The thread that hears what the host has to tell: which containers there are,
//! of which it wants to know more, and which end. Those are read while they can
//! be: between two collections a whole life may pass.

use crate::collector::Collector;
use crate::known::Known;
use crate::workers::Workers;
use gantry_plugin_api::{Error, Host};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long it waits for something to happen; also how late it notices its own
/// end. A wake-up costs some 20 µs.
const WAIT: Duration = Duration::from_millis(500);

/// The containers, and the thread that keeps them up to date.
#[derive(Debug)]
pub struct Follower {
    shared: Arc<Shared>,
    host: Host,
    ended: Receiver<()>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    workers: Arc<Workers>,
    ending: AtomicBool,
}

/// What is known, and what is collected of it.
#[derive(Debug)]
pub struct State {
    /// The containers.
    pub known: Known,
    /// Their metrics; `None` where they are not shown.
    pub collector: Option<Collector>,
}

/// What happens within this time of what was heard last is let come together;
/// else each process of a busy container would wake the thread. After a quiet
/// time an exit is heard at once, before the runtime removes the cgroup.
const PAUSE: Duration = Duration::from_millis(4);

impl Follower {
    /// Begins. What is wanted is passed on to these.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn start(host: &Host, workers: Arc<Workers>, collector: Option<Collector>) -> Result<Self, Error> {
        let state = Mutex::new(State { known: Known::default(), collector });
        let shared = Arc::new(Shared { state, workers, ending: AtomicBool::new(false) });
        let (alive, ended) = mpsc::channel::<()>();
        let (own, host_there) = (Arc::clone(&shared), host.clone());
        let body = move || {
            let _alive = alive;
            while !own.ending.load(Relaxed) {
                let cursor = own.catch_up(&host_there).known.cursor();
                std::thread::park_timeout(PAUSE);
                host_there.wait_events(cursor, WAIT);
            }
        };
        std::thread::Builder::new()
            .name("containers".to_owned())
            .spawn(body)
            .map_err(|error| Error::new(format!("a thread for events: {error}")))?;
        Ok(Self { shared, host: host.clone(), ended })
    }

    /// Everything, as it is now. Hold it no longer than needed.
    pub fn now(&self) -> MutexGuard<'_, State> {
        self.shared.catch_up(&self.host)
    }

    /// Everything, as it was heard last.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }

    /// Tells the thread to end, and does not wait.
    pub fn end(&self) {
        self.shared.ending.store(true, Relaxed);
    }

    /// Waits for its end, at most so long; whether it ended.
    pub fn join(&self, at_most: Duration) -> bool {
        !matches!(self.ended.recv_timeout(at_most), Err(mpsc::RecvTimeoutError::Timeout))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn catch_up(&self, host: &Host) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        let State { known, collector } = &mut *state;
        let news = known.catch_up(host, |container, cgroups| {
            if let Some(collector) = collector {
                collector.is_in(container, cgroups);
            }
        });
        if let Some(collector) = collector {
            collector.hear(&news, known);
        }
        let wanted = news.wanted.iter().filter_map(|container| known.get(*container));
        // Which wishes were lost nobody knows.
        let nameless = known.all().map(|(_, known)| known).filter(|known| news.lost && !known.is_named());
        let mut wanted = wanted.chain(nameless).filter(|known| !known.runtime_id().is_empty()).peekable();
        // Mostly nothing is wanted.
        let links = wanted.peek().map(|_| self.workers.links()).unwrap_or_default();
        for known in wanted {
            for link in links.iter().filter(|link| link.may_know(known.runtime())) {
                link.want(known.runtime_id());
            }
        }
        state
    }

    /// What is known is whole: each change of it is one call. Of the figures,
    /// at worst those of one container are half read.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
