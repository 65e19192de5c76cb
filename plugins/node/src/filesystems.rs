//! File systems: which there are, and how full they are.

use crate::config::Settings;
use crate::metrics::*;
use crate::mounts;
use crate::reader::{self, SourceError};
use crate::sources::{Out, Run, Source, State, all_but};
use gantry_mounts::Mount;
use gantry_mounts::statfs::{Answer, Ask, Asker, Usage};
use gantry_plugin_api::{Cell, Rows};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The file systems of the node.
#[derive(Debug)]
pub struct Filesystems {
    asker: Asker,
    /// What `mounts` was made of.
    mountinfo: Vec<u8>,
    mounts: Vec<Mount>,
    bad_lines: u64,
    /// In the order of `mounts`.
    answers: Vec<Answer>,
    /// What each said last, by its path, and how often time was up for it since.
    last: HashMap<PathBuf, (Usage, u32)>,
}

/// So often in a row what a file system said last stands for it where time was up: a
/// moment in which the machine is overloaded is no trouble of the file system's.
const LATE: u32 = 2;

impl Filesystems {
    /// `ask` asks one of them; see [`gantry_mounts::statfs::beneath`].
    pub fn new(ask: Arc<Ask>) -> Self {
        Self {
            asker: Asker::new(ask),
            mountinfo: Vec::new(),
            mounts: Vec::new(),
            bad_lines: 0,
            answers: Vec::new(),
            last: HashMap::new(),
        }
    }

    /// Makes the next collection choose mounts anew, by other settings.
    pub fn forget(&mut self) {
        self.mountinfo.clear();
        self.mounts.clear();
        self.bad_lines = 0;
    }

    /// Reads, asks and shows.
    pub fn collect(&mut self, run: &mut Run<'_, '_>, settings: &Settings) {
        let mut listed = false;
        run.other(Source::Mountinfo, |run| {
            self.list(run, settings)?;
            listed = true;
            Ok(all_but(self.bad_lines, &mut run.out))
        });
        self.answers.clear();
        if !listed {
            self.forget();
            return;
        }
        run.other(Source::Statfs, |run| {
            let paths = self.mounts.iter().map(|mount| mount.path.as_path());
            self.answers = self.asker.ask(paths, settings.filesystem_timeout);
            self.stand_in(&mut run.out);
            Ok(self.show(&mut run.out))
        });
    }

    fn list(&mut self, run: &mut Run<'_, '_>, settings: &Settings) -> Result<(), SourceError> {
        let first = run.roots.proc.join("1/mountinfo");
        let own = run.roots.proc.join("self/mountinfo");
        // That of another process can be forbidden, and of one that ends empty.
        let mut read = whole(&first, run.buffer);
        let mut place = first;
        if read.is_err() && whole(&own, run.buffer).is_ok() {
            (read, place) = (Ok(()), own);
        }
        if run.sources.path(Source::Mountinfo) != place {
            run.sources.moved(Source::Mountinfo, place);
        }
        read?;
        // It hardly ever changes, and comparing costs less than parsing and choosing.
        if *run.buffer != self.mountinfo {
            (self.mounts, self.bad_lines) = mounts::shown(run.buffer, settings);
            std::mem::swap(&mut self.mountinfo, run.buffer);
        }
        if self.mounts.is_empty() && self.bad_lines > 0 {
            return Err(SourceError::Malformed("it has no line of a mount".to_owned()));
        }
        Ok(())
    }

    /// Puts what was said last in the place of what there was no time for.
    fn stand_in(&mut self, out: &mut Out<'_, '_>) {
        let mut last = HashMap::with_capacity(self.mounts.len());
        for (mount, answer) in self.mounts.iter().zip(&mut self.answers) {
            let late = match answer {
                Answer::Known(usage) => Some((*usage, 0)),
                Answer::NoTime => self.last.get(&mount.path).copied().map(|(usage, late)| (usage, late + 1)),
                Answer::Failed(_) | Answer::Stuck(_) | Answer::NotAsked => None,
            };
            let Some((usage, late)) = late.filter(|(_, late)| *late <= LATE) else { continue };
            if late > 0 {
                out.skipped("filesystem_late", 1);
                *answer = Answer::Known(usage);
            }
            last.insert(mount.path.clone(), (usage, late));
        }
        self.last = last;
    }

