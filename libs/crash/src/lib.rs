//! Which plugin ran where when the process died of a fault: what one process
//! leaves behind, and what the next one makes of it.
//!
//! A plugin in the agent's own process can end it. So that the next start knows
//! which it was, a small mapped file is stamped at the entry to and the exit
//! from every call, with the plugin's name by thread; a handler of the signals
//! that faults raise adds signal, thread and address. The file outlives the
//! process, as the kernel keeps its pages.
//!
//! # Layout
//! * `layout`: the file, word by word.
//! * [`stamps`]: writing it.
//! * [`fault`]: the signal handler.
//! * [`handlers`]: whether that is still in place, and putting it back.
//! * `note`: taking back what was noted of a fault that ended nothing.
//! * [`report`]: reading what a process before left.
//!
//! # Where it ends
//! The handler does not run where there is no stack for it: at a stack overflow
//! on a thread without an alternate stack, as one that is spawned inside a
//! shared library is. It does not see SIGKILL; of `exit` a handler of its own
//! tells. An abort's address lies in the C library. So a report goes by the stamps of the thread first,
//! then by whose thread it was, and by the address last.
//!
//! What makes faults good, as a virtual machine does, leaves a note of the first one
//! after each look, until two more looks found the process alive: one that is killed
//! meanwhile is told of by that note, and another thread's fault is not noted.
#![deny(unsafe_op_in_unsafe_fn)]

pub mod fault;
pub mod handlers;
mod layout;
mod note;
pub mod report;
pub mod stamps;

pub use handlers::Replaced;
pub use report::{Evidence, Report};
pub use stamps::{Stamp, Stamps, Whose};
