//! Whether the handlers of faults are still this process's own. Whatever runs in
//! it may put others in their place, as a crash reporter does: then nobody would
//! note a fault. They are put back, in front of those that took their place.
//!
//! Some set a handler for a while and put the one back that they found. So the own
//! one has several ways in: whoever puts back the first, say, set its handler before
//! the second was in place, and what the second hands on to is over.

use crate::fault::{self, SIGNALS, WAYS};
use crate::layout::File;
use crate::note::{self, Note};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64};
use std::sync::{Mutex, PoisonError};

/// To whom each way of the own handler hands on, by the place of the signal: to
/// whoever took the place of the way before; the first one to nobody. It is never
/// freed: a handler may be reading it.
static THEIRS: [[AtomicPtr<libc::sigaction>; WAYS]; SIGNALS.len()] =
    [const { [const { AtomicPtr::new(ptr::null_mut()) }; WAYS] }; SIGNALS.len()];

/// The thread whose fault was handed on to it last, with [`PUTS`] at that time
/// above; it is in place since. 0: none was.
static HANDED: [[AtomicU64; WAYS]; SIGNALS.len()] =
    [const { [const { AtomicU64::new(0) }; WAYS] }; SIGNALS.len()];

/// Two for each own handler that was put back; odd while that is done.
static PUTS: AtomicU32 = AtomicU32::new(0);

/// So many different ones are remembered, each signal's by itself; whoever sets
/// more of them wins.
const MOST: usize = 64;

/// Two that look at once would put back what the other one just did.
static LOOKS: Mutex<Looks> =
    Mutex::new(Looks { kept: Vec::new(), note: None, signals: [const { Signal::NEW }; SIGNALS.len()] });

/// What looks before found.
struct Looks {
    /// Everything that ever took the place of the own handler of a signal.
    kept: Vec<(i32, &'static libc::sigaction)>,
    note: Option<Note>,
    signals: [Signal; SIGNALS.len()],
}

/// What they found of one signal.
struct Signal {
    /// The way by which the own handler was in place last.
    way: usize,
    /// [`HANDED`], where the own one was in place all the same.
    handed: [u64; WAYS],
    /// What was not put back: whose call comes next has not set it.
    stays: Option<(usize, i32)>,
}

impl Signal {
    const NEW: Self = Self { way: 0, handed: [0; WAYS], stays: None };
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

/// To whom a fault goes on that came by this way, before whoever had the signal at
/// first. Once for each thread: a handler that calls the one that it found in its
/// place may call this one for ever. Another thread may have come here before it was
/// in place, and its fault is as good as the first one's.
pub(crate) fn next(place: usize, way: usize) -> *const libc::sigaction {
    let theirs = THEIRS[place][way].load(Acquire);
    if theirs.is_null() {
        return ptr::null();
    }
    let puts = PUTS.load(Acquire);
    let now = (u64::from(puts) << 32) | fault::tid();
    // A fault that comes back because the own one was put back meanwhile is no
    // call of theirs: that is, at another number, or at an odd one.
    let is_theirs = HANDED[place][way].swap(now, AcqRel) == now && puts.is_multiple_of(2);
    if is_theirs { ptr::null() } else { theirs.cast_const() }
}

/// Puts the own handlers back where they are not in place, and takes the note of
/// a fault back that ended nothing.
pub(crate) fn look(file: &File) -> Option<Replaced> {
    let mut looks = LOOKS.lock().unwrap_or_else(PoisonError::into_inner);
    let looks = &mut *looks;
    looks.note = note::take_back(file, looks.note);
    let mut found = Replaced { signals: Vec::new(), handler: 0, are_back: true };
    for (place, signal) in SIGNALS.into_iter().enumerate() {
        let (now, before) = (in_place(signal), &mut looks.signals[place]);
        match fault::way_of(&now) {
            Some(way) => before.own(place, way),
            None => before.another(place, &now, &mut looks.kept, &mut found),
        }
    }
    (!found.signals.is_empty()).then_some(found)
}

impl Signal {
    /// The own one is in place, by this way: where that is not the last one, whoever
    /// found it there put it back.
    fn own(&mut self, place: usize, way: usize) {
        (self.way, self.stays) = (way, None);
        for (handed, before) in HANDED[place].iter().zip(&mut self.handed) {
            *before = put_back_by_them(handed, *before);
        }
    }

    /// Another one is in place: puts the own one back.
    fn another(
        &mut self,
        place: usize,
        now: &libc::sigaction,
        kept: &mut Vec<(i32, &'static libc::sigaction)>,
        found: &mut Replaced,
    ) {
        let (signal, id) = (SIGNALS[place], (now.sa_sigaction, now.sa_flags));
        if self.stays == Some(id) {
            return;
        }
        self.handed = [0; WAYS];
        let is_it = |kept: &&(i32, &libc::sigaction)| {
            kept.0 == signal && (kept.1.sa_sigaction, kept.1.sa_flags) == id
        };
        let known = kept.iter().find(is_it).map(|(_, known)| *known);
        let is_theirs =
            |way: &usize| known.is_some_and(|known| ptr::eq(known, THEIRS[place][*way].load(Acquire)));
        // It was handed a fault and is in place since: nobody set it anew.
        let was_handed_on =
            (1..=self.way).any(|way| is_theirs(&way) && HANDED[place][way].load(Acquire) != 0);
        if !was_handed_on {
            found.handler = if found.signals.is_empty() { now.sa_sigaction as u64 } else { found.handler };
            found.signals.push(signal);
        }
        let theirs: &'static libc::sigaction = match known {
            Some(known) => known,
            None if kept.len() < MOST => {
                let new: &'static libc::sigaction = Box::leak(Box::new(*now));
                kept.push((signal, new));
                new
            }
            None => {
                (self.stays, found.are_back) = (Some(id), false);
                return;
            }
        };
        PUTS.fetch_add(1, AcqRel);
        if !was_handed_on && !is_theirs(&self.way) {
            // Beyond the last way it is as with one alone.
            self.way = (self.way + 1).min(WAYS - 1);
            THEIRS[place][self.way].store(ptr::from_ref(theirs).cast_mut(), Release);
        }
        // Before the own one is in place: what is handed on from then on counts.
        HANDED[place].iter().for_each(|handed| handed.store(0, Release));
        let is_back = fault::set(signal, self.way, ptr::null_mut()).is_ok();
        PUTS.fetch_add(1, AcqRel);
        self.stays = (!is_back).then_some(id);
        found.are_back &= is_back;
    }
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
fn put_back_by_them(handed: &AtomicU64, before: u64) -> u64 {
    let now = handed.load(Acquire);
    let is_own_thread = now & u64::from(u32::MAX) == fault::tid();
    if now != 0 && (is_own_thread || now == before) {
        // Where that fails, there is a new one, which is none of this.
        let _ = handed.compare_exchange(now, 0, AcqRel, Relaxed);
        return 0;
    }
    now
}
