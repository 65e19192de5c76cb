//! The files of cgroup v1, v2 and both at once (hybrid), for several plugins.
//!
//! # Layout
//! * [`membership`]: which cgroups a process is in (`/proc/PID/cgroup`).
//! * [`layout`]: which hierarchies there are, where, and which serves what.
//! * [`path`]: paths as they are seen from a cgroup namespace.
//! * [`own`]: whether the reader itself is in a container.
//! * [`list`]: the cgroups below one, and the id of one.
//! * [`group`]: the cgroup of one container, in all hierarchies.
//! * [`files`]: descriptors that are kept open, with a bound.
//! * [`reader`]: the figures of a [`Group`], as [`Usage`].
//! * `fixture` (a feature): trees for tests and benchmarks.
//!
//! # Use
//! A [`Layout`] is read once, a [`Group`] made once for a container. At a
//! collection: [`Reader::begin`], then [`Reader::read`] for each group.
//!
//! # Where it ends
//! It does not watch: whoever wants to hear of new cgroups lists again or
//! watches the directories. OOM kills and limits that are written are not here.
#![forbid(unsafe_code)]

mod ancestors;
mod error;
pub mod files;
#[cfg(any(test, feature = "fixture"))]
pub mod fixture;
pub mod group;
pub mod layout;
pub mod list;
mod lru;
pub mod membership;
mod mounts;
pub mod own;
pub mod path;
pub mod read;
pub mod reader;
pub mod role;
pub mod usage;

pub use error::Error;
pub use files::{Counters, Failure};
pub use group::Group;
pub use layout::{Hierarchy, Layout, Mode, Resource, Version};
pub use membership::Entry;
pub use reader::{Parts, Reader};
pub use usage::Usage;
