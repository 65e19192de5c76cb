//! Programs that go through what the kernel has, when they are asked. What they
//! find they write into a map, such as a ring.

use crate::call;
use crate::error::Error;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::ops::ControlFlow;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

/// A program that can be asked, as often as one likes.
#[derive(Debug)]
pub struct Iterator {
    link: OwnedFd,
}

impl Iterator {
    pub(crate) fn new(program: BorrowedFd<'_>, map: Option<BorrowedFd<'_>>) -> Result<Self, Error> {
        let link = call::link_iterator(program, map)
            .map_err(|source| Error::Call { call: "bpf(BPF_LINK_CREATE)", source })?;
        Ok(Self { link })
    }

    /// Runs it once through all there is. `pauses` is called where it is interrupted:
    /// the program wants to be asked for the same thing again, or it went through a
    /// million of them. `Ok(false)`: that gave it up.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub fn run(&self, pauses: &mut dyn FnMut() -> ControlFlow<()>) -> Result<bool, Error> {
        let failed = |call| move |source| Error::Call { call, source };
        let fd = call::create_iterator(self.link.as_fd()).map_err(failed("bpf(BPF_ITER_CREATE)"))?;
        let mut file = File::from(fd);
        // Its programs write elsewhere.
        let mut nothing = [0; 64];
        loop {
            match file.read(&mut nothing) {
                Ok(0) => return Ok(true),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if pauses().is_break() {
                        return Ok(false);
                    }
                }
                Err(error) => return Err(failed("read(bpf_iter)")(error)),
            }
        }
    }
}
