//! The file: 8-byte words in the machine's own order, since only this machine
//! reads it again. Every word is an atomic in the mapping, and a number when it
//! is read as a file.

use std::sync::atomic::AtomicU64;

/// `gantryC1`: another form has another number.
pub const MAGIC: u64 = u64::from_le_bytes(*b"gantryC1");

/// A plugin's name has at most 64 bytes.
pub const NAME_WORDS: usize = 8;

/// Threads that are in a plugin, and those that a plugin made: beyond, a thread
/// has no stamp.
pub const THREADS: usize = 512;

/// Mapped libraries: so many generations, and a warning long before.
pub const LIBRARIES: usize = 512;

/// In the place of a signal: the process called `exit`.
pub const EXIT: u64 = 1 << 32;

/// What is said of one thread.
#[repr(C)]
#[derive(Debug)]
pub struct Thread {
    /// 0: the place is free.
    pub tid: AtomicU64,
    /// The number of the call that it is in; 0: in none.
    pub call: AtomicU64,
    pub name: [AtomicU64; NAME_WORDS],
}

/// Where a plugin's library is mapped.
#[repr(C)]
#[derive(Debug)]
pub struct Library {
    pub from: AtomicU64,
    /// 0: the place is free.
    pub to: AtomicU64,
    pub name: [AtomicU64; NAME_WORDS],
}

/// The whole file.
#[repr(C)]
#[derive(Debug)]
pub struct File {
    pub magic: AtomicU64,
    /// Which boot of the machine, in two words.
    pub boot: [AtomicU64; 2],
    pub pid: AtomicU64,
    /// 1: the process ended as it should.
    pub ended: AtomicU64,
    /// The first fault: its signal, 0 while there is none; [`EXIT`] is none.
    pub signal: AtomicU64,
    pub fault_tid: AtomicU64,
    pub address: AtomicU64,
    /// 1: all of the fault is written.
    pub written: AtomicU64,
    pub threads: [Thread; THREADS],
    pub libraries: [Library; LIBRARIES],
}

/// Words of the file.
pub const WORDS: usize = size_of::<File>() / size_of::<u64>();

/// Where the words of each part begin.
pub const MAGIC_AT: usize = 0;
pub const BOOT_AT: usize = 1;
pub const PID_AT: usize = 3;
pub const ENDED_AT: usize = 4;
pub const SIGNAL_AT: usize = 5;
pub const FAULT_TID_AT: usize = 6;
pub const ADDRESS_AT: usize = 7;
pub const WRITTEN_AT: usize = 8;
pub const THREADS_AT: usize = 9;
pub const THREAD_WORDS: usize = 2 + NAME_WORDS;
pub const LIBRARIES_AT: usize = THREADS_AT + THREADS * THREAD_WORDS;
pub const LIBRARY_WORDS: usize = 2 + NAME_WORDS;

const _: () = assert!(WORDS == LIBRARIES_AT + LIBRARIES * LIBRARY_WORDS);
const _: () = assert!(std::mem::offset_of!(File, threads) == THREADS_AT * size_of::<u64>());
const _: () = assert!(std::mem::offset_of!(File, libraries) == LIBRARIES_AT * size_of::<u64>());
const _: () = assert!(std::mem::offset_of!(File, written) == WRITTEN_AT * size_of::<u64>());

/// A name in words; cut where it is too long.
pub fn name_words(name: &str) -> [u64; NAME_WORDS] {
    let mut words = [0; NAME_WORDS];
    for (word, bytes) in words.iter_mut().zip(name.as_bytes().chunks(8)) {
        let mut whole = [0; 8];
        whole[..bytes.len()].copy_from_slice(bytes);
        *word = u64::from_le_bytes(whole);
    }
    words
}

/// The name in words that were read from a file, which may hold anything.
pub fn name_of(words: &[u64]) -> String {
    let bytes: Vec<u8> =
        words.iter().flat_map(|word| word.to_le_bytes()).take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_long_ones_are_cut() {
        for name in ["", "node", "containers", &"x".repeat(64)] {
            assert_eq!(name_of(&name_words(name)), name);
        }
        assert_eq!(name_of(&name_words(&"y".repeat(70))), "y".repeat(64));
    }
}
