//! Asking file systems how full they are. That may take as long as it likes:
//! nobody else may wait for it, so it is done apart from what is known of
//! containers.

use super::choose::Chosen;
use super::within;
use gantry_mounts::statfs::{Answer, Asker, Usage};
use gantry_plugin_api::tracing;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long file systems may take to answer, all together: the rest is shown
/// at the next collection, or never, where it hangs.
const PATIENCE: Duration = Duration::from_millis(250);

/// By how many of its mounts a file system is asked, where the first does not do.
const TRIES: usize = 3;

/// A file system's number.
pub type Device = (u32, u32);

/// Which are to be asked, and by which of their mounts.
#[derive(Debug, Default)]
pub struct Asked(BTreeMap<Device, Vec<PathBuf>>);

impl Asked {
    pub(super) fn of<'a>(mounts: impl Iterator<Item = &'a Chosen>) -> Self {
        let mut asked: BTreeMap<Device, Vec<PathBuf>> = BTreeMap::new();
        for mount in mounts {
            let paths = asked.entry(mount.device).or_default();
            if paths.len() < TRIES {
                paths.push(mount.ask.clone());
            }
        }
        Self(asked)
    }
}

/// What one file system said.
#[derive(Debug, Clone, Copy)]
pub enum Answered {
    Known(Usage),
    Hung,
    /// An error, by each of its mounts.
    Failed,
    /// Too many hang, or time was up.
    NotAsked,
}

/// Of one collection: containers that share a file system ask once.
#[derive(Debug, Default)]
pub struct Answers(HashMap<Device, Answered>);

impl Answers {
    pub fn of(&self, device: Device) -> Option<Answered> {
        self.0.get(&device).copied()
    }

    /// How many failed, and how many were not asked.
    pub fn left_out(&self) -> (u64, u64) {
        let count =
            |is: fn(&Answered) -> bool| self.0.values().filter(|answered| is(answered)).count() as u64;
        (
            count(|answered| matches!(answered, Answered::Failed)),
            count(|answered| matches!(answered, Answered::NotAsked)),
        )
    }
}

/// The threads that ask.
pub struct FileSystems {
    asker: Asker,
    /// By which path those that hang were asked.
    hung: BTreeMap<Device, PathBuf>,
}

impl std::fmt::Debug for FileSystems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileSystems").field("hung", &self.hung.len()).finish_non_exhaustive()
    }
}

impl FileSystems {
    pub fn new(proc: &Path) -> Self {
        Self { asker: Asker::new(within::ask(proc.to_owned())), hung: BTreeMap::new() }
    }

    /// Asks each file system once; by another of its mounts where one is not
    /// to be seen, as that of a process that is just gone.
    pub fn ask(&mut self, Asked(mut mounts): Asked) -> Answers {
        // A thread that hangs is waited for; another one would hang as well.
        self.hung.retain(|device, _| mounts.contains_key(device));
        for (device, path) in &self.hung {
            mounts.insert(*device, vec![path.clone()]);
        }
        let mut answers: HashMap<Device, Answered> = HashMap::new();
        let mut hung = BTreeMap::new();
        for at in 0..TRIES {
            let open: Vec<(Device, &Path)> = mounts
                .iter()
                .filter(|(device, _)| {
                    !matches!(answers.get(device), Some(Answered::Known(_) | Answered::Hung))
                })
                .filter_map(|(device, paths)| Some((*device, paths.get(at)?.as_path())))
                .collect();
            if open.is_empty() {
                break;
            }
            let told = self.asker.ask(open.iter().map(|(_, path)| *path), PATIENCE);
            for ((device, path), answer) in open.iter().zip(told) {
                let answered = match answer {
                    Answer::Known(usage) => Answered::Known(usage),
                    Answer::Stuck(_) => {
                        hung.insert(*device, path.to_path_buf());
                        Answered::Hung
                    }
                    Answer::Failed(error) => {
                        tracing::debug!("statfs of {}: {error}", path.display());
                        Answered::Failed
                    }
                    Answer::NotAsked | Answer::NoTime => Answered::NotAsked,
                };
                answers.insert(*device, answered);
            }
        }
        self.hung = hung;
        Answers(answers)
    }

    /// Ends the threads; how many are stuck and left behind.
    pub fn stop(&mut self, deadline: Duration) -> usize {
        self.asker.stop(deadline)
    }
}
