//! The guard around an author's plugin: no panic crosses, a panicked instance
//! is asked nothing more, and what [`crate::Metrics`] keep is emitted, handed
//! over and restored here.

use crate::abi::types::{AbiError, Bytes, crossing};
use crate::abi::{AbiPlugin, SinkRef, ViewSinkRef};
use crate::error::Error;
use crate::handover;
use crate::host::Host;
use crate::plugin::{Plugin, Reconfigured};
use crate::read::read_config;
use crate::{Rows, Sink, log};
use abi_stable::std_types::{ROption, RResult, RStr, RString, RVec};
use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// One instance of a plugin, with everything around it that an author need
/// not write. Test kits drive it directly.
#[derive(Debug)]
pub struct Guard<P> {
    host: Host,
    plugin: Option<P>,
    poisoned: AtomicBool,
    /// A snapshot had a part of the author's: from then on the kept metrics
    /// alone are half of a state, and go only together with that part.
    has_own: bool,
    heap: fn() -> u64,
    threads: fn() -> Vec<u64>,
}

impl<P: Plugin> Guard<P> {
    /// An instance that is not started. `heap` tells the live bytes of the
    /// library's allocator.
    pub fn new(host: Host, heap: fn() -> u64) -> Self {
        crate::metrics::number(P::families());
        Self { host, plugin: None, poisoned: AtomicBool::new(false), has_own: false, heap, threads: Vec::new }
    }

    /// With what tells the threads that allocated in the library.
    #[must_use]
    pub fn with_threads(mut self, threads: fn() -> Vec<u64>) -> Self {
        self.threads = threads;
        self
    }

    fn guarded<T>(&self, call: &str, body: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        if self.poisoned.load(Relaxed) {
            return Err(Error::panicked("it panicked before and must be made anew"));
        }
        caught(call, body).inspect_err(|error| {
            if error.kind() == crate::error::ErrorKind::Panicked {
                self.poisoned.store(true, Relaxed);
            }
        })
    }

    /// As [`Self::guarded`], with the author's instance lent out. After a panic
    /// it is forgotten, not dropped: a destructor of broken state may do harm.
    fn with_plugin<T>(
        &mut self,
        call: &str,
        body: impl FnOnce(&mut P, &Host) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let Some(mut plugin) = self.plugin.take() else {
            self.guarded(call, || Ok(()))?;
            return Err(Error::new(format!("{call}: it is not started")));
        };
        let result = self.guarded(call, || body(&mut plugin, &self.host));
        if self.poisoned.load(Relaxed) {
            std::mem::forget(plugin);
        } else {
            self.plugin = Some(plugin);
        }
        result
    }
}

impl<P: Plugin> AbiPlugin for Guard<P> {
    fn probe(&self, config: RStr<'_>) -> RResult<RString, AbiError> {
        crossing(self.guarded("probe", || {
            let probe = P::probe(&read_config::<P::Config>(config.as_str())?, &self.host);
            serde_json::to_string(&probe).map(RString::from).map_err(Error::new)
        }))
    }

    fn start(&mut self, config: RStr<'_>) -> RResult<(), AbiError> {
        let started = self.guarded("start", || {
            if self.plugin.is_some() {
                return Err(Error::new("start: it is started already"));
            }
            P::start(read_config::<P::Config>(config.as_str())?, self.host.clone())
        });
        crossing(started.map(|plugin| self.plugin = Some(plugin)))
    }

    fn activate(&mut self, sealed: ROption<Bytes<'_>>) -> RResult<(), AbiError> {
        crossing(self.with_plugin("activate", |plugin, host| {
            // The trial collection counted too; counting begins here.
            host.metrics().discard_counts();
            let mut own = None;
            if let ROption::RSome(sealed) = sealed {
                match handover::open(sealed.as_slice()) {
                    Some((kept, handed)) => {
                        if host.metrics().restore(kept, P::families()).is_none() {
                            tracing::warn!("the hand-over's counters could not be read to their end");
                        }
                        own = handed;
                    }
                    None => tracing::warn!("the hand-over could not be read; counters begin at 0"),
                }
            }
            plugin.activate(own)
        }))
    }

    fn collect(&mut self, sink: SinkRef<'_>) -> RResult<(), AbiError> {
        crossing(self.with_plugin("collect", |plugin, host| {
            let mut sink = Sink::new(sink);
            plugin.collect(&mut sink)?;
            host.metrics().emit(&mut sink);
            Ok(())
        }))
    }

    fn view(&mut self, name: RStr<'_>, rows: ViewSinkRef<'_>) -> RResult<(), AbiError> {
        crossing(self.with_plugin("view", |plugin, _| plugin.view(name.as_str(), &mut Rows::new(rows))))
    }

    fn reconfigure(&mut self, config: RStr<'_>) -> RResult<bool, AbiError> {
        crossing(self.with_plugin("reconfigure", |plugin, _| {
            let answer = plugin.reconfigure(read_config::<P::Config>(config.as_str())?)?;
            Ok(answer == Reconfigured::Applied)
        }))
    }

    fn health(&self) -> RResult<RString, AbiError> {
        crossing(self.guarded("health", || {
            let health = self.plugin.as_ref().map(P::health).unwrap_or_default();
            serde_json::to_string(&health).map(RString::from).map_err(Error::new)
        }))
    }

