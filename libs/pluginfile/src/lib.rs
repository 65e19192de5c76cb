//! A plugin's file: what it says of itself without being run, and how it is
//! opened.
//!
//! * [`inspect`] reads the manifest out of the bytes and refuses, in a
//!   sentence, what is no plugin for this host. Nothing is executed.
//! * [`Library::open`] opens a file with the dynamic linker and checks the
//!   layout of all that crosses, both ways round, so that an older plugin runs
//!   on a newer host. Opening runs the library's constructors: do it in a child
//!   first.
//! * [`Instance`] is one instance of a plugin, in plain Rust types.
//!
//! A library is never closed: its types stay referenced by the checker of
//! layouts, and its thread-locals by the C library.

mod inspect;
mod instance;
mod open;

pub use inspect::{FileError, inspect};
pub use instance::Instance;
pub use open::{Library, OpenError};
