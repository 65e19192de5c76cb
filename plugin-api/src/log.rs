//! The log bridge: `tracing` events of a plugin's library go to the host.
//!
//! Each library has its own copy of `tracing`, so the host's subscriber does
//! not see them. A disabled event costs half a nanosecond.

use crate::host::Host;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, Once, PoisonError};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};

/// A longer message is cut: a log line is for people, and the host bounds it too.
const MAX_MESSAGE: usize = 8 * 1024;

static LEVEL: AtomicU32 = AtomicU32::new(0);
static INSTALL: Once = Once::new();
/// The hosts of all instances that live, the newest last: it takes the events.
/// Instances of one library share a name, so it does not matter whose host does;
/// but when a newer one goes (a failed upgrade), the older must still be heard.
static HOSTS: Mutex<Vec<Host>> = Mutex::new(Vec::new());

/// The number of a level as it crosses: 1 is error, 5 is trace, 0 is nothing.
pub fn number(level: &Level) -> u32 {
    match *level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

/// Sends this library's events, and its panics, to a host.
pub(crate) fn install(host: &Host, level: u32) {
    HOSTS.lock().unwrap_or_else(PoisonError::into_inner).push(host.clone());
    INSTALL.call_once(|| {
        // Where the author has set a subscriber of his own, his stays.
        let _ = tracing::subscriber::set_global_default(Bridge { spans: AtomicU64::new(1) });
        std::panic::set_hook(Box::new(crate::guard::note_panic));
    });
    set_level(level);
}

pub(crate) fn set_level(level: u32) {
    if LEVEL.swap(level, Relaxed) != level {
        tracing::callsite::rebuild_interest_cache();
    }
}

/// Lets go of a host, so that nothing of a stopped instance is kept.
pub(crate) fn release(host: &Host) {
    // Dropped with no lock held: the last clone of a host calls it.
    let mut held = HOSTS.lock().unwrap_or_else(PoisonError::into_inner);
    let gone = held.iter().position(|other| other.same_as(host)).map(|at| held.remove(at));
    drop(held);
    drop(gone);
}

pub(crate) fn send(level: u32, target: &str, message: &str) {
    // Cloned, so that the host is called with no lock held.
    let host = HOSTS.lock().unwrap_or_else(PoisonError::into_inner).last().cloned();
    if let Some(host) = host {
        host.log(level, target, message);
    }
}

struct Bridge {
    spans: AtomicU64,
}

impl Subscriber for Bridge {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && number(metadata.level()) <= LEVEL.load(Relaxed)
    }
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match LEVEL.load(Relaxed) {
            0 => LevelFilter::OFF,
            1 => LevelFilter::ERROR,
            2 => LevelFilter::WARN,
            3 => LevelFilter::INFO,
            4 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        })
    }
    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        send(number(metadata.level()), metadata.target(), &text_of(event));
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(self.spans.fetch_add(1, Relaxed).max(1))
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// An event as the host's log gets it: its message, and its fields behind it.
pub fn text_of(event: &Event<'_>) -> String {
    let mut line = Line::default();
    event.record(&mut line);
    line.message.push_str(&line.fields);
    line.message
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let name = field.name();
        let mut part = Bounded(if name == "message" { &mut self.message } else { &mut self.fields });
        // An author's Debug that fails, or one that is too long, ends the line there.
        let _ = if name == "message" { write!(part, "{value:?}") } else { write!(part, " {name}={value:?}") };
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            let _ = Bounded(&mut self.message).write_str(value);
        } else {
            self.record_debug(field, &value);
        }
    }
}

struct Bounded<'a>(&'a mut String);

impl fmt::Write for Bounded<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MAX_MESSAGE.saturating_sub(self.0.len());
        if text.len() <= room {
            self.0.push_str(text);
            return Ok(());
        }
        let end = (0..=room).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        self.0.push_str(&text[..end]);
        Err(fmt::Error)
    }
}