    fn stop(&mut self, deadline_ms: u64) -> RResult<RVec<u8>, AbiError> {
        let mut lost = None;
        let stopped = self.with_plugin("stop", |plugin, _| plugin.stop(Duration::from_millis(deadline_ms)));
        let own = match stopped {
            Ok(own) => own,
            // The author's part is lost; what the SDK kept is not, unless it
            // counts what lies behind that part.
            Err(error) => {
                tracing::error!("stop: {error}; it hands over what it kept of metrics at most");
                lost = self.has_own.then_some(error);
                None
            }
        };
        if let Some(plugin) = self.plugin.take() {
            // A destructor's panic must not cross either.
            let _ = caught("drop", || {
                drop(plugin);
                Ok(())
            });
        }
        let kept = handover::seal(&self.host.metrics().save(), own.as_ref());
        crossing(lost.map_or(Ok(kept.into()), Err))
    }

    fn snapshot(&mut self) -> RResult<RVec<u8>, AbiError> {
        // After a panic the kept metrics are read without the author's code. Where
        // his part belongs to them, the snapshot before is the last whole one.
        let own = match self.plugin {
            Some(_) if !self.poisoned.load(Relaxed) => {
                match self.with_plugin("snapshot", |plugin, _| plugin.snapshot()) {
                    Ok(own) => own,
                    Err(error) => return crossing(Err(error)),
                }
            }
            _ if self.has_own => {
                return crossing(Err(Error::panicked("after a panic only the snapshot before is whole")));
            }
            _ => None,
        };
        self.has_own |= own.is_some();
        crossing(Ok(handover::seal(&self.host.metrics().save(), own.as_ref()).into()))
    }

    fn set_log_level(&self, level: u32) {
        log::set_level(level);
    }

    fn heap_bytes(&self) -> u64 {
        (self.heap)()
    }

    fn threads(&self) -> RVec<u64> {
        (self.threads)().into()
    }
}

impl<P> Drop for Guard<P> {
    fn drop(&mut self) {
        if let Some(plugin) = self.plugin.take() {
            if self.poisoned.load(Relaxed) {
                std::mem::forget(plugin);
            } else {
                let _ = caught("drop", || {
                    drop(plugin);
                    Ok(())
                });
            }
        }
        log::release(&self.host);
    }
}

thread_local! {
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The panic hook of the library: keeps the message for the guard, and logs it
/// where the panic is on a thread of the author's own.
pub(crate) fn note_panic(info: &PanicHookInfo<'_>) {
    let message = text_of(info.payload()).unwrap_or("a panic without a message");
    let place = info.location().map(|at| format!(" ({}:{})", at.file(), at.line())).unwrap_or_default();
    let text = format!("panicked: {message}{place}");
    let thread = std::thread::current();
    log::send(1, "panic", &format!("thread {:?} {text}", thread.name().unwrap_or("unnamed")));
    // While thread-locals are being destroyed there is no guard above either.
    let _ = LAST_PANIC.try_with(|last| last.replace(Some(text)));
    if DOOMED.contains(&message) {
        park_for_ever(thread.name().unwrap_or("unnamed"));
    }
}

/// What the standard library says (`core::panicking`) before it aborts the
/// process because a panic cannot unwind any further.
const DOOMED: [&str; 2] = ["panic in a destructor during cleanup", "panic in a function that cannot unwind"];

/// The process would end when the hook returns, and with it the host and every
/// other plugin. A thread that never comes back is seen by the host as one that
/// hangs, and is left behind. It holds what it held: that is the lesser harm.
fn park_for_ever(thread: &str) -> ! {
    log::send(1, "panic", &format!("thread {thread:?} cannot be unwound; it is held for ever"));
    loop {
        std::thread::park();
    }
}

fn text_of<'a>(payload: &'a (dyn Any + 'static)) -> Option<&'a str> {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied())
}

fn caught<T>(call: &str, body: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    // What an author caught himself on this thread is not this call's panic.
    LAST_PANIC.with(RefCell::take);
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => result,
        Err(payload) => {
            let text = LAST_PANIC.with(RefCell::take).unwrap_or_else(|| {
                format!("panicked: {}", text_of(&*payload).unwrap_or("no message was kept"))
            });
            // Dropping it may panic again, this time with nobody to catch it.
            std::mem::forget(payload);
            Err(Error::panicked(format!("{call}: {text}")))
        }
    }
}

/// The module's functions, for [`crate::export_plugin!`].
#[doc(hidden)]
pub mod entry {
    use super::*;
    use crate::abi::{AbiPlugin_TO, HostBox, PluginBox};
    use abi_stable::sabi_trait::TD_Opaque;

    pub fn describe<P: Plugin>(aborts: bool) -> RString {
        let described = caught("describe", || {
            serde_json::to_string(&crate::plugin::describe::<P>(aborts)).map_err(Error::new)
        });
        // An empty answer is refused by the host, with the panic in the log.
        described.unwrap_or_default().into()
    }

    pub fn check_config<P: Plugin>(config: RStr<'_>) -> RResult<(), AbiError> {
        crossing(caught("check_config", || read_config::<P::Config>(config.as_str()).map(drop)))
    }

    pub fn create<P: Plugin>(
        host: HostBox,
        level: u32,
        heap: fn() -> u64,
        threads: fn() -> Vec<u64>,
    ) -> RResult<PluginBox, AbiError> {
        let host = Host::new(host);
        let made = caught("create", || {
            log::install(&host, level);
            let guard = Guard::<P>::new(host.clone(), heap).with_threads(threads);
            Ok(AbiPlugin_TO::from_value(guard, TD_Opaque))
        });
        if made.is_err() {
            // There is no guard whose end would do it.
            log::release(&host);
        }
        crossing(made)
    }
}
