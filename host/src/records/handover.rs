//! A plugin's hand-over as a file: from one start of the agent to the next in
//! the same boot. One that was written by an orderly end is whole; one that was
//! written while the agent ran may lack what was counted since.
//!
//! A line of JSON, then the plugin's bytes, then which of its series were shown
//! and since when they count, as the series' table gave them.

use super::{private_dir, read_bounded};
use crate::config::MOST_SERIES;
use crate::files::{Beside, write_and_rename};
use crate::supervisor::MAX_HANDOVER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Of the first line.
const MAX_HEAD: usize = 4096;

/// Of the marks: as many series as a plugin may have now, and as many that
/// were remembered and did not come back yet.
const MAX_MARKS: usize = 2 * MOST_SERIES;

/// One mark: the hash of a series, and since when it counts.
const MARK: usize = 16;

/// Of a file.
const MAX_BYTES: u64 = (MAX_HEAD + MAX_HANDOVER + MAX_MARKS * MARK) as u64;

/// When it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// At an orderly end.
    Stop,
    /// While the plugin ran.
    Snapshot,
}

/// What goes into a file.
#[derive(Debug)]
pub struct Written<'a> {
    pub when: When,
    pub version: &'a str,
    pub digest: &'a str,
    pub kept: &'a [u8],
    pub marks: &'a [(u64, f64)],
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    gantry_handover: u32,
    boot: String,
    when: When,
    version: String,
    digest: String,
    /// In seconds since 1970.
    at: f64,
    kept: usize,
    marks: usize,
    /// Of all that follows.
    sha256: String,
}

/// What was found of a plugin.
#[derive(Debug, PartialEq)]
pub enum Found {
    Good(Taken),
    None,
    /// Of another boot: what the kernel counts began anew since.
    OtherBoot,
    Damaged(String),
}

/// A good one.
#[derive(Debug, PartialEq)]
pub struct Taken {
    pub when: When,
    pub version: String,
    pub kept: Vec<u8>,
    pub marks: Vec<(u64, f64)>,
    /// How old it is, in seconds.
    pub age: f64,
}

fn path(dir: &Path, plugin: &str) -> PathBuf {
    dir.join("handover").join(plugin)
}

fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum Unwritten {
    /// The next start would not read it.
    #[error("it has {0}, and {1} are the most that are read")]
    TooLarge(String, usize),
    #[error(transparent)]
    Disk(#[from] std::io::Error),
}

impl Unwritten {
    /// As the label of a metric has it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TooLarge(..) => "too_large",
            Self::Disk(_) => "disk",
        }
    }
}

pub(super) fn write(dir: &Path, plugin: &str, boot: &str, written: &Written<'_>) -> Result<(), Unwritten> {
    let Written { when, version, digest: of_file, kept, marks } = written;
    if kept.len() > MAX_HANDOVER {
        return Err(Unwritten::TooLarge(format!("{} bytes", kept.len()), MAX_HANDOVER));
    }
    if marks.len() > MAX_MARKS {
        return Err(Unwritten::TooLarge(format!("{} series", marks.len()), MAX_MARKS));
    }
    let mut body = Vec::with_capacity(kept.len() + MARK * marks.len());
    body.extend_from_slice(kept);
    for (mark, since) in *marks {
        body.extend_from_slice(&mark.to_le_bytes());
        body.extend_from_slice(&since.to_le_bytes());
    }
    let head = Head {
        gantry_handover: 1,
        boot: boot.to_owned(),
        when: *when,
        version: (*version).to_owned(),
        digest: (*of_file).to_owned(),
        at: now(),
        kept: kept.len(),
        marks: marks.len(),
        sha256: digest(&body),
    };
    let mut bytes = serde_json::to_vec(&head).map_err(std::io::Error::other)?;
    if bytes.len() >= MAX_HEAD {
        return Err(Unwritten::TooLarge(format!("a head of {} bytes", bytes.len()), MAX_HEAD));
    }
    bytes.push(b'\n');
    bytes.append(&mut body);
    let path = path(dir, plugin);
    if let Some(dir) = path.parent() {
        private_dir(dir)?;
    }
    match when {
        When::Stop => write_and_rename(&path, &bytes, 0o600)?,
        // After a crash of the machine it is of another boot: it need not
        // survive one, and a disk need not wake for it.
        When::Snapshot => Beside::write_unsynced(&path, &bytes)?.take_place_unsynced()?,
    }
    Ok(())
}

/// What there is for a plugin. From then on the file counts as one of a plugin
/// that ran, which it does: used once more, after a crash, something is missing.
pub(super) fn take(dir: &Path, plugin: &str, boot: &str) -> Found {
    let path = path(dir, plugin);
    let bytes = match read_bounded(&path, MAX_BYTES) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Found::None,
        Err(error) => return Found::Damaged(error.to_string()),
    };
    match read(&bytes, boot) {
        Ok((head, taken)) => {
            if taken.when == When::Stop {
                let Taken { version, kept, marks, .. } = &taken;
                let again = Written { when: When::Snapshot, version, digest: &head.digest, kept, marks };
                if let Err(error) = write(dir, plugin, boot, &again) {
                    tracing::warn!("{}: {error}", path.display());
                }
            }
            Found::Good(taken)
        }
        Err(found) => found,
    }
}

