//! The note of a fault that ended nothing: whoever it was handed on to made it
//! good, and what ends the process later is another one. So a look takes it back.
//!
//! A fault is not over while a handler is at work on it, as a crash reporter is for
//! seconds. The kernel blocks a signal in the thread that handles it, except for
//! handlers that ask for the opposite (`SA_NODEFER`): what such a one works at for
//! longer than from one look to the next is taken for made good.

use crate::fault;
use crate::layout::{EXIT, File};
use std::io::Read;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// More than the kernel writes of a thread.
const MOST: u64 = 16 << 10;

/// What is noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Note {
    signal: u64,
    tid: u64,
    address: u64,
}

/// Takes back the note of a fault of the calling thread, which is here, and of
/// another one's where `before`, the look before, saw the same one. What the next
/// look compares with.
pub(crate) fn take_back(file: &File, before: Option<Note>) -> Option<Note> {
    if file.written.load(Acquire) != 1 {
        return None;
    }
    let note = Note {
        signal: file.signal.load(Acquire),
        tid: file.fault_tid.load(Relaxed),
        address: file.address.load(Relaxed),
    };
    // Nothing comes back from an exit.
    if note.signal == EXIT {
        return None;
    }
    if note.tid == fault::tid() || (before == Some(note) && !is_handled(note)) {
        file.written.store(0, Release);
        file.signal.store(0, Release);
        return None;
    }
    Some(note)
}

/// Whether its thread is in a handler of its signal (Documentation/filesystems/proc.rst).
/// One that is no more, or cannot be asked, is not.
fn is_handled(note: Note) -> bool {
    let mut status = Vec::new();
    let path = format!("/proc/self/task/{}/status", note.tid);
    let read = std::fs::File::open(path).and_then(|file| file.take(MOST).read_to_end(&mut status));
    let status = String::from_utf8_lossy(&status);
    let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
    let blocked = blocked.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
    // Signals are counted from 1.
    read.is_ok() && blocked.is_some_and(|blocked| ((blocked << 1) >> note.signal.min(63)) & 1 == 1)
}
