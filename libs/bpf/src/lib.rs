//! BPF objects, for plugins that have some.
//!
//! An object is loaded program by program: one that the kernel refuses leaves
//! the others, and says why. Nothing is loaded without the kernel's BTF, since
//! all offsets would be wrong. What is loaded goes with its [`Object`]; nothing
//! is pinned.
//!
//! # Layout
//! * [`kernel`]: the running kernel's types. [`object`]: maps and programs.
//! * [`iterator`]: programs that are asked. [`ring`]: events as they come. [`hash`]: a hash, apart from its object.
//! * [`stats`]: what programs cost and maps take.
//! * `call`: the system call, where aya has no way to it; all `unsafe` here.

mod call;
mod error;
pub mod hash;
pub mod iterator;
pub mod kernel;
pub mod object;
pub mod ring;
pub mod stats;

pub use error::Error;
pub use hash::Hash;
pub use iterator::Iterator;
pub use kernel::Kernel;
pub use object::{Object, Outcome};
pub use ring::Ring;
pub use stats::{Costs, Measured};
