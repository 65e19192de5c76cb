//! What is remembered from one collection to the next, also across instances
//! that hand over to each other.

use crate::check::{Lasting, Previous};
use std::collections::BTreeSet;

/// The memory of one line of instances.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Counters and histograms of the last collection.
    pub(crate) previous: Previous,
    /// What the host goes on showing of containers that are gone.
    pub(crate) lasting: Lasting,
    /// Names of the families that had a sample.
    pub(crate) emitted: BTreeSet<String>,
}
