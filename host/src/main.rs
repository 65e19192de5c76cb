//! The `gantry` binary: a node agent that carries collectors as plugins.
//!
//! * [`cli`]: the command line; [`commands`]: one file a command.
//! * [`config`] reads `plugins.toml`.
//! * [`loader`]: from a name to an opened library.
//! * [`supervisor`]: the life of plugins.
//! * [`identity`], [`node`]: what plugins may ask.
//! * [`metrics`]: from a scrape to its body; [`http`]: routes.
//! * [`terminal`]: how every table is shown.
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "a binary: its public items are for its own rooms")]

mod agent;
mod cli;
mod commands;
mod config;
mod http;
mod identity;
mod loader;
mod lock;
mod logging;
mod metrics;
mod node;
mod supervisor;
#[expect(dead_code, unused_imports, reason = "until the commands that ask a running agent are there")]
mod terminal;

use std::process::ExitCode;

fn main() -> ExitCode {
    commands::main()
}
