//! Which file of a plugin ran before the present one, and which was rolled back
//! from and is not to be taken again.

use super::{private_dir, read_bounded};
use crate::files::write_and_rename;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A plugin has one record, of some paths and digests, and on probation of what was
/// wrong before: 32 complaints of 4 KiB at most.
const MAX_BYTES: u64 = 1 << 20;

/// A file that ran, and how the configuration named it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// In the store; where there is none, where it lay, if it still does.
    pub file: PathBuf,
    pub version: String,
    pub digest: String,
    /// It came from a vendor directory.
    pub vendor: bool,
    /// Where it lay.
    pub source: PathBuf,
    /// The keys of its section.
    #[serde(default)]
    pub path: Option<PathBuf>,
    #[serde(default)]
    pub sha256: Option<String>,
    /// The capabilities that its manifest names: the agent gives up its own
    /// before it opens any file.
    #[serde(default)]
    pub capabilities: Vec<String>,
}

#[cfg(test)]
impl Stored {
    /// For tests that look at the digest alone.
    pub fn of_digest(digest: &str) -> Self {
        Self {
            file: "/store/x.so".into(),
            version: "1.0.0".to_owned(),
            digest: digest.to_owned(),
            vendor: true,
            source: "/usr/lib/x.so".into(),
            path: None,
            sha256: None,
            capabilities: Vec::new(),
        }
    }
}

/// The time after an upgrade, where it is not over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OnProbation {
    /// Of the file that is on probation.
    pub digest: String,
    /// In seconds since 1970.
    pub until: f64,
    /// What was wrong with the generation before already.
    #[serde(default)]
    pub known: Vec<String>,
    /// By which reasons it lost events already.
    #[serde(default)]
    pub losses: BTreeSet<String>,
}

/// What served when it was last written down: a next agent that finds another file
/// puts that on probation, and this one is what there is to go back to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    pub stored: Stored,
    /// What was wrong with it: by its own word, because it was late, or by its series.
    #[serde(default)]
    pub known: Vec<String>,
}

/// Which events the file that ran lost of late.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lost {
    pub digest: String,
    /// By reason, when it was the last time, in seconds since 1970.
    pub at: BTreeMap<String, f64>,
}

/// A file that is not taken while it and its section are as they were.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub digest: String,
    /// The section's values, by their digest: they may hold secrets.
    pub section: String,
    pub reason: String,
    /// What runs in its place.
    pub instead: Stored,
}

/// The record of one plugin.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Lineage {
    #[serde(default)]
    pub previous: Option<Stored>,
    #[serde(default)]
    pub held: Option<Held>,
    #[serde(default)]
    pub probation: Option<OnProbation>,
    #[serde(default)]
    pub ran: Option<Ran>,
    /// As the agent ended.
    #[serde(default)]
    pub lost: Option<Lost>,
}

fn path(dir: &Path, plugin: &str) -> PathBuf {
    dir.join("lineage").join(format!("{plugin}.json"))
}

/// The digests that the records of all plugins name. What served last is of use
/// to those that are configured alone: a next start may find another file of them.
///
/// # Errors
/// One of them cannot be read just now: what it names is not known.
pub(super) fn named(dir: &Path, is_configured: impl Fn(&str) -> bool) -> std::io::Result<BTreeSet<String>> {
    let mut digests = BTreeSet::new();
    let entries = match std::fs::read_dir(dir.join("lineage")) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(digests),
        entries => entries?,
    };
    for entry in entries {
        let name = entry?.file_name();
        let Some(plugin) = name.to_str().and_then(|name| name.strip_suffix(".json")) else { continue };
        let Lineage { previous, held, ran, .. } = Lineage::try_read(dir, plugin)?;
        let held = held.map(|held| [held.digest, held.instead.digest]);
        let ran = ran.filter(|_| is_configured(plugin)).map(|ran| ran.stored);
        digests.extend(previous.into_iter().chain(ran).map(|stored| stored.digest));
        digests.extend(held.into_iter().flatten());
    }
    Ok(digests)
}

impl Lineage {
    /// Nothing where it cannot be read.
    pub fn read(dir: &Path, plugin: &str) -> Self {
        Self::try_read(dir, plugin).unwrap_or_else(|error| {
            tracing::warn!("{error}; it is passed over");
            Self::default()
        })
    }

    /// Nothing where it is not there, or is damaged: no later try would bring that
    /// back.
    ///
    /// # Errors
    /// A system call failed: what is in it may be whole, and must not be written
    /// over.
    pub(super) fn try_read(dir: &Path, plugin: &str) -> std::io::Result<Self> {
        let path = path(dir, plugin);
        let read = read_bounded(&path, MAX_BYTES).and_then(|bytes| match bytes {
            Some(bytes) => serde_json::from_slice(&bytes).map_err(std::io::Error::other),
            None => Ok(Self::default()),
        });
        match read {
            Err(error) if error.raw_os_error().is_some() => {
                Err(std::io::Error::new(error.kind(), format!("{}: {error}", path.display())))
            }
            Err(damage) => {
                tracing::warn!("{}: {damage}; it is passed over", path.display());
                Ok(Self::default())
            }
            Ok(lineage) => Ok(lineage),
        }
    }

    pub(super) fn write(&self, dir: &Path, plugin: &str) -> std::io::Result<()> {
        private_dir(&dir.join("lineage"))?;
        let json = serde_json::to_vec(self).map_err(std::io::Error::other)?;
        write_and_rename(&path(dir, plugin), &json, 0o600)
    }

