//! Changing `plugins.toml` in place, as `enable`, `disable`, `upgrade` and
//! `rollback` do.
//!
//! * [`enabled`]: the text with one value changed.
//! * [`mod@replace`]: that text in the place of the file.

mod enabled;
#[cfg(test)]
mod fuzz;
mod replace;

pub use enabled::{set_enabled, set_text};
pub use replace::{Prepared, replace};
