//! Trying a library in a child process: a truncated file, a crashing
//! constructor or a wrong layout kills the child, not the agent.

use gantry_plugin_api::description::Description;
use gantry_pluginfile::Library;
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// What the child found out.
#[derive(Debug, Serialize, Deserialize)]
pub struct Probed {
    #[serde(flatten)]
    pub description: Description,
    /// Why the plugin cannot read the configuration it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_error: Option<String>,
}

/// The option that makes this binary the child.
pub const OPTION: &str = "--plugin-probe";

/// Opening takes milliseconds; a constructor that takes longer than this hangs.
const DEADLINE: Duration = Duration::from_secs(10);

/// A larger answer is none: ten thousand families take 2 MiB.
const MAX_ANSWER: u64 = 8 << 20;

/// The last lines of the child's standard error that go into a message.
const MAX_COMPLAINT: usize = 400;

/// Tries a library in a child. The configuration goes in over standard input:
/// it may hold secrets, which a command line would show.
pub fn in_child(library: &Path, config: &str) -> Result<Probed, String> {
    let mut child = Command::new("/proc/self/exe")
        // So that a listing of processes says what it is.
        .arg0("gantry")
        .arg(OPTION)
        .arg(library)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("the child that tries it could not be started: {error}"))?;
    if let Some(mut input) = child.stdin.take() {
        // A child that died before it read says so by its exit.
        let _ = input.write_all(config.as_bytes());
    }
    let outcome = wait(&mut child)?;
    if !outcome.status.success() {
        return Err(complaint(&outcome));
    }
    let text = String::from_utf8_lossy(&outcome.output);
    // What a constructor prints comes before.
    let answer = text.lines().next_back().unwrap_or_default();
    serde_json::from_str(answer).map_err(|error| format!("what it says of itself cannot be read: {error}"))
}

struct Outcome {
    status: ExitStatus,
    output: Vec<u8>,
    errors: Vec<u8>,
}

fn wait(child: &mut Child) -> Result<Outcome, String> {
    let output = drain(child.stdout.take());
    let errors = drain(child.stderr.take());
    // Both ends close when the child ends, or when it is killed below.
    let Ok(output) = output.recv_timeout(DEADLINE) else {
        // It may have exited just now.
        let _ = child.kill();
        let _ = child.wait();
        return Err(format!(
            "opening it in a child took longer than {} s; the child was killed",
            DEADLINE.as_secs()
        ));
    };
    let errors = errors.recv_timeout(DEADLINE).unwrap_or_default();
    let status = child.wait().map_err(|error| format!("wait for the child that tries it: {error}"))?;
    Ok(Outcome { status, output, errors })
}

/// Reads to the end on a thread of its own, so that neither pipe fills up.
fn drain(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Vec<u8>> {
    let (done, read) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            // A pipe that breaks ends what can be read.
            let _ = pipe.take(MAX_ANSWER).read_to_end(&mut bytes);
        }
        // Nobody waits any more after the deadline.
        let _ = done.send(bytes);
    });
    read
}

fn complaint(outcome: &Outcome) -> String {
    let said = String::from_utf8_lossy(&outcome.errors);
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let said: String = said.chars().filter(|character| !character.is_control()).take(MAX_COMPLAINT).collect();
    match outcome.status.signal() {
        Some(signal) => {
            let name = match signal {
                4 => "SIGILL",
                6 => "SIGABRT",
                7 => "SIGBUS",
                11 => "SIGSEGV",
                _ => "a signal",
            };
            format!("opening it kills the process with {name} ({signal}), seen in a child; it is not opened here. {said}")
                .trim_end()
                .to_owned()
        }
        None if said.is_empty() => format!("opening it in a child ended with {}", outcome.status),
        None => said,
    }
}

/// What the child does: opens the library, prints one line, ends.
pub fn run_child(library: &Path) -> Result<String, String> {
    let mut config = String::new();
    std::io::stdin().read_to_string(&mut config).map_err(|error| format!("standard input: {error}"))?;
    let opened = Library::open(library).map_err(|error| error.to_string())?;
    let description = opened.describe().map_err(|error| error.to_string())?;
    let config = if config.trim().is_empty() { "{}" } else { &config };
    let config_error = opened.check_config(config).err().map(|error| error.message().to_owned());
    serde_json::to_string(&Probed { description, config_error }).map_err(|error| error.to_string())
}
