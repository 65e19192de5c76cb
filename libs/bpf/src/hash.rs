//! A hash of an object, by a descriptor of its own: whoever has it needs nothing else.

use crate::error::{Error, chain};
use aya::maps::{HashMap, Map, MapData, MapError};
use std::os::fd::AsFd as _;

/// Entries that are gone through at once.
const MOST: usize = 1 << 20;

/// A hash from `u64` to `u64`. Each entry is a system call or two.
#[derive(Debug)]
pub struct Hash {
    map: &'static str,
    hash: HashMap<MapData, u64, u64>,
}

impl Hash {
    pub(crate) fn new(map: &'static str, data: &MapData) -> Result<Self, Error> {
        let failed = |error: MapError| Error::Map { map, why: chain(&error) };
        let fd = data
            .fd()
            .as_fd()
            .try_clone_to_owned()
            .map_err(|source| Error::Call { call: "fcntl(F_DUPFD_CLOEXEC)", source })?;
        let own = Map::HashMap(MapData::from_fd(fd).map_err(failed)?);
        Ok(Self { map, hash: own.try_into().map_err(failed)? })
    }

    /// Takes away the entries that are not to stay.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn retain(&mut self, mut stays: impl FnMut(u64, u64) -> bool) -> Result<(), Error> {
        // What cannot be read was taken away meanwhile; and who puts in what is gone
        // through at the same time keeps nobody here for ever.
        let old = self.hash.iter().take(MOST).flatten().filter(|(key, value)| !stays(*key, *value));
        let old: Vec<u64> = old.map(|(key, _)| key).collect();
        for key in old {
            match self.hash.remove(&key) {
                Ok(()) | Err(MapError::KeyNotFound) => {}
                Err(error) => return Err(Error::Map { map: self.map, why: chain(&error) }),
            }
        }
        Ok(())
    }
}
