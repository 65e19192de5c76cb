//! The commands: [`look`] and [`change`] ask a running agent, the others are
//! one file each. Exit codes: 0 good, 1 the answer is no, 2 wrong usage or the
//! agent is not there.

mod change;
mod check;
mod look;
mod named;
mod once;
mod probe;
mod run;
mod state;

use crate::cli::{Cli, Command};
use crate::config::{Config, load};
use crate::control::Asked;
use crate::isolation;
use crate::loader;
use crate::logging::printable;
use crate::metrics::own;
use clap::Parser;
use clap::error::ErrorKind;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};

const NO: u8 = 1;
const USAGE: u8 = 2;

/// What a command ends with: a line for standard error, and the exit code.
pub struct Failure {
    pub message: String,
    pub code: u8,
}

impl Failure {
    fn no(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: NO }
    }
}

type Outcome = Result<(), Failure>;

impl From<Asked> for Failure {
    fn from(asked: Asked) -> Self {
        match asked {
            Asked::NotThere(message) => Self { message, code: USAGE },
            Asked::No(mut lines) => {
                // All but the last go before: an error is one line.
                let last = lines.pop().unwrap_or_else(|| "the agent says no".to_owned());
                lines.iter().for_each(|line| say(&printable(line)));
                Self::no(printable(&last))
            }
        }
    }
}

pub fn main() -> ExitCode {
    let code = run_and_say();
    match unwritten().take() {
        // Whoever asked did not get all of the answer.
        Some(error) if code == ExitCode::SUCCESS => {
            say(&format!("gantry: standard output: {error}"));
            ExitCode::from(NO)
        }
        _ => code,
    }
}

fn run_and_say() -> ExitCode {
    if let Some(code) = internal() {
        return code;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let outcome = match &cli.command {
        Command::Run { listen } => run::run(&cli.places, listen),
        Command::Check => check::run(&cli.places),
        Command::Probe => probe::run(&cli.places),
        Command::Once { plugin, span } => once::run(&cli.places, plugin, *span),
        Command::Plugins { table } => look::plugins(&cli.places, table),
        Command::Containers { table } => look::containers(&cli.places, table),
        Command::Show { plugin, view, table } => look::show(&cli.places, plugin, view.as_deref(), table),
        Command::Reload => change::reload(&cli.places),
        Command::Enable { plugin, how } => change::switch(&cli.places, plugin, "enable", how),
        Command::Disable { plugin, how } => change::switch(&cli.places, plugin, "disable", how),
        Command::Upgrade { plugin, file, how } => change::upgrade(&cli.places, plugin, file, how),
        Command::Rollback { plugin, how } => change::switch(&cli.places, plugin, "rollback", how),
        Command::History { plugin, table } => look::history(&cli.places, plugin, table),
        Command::Restart { plugin } => change::restart(&cli.places, plugin),
        Command::LogLevel { words } => change::log_level(&cli.places, words),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&format!("gantry: {}", failure.message));
            ExitCode::from(failure.code)
        }
    }
}

/// What the agent and the tasks of the repository ask of this binary, not people.
fn internal() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let printed = match arguments.next()?.to_str()? {
        loader::PROBE_OPTION => {
            let library = arguments.next()?;
            let confined = arguments.next();
            loader::run_child(Path::new(&library), confined.as_ref().and_then(|rights| rights.to_str()))
        }
        isolation::RUNNER_OPTION => {
            // The plugin's name is there for listings of processes alone.
            let parent = arguments.nth(1)?;
            return Some(match isolation::run_child(parent.to_str()?) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    say(&error);
                    ExitCode::from(NO)
                }
            });
        }
        "--describe-host" => serde_json::to_string(&own::describe()).map_err(|error| error.to_string()),
        _ => return None,
    };
    Some(match printed {
        Ok(line) => {
            print(&line);
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&error);
            ExitCode::from(NO)
        }
    })
}

/// Help goes to standard output; an error is one line.
fn usage(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            print(error.to_string().trim_end());
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            say("gantry: no command is given; `gantry --help` lists them");
            ExitCode::from(USAGE)
        }
        _ => {
            say(&format!("gantry: {}; see `gantry --help`", in_a_line(&error.to_string())));
            ExitCode::from(USAGE)
        }
    }
}

/// What was wrong, and the tip if there is one. What is missing stands in lines
/// of its own, and the usage behind an empty one.
fn in_a_line(error: &str) -> String {
    let paragraph = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let mut parts = error.split("\n\n").map(paragraph);
    let what = parts.next().unwrap_or_default();
    let tip = parts.find_map(|part| part.strip_prefix("tip: ").map(|tip| format!("; {tip}")));
    format!("{}{}", what.trim_start_matches("error: "), tip.unwrap_or_default())
}

/// The configuration, or every problem of it on standard error.
fn configuration(path: &Path) -> Result<Config, Failure> {
    load(path).map_err(|problems| {
        for problem in &problems {
            say(&problem.to_string());
        }
        Failure::no(format!("{} in {}", counted(problems.len(), "problem"), path.display()))
    })
}

/// `1 plugin`, `2 plugins`
fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// A line on standard output. A reader that went away (`| head -1`) has had
/// enough; that is no failure. Any other is told when the command ends: a
/// change is carried out to its end all the same.
fn print(line: &str) {
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            unwritten().get_or_insert(error);
        }
        _ => {}
    }
}

/// Why a line could not be printed.
fn unwritten() -> MutexGuard<'static, Option<std::io::Error>> {
    static UNWRITTEN: Mutex<Option<std::io::Error>> = Mutex::new(None);
    UNWRITTEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A line on standard error, where nothing can be done about a failure.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A runtime on this thread: the network needs no more, and plugins have
/// threads of their own.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name("gantry")
        .build()
        .map_err(|error| Failure::no(format!("the runtime could not be started: {error}")))
}