fn read(bytes: &[u8], boot: &str) -> Result<(Head, Taken), Found> {
    let damaged = |why: &str| Found::Damaged(why.to_owned());
    let end = bytes
        .iter()
        .take(MAX_HEAD)
        .position(|byte| *byte == b'\n')
        .ok_or_else(|| damaged("it has no head"))?;
    let head: Head = serde_json::from_slice(&bytes[..end])
        .map_err(|error| Found::Damaged(format!("its head: {error}")))?;
    let body = &bytes[end + 1..];
    if head.gantry_handover != 1 {
        return Err(damaged("it is of another form"));
    }
    let length = head.marks.checked_mul(MARK).and_then(|marks| marks.checked_add(head.kept));
    if length != Some(body.len()) || head.kept > MAX_HANDOVER || digest(body) != head.sha256 {
        return Err(damaged("its content is not what its head says"));
    }
    if head.boot != boot || boot.is_empty() {
        return Err(Found::OtherBoot);
    }
    let (kept, marks) = body.split_at(head.kept);
    let (marks, _) = marks.as_chunks::<8>();
    let marks = marks.chunks_exact(2).map(|pair| (u64::from_le_bytes(pair[0]), f64::from_le_bytes(pair[1])));
    let taken = Taken {
        when: head.when,
        version: head.version.clone(),
        kept: kept.to_vec(),
        marks: marks.collect(),
        age: (now() - head.at).max(0.0),
    };
    Ok((head, taken))
}

pub(super) fn forget(dir: &Path, plugin: &str) {
    // Mostly there is none.
    let _ = std::fs::remove_file(path(dir, plugin));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(when: When) -> Written<'static> {
        Written {
            when,
            version: "1.0.0",
            digest: "d",
            kept: b"counts",
            marks: &[(7, 1.5), (9, f64::INFINITY)],
        }
    }

    #[test]
    fn it_is_whole_once_and_a_snapshot_from_then_on() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        assert_eq!(take(dir.path(), "x", "boot"), Found::None);
        write(dir.path(), "x", "boot", &written(When::Stop)).expect("own directory");
        for when in [When::Stop, When::Snapshot, When::Snapshot] {
            let Found::Good(taken) = take(dir.path(), "x", "boot") else { panic!("it is good") };
            assert_eq!((taken.when, &taken.kept[..]), (when, &b"counts"[..]));
            assert_eq!(taken.marks, [(7, 1.5), (9, f64::INFINITY)]);
        }
        use std::os::unix::fs::PermissionsExt;
        let mode = path(dir.path(), "x").metadata().expect("it is there").permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        forget(dir.path(), "x");
        assert_eq!(take(dir.path(), "x", "boot"), Found::None);
    }

    #[test]
    fn what_is_written_can_be_read_and_what_cannot_be_read_is_not_written() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let marks: Vec<(u64, f64)> = (0..100).map(|mark| (mark, 1.0)).collect();
        let kept = vec![7; MAX_HANDOVER];
        let most = Written { kept: &kept, marks: &marks, ..written(When::Snapshot) };
        write(dir.path(), "x", "boot", &most).expect("it is not too large");
        let Found::Good(taken) = take(dir.path(), "x", "boot") else { panic!("it is good") };
        assert_eq!((taken.kept.len(), taken.marks.len()), (MAX_HANDOVER, 100));
        let more = vec![7; MAX_HANDOVER + 1];
        let version = "1".repeat(MAX_HEAD);
        let many = vec![(1, 1.0); MAX_MARKS + 1];
        for too_large in [
            Written { kept: &more, ..written(When::Stop) },
            Written { version: &version, ..written(When::Stop) },
            Written { marks: &many, ..written(When::Stop) },
        ] {
            let error = write(dir.path(), "x", "boot", &too_large).expect_err("it is too large");
            assert_eq!(error.reason(), "too_large", "{error}");
        }
        assert!(matches!(take(dir.path(), "x", "boot"), Found::Good(_)), "what was there stays");
    }

    #[test]
    fn another_boot_and_damage_are_told_apart() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        write(dir.path(), "x", "boot", &written(When::Stop)).expect("own directory");
        assert_eq!(take(dir.path(), "x", "another"), Found::OtherBoot);
        let good = std::fs::read(path(dir.path(), "x")).expect("own file");
        let all = (0..good.len()).map(|cut| good[..cut].to_vec());
        let flipped = (0..good.len()).map(|at| {
            let mut bytes = good.clone();
            bytes[at] ^= 0x10;
            bytes
        });
        for bytes in all.chain(flipped) {
            std::fs::write(path(dir.path(), "x"), &bytes).expect("own file");
            // What is not covered by the digest is the head, which says little.
            if let Found::Good(taken) = take(dir.path(), "x", "boot") {
                assert_eq!((&taken.kept[..], taken.marks.len()), (&b"counts"[..], 2));
            }
        }
        std::fs::write(path(dir.path(), "x"), vec![b'{'; 1 << 20]).expect("own file");
        assert!(matches!(take(dir.path(), "x", "boot"), Found::Damaged(_)));
    }
}