    /// The capabilities of what may run in the place of what a section names.
    pub fn capabilities(&self) -> impl Iterator<Item = &str> {
        let instead = self.held.as_ref().map(|held| &held.instead);
        let ran = self.ran.as_ref().map(|ran| &ran.stored);
        let files = self.previous.iter().chain(instead).chain(ran);
        files.flat_map(|stored| &stored.capabilities).map(String::as_str)
    }

    /// What a next agent goes back to, should a file of this digest go wrong that it
    /// finds: what served last, if that is another one. One that ran before that is
    /// no news: whoever put it there goes back himself.
    pub fn behind(&self, digest: &str) -> Option<&Ran> {
        let is_known = self.previous.as_ref().is_some_and(|stored| stored.digest == digest);
        self.ran.as_ref().filter(|ran| ran.stored.digest != digest && !is_known)
    }

    /// When a file of this digest starts: what served last is what ran before it,
    /// where that is another one. Where that start goes back, they change places.
    pub fn started(mut self, digest: &str) -> Self {
        if let Some(ran) = self.ran.as_mut().filter(|ran| ran.stored.digest != digest) {
            match self.previous.as_mut().filter(|previous| previous.digest == digest) {
                Some(previous) => std::mem::swap(previous, &mut ran.stored),
                None => self.previous = Some(ran.stored.clone()),
            }
        }
        self
    }

    /// What runs in the place of a file, if that is held back.
    pub fn instead(&self, digest: &str, section: &str) -> Option<&Held> {
        self.held.as_ref().filter(|held| held.digest == digest && held.section == section)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(digest: &str) -> Stored {
        Stored { capabilities: vec!["CAP_BPF".to_owned()], ..Stored::of_digest(digest) }
    }

    #[test]
    fn a_file_that_is_new_at_a_start_has_what_served_last_behind_it() {
        let ran = Ran { stored: stored("ran"), known: Vec::new() };
        let lineage = Lineage { ran: Some(ran.clone()), previous: Some(stored("old")), ..Lineage::default() };
        assert_eq!(lineage.behind("new"), Some(&ran));
        assert_eq!(lineage.behind("ran"), None, "the same one");
        assert_eq!(lineage.behind("old"), None, "as after `upgrade --until-restart`");
        assert_eq!(Lineage::default().behind("new"), None, "the first start");
        let dir = tempfile::tempdir().expect("a temporary directory");
        lineage.write(dir.path(), "x").expect("own directory");
        let named =
            |is_configured: fn(&str) -> bool| named(dir.path(), is_configured).expect("it can be read");
        assert_eq!(named(|name| name == "x"), ["old", "ran"].map(str::to_owned).into());
        assert_eq!(named(|_| false), ["old".to_owned()].into(), "it is configured no more");
    }

    #[test]
    fn what_served_last_is_what_a_rollback_brings_after_a_start() {
        let ran = |digest: &str| Some(Ran { stored: stored(digest), known: Vec::new() });
        let previous = |lineage: &Lineage| lineage.previous.as_ref().map(|stored| stored.digest.clone());
        let first = Lineage { ran: ran("v1"), ..Lineage::default() };
        assert_eq!(previous(&first.clone().started("v1")), None, "the same one");
        let upgraded = first.started("v2");
        assert_eq!(previous(&upgraded).as_deref(), Some("v1"));
        assert_eq!(upgraded.clone().started("v2"), upgraded, "also where it ended before it served");
        // The package is taken back.
        let back = Lineage { ran: ran("v2"), ..upgraded }.started("v1");
        assert_eq!(previous(&back).as_deref(), Some("v2"));
        assert_eq!(back.clone().started("v1"), back);
        assert_eq!(back.behind("v1"), None, "it is no upgrade at the next start either");
        assert_eq!(Lineage::default().started("v1"), Lineage::default());
    }

    #[test]
    fn a_damaged_record_is_passed_over() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        assert_eq!(Lineage::read(dir.path(), "x"), Lineage::default());
        let stored = stored("abc");
        let held = Held {
            digest: "bad".to_owned(),
            section: "s".to_owned(),
            reason: String::new(),
            instead: stored.clone(),
        };
        let probation =
            OnProbation { digest: "new".to_owned(), until: 1.5, known: Vec::new(), losses: BTreeSet::new() };
        let lost = Lost { digest: "new".to_owned(), at: [("ring_lost".to_owned(), 2.5)].into() };
        let ran = Ran { stored: stored.clone(), known: vec!["no pressure files".to_owned()] };
        let lineage = Lineage {
            previous: Some(stored),
            held: Some(held),
            probation: Some(probation),
            ran: Some(ran),
            lost: Some(lost),
        };
        lineage.write(dir.path(), "x").expect("own directory");
        let read = Lineage::read(dir.path(), "x");
        assert_eq!(read, lineage);
        assert!(read.instead("bad", "s").is_some());
        assert_eq!(read.capabilities().collect::<Vec<_>>(), ["CAP_BPF", "CAP_BPF", "CAP_BPF"]);
        let named = named(dir.path(), |_| true).expect("it can be read");
        assert_eq!(named, ["abc", "bad"].map(str::to_owned).into());
        assert!(read.instead("bad", "other").is_none() && read.instead("good", "s").is_none());
        for damage in ["", "{", "[1]", "{\"previous\": 5}"] {
            std::fs::write(path(dir.path(), "x"), damage).expect("own file");
            assert_eq!(Lineage::read(dir.path(), "x"), Lineage::default(), "{damage}");
        }
    }
}
