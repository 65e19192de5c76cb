//! The metrics of all plugins and of the host, from a scrape to its body.
//!
//! * [`labels`]: what the host adds to each series.
//! * [`own`]: the host's own metrics.
//! * [`scrape`]: one scrape: collect, merge, encode. [`served`]: when all was served.

mod labels;
pub mod own;
mod scrape;
mod served;

pub use labels::HostLabels;
pub use scrape::{Scraper, Selection};
