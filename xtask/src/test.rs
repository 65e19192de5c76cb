//! `cargo xtask test`: every test, with what it needs.

use crate::shell::{self, Error, Result};
use crate::workspace::Workspace;
use crate::{building, tools};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

/// Provides tools, builds all, runs the tests of the workspace and of the examples.
pub fn task(args: &[String]) -> Result<()> {
    let workspace = Workspace::load()?;
    let missing = tools::provide()?;
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
    command
}

/// What the test runners reported.
#[derive(Debug, Default, PartialEq)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
    /// Commands that did not end well; a crashed test binary reports no figures.
    broken: Vec<String>,
}

impl Tally {
    /// Runs the command, shows what it prints and counts along.
    fn add(&mut self, command: &mut Command) -> Result<()> {
        shell::announce(command);
        let mut child =
            command.stdout(Stdio::piped()).spawn().map_err(|error| shell::not_started(command, &error))?;
        let mut out = BufReader::new(child.stdout.take().expect("standard output is piped just above"));
        let mut line = Vec::new();
        let read = |error: std::io::Error| Error::failed(format!("the output of the tests: {error}"));
        while out.read_until(b'\n', &mut line).map_err(read)? > 0 {
            std::io::stdout().write_all(&line).map_err(read)?;
            self.count(&String::from_utf8_lossy(&line));
            line.clear();
        }
        let status = child.wait().map_err(read)?;
        if !status.success() {
            self.broken.push(format!("`{}`: {status}", shell::line(command)));
        }
        Ok(())
    }

    fn count(&mut self, line: &str) {
        let Some((_, figures)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for figure in figures.split(';') {
            let mut words = figure.split_whitespace();
            let (Some(Ok(number)), Some(what)) = (words.next().map(str::parse::<u64>), words.next()) else {
                continue;
            };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_test_runners_report() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.01s\n",
            "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s\n",
        ] {
            tally.count(line);
        }
        assert_eq!(tally, Tally { passed: 13, failed: 2, ignored: 1, broken: vec![] });
    }

    #[test]
    fn a_crash_without_figures_is_a_failure() {
        let mut tally = Tally::default();
        tally.add(Command::new("sh").args(["-c", "kill -SEGV $$"])).unwrap();
        assert_eq!(tally.broken.len(), 1);
    }
}
