//! The file system that a kernel begins with: a cpio archive, as
//! `Documentation/driver-api/early-userspace/buffer-format.rst` says.

use crate::shell::{Error, Result};
use cpio::newc::{self, Builder, ModeFileType};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// An archive that is being written. All is root's.
pub struct Archive {
    path: PathBuf,
    out: BufWriter<File>,
    made: BTreeSet<PathBuf>,
    number: u32,
}

impl Archive {
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).map_err(|error| at(path, &error))?;
        Ok(Self { path: path.to_owned(), out: BufWriter::new(file), made: BTreeSet::new(), number: 0 })
    }

    /// A file of this machine, under the path that it has here. Its links are
    /// followed; a second time it is passed over.
    pub fn same(&mut self, path: &Path) -> Result<()> {
        if self.made.contains(path) {
            return Ok(());
        }
        let bytes = std::fs::read(path).map_err(|error| at(path, &error))?;
        self.file(path, &bytes)
    }

    /// A file that can be executed.
    pub fn file(&mut self, path: &Path, bytes: &[u8]) -> Result<()> {
        self.entry(path, ModeFileType::Regular, 0o755, bytes)
    }

    pub fn directory(&mut self, path: &Path) -> Result<()> {
        if path == Path::new("/") || self.made.contains(path) {
            return Ok(());
        }
        self.entry(path, ModeFileType::Directory, 0o755, &[])
    }

    /// Where the kernel writes before anything is mounted.
    pub fn console(&mut self) -> Result<()> {
        self.above(Path::new("/dev/console"))?;
        let entry = self.next("dev/console", 0o600).rdev_major(5).rdev_minor(1);
        self.write(entry.set_mode_file_type(ModeFileType::Char), &[])
    }

    fn entry(&mut self, path: &Path, kind: ModeFileType, mode: u32, bytes: &[u8]) -> Result<()> {
        self.above(path)?;
        let name = path.strip_prefix("/").unwrap_or(path).to_string_lossy().into_owned();
        let entry = self.next(&name, mode).set_mode_file_type(kind);
        self.made.insert(path.to_owned());
        self.write(entry, bytes)
    }

    fn above(&mut self, path: &Path) -> Result<()> {
        path.parent().map_or(Ok(()), |above| self.directory(above))
    }

    fn next(&mut self, name: &str, mode: u32) -> Builder {
        self.number += 1;
        Builder::new(name).ino(self.number).nlink(1).mode(mode)
    }

    fn write(&mut self, entry: Builder, bytes: &[u8]) -> Result<()> {
        let path = self.path.clone();
        let size = u32::try_from(bytes.len())
            .map_err(|_| Error::failed("a file of 4 GiB does not fit into an archive of this form"))?;
        let mut writer = entry.write(&mut self.out, size);
        writer.write_all(bytes).map_err(|error| at(&path, &error))?;
        writer.finish().map(drop).map_err(|error| at(&path, &error))
    }

    pub fn finish(mut self) -> Result<PathBuf> {
        newc::trailer(&mut self.out).map_err(|error| at(&self.path, &error))?;
        self.out.flush().map_err(|error| at(&self.path, &error))?;
        Ok(self.path)
    }
}

fn at(path: &Path, error: &std::io::Error) -> Error {
    Error::failed(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_come_before_what_is_in_them_and_once() {
        let path = std::env::temp_dir().join(format!("gantry-archive-{}", std::process::id()));
        let mut archive = Archive::create(&path).unwrap();
        archive.file(Path::new("/a/b/one"), b"1").unwrap();
        archive.file(Path::new("/a/b/two"), b"22").unwrap();
        archive.console().unwrap();
        let mut file = File::open(archive.finish().unwrap()).unwrap();
        let mut names = Vec::new();
        loop {
            let reader = newc::Reader::new(file).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            names.push(format!("{}:{}", reader.entry().name(), reader.entry().file_size()));
            file = reader.finish().unwrap();
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(names, ["a:0", "a/b:0", "a/b/one:1", "a/b/two:2", "dev:0", "dev/console:0"]);
    }
}
