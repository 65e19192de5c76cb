//! Whether the handlers of faults are still this process's own. Whatever runs in
//! it may put others in their place, as a crash reporter does: then nobody would
//! note a fault. They are put back, in front of those that took their place.

use crate::fault::{self, SIGNALS};
use crate::layout::File;
use crate::note::{self, Note};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64};
use std::sync::{Mutex, PoisonError};

/// What took the place of the own handler last, by the place of the signal. It is
/// never freed: a handler may be reading it.
static THEIRS: [AtomicPtr<libc::sigaction>; SIGNALS.len()] =
    [const { AtomicPtr::new(ptr::null_mut()) }; SIGNALS.len()];

/// The thread whose fault was handed on to it last, with [`PUTS`] at that time
/// above; it is in place since. 0: none was.
static HANDED: [AtomicU64; SIGNALS.len()] = [const { AtomicU64::new(0) }; SIGNALS.len()];

/// Two for each own handler that was put back; odd while that is done.
static PUTS: AtomicU32 = AtomicU32::new(0);

/// So many different ones are remembered, each signal's by itself; whoever sets
/// more of them wins.
const MOST: usize = 64;

/// Two that look at once would put back what the other one just did.
static LOOKS: Mutex<Looks> = Mutex::new(Looks { kept: Vec::new(), note: None, handed: [0; SIGNALS.len()] });

/// What looks before found.
struct Looks {
    /// Everything that ever took the place of the own handler of a signal.
    kept: Vec<(i32, &'static libc::sigaction)>,
    note: Option<Note>,
    /// [`HANDED`], where the own one was in place all the same.
    handed: [u64; SIGNALS.len()],
}

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

/// To whom a fault goes on, before whoever had the signal at first. Once for each
/// thread: a handler that calls the one that it found in its place would call this
/// one for ever. Another thread may have come here before it was in place, and its
/// fault is as good as the first one's.
pub(crate) fn next(place: usize) -> *const libc::sigaction {
    let theirs = THEIRS[place].load(Acquire);
    if theirs.is_null() {
        return ptr::null();
    }
    let puts = PUTS.load(Acquire);
    let now = (u64::from(puts) << 32) | fault::tid();
    // A fault that comes back because the own one was put back meanwhile is no
    // call of theirs: that is, at another number, or at an odd one.
    let is_theirs = HANDED[place].swap(now, AcqRel) == now && puts.is_multiple_of(2);
    if is_theirs { ptr::null() } else { theirs.cast_const() }
}

/// Puts the own handlers back where they are not in place, and takes the note of
/// a fault back that ended nothing.
pub(crate) fn look(file: &File) -> Option<Replaced> {
    let mut looks = LOOKS.lock().unwrap_or_else(PoisonError::into_inner);
    looks.note = note::take_back(file, looks.note);
    let mut found = Replaced { signals: Vec::new(), handler: 0, are_back: true };
    for (place, signal) in SIGNALS.into_iter().enumerate() {
        let now = in_place(signal);
        let handed = HANDED[place].load(Acquire);
        if fault::is_own(&now) {
            looks.handed[place] = put_back_by_them(place, handed, looks.handed[place]);
            continue;
        }
        looks.handed[place] = 0;
        let is_it = |kept: &&(i32, &libc::sigaction)| {
            (kept.0, kept.1.sa_sigaction, kept.1.sa_flags) == (signal, now.sa_sigaction, now.sa_flags)
        };
        let known = looks.kept.iter().find(is_it).map(|(_, known)| *known);
        let is_last = known.is_some_and(|known| ptr::eq(known, THEIRS[place].load(Acquire)));
        // It was handed a fault and is in place since: nobody set it anew.
        if !is_last || handed == 0 {
            found.handler = if found.signals.is_empty() { now.sa_sigaction as u64 } else { found.handler };
            found.signals.push(signal);
        }
        let theirs: &'static libc::sigaction = match known {
            Some(known) => known,
            None if looks.kept.len() < MOST => {
                let new: &'static libc::sigaction = Box::leak(Box::new(now));
                looks.kept.push((signal, new));
                new
            }
            None => {
                found.are_back = false;
                continue;
            }
        };
        PUTS.fetch_add(1, AcqRel);
        THEIRS[place].store(ptr::from_ref(theirs).cast_mut(), Release);
        // Before the own one is in place: what is handed on from then on counts.
        HANDED[place].store(0, Release);
        found.are_back &= fault::set(signal, ptr::null_mut()).is_ok();
        PUTS.fetch_add(1, AcqRel);
    }
    (!found.signals.is_empty()).then_some(found)
}

/// Who handles a signal.
#[allow(unsafe_code, reason = "signal handlers are asked for by nothing safe")]
fn in_place(signal: i32) -> libc::sigaction {
    let mut now = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: with no new action the call only fills `now`, for which zeros are
    // valid as well.
    unsafe {
        libc::sigaction(signal, ptr::null(), now.as_mut_ptr());
        now.assume_init()
    }
}

/// The own one is in place though a fault was handed on: whoever made that good
/// may have put it back, and gets the next one as well. Another thread may be on
/// its way to hand it on just now, so its number has to be there twice. What the
/// next look compares with.
fn put_back_by_them(place: usize, handed: u64, before: u64) -> u64 {
    let is_own_thread = handed & u64::from(u32::MAX) == fault::tid();
    if handed != 0 && (is_own_thread || handed == before) {
        // Where that fails, there is a new one, which is none of this.
        let _ = HANDED[place].compare_exchange(handed, 0, AcqRel, Relaxed);
        return 0;
    }
    handed
}
