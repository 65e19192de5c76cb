//! The tasks of this repository, started with `cargo xtask TASK`.
//!
//! # Layout
//! * one file a task: [`run`], [`mod@test`], [`kernels`], [`mod@bench`], [`docs`], [`bpf`];
//! * [`workspace`]: which packages there are, as cargo knows them;
//! * [`building`]: what several tasks build;
//! * [`tally`]: what test runners report;
//! * [`tools`]: programs of the system that the tests talk to;
//! * [`shell`]: starting other programs, and what goes wrong with them.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a task talks to the person who started it")]

mod bench;
mod bpf;
mod building;
mod docs;
mod kernels;
mod run;
mod shell;
mod tally;
mod test;
mod tools;
mod workspace;

use shell::Error;
use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask TASK

  run [-- ARGS]     build host and plugins, and run the agent with ./plugins.toml;
                    ARGS go to `gantry run`, as --listen 127.0.0.1:9000
  test [-- ARGS]    install what the tests need (as root, with apt), build, run every test;
                    ARGS go to `cargo test`, as -p gantry-host, or part of a test's name
  kernels [SERIES…] [NAME…]
                    boot older kernels (5.10, 6.1, 6.12, or those named) in virtual machines, and run
                    there the tests that are about the kernel, or those whose names contain a NAME
  bench [NAME] [-- ARGS]
                    run the benchmarks, or those whose package or name contains NAME
  docs [--check]    write docs/metrics.md from the plugins' declarations, or compare it
  bpf [--check]     build the BPF objects with the one clang that makes their bytes, or compare them";

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    if args.is_empty() {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    }
    let task = args.remove(0);
    // cargo hands the separator through that people write after the task.
    if args.first().is_some_and(|first| first == "--") {
        args.remove(0);
    }
    let done = match task.as_str() {
        "run" => run::task(&args),
        "test" => test::task(&args),
        "kernels" => kernels::task(&args),
        "bench" => bench::task(&args),
        "docs" => docs::task(&args),
        "bpf" => bpf::task(&args),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(())
        }
        other => Err(Error::Usage(format!("no task {other:?}\n\n{USAGE}"))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {task}: {error}");
            ExitCode::from(error.code())
        }
    }
}
