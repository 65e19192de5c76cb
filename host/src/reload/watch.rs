//! `host.watch_plugins`: a file that is put into a directory of plugins, by a
//! rename or closed after it was written, is taken over as by a reload.
//!
//! Where the kernel has no inotify left, or a directory is not there, that is
//! said, and tried again: `gantry reload` does the same by hand.

use super::reload_one;
use crate::agent::Agent;
use crate::loader::{file_name, vendor_dirs};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use std::collections::BTreeSet;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

/// After the last change: packages put several files, one after the other.
const SETTLE: Duration = Duration::from_secs(1);

/// However long files come one after the other.
const SETTLE_AT_MOST: Duration = Duration::from_secs(10);

/// How often it is looked whether there are other directories, and inotify
/// where there was none.
pub const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Directories of one configuration; a list that is longer is a mistake.
const MOST_DIRS: usize = 64;

/// Until the agent ends; other directories are looked for `every` so often.
pub async fn watch(agent: Arc<Agent>, every: Duration) {
    let mut watched: Option<Watched> = None;
    let mut complained = false;
    let mut changed = BTreeSet::new();
    // What changed is not known by name: each plugin is looked at.
    let mut all_changed = false;
    // When what changed is taken over, and when at the latest.
    let mut due: Option<(Instant, Instant)> = None;
    let mut configured = agent.configured.subscribe();
    loop {
        let dirs = wished(&agent);
        if watched.as_ref().map(|watched| &watched.wished) != dirs.as_ref() {
            if watched.is_some() && dirs.is_some() {
                // A directory came, or another took its place unseen.
                all_changed = true;
                due.get_or_insert_with(soon);
            }
            watched = dirs.and_then(|dirs| {
                let opened = Watched::new(dirs);
                if let Err(error) = &opened
                    && !std::mem::replace(&mut complained, true)
                {
                    tracing::warn!(
                        "host.watch_plugins: inotify: {error}; `gantry reload` takes new files over \
                         (fs.inotify.max_user_instances bounds it)"
                    );
                }
                opened.ok()
            });
        }
        let settled = async {
            match due {
                None => std::future::pending().await,
                Some((soon, latest)) => tokio::time::sleep_until(soon.min(latest)).await,
            }
        };
        let more = tokio::select! {
            changes = next(watched.as_ref()) => Some(changes),
            () = settled => None,
            // There may be other directories now, or none. The sender lives as long as the agent.
            _ = configured.changed() => Some(Changes::default()),
            () = look_again(&agent, every) => Some(Changes::default()),
        };
        match more {
            Some(changes) => {
                if changes.begin_anew {
                    watched = None;
                }
                if changes.begin_anew || changes.overflow {
                    all_changed = true;
                    due.get_or_insert_with(soon);
                }
                let units = agent.fleet.units();
                let is_of_plugin = |name: &Vec<u8>| {
                    units.iter().any(|unit| concerns_one(name, unit.name(), &unit.config().path))
                };
                let names: Vec<Vec<u8>> = changes.names.into_iter().filter(is_of_plugin).collect();
                if !names.is_empty() {
                    let (next, at_most) = soon();
                    due = Some((next, due.map_or(at_most, |(_, latest)| latest)));
                }
                changed.extend(names);
            }
            None => {
                due = None;
                let units = agent.fleet.units();
                let names = std::mem::take(&mut changed);
                let all = std::mem::take(&mut all_changed);
                for unit in units.iter() {
                    if !all && !concerns(&names, unit.name(), &unit.config().path) {
                        continue;
                    }
                    if !reload_one(&agent, unit.name()).await {
                        // Too many changes wait: once more, with the others.
                        (all_changed, due) = (true, Some(soon()));
                    }
                }
            }
        }
    }
}

/// When what changes now is taken over, and when at the latest.
fn soon() -> (Instant, Instant) {
    (Instant::now() + SETTLE, Instant::now() + SETTLE_AT_MOST)
}

/// Never where nothing is to be watched.
async fn look_again(agent: &Agent, every: Duration) {
    if agent.config().host.watch_plugins {
        tokio::time::sleep(every).await;
    } else {
        std::future::pending::<()>().await;
    }
}

/// A directory, and which one it is: another may be moved to its path.
type Dir = (PathBuf, u64, u64);