    fn show(&self, out: &mut Out<'_, '_>) -> State {
        let mut trouble = String::new();
        for (mount, answer) in self.mounts.iter().zip(&self.answers) {
            let labels: &[&str] = &[&mount.mount_point, &mount.source, &mount.fs_type];
            out.emit(&FILESYSTEM_READ_ONLY, labels, mount.read_only);
            match answer {
                Answer::Known(usage) => {
                    out.emit(&FILESYSTEM_UNRESPONSIVE, labels, false);
                    show_usage(usage, labels, out);
                }
                Answer::Stuck(_) => {
                    out.emit(&FILESYSTEM_UNRESPONSIVE, labels, true);
                    out.skipped("filesystem_unresponsive", 1);
                }
                Answer::Failed(_) => out.skipped("filesystem_error", 1),
                Answer::NotAsked | Answer::NoTime => out.skipped("filesystem_not_asked", 1),
            }
            if let Some(what) = describe(answer) {
                let separator = if trouble.is_empty() { "" } else { ", " };
                // Writing to a text cannot fail.
                let _ = write!(trouble, "{separator}{} {what}", mount.mount_point);
            }
        }
        if trouble.is_empty() { State::Good } else { State::Partly(trouble) }
    }

    /// Fills the view `filesystems`.
    pub fn view(&self, rows: &mut Rows<'_>) {
        for (mount, answer) in self.mounts.iter().zip(&self.answers) {
            let (size, used) = match answer {
                Answer::Known(usage) => (Cell::Number(usage.size as f64), Cell::Number(usage.used as f64)),
                _ => (Cell::Empty, Cell::Empty),
            };
            let state = describe(answer);
            let cells = [
                Cell::Text(&mount.mount_point),
                Cell::Text(&mount.source),
                Cell::Text(&mount.fs_type),
                size,
                used,
                Cell::Text(state.as_deref().unwrap_or("ok")),
            ];
            if !rows.push(&cells) {
                return;
            }
        }
    }

    /// Ends its threads; see [`Asker::stop`].
    pub fn stop(&mut self, deadline: Duration) -> usize {
        self.asker.stop(deadline)
    }
}

/// Reads a mountinfo. There is no process without a mount, so it is never empty.
fn whole(path: &Path, buffer: &mut Vec<u8>) -> Result<(), SourceError> {
    reader::read(path, buffer)?;
    if buffer.is_empty() {
        return Err(SourceError::Malformed("it is empty".to_owned()));
    }
    Ok(())
}

fn show_usage(usage: &Usage, labels: &[&str], out: &mut Out<'_, '_>) {
    out.emit(&FILESYSTEM_SIZE, labels, usage.size);
    out.emit(&FILESYSTEM_USED, labels, usage.used);
    out.emit(&FILESYSTEM_RESERVED, labels, usage.reserved);
    if usage.inodes > 0 {
        out.emit(&FILESYSTEM_INODES, labels, usage.inodes);
        out.emit(&FILESYSTEM_INODES_USED, labels, usage.inodes_used);
    }
}

/// What is wrong, without a duration: the text stays the same while it lasts.
fn describe(answer: &Answer) -> Option<String> {
    match answer {
        Answer::Known(_) => None,
        Answer::Failed(error) => Some(format!("cannot be asked: {error}")),
        Answer::Stuck(_) => Some("does not answer".to_owned()),
        Answer::NotAsked => Some("was not asked: too many others do not answer".to_owned()),
        Answer::NoTime => Some(
            "was not asked: time was up; the machine is overloaded, or filesystem_timeout is too short"
                .to_owned(),
        ),
    }
}
