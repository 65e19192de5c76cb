//! `cargo xtask run`: the agent, from a checkout.

use crate::building;
use crate::shell::{self, Result};
use crate::workspace::Workspace;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What `plugins.toml` listens on.
const LISTEN: &str = "127.0.0.1:9464";

/// Builds, says where to look, and becomes the agent.
pub fn task(args: &[String]) -> Result<()> {
    let workspace = Workspace::load()?;
    building::product(&workspace)?;
    building::owner_can_run(&workspace.release())?;

    let mut agent = Command::new(workspace.host());
    agent.arg("run");
    // What the person names himself is not named twice.
    if value_of(args, "--config").is_none() {
        agent.arg("--config").arg(workspace.root.join("plugins.toml"));
    }
    if value_of(args, "--state-dir").is_none() {
        agent.arg("--state-dir").arg(workspace.target.join("gantry-state"));
    }
    agent.args(args);

    match (value_of(args, "--listen"), value_of(args, "--config")) {
        (None, Some(config)) => eprintln!("\n  look at    the address that {config} listens on"),
        (listen, _) => {
            let listen = listen.unwrap_or(LISTEN);
            eprintln!("\n  look at    http://{listen}/  http://{listen}/metrics");
        }
    }
    eprintln!("  stop with  Ctrl-C\n");
    shell::announce(&agent);
    // Replaced rather than waited for: signals and the exit code are the agent's own.
    let error = agent.exec();
    Err(shell::not_started(&agent, &error))
}

/// The value of `--name VALUE` or `--name=VALUE`.
fn value_of<'a>(args: &'a [String], name: &str) -> Option<&'a str> {
    args.iter().enumerate().find_map(|(at, arg)| match arg.strip_prefix(name)? {
        "" => args.get(at + 1).map(String::as_str),
        rest => rest.strip_prefix('='),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_shown_is_the_configured_one() {
        let file = Workspace::load().unwrap().root.join("plugins.toml");
        let text = std::fs::read_to_string(file).unwrap();
        assert!(text.lines().any(|line| line.starts_with(&format!("listen = \"{LISTEN}\""))), "{text}");
    }

    #[test]
    fn options_are_found_in_both_forms() {
        let args = ["--listen=1:2", "--config", "x.toml", "--configure"].map(str::to_owned);
        assert_eq!(value_of(&args, "--listen"), Some("1:2"));
        assert_eq!(value_of(&args, "--config"), Some("x.toml"));
        assert_eq!(value_of(&args, "--state-dir"), None);
    }
}
