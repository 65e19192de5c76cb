//! A plugin in a process of its own: the same file, opened by a child of the
//! same binary (`gantry --plugin-runner`), with fewer rights and with deadlines
//! that kill.
//!
//! Two socket pairs join them. Over the first one the agent calls the plugin,
//! one call at a time; over the second one the plugin asks the host, from any
//! of its threads. Whatever comes from the child is bounded and checked; what
//! is wrong ends it, with the reason.
//!
//! * [`wire`]: frames and the values in them; [`protocol`]: what they mean.
//! * Here: [`process`]: the child, from its start to its end; [`output`]: what
//!   it prints; [`proxy`]: the plugin, as the supervisor calls it; [`replay`]:
//!   its samples and rows; [`serve`]: what it asks of the host.
//! * In the child: [`runner`]: its course; [`sinks`]: samples and rows on their
//!   way out; [`remote`]: the host, as the plugin sees it there.
//! * [`rights`]: what the child may do; [`filter`]: which system calls it may make.

#[cfg(test)]
mod cost;
mod filter;
mod output;
mod process;
mod protocol;
mod proxy;
mod remote;
mod replay;
mod rights;
mod runner;
mod serve;
mod sinks;
mod wire;

pub use process::{Process, signal_in_words};
pub use proxy::launch;
pub use rights::{DEFAULT_MEMORY, MIN_MEMORY, Rights, capability, capability_names, confine};
pub use runner::{OPTION as RUNNER_OPTION, run_child};

use std::sync::{Mutex, MutexGuard, PoisonError};

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is whole after each statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
