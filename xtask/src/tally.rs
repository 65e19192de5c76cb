//! What test runners report, added up.

use crate::shell::{self, Error, Result};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

/// What the test runners reported.
#[derive(Debug, Default, PartialEq)]
pub struct Tally {
    pub passed: u64,
    pub failed: u64,
    pub ignored: u64,
    /// Commands that did not end well; a crashed test binary reports no figures.
    pub broken: Vec<String>,
}

impl Tally {
    /// Runs the command, shows what it prints and counts along.
    pub fn add(&mut self, command: &mut Command) -> Result<()> {
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

    /// Takes a line of what a test runner prints.
    pub fn count(&mut self, line: &str) {
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
