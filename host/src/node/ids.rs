//! The labels that every series of this agent carries.

use crate::config::Paths;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The machine's two identities.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeIds {
    /// `/etc/machine-id` (machine-id(5)), else D-Bus's, else the DMI product
    /// UUID; without dashes. Empty where there is none.
    pub machine_id: String,
    /// DMI's product UUID (`/sys/class/dmi/id/product_uuid`, readable by root),
    /// as it is. Empty where there is none.
    pub system_uuid: String,
}

/// An id is 32 or 36 characters long.
const MAX_ID: u64 = 128;

impl NodeIds {
    pub fn read(paths: &Paths) -> Self {
        let dmi = paths.sys.join("class/dmi/id/product_uuid");
        let system_uuid = first_line(&dmi).unwrap_or_default();
        let machine_id = ["etc/machine-id", "var/lib/dbus/machine-id"]
            .iter()
            .find_map(|file| first_line(&paths.root.join(file)))
            .unwrap_or_else(|| system_uuid.clone())
            .replace('-', "");
        Self { machine_id, system_uuid }
    }
}

/// The trimmed first line; `None` where it is empty, unreadable or no text.
fn first_line(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(MAX_ID).read_to_string(&mut text).ok()?;
    let line = text.lines().next()?.trim();
    (!line.is_empty() && line != "uninitialized").then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(root: &Path) -> Paths {
        Paths {
            proc: root.join("proc"),
            sys: root.join("sys"),
            cgroup: root.join("sys/fs/cgroup"),
            root: root.to_owned(),
        }
    }

    fn write(root: &Path, file: &str, text: &str) {
        let path = root.join(file);
        std::fs::create_dir_all(path.parent().expect("a file in a directory")).expect("temporary directory");
        std::fs::write(path, text).expect("temporary file");
    }

    #[test]
    fn each_source_stands_in_for_the_one_before() {
        let root = tempfile::tempdir().expect("temporary directory");
        let root = root.path();
        assert_eq!(NodeIds::read(&paths(root)), NodeIds::default());
        write(root, "sys/class/dmi/id/product_uuid", "EC2-AB\n");
        assert_eq!(NodeIds::read(&paths(root)).machine_id, "EC2AB");
        write(root, "var/lib/dbus/machine-id", "dbus\n");
        assert_eq!(NodeIds::read(&paths(root)).machine_id, "dbus");
        write(root, "etc/machine-id", "uninitialized\n");
        assert_eq!(NodeIds::read(&paths(root)).machine_id, "dbus");
        write(root, "etc/machine-id", "0123-4567\nmore\n");
        let ids = NodeIds::read(&paths(root));
        assert_eq!((ids.machine_id.as_str(), ids.system_uuid.as_str()), ("01234567", "EC2-AB"));
    }
}
