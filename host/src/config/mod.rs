//! `plugins.toml`: read, checked as a whole, every problem with its place.
//!
//! * [`problem`]: a problem, and where it is.
//! * [`keys`]: reading a table key by key, so that none is ignored.
//! * [`mod@file`]: the whole file.
//! * [`edit`]: changing the file in place.
//! * [`host`]: the section of the host; [`identity`]: what it says of containers.
//! * [`plugin`]: the section of a plugin; [`limits`]: how much it may take.
//! * [`table`]: a plugin's own table, as JSON with the places of its values.
//! * [`schema`]: that table against the schema that the plugin brings; [`reading`]: by its own word.

mod edit;
mod file;
mod host;
mod identity;
mod keys;
mod limits;
mod plugin;
mod problem;
mod reading;
mod schema;
mod table;

pub use edit::{Prepared, replace, set_enabled, set_text};
pub use file::{Config, check, examine, load, read};
pub use host::{HostConfig, LEVELS, Level, LogFormat, LogLevels, Paths, ViewsOverHttp};
pub use identity::IdentityConfig;
pub use keys::{no_plugin, suggestion, there_are};
pub use limits::Limits;
pub use plugin::{Isolation, MOST_SERIES, PluginConfig};
pub use problem::Problem;
pub use reading::objections;
pub use schema::{Violation, problems as table_problems, violations};
