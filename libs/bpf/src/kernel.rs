//! The running kernel's types.

use crate::error::{Error, chain};
use aya::{Btf, Endianness};
use std::path::Path;

/// The kernel's BTF, parsed: some 35 MB of memory, for as long as objects are
/// being loaded. What it took goes back to the system when it is dropped.
#[derive(Debug)]
pub struct Kernel {
    pub(crate) btf: Option<Btf>,
}

impl Kernel {
    /// Reads the types that the kernel tells beneath `sys` (`/sys`).
    ///
    /// # Errors
    /// [`Error::NoBtf`]: none of its types are known, and no program can be loaded.
    pub fn open(sys: &Path) -> Result<Self, Error> {
        let path = sys.join("kernel/btf/vmlinux");
        match Btf::parse_file(&path, Endianness::default()) {
            Ok(btf) => Ok(Self { btf: Some(btf) }),
            Err(error) => Err(Error::NoBtf { path, why: chain(&error) }),
        }
    }

    /// Whether the kernel tells its types at all.
    pub fn has_btf(sys: &Path) -> bool {
        sys.join("kernel/btf/vmlinux").is_file()
    }

    pub(crate) fn btf(&self) -> &Btf {
        self.btf.as_ref().expect("taken away by drop alone")
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.btf = None;
        gantry_malloc::give_back_what_is_free();
    }
}
