//! Debian's kernels, unpacked beside what is built. apt does it, with a state
//! of its own: signatures are checked, and nothing is installed.

use super::{list, modules};
use crate::shell::{self, Error, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A kernel that can be booted.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// `6.1`
    pub series: &'static str,
    /// As `uname -r` says.
    pub version: String,
    pub image: PathBuf,
    /// In the order in which they are loaded.
    pub modules: Vec<PathBuf>,
}

/// Where a series is, of Debian's archive: 6.1 is bookworm's own, 5.10 the one
/// before's. Each has an index of its own, so that one that goes takes no other.
fn sources(series: &str) -> &'static [&'static str] {
    match series {
        "5.10" => &["debian-security bullseye-security"],
        "6.1" => &["debian bookworm", "debian-security bookworm-security"],
        _ => &["debian bookworm-backports", "debian-security bookworm-security"],
    }
}

/// Whose signatures are believed. Debian's own systems have it; Ubuntu's have a
/// package of it.
pub const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Each names the newest kernel of its series. Those for clouds are built from
/// the same source, with fewer drivers: a third of the size.
const NEWEST: [&str; 2] = ["linux-image-cloud-amd64", "linux-image-6.12-cloud-amd64"];

/// The newest kernel of each series. Where it cannot be had, the one that was
/// unpacked before.
pub fn all(dir: &Path, series: &[&'static str]) -> Result<Vec<Kernel>> {
    if std::env::consts::ARCH != "x86_64" {
        return Err(Error::failed(format!(
            "the kernels and their machine are those of x86_64, and this is {}; run it on x86_64",
            std::env::consts::ARCH
        )));
    }
    let kernel = |&series: &&'static str| {
        let at = dir.join(series);
        let fetched = Apt::new(dir, series).and_then(|apt| {
            let package = newest(&apt.newest()?, series).ok_or_else(|| {
                Error::failed(format!(
                    "Debian's index has no kernel {series} by the name of {}",
                    NEWEST.join(" or ")
                ))
            })?;
            apt.unpack(&package, &at)
        });
        match (fetched, unpacked(series, &at)) {
            (Ok(()), kernel) => kernel,
            (Err(error), Ok(kernel)) => {
                eprintln!("{error}; taking {}, which was unpacked before", kernel.version);
                Ok(kernel)
            }
            (Err(error), Err(_)) => Err(error),
        }
    };
    series.iter().map(kernel).collect()
}

struct Apt {
    dir: PathBuf,
}

impl Apt {
    /// The one of a series, up to date.
    fn new(dir: &Path, series: &str) -> Result<Self> {
        let dir = dir.join("apt").join(series);
        for part in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.join(part)).map_err(|error| at(&dir, &error))?;
        }
        let source = |of: &&str| format!("deb [signed-by={KEYRING}] http://deb.debian.org/{of} main\n");
        let sources: String = sources(series).iter().map(source).collect();
        for (name, text) in [("sources.list", sources.as_str()), ("status", "")] {
            let path = dir.join(name);
            fs::write(&path, text).map_err(|error| at(&path, &error))?;
        }
        let apt = Self { dir };
        apt.update()?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let places = [
            ("Dir::Etc::sourcelist", "sources.list"),
            ("Dir::State", "state"),
            ("Dir::State::status", "status"),
            ("Dir::Cache", "cache"),
        ];
        for (option, place) in places {
            command.arg("-o").arg(format!("{option}={}", self.dir.join(place).display()));
        }
        // No sources of the system's, and no other user, who could not write here.
        command.args([
            "-q",
            "-o",
            "Dir::Etc::sourceparts=-",
            "-o",
            "APT::Sandbox::User=",
            "-o",
            "APT::Architecture=amd64",
        ]);
        command.current_dir(&self.dir).stdin(Stdio::null());
        command
    }

    fn update(&self) -> Result<()> {
        let mut command = self.command("apt-get");
        // Else a source that does not answer is a warning.
        shell::output(command.args(["-o", "APT::Update::Error-Mode=any", "update"])).map(drop)
    }

    /// What the index says of the packages that name the newest. Of one that no
    /// source of this series has nothing is said.
    fn newest(&self) -> Result<String> {
        let mut text = String::new();
        for package in NEWEST {
            // Of one that the sources do not have apt-cache complains and fails, which is no trouble.
            let mut command = self.command("apt-cache");
            let found = command
                .args(["show", package])
                .output()
                .map_err(|error| shell::not_started(&command, &error))?;
            text.push_str(&String::from_utf8_lossy(&found.stdout));
            text.push_str("\n\n");
        }
        Ok(text)
    }

    /// Fetches and unpacks, where that is not done. What was there stays until
    /// the new one is whole.
    fn unpack(&self, package: &str, into: &Path) -> Result<()> {
        if fs::read_to_string(into.join(MARKER)).is_ok_and(|unpacked| unpacked == package) {
            return Ok(());
        }
        let beside = beside(into, "new");
        remove(&beside)?;
        fs::create_dir_all(&beside).map_err(|error| at(&beside, &error))?;
        let mut command = self.command("apt-get");
        eprintln!("$ apt-get download {package}");
        shell::output(command.args(["download", package]).current_dir(&beside))?;
        let deb = find(&beside, |name| name.ends_with(".deb"))?;
        shell::output(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&beside))?;
        fs::remove_file(&deb).map_err(|error| at(&deb, &error))?;
        let marker = beside.join(MARKER);
        fs::write(&marker, package).map_err(|error| at(&marker, &error))?;
        replace(&beside, into)
    }
}

