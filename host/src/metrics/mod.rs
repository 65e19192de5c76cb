//! The metrics of all plugins and of the host, from a scrape to its body.
//!
//! * [`labels`]: what the host adds to each series.
//! * [`own`]: the host's own metrics.
//! * [`scrape`]: one scrape: collect, merge, encode.

mod labels;
pub mod own;
mod scrape;

pub use labels::HostLabels;
pub use scrape::{Scraper, Selection};
