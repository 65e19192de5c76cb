//! What the host adds to each series, rendered once.

use crate::node::NodeIds;
use gantry_exposition::{Constant, Labels, render_labels};

/// The constant labels of the node, and those of each container.
#[derive(Debug)]
pub struct HostLabels {
    node: String,
}

impl HostLabels {
    pub fn new(ids: &NodeIds) -> Self {
        let pairs = [("machine_id", ids.machine_id.as_str()), ("system_uuid", ids.system_uuid.as_str())];
        Self { node: render_labels(pairs) }
    }
}

impl Labels for HostLabels {
    fn node(&self) -> Constant<'_> {
        Constant { text: &self.node, epoch: 0 }
    }

    fn container(&self, _handle: u64) -> Option<Constant<'_>> {
        // The identity service knows of none yet.
        None
    }
}
