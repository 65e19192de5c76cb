//! What the state directory need not keep: files of plugins that nobody will
//! ask for again, and what a crash left half written.
//!
//! For the start of an agent, under the lock and before any plugin is opened:
//! later a stored file may be mapped, and the same path must not get another one.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Of each plugin so many of the newest files stay, whoever names them: those of
/// the sections are among them, and what is missing is stored again.
const NEWEST: usize = 4;

/// Of the state directory, where files are written beside their targets.
const WRITTEN_IN: [&str; 6] = ["store", "handover", "history", "lineage", "identity", "crash"];

/// Removes them; `named` are the digests by which records ask for a file. Gives
/// how many files of the store are gone. What cannot be removed stays.
pub fn sweep(state_dir: &Path, named: &BTreeSet<String>) -> usize {
    for dir in WRITTEN_IN {
        for file in files(&state_dir.join(dir)).into_iter().filter(|file| is_half_written(file)) {
            let _ = std::fs::remove_file(file);
        }
    }
    let mut plugins: HashMap<String, Vec<(SystemTime, PathBuf)>> = HashMap::new();
    for file in files(&state_dir.join("store")) {
        let Some((plugin, digest)) = stored(&file) else { continue };
        if named.contains(digest) {
            continue;
        }
        let Ok(modified) = file.symlink_metadata().and_then(|metadata| metadata.modified()) else { continue };
        plugins.entry(plugin.to_owned()).or_default().push((modified, file));
    }
    let mut gone = 0;
    for mut files in plugins.into_values() {
        files.sort_by_key(|(modified, _)| std::cmp::Reverse(*modified));
        for (_, file) in files.into_iter().skip(NEWEST) {
            if std::fs::remove_file(&file).is_ok() {
                gone += 1;
                let _ = std::fs::remove_file(file.with_extension("json"));
            }
        }
    }
    gone
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .map(|entry| entry.path())
        .collect()
}

/// `NAME-VERSION-DIGEST.so`, by which [`super::place`] stores: name and digest.
fn stored(file: &Path) -> Option<(&str, &str)> {
    let stem = file.file_name()?.to_str()?.strip_suffix(".so")?;
    let (name_and_version, digest) = stem.rsplit_once('-')?;
    // A name has no dot, so what begins like `1.` behind a hyphen is the version.
    let version = name_and_version.match_indices('-').map(|(at, _)| at).find(|at| {
        let behind = name_and_version[at + 1..].trim_start_matches(|digit: char| digit.is_ascii_digit());
        behind.len() < name_and_version.len() - at - 1 && behind.starts_with('.')
    })?;
    Some((&name_and_version[..version], digest))
}

/// `TARGET.tmp.PID.NUMBER`, by which [`crate::files`] writes.
fn is_half_written(file: &Path) -> bool {
    let mut parts = file.file_name().map_or(&b""[..], OsStr::as_bytes).rsplit(|byte| *byte == b'.');
    let mut number =
        || parts.next().is_some_and(|part| !part.is_empty() && part.iter().all(u8::is_ascii_digit));
    number() && number() && parts.next() == Some(b"tmp") && parts.next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_nobody_names_goes_but_for_the_newest() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = dir.path().join("store");
        std::fs::create_dir(&store).expect("own directory");
        let begin = SystemTime::now() - Duration::from_secs(1000);
        for number in 0..8_u32 {
            for ending in ["so", "json"] {
                let path = store.join(format!("tcp-2-1.{number}.0-d{number}.{ending}"));
                std::fs::write(&path, "").expect("own directory");
                let file = std::fs::File::options().write(true).open(&path).expect("written");
                file.set_modified(begin + Duration::from_secs(number.into())).expect("own file");
            }
        }
        for other in ["node-0.1.0-d1.so", "garbage.so", "notes", "node-0.1.0-d2.tmp.77.3", "odd.tmp.x.3"] {
            std::fs::write(store.join(other), "").expect("own directory");
        }
        std::fs::create_dir(dir.path().join("handover")).expect("own directory");
        std::fs::write(dir.path().join("handover/node.tmp.12.0"), "").expect("own directory");
        std::fs::write(dir.path().join("handover/node"), "").expect("own directory");

        assert_eq!(sweep(dir.path(), &["d1".to_owned()].into()), 3);
        let left = |dir: &Path| -> BTreeSet<String> {
            let name = |file: PathBuf| file.file_name().expect("a name").to_string_lossy().into_owned();
            files(dir).into_iter().map(name).collect()
        };
        let mut stay: BTreeSet<String> =
            ["node-0.1.0-d1.so", "garbage.so", "notes", "odd.tmp.x.3"].map(str::to_owned).into();
        for number in [1, 4, 5, 6, 7] {
            stay.extend(["so", "json"].map(|ending| format!("tcp-2-1.{number}.0-d{number}.{ending}")));
        }
        assert_eq!(left(&store), stay);
        assert_eq!(left(&dir.path().join("handover")), ["node".to_owned()].into());
        assert_eq!(sweep(dir.path(), &BTreeSet::new()), 1, "it is named no more");
        assert_eq!(sweep(&dir.path().join("absent"), &BTreeSet::new()), 0);
    }
}
