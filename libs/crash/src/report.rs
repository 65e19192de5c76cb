//! What a process before left, and whose doing its end was.

use crate::layout::*;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

/// What is known of the end of a process that did not end as it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The process.
    pub pid: u32,
    /// The signal of the first fault; `None` where there was none, or no handler
    /// ran: it was killed, or its stack overflowed on a thread without another one.
    pub signal: Option<i32>,
    /// It called `exit`.
    pub exited: bool,
    /// The address that was at fault; 0 where there is none.
    pub address: u64,
    /// The plugin, and why it is thought to be that one.
    pub culprit: Option<(String, Evidence)>,
    /// All that were in a call: by name, with the number of the call.
    pub in_calls: Vec<(String, u32)>,
}

/// Why a plugin is thought to have ended the process, the surest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// The thread at fault was in its call of that number.
    InCall(u32),
    /// The thread at fault is the plugin's own.
    OwnThread,
    /// The address at fault lies in its library.
    Address,
    /// Nobody saw a fault; it was the only one that was in a call.
    OnlyInCall(u32),
}

/// Reads what the last process left. `None`: there is nothing, it ended as it
/// should, or it was of another boot, whose end says nothing about plugins.
///
/// # Errors
/// Where the file is there and cannot be read.
pub fn read(path: &Path, boot: [u64; 2]) -> io::Result<Option<Report>> {
    let mut bytes = Vec::new();
    match fs::File::open(path) {
        Ok(file) => file.take((WORDS * 8) as u64).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let (words, _) = bytes.as_chunks::<8>();
    let words: Vec<u64> = words.iter().map(|word| u64::from_ne_bytes(*word)).collect();
    if words.len() != WORDS || words[MAGIC_AT] != MAGIC {
        return Ok(None);
    }
    if words[BOOT_AT..BOOT_AT + 2] != boot || words[ENDED_AT] == 1 {
        return Ok(None);
    }
    Ok(Some(report(&words)))
}

struct Thread {
    tid: u64,
    call: u32,
    name: String,
}

fn report(words: &[u64]) -> Report {
    let threads: Vec<Thread> = words[THREADS_AT..LIBRARIES_AT]
        .chunks_exact(THREAD_WORDS)
        .filter(|words| words[0] != 0 && words[0] != u64::MAX)
        .map(|words| Thread {
            tid: words[0],
            call: u32::try_from(words[1]).unwrap_or(u32::MAX),
            name: name_of(&words[2..]),
        })
        .collect();
    let is_whole = words[SIGNAL_AT] != 0 && words[WRITTEN_AT] == 1;
    let exited = is_whole && words[SIGNAL_AT] == EXIT;
    let signal = (is_whole && !exited).then(|| i32::try_from(words[SIGNAL_AT]).unwrap_or(0));
    let (tid, address) = if is_whole { (words[FAULT_TID_AT], words[ADDRESS_AT]) } else { (0, 0) };
    let in_calls: Vec<(String, u32)> = threads
        .iter()
        .filter(|thread| thread.call != 0)
        .map(|thread| (thread.name.clone(), thread.call))
        .collect();
    // A thread that calls one plugin may have been another's before.
    let at_fault = || {
        threads.iter().filter(|thread| is_whole && thread.tid == tid).max_by_key(|thread| thread.call != 0)
    };
    let by_address = || {
        let of = |words: &&[u64]| (words[0]..words[1]).contains(&address);
        let mut libraries = words[LIBRARIES_AT..].chunks_exact(LIBRARY_WORDS);
        libraries
            .find(|words| is_whole && words[1] != u64::MAX && of(words))
            .map(|words| name_of(&words[2..]))
    };
    let culprit = match at_fault() {
        Some(thread) if thread.call != 0 => Some((thread.name.clone(), Evidence::InCall(thread.call))),
        Some(thread) => Some((thread.name.clone(), Evidence::OwnThread)),
        None => by_address().map(|name| (name, Evidence::Address)),
    };
    // Without a fault it may have been the system that killed it.
    let alone = || match in_calls.as_slice() {
        [(name, call)] if !is_whole => Some((name.clone(), Evidence::OnlyInCall(*call))),
        _ => None,
    };
    let pid = u32::try_from(words[PID_AT]).unwrap_or(0);
    Report { pid, signal, exited, address, culprit: culprit.or_else(alone), in_calls }
}
