//! What a program was built with, by the sections of its ELF file.

use object::Endianness;
use object::elf::{FileHeader32, FileHeader64};
use object::read::elf::{FileHeader, SectionHeader};
use object::read::{FileKind, ReadCache, ReadCacheOps};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

/// The most that is read of a comment section: a line of some 50 bytes for
/// each compiler that had a part in the program.
const MAX_COMMENT: u64 = 16 << 10;

/// The most that is read of one file in all: the section headers of the largest
/// programs take some KiB, names and comments as much.
const MAX_READ: u64 = 1 << 20;

/// `golang`, `rust` or `dotnet`; `None` for what is none of them or cannot be
/// told. Of a large file only its headers and two sections are read.
pub fn language(file: File) -> Option<&'static str> {
    let cache = ReadCache::new(Bounded { file, left: MAX_READ });
    match FileKind::parse(&cache).ok()? {
        FileKind::Elf64 => of(FileHeader64::<Endianness>::parse(&cache).ok()?, &cache),
        FileKind::Elf32 => of(FileHeader32::<Endianness>::parse(&cache).ok()?, &cache),
        _ => None,
    }
}

fn of<H: FileHeader<Endian = Endianness>>(header: &H, file: &ReadCache<Bounded>) -> Option<&'static str> {
    let endian = header.endian().ok()?;
    let sections = header.sections(endian, file).ok()?;
    let has = |name: &[u8]| sections.section_by_name(endian, name).is_some();
    // https://pkg.go.dev/debug/buildinfo
    if has(b".go.buildinfo") {
        return Some("golang");
    }
    // A program of .NET's native compiler, or one that carries its runtime.
    if has(b"__managedcode") || has(b".clr_uef") {
        return Some("dotnet");
    }
    let (_, comment) = sections.section_by_name(endian, b".comment")?;
    let size: u64 = comment.sh_size(endian).into();
    let text = (size <= MAX_COMMENT).then(|| comment.data(endian, file).ok())??;
    text.windows(RUSTC.len()).any(|window| window == RUSTC).then_some("rust")
}

/// What rustc writes into `.comment`; it stays when a program is stripped of symbols.
const RUSTC: &[u8] = b"rustc version";

/// A file of which no more than so much is read: headers may say anything.
#[derive(Debug)]
struct Bounded {
    file: File,
    left: u64,
}

impl ReadCacheOps for Bounded {
    fn len(&mut self) -> Result<u64, ()> {
        self.file.metadata().map(|metadata| metadata.len()).map_err(|_| ())
    }

    fn seek(&mut self, pos: u64) -> Result<u64, ()> {
        Seek::seek(&mut self.file, SeekFrom::Start(pos)).map_err(|_| ())
    }

    fn read(&mut self, buf: &mut [u8]) -> Result<usize, ()> {
        Read::read(&mut self.file, buf).map_err(|_| ())
    }

    fn read_exact(&mut self, buf: &mut [u8]) -> Result<(), ()> {
        self.left = self.left.checked_sub(buf.len() as u64).ok_or(())?;
        Read::read_exact(&mut self.file, buf).map_err(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn this_test_is_rust_and_the_shell_is_none() {
        let open = |path: &str| File::open(path).expect(path);
        assert_eq!(language(open("/proc/self/exe")), Some("rust"));
        assert_eq!(language(open("/bin/sh")), None);
    }

    #[test]
    fn what_is_no_program_is_none() {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"#!/bin/sh\n").expect("write");
        assert_eq!(language(file), None);
        let mut whole = Vec::new();
        File::open("/bin/sh").expect("sh").read_to_end(&mut whole).expect("read");
        for length in [4, 16, 63, 64, 100, 5000] {
            let mut cut = tempfile::tempfile().expect("a file");
            cut.write_all(&whole[..length]).expect("write");
            assert_eq!(language(cut), None, "{length} bytes");
        }
    }
}
