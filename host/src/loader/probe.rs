//! Trying a library in a child process: a truncated file, a crashing
//! constructor or a wrong layout kills the child, not the agent.

use crate::config::{Violation, objections, violations};
use crate::isolation::{Rights, confine};
use crate::notify;
use gantry_plugin_api::description::Description;
use gantry_pluginfile::Library;
use rustix::process::{Signal, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// What the child found out.
#[derive(Debug, Serialize, Deserialize)]
pub struct Probed {
    #[serde(flatten)]
    pub description: Description,
    /// What is wrong with the configuration by the plugin's own schema, and by its
    /// own word. Found in the child: a schema can be made to take for ever.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub violations: Vec<Violation>,
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
///
/// One that shall run in a process of its own has no more rights here than
/// there.
pub fn in_child(library: &Path, config: &str, confined: Option<Rights>) -> Result<Probed, String> {
    let confined = confined.map(|rights| serde_json::to_string(&rights)).transpose();
    let confined = confined.map_err(|error| error.to_string())?;
    let mut child = notify::withhold(&mut Command::new("/proc/self/exe"))
        // So that a listing of processes says what it is.
        .arg0("gantry")
        .arg(OPTION)
        .arg(library)
        .args(confined)
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
    let probed = serde_json::from_str(answer)
        .map_err(|error| format!("what it says of itself cannot be read: {error}"))?;
    bounded(probed)
}

/// What a plugin declares is compared with what all others declare.
fn bounded(probed: Probed) -> Result<Probed, String> {
    let description = &probed.description;
    for (what, count, most) in [
        ("families", description.families.len(), 10_000),
        ("claims", description.manifest.claims.len(), 64),
        ("views", description.views.len(), 256),
    ] {
        if count > most {
            return Err(format!("it declares {count} {what}; at most {most} are taken"));
        }
    }
    Ok(probed)
}

struct Outcome {
    status: ExitStatus,
    output: Vec<u8>,
    errors: Vec<u8>,
}

fn wait(child: &mut Child) -> Result<Outcome, String> {
    let until = Instant::now() + DEADLINE;
    let left = || until.saturating_duration_since(Instant::now());
    let output = drain(child.stdout.take());
    let errors = drain(child.stderr.take());
    // Neither says that it ended: it may have closed them, or given them away.
    let output = output.recv_timeout(left()).unwrap_or_default();
    let errors = errors.recv_timeout(left()).unwrap_or_default();
    loop {
        let ended = child.try_wait().map_err(|error| format!("wait for the child that tries it: {error}"))?;
        if let Some(status) = ended {
            return Ok(Outcome { status, output, errors });
        }
        if left().is_zero() {
            // It may have exited just now.
            let _ = child.kill();
            let _ = child.wait();
            let seconds = DEADLINE.as_secs();
            return Err(format!("opening it in a child took longer than {seconds} s; the child was killed"));
        }
        // It ends milliseconds after it closed its output.
        std::thread::park_timeout(left().min(Duration::from_millis(1)));
    }
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
pub fn run_child(library: &Path, confined: Option<&str>) -> Result<String, String> {
    // A library that hangs must not outlive the agent. Where the kernel
    // refuses, the deadline still holds.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    let mut config = String::new();
    std::io::stdin().read_to_string(&mut config).map_err(|error| format!("standard input: {error}"))?;
    // A memory file of the agent's is open to a child with all of its rights alone.
    let file = std::fs::File::open(library).map_err(|error| format!("{}: {error}", library.display()))?;
    let mut opens = library.to_owned();
    if let Some(rights) = confined {
        let rights = serde_json::from_str(rights).map_err(|error| format!("{OPTION}: {error}"))?;
        // What it could not be confined by is told when it is started.
        confine(&rights)?;
        if library.starts_with("/proc") {
            opens = format!("/proc/self/fd/{}", file.as_raw_fd()).into();
        }
    }
    let opened = Library::open(&opens).map_err(|error| error.to_string())?;
    let description = opened.describe().map_err(|error| error.to_string())?;
    let config = if config.trim().is_empty() { "{}" } else { &config };
    let table = serde_json::from_str(config).map_err(|error| format!("standard input: {error}"))?;
    let name = &description.manifest.name;
    let mut violations = violations(name, &table, &description.config_schema);
    // The plugin's own reading finds what a schema cannot say.
    let read = |json: &str| opened.check_config(json).err().map(|error| error.message().to_owned());
    violations.extend(objections(name, &table, &violations, read));
    // Behind whatever a constructor printed without ending its line.
    serde_json::to_string(&Probed { description, violations })
        .map(|answer| format!("\n{answer}"))
        .map_err(|error| error.to_string())
}
