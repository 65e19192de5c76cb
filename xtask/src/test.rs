//! `cargo xtask test`: every test, with what it needs.

use crate::shell::{self, Error, Result};
use crate::tally::Tally;
use crate::workspace::Workspace;
use crate::{building, tools};
use std::process::Command;

/// Provides tools, builds all, runs the tests of the workspace and of the examples.
pub fn task(args: &[String]) -> Result<()> {
    let workspace = Workspace::load()?;
    let missing = tools::provide(tools::OF_TESTS)?;
    building::everything(&workspace)?;

    let named_package = args.iter().any(|arg| arg.starts_with("-p") || arg.starts_with("--package"));
    let mut tally = Tally::default();
    let mut command = cargo_test();
    if !named_package {
        command.arg("--workspace");
    }
    tally.add(command.args(args).current_dir(&workspace.root))?;
    // A package of the workspace is no package of an example's.
    if !named_package {
        for manifest in workspace.examples()? {
            let mut command = cargo_test();
            command
                .arg("--manifest-path")
                .arg(&manifest)
                .arg("--target-dir")
                .arg(workspace.examples_target());
            tally.add(command.args(args))?;
        }
    }

    tools::say_skipped(&missing);
    println!("\ntests: {} passed, {} failed, {} skipped", tally.passed, tally.failed, tally.ignored);
    if !tally.broken.is_empty() {
        Err(Error::failed(tally.broken.join("\n            ")))
    } else if tally.passed == 0 {
        Err(Error::failed("no test ran: nothing matches the arguments"))
    } else {
        Ok(())
    }
}

fn cargo_test() -> Command {
    let mut command = shell::cargo();
    // One failure hides no other.
    command.args(["test", "--release", "--no-fail-fast"]);
    if std::env::var_os(THREADS).is_none() {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        command.env(THREADS, (cores * 2).to_string());
    }
    command
}

/// Of the test harness: tests of one program at a time. Those of the host wait for
/// processes and time-outs far more than they compute.
const THREADS: &str = "RUST_TEST_THREADS";
