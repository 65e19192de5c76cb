//! The agent's log, on standard error.
//!
//! * [`limit`]: how many lines of one plugin are taken.
//! * [`plugins`]: lines of plugins.
//! * [`output`]: lines that wait to be written.
//! * [`mod@printable`]: texts of others, made harmless.

mod limit;
mod output;
mod plugins;
mod printable;

pub use output::{flush, lost};
pub use plugins::{dropped, from_plugin};
pub use printable::{printable, steers};

use crate::config::{Level, LogFormat, LogLevels};
use std::io::IsTerminal;
use std::sync::OnceLock;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt as _;

/// What plugins say goes under this target; their own levels are set inside
/// their libraries, so that a disabled line costs nothing.
const PLUGIN: &str = "plugin";

/// The filter of the log that runs.
static FILTER: OnceLock<Handle<Targets, Registry>> = OnceLock::new();

/// Begins to log. A second call changes nothing.
pub fn start(format: LogFormat, levels: &LogLevels) {
    let terminal = std::io::stderr().is_terminal();
    let json = match format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let colours = terminal && std::env::var_os("NO_COLOR").is_none();
    output::start();
    let (filter, handle) = reload::Layer::new(targets(levels));
    let registry = tracing_subscriber::registry().with(filter);
    let started = if json {
        let layer = tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(|| output::Output)
            .log_internal_errors(false);
        registry.with(layer).try_init()
    } else {
        let layer = tracing_subscriber::fmt::layer()
            .with_target(false)
            .with_ansi(colours)
            .with_writer(|| output::Output)
            .log_internal_errors(false);
        registry.with(layer).try_init()
    };
    // Only a second subscriber fails, and the first one stays.
    if started.is_ok() {
        let _ = FILTER.set(handle);
    }
}

/// From now on the host's own lines are written at these levels. What plugins
/// log is decided inside their libraries: set theirs there.
pub fn set_levels(levels: &LogLevels) {
    let Some(filter) = FILTER.get() else { return };
    // The subscriber is global: it outlives the agent.
    let _ = filter.reload(targets(levels));
}

fn targets(levels: &LogLevels) -> Targets {
    Targets::new().with_default(filter(levels.all)).with_target(PLUGIN, LevelFilter::TRACE)
}

fn filter(level: Level) -> LevelFilter {
    match level {
        Level::Off => LevelFilter::OFF,
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    }
}

#[cfg(test)]
pub mod tests;
