//! The command line.

use crate::terminal::TableArgs;
use clap::{Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A node agent that carries collectors as plugins.
#[derive(Debug, Parser)]
#[command(name = "gantry", version, about, disable_help_subcommand = true, subcommand_required = true)]
pub struct Cli {
    #[command(flatten)]
    pub places: Places,
    #[command(subcommand)]
    pub command: Command,
}

/// Where things are.
#[derive(Debug, clap::Args)]
pub struct Places {
    /// The configuration [default: /etc/gantry/plugins.toml]; a command to a running agent is refused where that has another.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the agent keeps state [default: /var/lib/gantry; for check, probe and once a temporary one].
    #[arg(long, global = true, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// The agent's control socket [default: gantry.sock in --state-dir, else /run/gantry/gantry.sock].
    #[arg(long, global = true, value_name = "FILE")]
    pub socket: Option<PathBuf>,
    /// How often an agent looks at budgets; the share of CPU is over six looks. For tests, which cannot wait for
    /// minutes.
    #[arg(long, global = true, hide = true, value_name = "DURATION", value_parser = span)]
    pub budgets_every: Option<Duration>,
    /// How often an agent looks whether another directory is where it watches for plugins. For tests, as above.
    #[arg(long, global = true, hide = true, value_name = "DURATION", value_parser = span)]
    pub directories_every: Option<Duration>,
}

impl Places {
    pub fn config(&self) -> PathBuf {
        self.config.clone().unwrap_or_else(|| PathBuf::from("/etc/gantry/plugins.toml"))
    }

    /// Of an agent.
    pub fn state_dir(&self) -> PathBuf {
        self.state_dir.clone().unwrap_or_else(|| PathBuf::from("/var/lib/gantry"))
    }

    pub fn socket(&self) -> PathBuf {
        let beside = || self.state_dir.as_ref().map(|dir| dir.join("gantry.sock"));
        self.socket.clone().or_else(beside).unwrap_or_else(|| PathBuf::from("/run/gantry/gantry.sock"))
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the agent; logs go to standard error.
    Run {
        /// Listen here instead of where the configuration says; may be given again.
        #[arg(long, value_name = "ADDR")]
        listen: Vec<SocketAddr>,
    },
    /// Report every problem of the configuration and of the plugin files it names.
    Check,
    /// Report what each enabled plugin can do on this node, and what is missing.
    Probe,
    /// Start one plugin, collect, print the exposition, stop; unseen, the enabled ones too that name containers or tell of the node.
    Once {
        /// Its name in the configuration; it need not be enabled.
        plugin: String,
        /// Collect a second time after so long, and print that.
        #[arg(long = "for", value_name = "DURATION", value_parser = span)]
        span: Option<Duration>,
    },
    /// Show the plugins of the running agent.
    Plugins {
        #[command(flatten)]
        table: TableArgs,
    },
    /// Show the containers that the running agent knows.
    Containers {
        #[command(flatten)]
        table: TableArgs,
    },
    /// Show a table that a plugin offers; without VIEW, which there are.
    Show {
        /// The plugin's name, as `gantry plugins` shows it.
        plugin: String,
        /// One of its tables.
        view: Option<String>,
        #[command(flatten)]
        table: TableArgs,
    },
    /// Take over the configuration and changed plugin files.
    Reload,
    /// Switch a plugin on, in the configuration and in the running agent.
    Enable {
        /// Its name; a section is added where it has none.
        plugin: String,
        #[command(flatten)]
        how: How,
    },
    /// Switch a plugin off, in the configuration and in the running agent.
    Disable {
        /// Its name, as `gantry plugins` shows it.
        plugin: String,
        #[command(flatten)]
        how: How,
    },
    /// Put a file in the place of what a plugin runs, while it runs; the configuration names it from then on.
    Upgrade {
        /// Its name, as `gantry plugins` shows it.
        plugin: String,
        /// The plugin's new file; an older one is as good.
        file: PathBuf,
        #[command(flatten)]
        how: How,
    },
    /// Put what a plugin ran before in the place of what it runs.
    Rollback {
        /// Its name, as `gantry plugins` shows it.
        plugin: String,
        #[command(flatten)]
        how: How,
    },
    /// Show what happened to a plugin last, the newest first.
    History {
        /// Its name; also of one that is not configured any more.
        plugin: String,
        #[command(flatten)]
        table: TableArgs,
    },
    /// Stop a plugin and start it anew from the file that was loaded; also one that failed or was given up.
    Restart {
        /// Its name, as `gantry plugins` shows it.
        plugin: String,
    },
    /// Log from LEVEL on: off, error, warn, info, debug or trace; of one plugin, or of all.
    #[command(override_usage = "gantry log-level [PLUGIN] LEVEL")]
    LogLevel {
        #[arg(value_name = "[PLUGIN] LEVEL", num_args = 1..=2, required = true)]
        words: Vec<String>,
    },
}

/// How far a switch reaches.
#[derive(Debug, clap::Args)]
pub struct How {
    /// Change the running agent alone, and leave the configuration as it is.
    #[arg(long)]
    pub until_restart: bool,
}

fn span(text: &str) -> Result<Duration, String> {
    let span = gantry_plugin_api::HumanDuration::parse(text)?.0;
    if span.is_zero() {
        Err("a time above zero is expected, such as 500ms or 10s".to_owned())
    } else {
        Ok(span)
    }
}
