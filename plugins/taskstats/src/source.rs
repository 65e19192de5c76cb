//! Where the delays of a process come from: the kernel's answers over netlink,
//! or, where there are none, `/proc/PID/task/*/schedstat`.
//!
//! The files know no other delay than that of a CPU, and nothing of threads
//! that ended, nor of processes that did.

use crate::counts::Rule;
pub use gantry_netlink::taskstats::AT_ONCE;
use gantry_netlink::taskstats::{Form, KINDS};
use gantry_netlink::{Delays, Error, Exits, Kind, Taskstats};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The kernel answers at once; a machine that is overloaded takes longer.
const TIMEOUT: Duration = Duration::from_secs(1);

/// What is lost by the files.
pub const FILES: &str = "delays of a CPU are read from /proc/PID/task/*/schedstat, without those of threads and \
                         processes that ended; missing: container_resources_disk_delay_seconds_total, \
                         container_resources_delay_seconds_total";

/// Where they come from.
#[derive(Debug)]
pub enum Source {
    /// Netlink, in the network namespace whose file this is.
    Kernel(Box<Taskstats>, Option<PathBuf>),
    /// Files below this `/proc`.
    Files(PathBuf),
}

impl Source {
    /// The kernel, in this thread's network namespace or the first process's.
    /// With it, what tells ends.
    ///
    /// # Errors
    /// Why not, with the remedy.
    pub fn kernel(proc: &Path, sys: &Path, buffer: usize) -> Result<(Self, Exits), String> {
        let possible = sys.join("devices/system/cpu/possible");
        let cpus =
            fs::read_to_string(&possible).map_err(|error| format!("{}: {error}", possible.display()))?;
        let first = proc.join("1/ns/net");
        Self::within(None, &cpus, buffer)
            .or_else(|error| Self::within(Some(&first), &cpus, buffer).map_err(|_| why(&error)))
    }

    fn within(path: Option<&Path>, cpus: &str, buffer: usize) -> Result<(Self, Exits), Error> {
        let taskstats = Taskstats::open(path, TIMEOUT)?;
        let exits = Exits::listen(cpus, taskstats.form(), buffer, path, TIMEOUT)?;
        Ok((Self::Kernel(Box::new(taskstats), path.map(Path::to_owned)), exits))
    }

    /// Which kinds there are.
    pub fn has(&self, kind: Kind) -> bool {
        match self {
            Source::Kernel(taskstats, _) => taskstats.form().has(kind),
            Source::Files(_) => kind == Kind::Cpu,
        }
    }

    /// The form of the kernel's structure.
    pub fn form(&self) -> Option<Form> {
        match self {
            Source::Kernel(taskstats, _) => Some(taskstats.form()),
            Source::Files(_) => None,
        }
    }

    /// What its numbers mean.
    pub fn rule(&self) -> Rule {
        match self {
            Source::Kernel(..) => Rule::Grows,
            Source::Files(_) => Rule::OfLivingThreads,
        }
    }

    /// What processes waited until now, each by its place; at most [`AT_ONCE`] of
    /// them. One that is gone is left out.
    ///
    /// # Errors
    /// The kernel did not answer, and is asked over another socket the next time.
    pub fn of_all(&mut self, pids: &[u32], mut each: impl FnMut(usize, &Delays)) -> Result<(), String> {
        match self {
            Source::Kernel(taskstats, within) => {
                let asked = taskstats.of_all(pids, |at, delays| {
                    if let Some(delays) = delays {
                        each(at, &delays);
                    }
                });
                asked.map_err(|error| {
                    if let Ok(anew) = Taskstats::open(within.as_deref(), TIMEOUT) {
                        **taskstats = anew;
                    }
                    error.to_string()
                })
            }
            Source::Files(proc) => {
                for (at, pid) in pids.iter().enumerate() {
                    if let Some(delays) = of_files(proc, *pid) {
                        each(at, &delays);
                    }
                }
                Ok(())
            }
        }
    }
}

fn why(error: &Error) -> String {
    let reason = match error {
        Error::Refused { source, .. } => match source.kind() {
            std::io::ErrorKind::NotFound => {
                "there is no TASKSTATS: the kernel needs CONFIG_TASKSTATS, and the agent the node's network namespace"
            }
            std::io::ErrorKind::PermissionDenied => "the agent needs CAP_NET_ADMIN",
            std::io::ErrorKind::InvalidInput => "the agent needs the node's pid and user namespaces",
            _ => "",
        },
        Error::TimedOut(_) => "ends of processes are not told; the agent needs the node's network namespace",
        _ => "",
    };
    if reason.is_empty() { error.to_string() } else { format!("{error}; {reason}") }
}

/// The sum over threads; `None`: it is gone.
fn of_files(proc: &Path, pid: u32) -> Option<Delays> {
    let threads = fs::read_dir(proc.join(pid.to_string()).join("task")).ok()?;
    let mut delays = [0; KINDS];
    let mut text = String::new();
    for thread in threads.flatten() {
        text.clear();
        // One that ended meanwhile is none.
        let read = fs::File::open(thread.path().join("schedstat"));
        if read.and_then(|file| file.take(256).read_to_string(&mut text)).is_ok() {
            delays[Kind::Cpu as usize] += waited(&text).unwrap_or(0);
        }
    }
    Some(delays)
}

/// Of "running waited turns".
fn waited(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Whether the files are there.
pub fn has_files(proc: &Path) -> bool {
    fs::read_to_string(proc.join("self/schedstat")).is_ok_and(|text| waited(&text).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_summed_over_threads() {
        let proc = tempfile::tempdir().expect("a directory");
        for (thread, text) in [("7", "100 30 5\n"), ("8", "100 12 5\n"), ("9", "nonsense"), ("10", "")] {
            let dir = proc.path().join("7/task").join(thread);
            fs::create_dir_all(&dir).expect("a directory");
            fs::write(dir.join("schedstat"), text).expect("own file");
        }
        fs::create_dir_all(proc.path().join("7/task/11")).expect("one that ended");
        let mut source = Source::Files(proc.path().to_owned());
        let mut seen = Vec::new();
        source.of_all(&[8, 7], |at, delays| seen.push((at, delays[0]))).expect("files");
        assert_eq!(seen, [(1, 42)]);
        assert!(source.has(Kind::Cpu) && !source.has(Kind::Disk));
        assert!(!has_files(proc.path()) && has_files(Path::new("/proc")));
    }
}
