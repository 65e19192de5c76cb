//! Events as they come.

use crate::call::Positions;
use crate::error::{Error, chain};
use crate::stats;
use aya::maps::{Map, MapData, RingBuf};
use std::os::fd::{AsFd, BorrowedFd};

/// A ring of events. Poll its descriptor, and look now and then anyhow: its
/// programs wake nobody for each event.
pub struct Ring {
    ring: RingBuf<MapData>,
    positions: Positions,
    bytes: u64,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Ring {
    pub(crate) fn new(map: &'static str, found: Map) -> Result<Self, Error> {
        let failed = |error: &aya::maps::MapError| Error::Map { map, why: chain(error) };
        let ring = RingBuf::try_from(found).map_err(|error| failed(&error))?;
        let bytes = stats::of_ring(ring.as_fd()).unwrap_or_default();
        let positions =
            Positions::of(ring.as_fd()).map_err(|source| Error::Call { call: "mmap(ring)", source })?;
        Ok(Self { ring, positions, bytes })
    }

    /// How much was written until now, to be compared with [`Self::is_read`].
    pub fn written(&self) -> usize {
        self.positions.written()
    }

    /// Whether all that was written until then was given. It may not have been though
    /// [`Self::drain`] gives no more: one is reserved and not written to its end yet, and
    /// whoever writes it was interrupted; those after it wait.
    pub fn is_read(&self, until: usize) -> bool {
        self.positions.read().wrapping_sub(until).cast_signed() >= 0
    }

    /// Gives events in their order, at most so many; how many there were.
    pub fn drain(&mut self, most: usize, mut take: impl FnMut(&[u8])) -> usize {
        let mut count = 0;
        while count < most {
            let Some(event) = self.ring.next() else { break };
            take(&event);
            count += 1;
        }
        count
    }

    /// Bytes that it takes in the kernel.
    pub fn map_bytes(&self) -> u64 {
        self.bytes
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}
