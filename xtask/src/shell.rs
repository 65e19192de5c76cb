//! Starting other programs.

use std::fmt;
use std::process::{Command, Stdio};

/// Why a task did not end well.
#[derive(Debug)]
pub enum Error {
    /// It was called wrongly.
    Usage(String),
    /// It was called well and failed; the text names what, where and the remedy.
    Failed(String),
}

/// What every fallible function here gives.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A failure with its text.
    pub fn failed(text: impl Into<String>) -> Self {
        Error::Failed(text.into())
    }

    /// The exit code, as of the agent's own commands: 1 the answer is no, 2 wrong usage.
    pub fn code(&self) -> u8 {
        match self {
            Error::Failed(_) => 1,
            Error::Usage(_) => 2,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Usage(text) | Error::Failed(text) => f.write_str(text),
        }
    }
}

/// The cargo that started this task, so that nested builds use the same toolchain.
pub fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The command as a person would type it.
pub fn line(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    std::iter::once(name)
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Shows the command, then runs it with our own output; its failure is ours.
pub fn run(command: &mut Command) -> Result<()> {
    announce(command);
    let status = command.status().map_err(|error| not_started(command, &error))?;
    if status.success() { Ok(()) } else { Err(Error::failed(format!("`{}`: {status}", line(command)))) }
}

/// What the command prints on standard output; its errors go to ours.
pub fn output(command: &mut Command) -> Result<Vec<u8>> {
    let out = command
        .stderr(Stdio::inherit())
        .stdin(Stdio::null())
        .output()
        .map_err(|error| not_started(command, &error))?;
    if out.status.success() {
        Ok(out.stdout)
    } else {
        Err(Error::failed(format!("`{}`: {}", line(command), out.status)))
    }
}

/// Shows the command that is about to run.
pub fn announce(command: &Command) {
    eprintln!("$ {}", line(command));
}

/// The error for a program that could not be started.
pub fn not_started(command: &Command, error: &std::io::Error) -> Error {
    Error::failed(format!("cannot start {}: {error}", command.get_program().to_string_lossy()))
}
