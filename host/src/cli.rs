//! The command line.

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
    /// The configuration.
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/gantry/plugins.toml")]
    pub config: PathBuf,
    /// Where the agent keeps state [default: /var/lib/gantry; for check, probe and once a temporary one].
    #[arg(long, global = true, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
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
    /// Start one plugin, collect, print the exposition, stop.
    Once {
        /// Its name in the configuration; it need not be enabled.
        plugin: String,
        /// Collect a second time after so long, and print that.
        #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
        span: Option<Duration>,
    },
}

fn duration(text: &str) -> Result<Duration, String> {
    gantry_plugin_api::HumanDuration::parse(text).map(|duration| duration.0)
}
