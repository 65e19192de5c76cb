//! From samples to text: what a plugin emits at a collection is kept in an
//! [`Arena`], checked and matched to the series of its owner's [`Table`], and
//! written with those of all others by [`encode`]. The [`Registry`] decides
//! beforehand which families may be shown at all, and whose a name is.
//!
//! A sample that is refused costs itself alone: it is counted under a
//! [`Reason`], and whatever is written stays valid in both text formats.

#![forbid(unsafe_code)]

mod arena;
mod declared;
mod encode;
mod escape;
mod format;
mod groups;
mod histogram;
mod labels;
mod marks;
mod names;
mod number;
mod reason;
mod registry;
mod series;
mod settle;
mod store;
mod subjects;
mod table;
mod take;
mod taken;

pub use arena::Arena;
pub use declared::Declared;
pub use encode::{Encoded, encode};
pub use format::Format;
pub use histogram::MAX_BOUNDS;
pub use labels::{Constant, Group, Labels, MAX_LABEL_BYTES, Member, render_labels};
pub use names::HOST;
pub use reason::Reason;
pub use registry::{Refusal, Registered, Registry};
pub use table::Table;
pub use taken::Taken;
