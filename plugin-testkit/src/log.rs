//! The log of a plugin that is compiled into the test.
//!
//! A built library has a copy of `tracing` of its own and speaks to its host.
//! Here all plugins and tests of a process share one: what is logged within a
//! call of the plugin goes to the kit that made the call. What a thread of the
//! plugin's own logs goes to every kit of the process, since nothing says whose
//! the thread is.

use crate::host::{Line, World};
use gantry_plugin_api::log::{number, text_of};
use gantry_plugin_api::tracing::span::{Attributes, Id, Record};
use gantry_plugin_api::tracing::subscriber::{self, DefaultGuard, Interest};
use gantry_plugin_api::tracing::{Event, Metadata, Subscriber};
use std::sync::{Arc, Mutex, Once, PoisonError, Weak};

static LIVING: Mutex<Vec<Weak<World>>> = Mutex::new(Vec::new());
static INSTALL: Once = Once::new();

/// Lets a kit hear what threads log that no call of a kit is on.
pub(crate) fn join(world: &Arc<World>) {
    let mut living = LIVING.lock().unwrap_or_else(PoisonError::into_inner);
    living.retain(|other| other.strong_count() > 0);
    living.push(Arc::downgrade(world));
    drop(living);
    INSTALL.call_once(|| {
        // Where the test has a subscriber of its own, that stays.
        let _ = subscriber::set_global_default(Listener(None));
    });
}

/// Sends what this thread logs to one kit, as long as the answer lives.
pub(crate) fn listen(world: Arc<World>) -> DefaultGuard {
    subscriber::set_default(Listener(Some(world)))
}

/// Without a world of its own: for all that live.
struct Listener(Option<Arc<World>>);

impl Subscriber for Listener {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // The level is a kit's, and may change.
        if metadata.is_event() { Interest::sometimes() } else { Interest::never() }
    }
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
    }
    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let level = number(metadata.level());
        let line = Line { level, target: metadata.target().to_owned(), message: text_of(event) };
        let hears = |world: &World| {
            if level <= world.log_level() {
                world.log.push(line.clone());
            }
        };
        match &self.0 {
            Some(world) => hears(world),
            None => {
                let living = LIVING.lock().unwrap_or_else(PoisonError::into_inner).clone();
                living.iter().filter_map(Weak::upgrade).for_each(|world| hears(&world));
            }
        }
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}
