//! The `gantry` binary: a node agent that carries collectors as plugins.
//!
//! * [`cli`]: the command line; [`commands`]: one file a command.
//! * [`config`] reads `plugins.toml`.
//! * [`files`]: files that change as a whole.
//! * [`loader`]: from a name to an opened library.
//! * [`supervisor`]: the life of plugins.
//! * [`identity`], [`node`]: what plugins may ask.
//! * [`notify`]: what systemd is told.
//! * [`metrics`]: from a scrape to its body; [`http`]: routes.
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "a binary: its public items are for its own rooms")]

mod agent;
mod cli;
mod commands;
mod config;
mod files;
mod http;
mod identity;
mod loader;
mod lock;
mod logging;
mod metrics;
mod node;
#[allow(dead_code, reason = "`gantry run` will tell systemd what it does")]
mod notify;
mod supervisor;

use std::process::ExitCode;

fn main() -> ExitCode {
    commands::main()
}
