//! What outlives an instance, while the agent runs.

use std::sync::Arc;

/// A larger hand-over is not kept: 200,000 counters with long labels take 40 MiB.
pub const MAX_BYTES: usize = 64 << 20;

/// So many activations may fail with one hand-over before it is given up.
const MAX_REFUSALS: u32 = 2;

/// The last hand-over or snapshot of a plugin.
#[derive(Debug, Default)]
pub struct Kept {
    bytes: Option<Arc<[u8]>>,
    refusals: u32,
    /// It is what an instance handed over when it stopped in order.
    whole: bool,
}

impl Kept {
    /// For the next instance.
    pub fn get(&self) -> Option<Arc<[u8]>> {
        self.bytes.clone()
    }

    /// Keeps bytes in place of what was there. `false`: they are too many, and
    /// what was there stays.
    pub fn put(&mut self, bytes: &[u8]) -> bool {
        if bytes.len() > MAX_BYTES {
            return false;
        }
        // The snapshots of a plugin that counts nothing are all the same.
        if self.bytes.as_deref() != Some(bytes) {
            self.bytes = Some(bytes.into());
        }
        (self.refusals, self.whole) = (0, false);
        true
    }

    /// What was put last is all that there was.
    pub fn whole(&mut self) {
        self.whole = true;
    }

    /// Whether nothing was counted after it.
    pub fn is_whole(&self) -> bool {
        self.bytes.is_none() || self.whole
    }

    /// An activation failed with it. `true`: it was one too many, and it is gone.
    pub fn refused(&mut self) -> bool {
        self.refusals += 1;
        let given_up = self.bytes.is_some() && self.refusals >= MAX_REFUSALS;
        if given_up {
            self.bytes = None;
        }
        given_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_activations_fail_is_given_up() {
        let mut kept = Kept::default();
        assert!(!kept.refused() && !kept.refused(), "there is nothing to give up");
        assert!(kept.put(b"offsets"));
        assert!(!kept.refused());
        assert_eq!(kept.get().as_deref(), Some(&b"offsets"[..]));
        assert!(kept.refused());
        assert_eq!(kept.get(), None);
    }

    #[test]
    fn what_is_too_large_replaces_nothing() {
        let mut kept = Kept::default();
        assert!(kept.put(b"small"));
        assert!(!kept.put(&vec![0; MAX_BYTES + 1]));
        assert_eq!(kept.get().as_deref(), Some(&b"small"[..]));
    }
}
