//! What is known of the node itself.

mod facts;
mod ids;

pub use facts::Facts;
pub use ids::NodeIds;
