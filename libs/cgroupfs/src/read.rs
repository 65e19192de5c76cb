//! Reading a whole small file, with a bound.

use crate::Error;
use rustix::fs::OFlags;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Reads a whole file into `buffer`, whose room is used again.
///
/// # Errors
/// [`Error::Io`], or [`Error::TooLarge`] if it has more than `limit` bytes; the
/// buffer is empty then.
pub fn whole(path: &Path, limit: usize, buffer: &mut Vec<u8>) -> Result<(), Error> {
    buffer.clear();
    // A FIFO in its place, where the tree is not the kernel's, would hold the reader for ever.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = file.map_err(|source| Error::io(path, source))?;
    let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    if let Err(source) = file.take(bound).read_to_end(buffer) {
        buffer.clear();
        return Err(Error::io(path, source));
    }
    if buffer.len() > limit {
        *buffer = Vec::new();
        return Err(Error::TooLarge { path: path.to_owned(), limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_exact_and_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        std::fs::write(&path, [b'x'; 10]).expect("written");
        let mut buffer = Vec::new();
        whole(&path, 10, &mut buffer).expect("as large as allowed");
        assert_eq!(buffer, [b'x'; 10]);
        let error = whole(&path, 9, &mut buffer).expect_err("too large");
        assert!(matches!(error, Error::TooLarge { limit: 9, .. }));
        assert!(error.to_string().contains(path.to_str().expect("a text")));
        assert!(buffer.is_empty());
        let error = whole(dir.path(), 9, &mut buffer).expect_err("a directory");
        assert!(matches!(error, Error::Io { .. }));
    }
}
