//! Who could have changed a plugin's file, and its bytes.

use rustix::fs::{FileType, Mode, OFlags};
use rustix::process::geteuid;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;

/// A larger file is no plugin. Ours are 1 to 5 MiB; debug builds reach 100.
const MAX_BYTES: u64 = 512 << 20;

/// A file's content, read once, and its digest.
#[derive(Debug)]
pub struct Bytes {
    pub content: Vec<u8>,
    /// sha256, 64 hexadecimal digits.
    pub digest: String,
    /// Whether the file and the directories that hold it and its link are root's.
    pub roots_own: bool,
}

/// Reads a file, if it and the directory that holds it belong to root or to
/// the agent's own user and are writable by nobody else. The file is opened
/// beneath the directory that was judged, so that nobody can exchange it in
/// between. Directories further up are not judged.
pub fn read(path: &Path) -> Result<Bytes, String> {
    let (content, roots_own) = content(path)?;
    let digest = digest(&content);
    Ok(Bytes { content, digest, roots_own })
}

/// As [`read`], without the digest: the content, and whether it is root's.
pub fn content(path: &Path) -> Result<(Vec<u8>, bool), String> {
    let real = path.canonicalize().map_err(|error| format!("cannot be resolved: {error}"))?;
    // A symbolic link can be turned by whoever owns the directory that holds it.
    let (_, links) = directory(path)?;
    let (dir, roots) = directory(&real)?;
    let name = real.file_name().ok_or("is not a file")?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::openat(&dir, name, flags, Mode::empty())
        .map_err(|error| format!("cannot be opened: {error}"))?;
    let mut roots_own = links && roots;
    let stat = rustix::fs::fstat(&file).map_err(|error| format!("fstat: {error}"))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err("is not a regular file; name the library itself".to_owned());
    }
    roots_own &= judge("it", stat.st_uid, stat.st_mode)?;
    let mut content = Vec::with_capacity(usize::try_from(stat.st_size).unwrap_or_default().min(64 << 20));
    File::from(file)
        .take(MAX_BYTES + 1)
        .read_to_end(&mut content)
        .map_err(|error| format!("cannot be read: {error}"))?;
    if content.len() as u64 > MAX_BYTES {
        return Err("is larger than 512 MiB; that is no plugin".to_owned());
    }
    Ok((content, roots_own))
}

/// The directory that holds a file, opened and judged, and whether root alone
/// can change it.
fn directory(file: &Path) -> Result<(OwnedFd, bool), String> {
    let parent = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(parent, flags, Mode::empty())
        .map_err(|error| format!("its directory {} cannot be opened: {error}", parent.display()))?;
    let stat = rustix::fs::fstat(&dir).map_err(|error| format!("fstat of its directory: {error}"))?;
    let roots = judge(&format!("its directory {}", parent.display()), stat.st_uid, stat.st_mode)?;
    Ok((dir, roots))
}

/// Whether root alone can change what lies at a path: every directory down to
/// it belongs to root and is writable by nobody else.
pub fn is_roots(real: &Path) -> bool {
    real.ancestors().skip(1).all(|dir| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::open(dir, flags, Mode::empty())
            .and_then(|dir| rustix::fs::fstat(&dir))
            .is_ok_and(|stat| stat.st_uid == 0 && stat.st_mode & 0o022 == 0)
    })
}

/// The sha256 of some bytes, in hexadecimal.
pub fn digest(content: &[u8]) -> String {
    Sha256::digest(content).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Whether root alone can change it, or an error where a stranger can.
fn judge(what: &str, owner: u32, mode: u32) -> Result<bool, String> {
    let own = geteuid().as_raw();
    if owner != 0 && owner != own {
        return Err(format!(
            "{what} belongs to user {owner}, neither root nor the agent's own user {own}; chown it"
        ));
    }
    if mode & 0o022 != 0 {
        let whom = if mode & 0o002 != 0 { "everybody" } else { "its group" };
        return Err(format!("{what} is writable by {whom} (mode {:04o}); chmod go-w", mode & 0o7777));
    }
    Ok(owner == 0)
}
