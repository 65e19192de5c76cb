//! Lines of plugins: each plugin has a limit, and hears of it in the log.

use super::limit::{ERRORS, LINES, Limit};
use super::{PLUGIN, output, printable};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Instant;

/// The longest line of a plugin; the rest is cut.
const MAX_LINE: usize = 8 * 1024;

/// Of each plugin that logged, over all its generations.
#[derive(Debug, Default)]
pub struct Limits {
    plugins: RwLock<HashMap<String, Mutex<Limit>>>,
    /// How many of them have lines to tell of; the thread that writes asks
    /// behind every line.
    untold: AtomicUsize,
}

static LIMITS: LazyLock<Limits> = LazyLock::new(Limits::default);

/// A line of a plugin, or nothing of it while it logs too much. Control
/// characters are escaped: a terminal must not obey what a container wrote,
/// and a line stays one line.
pub fn from_plugin(plugin: &str, level: u32, target: &str, message: &str) {
    line(&LIMITS, Instant::now(), plugin, level, target, message);
}

fn line(limits: &Limits, now: Instant, plugin: &str, level: u32, target: &str, message: &str) {
    match limits.takes(plugin, level == 1, now) {
        Taken::Yes => {}
        Taken::No => return,
        // The thread that tells of it may be asleep.
        Taken::NoMore => return output::wake(),
    }
    let message = printable(&message[..message.floor_char_boundary(MAX_LINE)]);
    let module = printable(&target[..target.floor_char_boundary(256)]);
    match level {
        1 => tracing::error!(target: PLUGIN, plugin, module, "{message}"),
        2 => tracing::warn!(target: PLUGIN, plugin, module, "{message}"),
        3 => tracing::info!(target: PLUGIN, plugin, module, "{message}"),
        4 => tracing::debug!(target: PLUGIN, plugin, module, "{message}"),
        _ => tracing::trace!(target: PLUGIN, plugin, module, "{message}"),
    }
}

/// How many lines of a plugin were dropped: it logged more than is taken.
pub fn dropped(plugin: &str) -> u64 {
    LIMITS.dropped(plugin)
}

/// When the next flood is to be told of.
pub(super) fn due() -> Option<Instant> {
    LIMITS.due()
}

/// Tells of floods that are due by now.
pub(super) fn tell(now: Instant) {
    LIMITS.tell(|due| due <= now, now);
}

/// Tells of all that was dropped, before the end.
pub(super) fn tell_all() {
    LIMITS.tell(|_| true, Instant::now());
}

/// Whether a line is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    Yes,
    No,
    /// It is the first that is not.
    NoMore,
}

impl Limits {
    fn takes(&self, plugin: &str, error: bool, now: Instant) -> Taken {
        if let Some(limit) = self.read().get(plugin) {
            return self.taken(&mut lock(limit), error, now);
        }
        let mut plugins = self.plugins.write().unwrap_or_else(PoisonError::into_inner);
        self.taken(&mut lock(plugins.entry(plugin.to_owned()).or_default()), error, now)
    }

    /// With the plugin's lock, which `tell` takes too before it counts down.
    fn taken(&self, limit: &mut Limit, error: bool, now: Instant) -> Taken {
        let all_told = limit.due().is_none();
        if limit.takes(error, now) {
            Taken::Yes
        } else if all_told {
            self.untold.fetch_add(1, SeqCst);
            Taken::NoMore
        } else {
            Taken::No
        }
    }

    fn dropped(&self, plugin: &str) -> u64 {
        self.read().get(plugin).map_or(0, |limit| lock(limit).dropped())
    }

    fn due(&self) -> Option<Instant> {
        if self.untold.load(SeqCst) == 0 {
            return None;
        }
        self.read().values().filter_map(|limit| lock(limit).due()).min()
    }

    fn tell(&self, is_due: impl Fn(Instant) -> bool, now: Instant) {
        if self.untold.load(SeqCst) == 0 {
            return;
        }
        let mut told = Vec::new();
        for (plugin, limit) in &*self.read() {
            let mut limit = lock(limit);
            if let Some(lines) = limit.due().filter(|due| is_due(*due)).and_then(|_| limit.tell(now)) {
                self.untold.fetch_sub(1, SeqCst);
                told.push((plugin.clone(), lines));
            }
        }
        // With no lock held: writing may take its time.
        for (plugin, lines) in told {
            tracing::warn!(
                "plugin {plugin}: {lines} lines dropped: it logs more than {} lines or {} errors a second; have it \
                 log less by host.log = \"info,{plugin}=error\", or tell its author",
                LINES.per_second(),
                ERRORS.per_second()
            );
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<String, Mutex<Limit>>> {
        self.plugins.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lock(limit: &Mutex<Limit>) -> MutexGuard<'_, Limit> {
    limit.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::tests::logged;
    use super::*;
    use std::time::Duration;

    #[test]
    fn each_plugin_has_a_limit_of_its_own_and_is_told_of_once() {
        let limits = Limits::default();
        let begin = Instant::now();
        let taken =
            |plugin, lines| (0..lines).filter(|_| limits.takes(plugin, false, begin) == Taken::Yes).count();
        assert_eq!(taken("a", 1000), 1000);
        assert_eq!(limits.due(), None);
        assert_eq!(limits.takes("a", false, begin), Taken::NoMore);
        assert_eq!(limits.takes("a", false, begin), Taken::No);
        assert_eq!(limits.takes("a", true, begin), Taken::Yes, "an error");
        assert_eq!(taken("b", 2000), 1000);
        assert_eq!((limits.dropped("a"), limits.dropped("b"), limits.dropped("c")), (2, 1000, 0));
        let due = limits.due().expect("both");
        let early = logged(|| limits.tell(|at| at <= begin, begin));
        assert_eq!(early, "");
        let said = logged(|| limits.tell(|at| at <= due, due));
        assert!(
            said.contains("plugin a: 2 lines dropped: it logs more than 100 lines or 10 errors a second"),
            "{said}"
        );
        assert!(said.contains("plugin b: 1000 lines dropped"), "{said}");
        assert_eq!(limits.due(), None);
        assert_eq!(logged(|| limits.tell(|_| true, due + Duration::from_secs(60))), "");
        assert_eq!(limits.dropped("b"), 1000, "the count goes on");
    }

    #[test]
    fn a_dropped_line_is_not_written_and_an_error_is() {
        let (limits, now) = (Limits::default(), Instant::now());
        let said = logged(|| {
            (0..5000).for_each(|_| line(&limits, now, "x", 3, "m", "a line"));
            line(&limits, now, "x", 1, "m", "last words");
        });
        assert_eq!(said.matches("a line").count(), 1000);
        assert_eq!(limits.dropped("x"), 4000);
        assert!(said.contains("last words"), "{said}");
    }
}
