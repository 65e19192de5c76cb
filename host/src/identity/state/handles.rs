//! The numbers by which plugins know containers.

use sha2::{Digest, Sha256};

/// Makes handles that are the same for the same container within a boot, also
/// after a restart of the agent: they are digests of what stays the same.
#[derive(Debug, Clone)]
pub struct Handles {
    boot: String,
}

impl Handles {
    /// `boot` is the kernel's id of this boot (`/proc/sys/kernel/random/boot_id`).
    pub fn new(boot: &str) -> Self {
        Self { boot: boot.to_owned() }
    }

    /// The handle of a container. `life` counts those that died so young that
    /// what they counted was folded: what comes after counts from zero.
    /// `taken` says which numbers are another's; among a million containers
    /// two have the same digest once in 30 million boots.
    pub fn make(&self, key: &str, life: u64, taken: impl Fn(u64) -> bool) -> u64 {
        let mut salt = 0_u64;
        loop {
            let mut digest = Sha256::new();
            for part in [self.boot.as_bytes(), key.as_bytes()] {
                digest.update(part);
                digest.update([0]);
            }
            digest.update(life.to_le_bytes());
            digest.update(salt.to_le_bytes());
            let bytes = digest.finalize();
            let number = bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
            if number != 0 && !taken(number) {
                return number;
            }
            salt += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_within_a_boot_and_another_after_it() {
        let handles = Handles::new("boot-1");
        let one = handles.make("docker:abc", 0, |_| false);
        assert_ne!(one, 0);
        assert_eq!(one, Handles::new("boot-1").make("docker:abc", 0, |_| false));
        for other in [
            handles.make("docker:abd", 0, |_| false),
            handles.make("docker:abc", 1, |_| false),
            Handles::new("boot-2").make("docker:abc", 0, |_| false),
            handles.make("docker:abc", 0, |number| number == one),
        ] {
            assert_ne!(other, one);
        }
    }
}
