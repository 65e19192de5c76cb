//! `cargo xtask bench`: the benchmarks of every crate that has some.

use crate::building;
use crate::shell::{self, Error, Result};
use crate::workspace::Workspace;

/// Runs all, or those whose package or own name contains the first argument;
/// options go to the benchmark itself.
pub fn task(args: &[String]) -> Result<()> {
    let workspace = Workspace::load()?;
    let all = workspace.benches();
    let (name, rest) = match args {
        [name, rest @ ..] if !name.starts_with('-') => (name.as_str(), rest),
        rest => ("", rest),
    };
    let rest = rest.strip_prefix(&["--".to_owned()]).unwrap_or(rest);
    let chosen: Vec<_> =
        all.iter().filter(|(package, bench)| package.contains(name) || bench.contains(name)).collect();
    if chosen.is_empty() {
        let names: Vec<_> = all.iter().map(|(package, bench)| format!("{package}/{bench}")).collect();
        return Err(Error::Usage(format!("no benchmark matches {name:?}; there are: {}", names.join(" "))));
    }
    // Some measure the agent itself, with its plugins.
    building::product(&workspace)?;
    let mut failed = Vec::new();
    for (package, bench) in chosen {
        let mut command = shell::cargo();
        // Named one by one: without, the unit tests would be asked for benchmarks as well.
        command
            .args(["bench", "-p", package, "--bench", bench, "--"])
            .args(rest)
            .current_dir(&workspace.root);
        if let Err(error) = shell::run(&mut command) {
            failed.push(error.to_string());
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(Error::failed(failed.join("\n"))) }
}
