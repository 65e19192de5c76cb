//! The ids of the containers that are shown, for the next start in the same boot.

use super::{private_dir, read_bounded};
use crate::files::Beside;
use crate::identity::ShownId;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// 50,000 containers with all that they are known by have some 20 MiB.
const MAX_BYTES: u64 = 64 << 20;

#[derive(Serialize, Deserialize)]
struct File<'a> {
    gantry_ids: u32,
    boot: std::borrow::Cow<'a, str>,
    ids: std::borrow::Cow<'a, [ShownId]>,
}

fn path(dir: &Path) -> PathBuf {
    dir.join("identity").join("ids.json")
}

pub(super) fn write(dir: &Path, boot: &str, ids: &[ShownId]) -> io::Result<()> {
    let file = File { gantry_ids: 1, boot: boot.into(), ids: ids.into() };
    let json = serde_json::to_vec(&file).map_err(io::Error::other)?;
    if json.len() as u64 > MAX_BYTES {
        return Err(io::Error::other(format!("{} bytes, where {MAX_BYTES} are the most", json.len())));
    }
    private_dir(&dir.join("identity"))?;
    // After a crash of the machine it is of another boot.
    Beside::write_unsynced(&path(dir), &json)?.take_place_unsynced()
}

/// None of another boot, nor of a file that cannot be read, which is said.
pub(super) fn read(dir: &Path, boot: &str) -> Vec<ShownId> {
    let path = path(dir);
    let read = read_bounded(&path, MAX_BYTES).and_then(|bytes| match bytes {
        Some(bytes) => serde_json::from_slice::<File<'_>>(&bytes).map(Some).map_err(io::Error::other),
        None => Ok(None),
    });
    match read {
        Ok(Some(file)) if file.gantry_ids == 1 && file.boot == boot && !boot.is_empty() => {
            file.ids.into_owned()
        }
        Ok(_) => Vec::new(),
        Err(error) => {
            tracing::warn!(
                "{}: {error}; containers wait for their names as if they were new",
                path.display()
            );
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_of_one_boot_and_damage_is_passed_over() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        assert_eq!(read(dir.path(), "boot"), []);
        let web = ShownId {
            key: "/docker/1".to_owned(),
            id: "/docker/web".to_owned(),
            app_id: String::new(),
            shared: false,
            named: true,
            handle: 7,
        };
        write(dir.path(), "boot", std::slice::from_ref(&web)).expect("own directory");
        assert_eq!(read(dir.path(), "boot"), [web]);
        assert_eq!(read(dir.path(), "another"), []);
        for damage in ["", "{", "{\"gantry_ids\":1}", "{\"gantry_ids\":2,\"boot\":\"boot\",\"ids\":[]}"] {
            std::fs::write(path(dir.path()), damage).expect("own file");
            assert_eq!(read(dir.path(), "boot"), [], "{damage}");
        }
    }
}
