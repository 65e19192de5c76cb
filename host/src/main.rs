//! The `gantry` binary: a node agent that carries collectors as plugins.
//!
//! * [`cli`]: the command line; [`commands`]: one file a command; [`terminal`]: their tables.
//! * [`agent`]: the parts of a running agent, put together.
//! * [`config`] reads `plugins.toml`; [`reload`] changes what runs by it.
//! * [`files`]: files that change as a whole.
//! * [`loader`]: from a name to an opened library.
//! * [`supervisor`]: the life of plugins; [`isolation`]: one of them in a process of its own.
//! * [`records`]: what is kept of them across restarts of the agent; [`crashes`]: which of them took it down.
//! * [`identity`], [`node`]: what plugins may ask.
//! * [`metrics`]: from a scrape to its body; [`tables`]: what is known, as tables.
//! * [`http`]: the door for everybody; [`control`]: the door for operators.
//! * [`health`], [`notify`], [`logging`], [`lock`], [`descriptors`],
//!   [`capabilities`]: the agent as a service.
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "a binary: its public items are for its own rooms")]

mod agent;
mod capabilities;
mod cli;
mod commands;
mod config;
mod control;
mod crashes;
mod descriptors;
mod files;
mod health;
mod http;
mod identity;
mod isolation;
mod loader;
mod lock;
mod logging;
mod metrics;
mod node;
mod notify;
mod records;
mod reload;
mod supervisor;
mod tables;
mod terminal;

use std::process::ExitCode;

fn main() -> ExitCode {
    gantry_malloc::give_back_what_is_large();
    commands::main()
}
