//! Where verified bytes are opened from: a path that never had, and never
//! gets, other content. The dynamic linker gives the old library for a path it
//! has open, and a file that is overwritten in place kills the process.
//!
//! In order: the content-addressed store; where that cannot be written or
//! executed from, the file where it is, if root alone can change it; else a
//! sealed memory file that stays open.

use super::Verified;
use super::trust::is_roots;
use crate::files::write_and_rename;
use gantry_plugin_api::description::Description;
use rustix::fs::{MemfdFlags, SealFlags, StatVfsMountFlags};
use std::collections::HashMap;
use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Places files for one agent.
#[derive(Debug)]
pub struct Placer {
    store: PathBuf,
    /// Files that were opened where they are, with their digests, and sealed
    /// memory files, which must stay open: a descriptor that is used again has
    /// the same path.
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    in_place: HashMap<PathBuf, String>,
    sealed: HashMap<String, OwnedFd>,
}

/// A path that may be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the store.
    Store(PathBuf),
    /// Where the operator put it.
    AsItLies(PathBuf),
    /// A sealed memory file, by the path of its descriptor.
    Sealed(PathBuf),
}

impl Place {
    pub fn path(&self) -> &Path {
        match self {
            Self::Store(path) | Self::AsItLies(path) | Self::Sealed(path) => path,
        }
    }

    /// Keeps what the child said beside the stored file. A file that cannot be
    /// written costs nothing but itself.
    pub fn keep_description(&self, description: &Description, log: &mut dyn FnMut(String)) {
        let Self::Store(path) = self else { return };
        let path = path.with_extension("json");
        let written = serde_json::to_vec(description)
            .map_err(io::Error::other)
            .and_then(|json| write_and_rename(&path, &json, 0o444));
        if let Err(error) = written {
            log(format!("{} could not be written: {error}", path.display()));
        }
    }
}

impl Placer {
    pub fn new(state_dir: &Path) -> Self {
        Self { store: state_dir.join("store"), kept: Mutex::default() }
    }

    /// A place for these bytes; the same one for the same bytes.
    pub fn place(&self, verified: &Verified, log: &mut dyn FnMut(String)) -> Result<Place, String> {
        let stored = match self.store(verified) {
            Ok(path) => return Ok(Place::Store(path)),
            Err(error) => error,
        };
        let fallback = self.in_place(verified).map(Place::AsItLies);
        let place = match fallback {
            Some(place) => place,
            None => Place::Sealed(self.seal(verified).map_err(|error| {
                format!("it can be opened neither from the store ({stored}) nor from memory (memfd_create: {error})")
            })?),
        };
        let instead = match &place {
            Place::AsItLies(_) => "is opened where it is; do not overwrite it, rename a new file over it",
            _ => "is opened from memory",
        };
        log(format!("the store cannot be used ({stored}); {} {instead}", verified.source.display()));
        Ok(place)
    }

    fn store(&self, verified: &Verified) -> Result<PathBuf, String> {
        let at = |error: io::Error| format!("{}: {error}", self.store.display());
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&self.store).map_err(at)?;
        let metadata = std::fs::symlink_metadata(&self.store).map_err(at)?;
        let own = rustix::process::geteuid().as_raw();
        if !metadata.is_dir() || metadata.uid() != own || metadata.mode() & 0o077 != 0 {
            return Err(format!(
                "{}: must be a directory of user {own} with mode 0700; mend or remove it",
                self.store.display()
            ));
        }
        let flags = rustix::fs::statvfs(&self.store).map_err(|error| at(error.into()))?.f_flag;
        if flags.contains(StatVfsMountFlags::NOEXEC) {
            return Err(format!("{}: its file system is mounted noexec", self.store.display()));
        }
        let manifest = &verified.manifest;
        let name = format!("{}-{}-{}.so", manifest.name, manifest.version, verified.bytes.digest);
        let path = self.store.join(name);
        // A stored file is trusted by its content, not by its name.
        if std::fs::read(&path).is_ok_and(|stored| stored == verified.bytes.content) {
            return Ok(path);
        }
        write_and_rename(&path, &verified.bytes.content, 0o555).map_err(at)?;
        Ok(path)
    }

    fn in_place(&self, verified: &Verified) -> Option<PathBuf> {
        if !verified.bytes.roots_own {
            return None;
        }
        let path = verified.source.canonicalize().ok()?;
        // It is opened by its path, twice, after it was judged.
        if !is_roots(&path) {
            return None;
        }
        let flags = rustix::fs::statvfs(&path).ok()?.f_flag;
        if flags.contains(StatVfsMountFlags::NOEXEC) {
            return None;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let digest = kept.in_place.entry(path.clone()).or_insert_with(|| verified.bytes.digest.clone());
        (*digest == verified.bytes.digest).then_some(path)
    }

    fn seal(&self, verified: &Verified) -> io::Result<PathBuf> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let digest = &verified.bytes.digest;
        if let Some(open) = kept.sealed.get(digest) {
            return Ok(descriptor_path(open));
        }
        let name = format!("gantry-{}", verified.manifest.name);
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        // Linux 6.3 and later can forbid executable memory files unless asked
        // for; earlier ones do not know the flag.
        let fd = rustix::fs::memfd_create(&name, flags | MemfdFlags::EXEC)
            .or_else(|_| rustix::fs::memfd_create(&name, flags))?;
        let mut file = File::from(fd);
        file.write_all(&verified.bytes.content)?;
        let fd = OwnedFd::from(file);
        rustix::fs::fcntl_add_seals(
            &fd,
            SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
        )?;
        let path = descriptor_path(&fd);
        kept.sealed.insert(digest.clone(), fd);
        Ok(path)
    }
}

/// By the process's number and not by `self`: the child that tries it opens
/// it by the same path.
fn descriptor_path(fd: &OwnedFd) -> PathBuf {
    format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd()).into()
}