/// Which package was unpacked.
const MARKER: &str = "package";

/// A series is no file's extension.
fn beside(directory: &Path, what: &str) -> PathBuf {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    directory.with_file_name(format!("{name}.{what}"))
}

fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(at(directory, &error)),
        _ => Ok(()),
    }
}

/// A directory takes the place of another, which is there until then.
fn replace(new: &Path, old: &Path) -> Result<()> {
    let away = beside(old, "old");
    remove(&away)?;
    if old.exists() {
        fs::rename(old, &away).map_err(|error| at(old, &error))?;
    }
    fs::rename(new, old).map_err(|error| at(new, &error))?;
    remove(&away)
}

/// The package of the newest kernel of a series.
fn newest(index: &str, series: &str) -> Option<String> {
    let of = |paragraph: &str| {
        let field =
            |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let version = field("Version").filter(|version| version.starts_with(&format!("{series}.")))?;
        let package = field("Depends")?.split([' ', ',']).next()?;
        Some((numbers(version), package.to_owned()))
    };
    index.split("\n\n").filter_map(of).max().map(|(_, package)| package)
}

/// `6.1.192-2` as numbers, which compare as versions do.
fn numbers(version: &str) -> Vec<u64> {
    version.split(|letter: char| !letter.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

/// What was unpacked there.
fn unpacked(series: &'static str, dir: &Path) -> Result<Kernel> {
    let image = find(&dir.join("boot"), |name| name.starts_with("vmlinuz-"))?;
    let name = image.file_name().unwrap_or_default().to_string_lossy();
    let version = name.trim_start_matches("vmlinuz-").to_owned();
    let modules = modules::with_needed(&dir.join("lib/modules").join(&version), list::MODULES)?;
    Ok(Kernel { series, version, image, modules })
}

fn find(dir: &Path, is_it: impl Fn(&str) -> bool) -> Result<PathBuf> {
    let entries = fs::read_dir(dir).map_err(|error| {
        Error::failed(format!("{}: {error}; the kernels come from deb.debian.org once", dir.display()))
    })?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let found = names.filter(|name| is_it(name)).max();
    found
        .map(|name| dir.join(name))
        .ok_or_else(|| Error::failed(format!("{}: what apt fetched is not there", dir.display())))
}

fn at(path: &Path, error: &std::io::Error) -> Error {
    Error::failed(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_a_series_is_found() {
        let index = "\
Package: linux-image-cloud-amd64
Version: 6.12.95-1~bpo12+1
Depends: linux-image-6.12.95+deb12-cloud-amd64 (= 6.12.95-1~bpo12+1)

Package: linux-image-cloud-amd64
Version: 6.1.92-2
Depends: linux-image-6.1.0-50-cloud-amd64 (= 6.1.92-2)

Package: linux-image-cloud-amd64
Version: 6.1.176-1
Depends: linux-image-6.1.0-56-cloud-amd64 (= 6.1.176-1)

Package: linux-image-6.12-cloud-amd64
Version: 6.12.117-1~deb12u1
Depends: linux-image-6.12.117+deb12-cloud-amd64 (= 6.12.117-1~deb12u1), other
";
        let newest = |series| newest(index, series);
        assert_eq!(newest("6.1").as_deref(), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(newest("6.12").as_deref(), Some("linux-image-6.12.117+deb12-cloud-amd64"));
        assert_eq!(newest("5.10"), None);
    }

    #[test]
    fn what_was_unpacked_stays_until_the_new_one_is_whole() {
        let dir = std::env::temp_dir().join(format!("gantry-xtask-{}", std::process::id()));
        let (old, new) = (dir.join("6.1"), beside(&dir.join("6.1"), "new"));
        assert_ne!(new, beside(&dir.join("6.12"), "new"));
        for (at, text) in [(&old, "old"), (&new, "new")] {
            fs::create_dir_all(at).expect("a directory");
            fs::write(at.join(MARKER), text).expect("a file");
        }
        // What an interrupted run left.
        fs::create_dir_all(beside(&old, "old")).expect("a directory");
        replace(&new, &old).expect("it is in its place");
        assert_eq!(fs::read_to_string(old.join(MARKER)).expect("a file"), "new");
        assert!(!new.exists() && !beside(&old, "old").exists());
        // Without a new one nothing changes.
        assert!(replace(&new, &dir.join("6.12")).is_err());
        remove(&dir).expect("it is ours");
        remove(&dir).expect("it is gone");
    }

    #[test]
    fn each_series_has_sources_of_its_own() {
        assert!(
            list::TESTS.len() > 1 && super::super::SERIES.iter().all(|series| !sources(series).is_empty())
        );
        assert!(
            sources("5.10").iter().all(|source| source.contains("bullseye")),
            "one that goes takes no other"
        );
        assert!(!sources("6.1").iter().chain(sources("6.12")).any(|source| source.contains("bullseye")));
    }
}
