//! What is written at which level, and how.

use super::*;
use std::io::Write;
use std::sync::{Arc, Mutex};

/// What tests of any room catch of the log.
#[derive(Debug, Clone, Default)]
pub struct Caught(Arc<Mutex<Vec<u8>>>);

impl Caught {
    /// What was logged since the last call.
    pub fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().expect("nobody panics here"))).expect("text")
    }

    /// A subscriber that writes here, and the filter before it.
    fn subscriber(
        &self,
        levels: &LogLevels,
    ) -> (impl tracing::Subscriber + Send + Sync + use<>, Handle<Targets, Registry>) {
        let (filter, handle) = reload::Layer::new(targets(levels));
        let caught = self.clone();
        let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || caught.clone());
        (tracing_subscriber::registry().with(filter).with(layer), handle)
    }
}

impl Write for Caught {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody panics here").write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What is logged while this runs.
pub fn logged(run: impl FnOnce()) -> String {
    let caught = Caught::default();
    let (subscriber, _filter) = caught.subscriber(&levels(Level::Info));
    tracing::subscriber::with_default(subscriber, run);
    caught.take()
}

fn levels(all: Level) -> LogLevels {
    LogLevels { all, plugins: std::collections::BTreeMap::new() }
}

#[test]
fn a_line_cannot_steer_a_terminal() {
    assert_eq!(printable("a\u{1b}[2Jb\nc é"), "a\\u{1b}[2Jb\\nc é");
}

#[test]
fn the_hosts_level_changes_while_it_runs_and_plugins_keep_theirs() {
    let caught = Caught::default();
    let (subscriber, filter) = caught.subscriber(&levels(Level::Info));
    let say = || {
        tracing::debug!("host at debug");
        tracing::warn!("host at warn");
        from_plugin("x", 5, "x::module", "plugin at trace");
        caught.take()
    };
    let set = |level| filter.reload(targets(&levels(level))).expect("the subscriber is there");
    tracing::subscriber::with_default(subscriber, || {
        for (level, debug, warn) in [
            (Level::Info, false, true),
            (Level::Debug, true, true),
            (Level::Off, false, false),
            (Level::Trace, true, true),
            (Level::Error, false, false),
            (Level::Warn, false, true),
        ] {
            set(level);
            let said = say();
            assert_eq!(said.contains("host at debug"), debug, "{level:?}: {said}");
            assert_eq!(said.contains("host at warn"), warn, "{level:?}: {said}");
            assert!(said.contains("plugin at trace"), "its own library decides: {level:?}: {said}");
        }
    });
    // Without a log that runs, as in most commands, it is no error.
    set_levels(&levels(Level::Debug));
}
