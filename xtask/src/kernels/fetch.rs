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

/// Where the series are: 6.1 is bookworm's own, 5.10 the one before's.
const SOURCES: &str = "\
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm main
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm-backports main
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian-security bookworm-security main
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian-security bullseye-security main
";

/// Each names the newest kernel of its series. Those for clouds are built from
/// the same source, with fewer drivers: a third of the size.
const NEWEST: [&str; 2] = ["linux-image-cloud-amd64", "linux-image-6.12-cloud-amd64"];

/// The newest kernel of each series. Where the index cannot be had, those that
/// were unpacked before.
pub fn all(dir: &Path, series: &[&'static str]) -> Result<Vec<Kernel>> {
    let apt = Apt::new(dir)?;
    let index = apt.update().and_then(|()| apt.newest());
    if let Err(error) = &index {
        eprintln!("{error}; taking what was unpacked before");
    }
    let kernel = |&series: &&'static str| {
        let at = dir.join(series);
        if let Ok(index) = &index {
            let package = newest(index, series).ok_or_else(|| {
                Error::failed(format!(
                    "Debian's index has no kernel {series} by the name of {}",
                    NEWEST.join(" or ")
                ))
            })?;
            apt.unpack(&package, &at)?;
        }
        unpacked(series, &at)
    };
    series.iter().map(kernel).collect()
}

struct Apt {
    dir: PathBuf,
}

impl Apt {
    fn new(dir: &Path) -> Result<Self> {
        let dir = dir.join("apt");
        for part in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.join(part)).map_err(|error| at(&dir, &error))?;
        }
        for (name, text) in [("sources.list", SOURCES), ("status", "")] {
            let path = dir.join(name);
            fs::write(&path, text).map_err(|error| at(&path, &error))?;
        }
        Ok(Self { dir })
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

    /// What the index says of the packages that name the newest.
    fn newest(&self) -> Result<String> {
        let text = shell::output(self.command("apt-cache").arg("show").args(NEWEST))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Fetches and unpacks, where that is not done.
    fn unpack(&self, package: &str, into: &Path) -> Result<()> {
        let marker = into.join("package");
        if fs::read_to_string(&marker).is_ok_and(|unpacked| unpacked == package) {
            return Ok(());
        }
        if into.exists() {
            fs::remove_dir_all(into).map_err(|error| at(into, &error))?;
        }
        fs::create_dir_all(into).map_err(|error| at(into, &error))?;
        let mut command = self.command("apt-get");
        eprintln!("$ apt-get download {package}");
        shell::output(command.args(["download", package]).current_dir(into))?;
        let deb = find(into, |name| name.ends_with(".deb"))?;
        shell::output(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(into))?;
        fs::remove_file(&deb).map_err(|error| at(&deb, &error))?;
        fs::write(&marker, package).map_err(|error| at(&marker, &error))
    }
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
}
