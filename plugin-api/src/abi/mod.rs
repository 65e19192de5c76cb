//! What crosses: the types whose layout is checked when a plugin is opened.
//! Authors need nothing of it; host and test kit do.
//!
//! Frozen by rule: by-value structs never change; methods and module fields are
//! only appended, behind `last_prefix_field`, with default bodies; no `cfg`.
//! `tests/abi.layout.txt` is the golden dump of it all.
#![allow(unsafe_code, reason = "the one place of this crate: StableAbi's own code and the allocator")]
#![allow(
    missing_docs,
    non_local_definitions,
    non_camel_case_types,
    clippy::undocumented_unsafe_blocks,
    clippy::too_many_arguments,
    rust_2018_idioms,
    reason = "code that abi_stable's macros write"
)]

pub mod heap;
pub mod host;
pub mod layout;
pub mod module;
pub mod plugin;
pub mod sink;
pub mod types;

pub use host::{AbiHost, AbiHost_TO, HostBox};
pub use module::{PluginModule, PluginModule_Ref};
pub use plugin::{AbiPlugin, AbiPlugin_TO, PluginBox};
pub use sink::{AbiSink, AbiSink_TO, AbiViewSink, AbiViewSink_TO, SinkRef, ViewSinkRef};

/// For the export macro, which must name it from an author's crate, and for
/// host and test kit, which must speak with the same version.
pub use abi_stable;
