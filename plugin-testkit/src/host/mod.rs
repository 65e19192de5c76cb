//! What a plugin sees of the host, and what the host saw of the plugin.

mod clock;
mod container;
mod facts;
mod identity;
mod labelled;
mod noted;
mod services;
mod tree;
mod world;

pub use clock::Clock;
pub use container::NewContainer;
pub use facts::Facts;
pub use identity::Identity;
pub use noted::Noted;
pub use tree::Tree;
pub use world::{Line, Provided};

pub(crate) use labelled::Labelled;
pub(crate) use world::World;
