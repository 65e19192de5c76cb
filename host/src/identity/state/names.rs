//! Texts by which containers are found, as digests: a text would take five
//! times the room, and nobody asks for it back.

use ahash::RandomState;

/// Of a text. Its key is secret: nobody can choose texts that have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name([u64; 2]);

/// Makes them.
#[derive(Debug, Default)]
pub struct Names(RandomState);

impl Names {
    pub fn of(&self, text: &str) -> Name {
        Name([0_u8, 1].map(|salt| self.0.hash_one((salt, text))))
    }
}
