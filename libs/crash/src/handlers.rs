//! Whether the handlers of faults are still this process's own. Whatever runs in
//! it may put others in their place, as a crash reporter does: then nobody would
//! note a fault. They are put back, in front of those that took their place.

use crate::fault::{self, SIGNALS};
use crate::layout::File;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize};
use std::sync::{Mutex, PoisonError};

/// What took the place of the own handler last, by the place of the signal. It is
/// never freed: a handler may be reading it.
static THEIRS: [AtomicPtr<libc::sigaction>; SIGNALS.len()] =
    [const { AtomicPtr::new(ptr::null_mut()) }; SIGNALS.len()];

/// A fault was handed on to it, which is in place since.
static HANDED: [AtomicBool; SIGNALS.len()] = [const { AtomicBool::new(false) }; SIGNALS.len()];

/// So many different ones are remembered; whoever sets more of them wins.
const MOST: usize = 64;
static KEPT: AtomicUsize = AtomicUsize::new(0);

/// Two that look at once would put back what the other one just did.
static LOOKING: Mutex<()> = Mutex::new(());

/// What a look found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// The signals whose handler was another one.
    pub signals: Vec<i32>,
    /// The address of the first of those handlers; 0 and 1 are no functions, but
    /// the default and to be ignored.
    pub handler: u64,
    /// The own ones are in place again.
    pub are_back: bool,
}

/// To whom a fault goes on, before whoever had the signal at first. Once: a handler
/// that calls the one that it found in its place would call this one for ever.
pub(crate) fn next(place: usize) -> *const libc::sigaction {
    let theirs = THEIRS[place].load(Acquire);
    if theirs.is_null() || HANDED[place].swap(true, AcqRel) { ptr::null() } else { theirs.cast_const() }
}

/// Puts the own handlers back where they are not in place.
#[allow(unsafe_code, reason = "signal handlers are asked for and set by nothing safe")]
pub(crate) fn look(file: &File) -> Option<Replaced> {
    let _alone = LOOKING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut found = Replaced { signals: Vec::new(), handler: 0, are_back: true };
    for (place, signal) in SIGNALS.into_iter().enumerate() {
        let mut now = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: with no new action the call only fills `now`, for which zeros
        // are valid as well.
        let now = unsafe {
            libc::sigaction(signal, ptr::null(), now.as_mut_ptr());
            now.assume_init()
        };
        if fault::is_own(&now) {
            continue;
        }
        // SAFETY: null, or what was leaked below and is whole.
        let known = unsafe { THEIRS[place].load(Acquire).as_ref() }
            .is_some_and(|known| (known.sa_sigaction, known.sa_flags) == (now.sa_sigaction, now.sa_flags));
        if known && HANDED[place].load(Acquire) {
            // It was handed a fault and lived: nobody set it anew.
            survived(file);
        } else {
            found.handler = if found.signals.is_empty() { now.sa_sigaction as u64 } else { found.handler };
            found.signals.push(signal);
        }
        if !known {
            if KEPT.fetch_add(1, Relaxed) >= MOST {
                found.are_back = false;
                continue;
            }
            THEIRS[place].store(Box::into_raw(Box::new(now)), Release);
        }
        HANDED[place].store(false, Release);
        found.are_back &= fault::set(signal, ptr::null_mut()).is_ok();
    }
    (!found.signals.is_empty()).then_some(found)
}

/// The fault of this thread, if it had one, ended nothing: whoever it was handed
/// on to made it good. What ends the process later is another one.
fn survived(file: &File) {
    if file.written.load(Acquire) == 1 && file.fault_tid.load(Relaxed) == fault::tid() {
        file.written.store(0, Release);
        file.signal.store(0, Release);
    }
}