fn wished(agent: &Agent) -> Option<Vec<Dir>> {
    let config = agent.config();
    if !config.host.watch_plugins {
        return None;
    }
    // Where a section names a file, that may be put anew as well.
    let named = agent.fleet.units();
    let named = named.iter().filter_map(|unit| unit.config().path.as_ref()?.parent().map(Path::to_owned));
    let dirs = vendor_dirs().into_iter().chain(config.host.plugin_dirs.iter().cloned()).chain(named);
    Some(of_paths(dirs))
}

/// Those that are there, each once, in the order of precedence: of those beyond
/// [`MOST_DIRS`] the last are left out.
fn of_paths(paths: impl Iterator<Item = PathBuf>) -> Vec<Dir> {
    let mut dirs: Vec<Dir> = Vec::new();
    for path in paths {
        let known = dirs.iter().any(|(known, ..)| *known == path);
        let Some(metadata) = path.metadata().ok().filter(|found| found.is_dir() && !known) else { continue };
        dirs.push((path, metadata.dev(), metadata.ino()));
    }
    dirs
}

/// Whether one of these names is that of a plugin's file.
fn concerns(changed: &BTreeSet<Vec<u8>>, plugin: &str, path: &Option<PathBuf>) -> bool {
    changed.iter().any(|name| concerns_one(name, plugin, path))
}

fn concerns_one(name: &[u8], plugin: &str, path: &Option<PathBuf>) -> bool {
    use std::os::unix::ffi::OsStrExt;
    if let Some(path) = path {
        return path.file_name().is_some_and(|named| named.as_bytes() == name);
    }
    let plain = file_name(plugin);
    let stem = format!("{}-", plain.trim_end_matches(".so"));
    name == plain.as_bytes() || name.starts_with(stem.as_bytes()) && name.ends_with(b".so")
}

/// What inotify told.
#[derive(Debug, Default)]
struct Changes {
    /// Names of files.
    names: Vec<Vec<u8>>,
    /// A directory is not watched any more, as one that was removed and made again.
    begin_anew: bool,
    /// The kernel's queue was full: some changes have no name.
    overflow: bool,
}

async fn next(watched: Option<&Watched>) -> Changes {
    match watched {
        Some(watched) => watched.changes().await,
        None => std::future::pending().await,
    }
}

struct Watched {
    wished: Vec<Dir>,
    inotify: AsyncFd<OwnedFd>,
}

impl Watched {
    fn new(wished: Vec<Dir>) -> std::io::Result<Self> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let too_many = wished.len().saturating_sub(MOST_DIRS);
        if too_many > 0 {
            tracing::warn!(
                "host.watch_plugins: {MOST_DIRS} directories are watched; `gantry reload` takes new files of the {too_many} \
                 others over"
            );
        }
        for (dir, ..) in wished.iter().take(MOST_DIRS) {
            let flags = WatchFlags::MOVED_TO | WatchFlags::CLOSE_WRITE | WatchFlags::ONLYDIR;
            if let Err(error) = inotify::add_watch(&inotify, dir, flags) {
                tracing::warn!(
                    "host.watch_plugins: {}: {error}; `gantry reload` takes new files of it over \
                     (fs.inotify.max_user_watches bounds it)",
                    dir.display()
                );
            }
        }
        #[expect(
            deprecated,
            reason = "what takes its place is unsafe; this descriptor is owned and never exchanged"
        )]
        let inotify = AsyncFd::new(inotify)?;
        Ok(Self { wished, inotify })
    }

    /// Names of files that changed; waits for the first.
    async fn changes(&self) -> Changes {
        let mut changes = Changes::default();
        while changes.names.is_empty() && !changes.begin_anew && !changes.overflow {
            let Ok(mut ready) = self.inotify.readable().await else { return std::future::pending().await };
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut reader = Reader::new(self.inotify.get_ref(), &mut buffer);
            while let Ok(event) = reader.next() {
                changes.begin_anew |= event.events().contains(ReadFlags::IGNORED);
                changes.overflow |= event.events().contains(ReadFlags::QUEUE_OVERFLOW);
                changes.names.extend(event.file_name().map(|name| name.to_bytes().to_vec()));
            }
            ready.clear_ready();
        }
        changes
    }
}
