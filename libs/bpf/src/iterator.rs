//! Programs that go through what the kernel has, when they are asked.

use crate::call;
use crate::error::Error;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

/// The kernel fills at most 8 pages at a time (kernel/bpf/bpf_iter.c); with
/// more, a read is not shorter.
const BUFFER: usize = 32 << 10;

/// A program that can be asked, as often as one likes.
#[derive(Debug)]
pub struct Iterator {
    link: OwnedFd,
    buffer: Vec<u8>,
}

impl Iterator {
    pub(crate) fn new(program: BorrowedFd<'_>, map: Option<BorrowedFd<'_>>) -> Result<Self, Error> {
        let link = call::link_iterator(program, map)
            .map_err(|source| Error::Call { call: "bpf(BPF_LINK_CREATE)", source })?;
        Ok(Self { link, buffer: Vec::new() })
    }

    /// Runs it once through all there is, and gives each `size` bytes that it wrote.
    ///
    /// # Errors
    /// [`Error::Call`]; what came before it was given already.
    pub fn run(&mut self, size: usize, mut take: impl FnMut(&[u8])) -> Result<(), Error> {
        let failed = |call| move |source| Error::Call { call, source };
        let fd = call::create_iterator(self.link.as_fd()).map_err(failed("bpf(BPF_ITER_CREATE)"))?;
        let mut file = File::from(fd);
        self.buffer.resize(BUFFER + size, 0);
        let mut held = 0;
        loop {
            match file.read(&mut self.buffer[held..held + BUFFER]) {
                Ok(0) => return Ok(()),
                Ok(length) => held += length,
                // It had nothing to write for long, and lets others run.
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {
                    continue;
                }
                Err(error) => return Err(failed("read(bpf_iter)")(error)),
            }
            let mut whole = self.buffer[..held].chunks_exact(size);
            whole.by_ref().for_each(&mut take);
            // A record may lie across two reads.
            let rest = whole.remainder().len();
            self.buffer.copy_within(held - rest..held, 0);
            held = rest;
        }
    }
}
