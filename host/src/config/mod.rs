//! `plugins.toml`: read, checked as a whole, every problem with its place.
//!
//! * [`problem`]: a problem, and where it is.
//! * [`keys`]: reading a table key by key, so that none is ignored.
//! * [`mod@file`]: the whole file.
//! * [`host`]: the section of the host.
//! * [`plugin`]: the section of a plugin.
//! * [`table`]: a plugin's own table, as JSON with the places of its values.
//! * [`schema`]: that table against the schema that the plugin brings.

mod file;
mod host;
mod keys;
mod plugin;
mod problem;
mod schema;
mod table;

pub use file::{Config, load};
pub use host::{Level, LogFormat, LogLevels, Paths};
pub use keys::suggestion;
pub use plugin::PluginConfig;
pub use schema::{Violation, problems as table_problems, violations};
