//! The handler of the signals that faults raise. It writes four words, and
//! leaves the rest to whoever took its place meanwhile (see [`crate::handlers`]),
//! and to whoever handled them before: Rust's own handler says that a stack
//! overflowed, the default ends the process.

use crate::handlers;
use crate::layout::{EXIT, File};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

/// Those that the kernel or the C library raises on the thread that is at fault.
pub(crate) const SIGNALS: [i32; 6] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT, libc::SIGSYS];

static FILE: AtomicPtr<File> = AtomicPtr::new(ptr::null_mut());

/// So many ways into the handler: who takes a handler of its own away again puts the
/// one back that it found, and by which way that is, it is known what was handed on to
/// before it came.
pub(crate) const WAYS: usize = 4;

type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);
static HANDLERS: [Handler; WAYS] = [on_fault::<0>, on_fault::<1>, on_fault::<2>, on_fault::<3>];

/// What was set before, by the place of the signal.
static BEFORE: [AtomicPtr<libc::sigaction>; SIGNALS.len()] =
    [const { AtomicPtr::new(ptr::null_mut()) }; SIGNALS.len()];

/// The calling thread, as the kernel numbers it.
#[allow(unsafe_code, reason = "also called by the handler, where only system calls are safe")]
pub(crate) fn tid() -> u64 {
    // SAFETY: it takes nothing, changes nothing and cannot fail (gettid(2)).
    u64::from(unsafe { libc::gettid() }.unsigned_abs())
}

/// Whether the calling process is the one that the file is of: a child that was
/// forked and has not executed anything shares the mapping.
#[allow(unsafe_code, reason = "also called by the handler, where only system calls are safe")]
fn is_of_this_process(file: &File) -> bool {
    // SAFETY: it takes nothing, changes nothing and cannot fail (getpid(2)).
    file.pid.load(Relaxed) == u64::from(unsafe { libc::getpid() }.unsigned_abs())
}

/// Whether another process sent a signal (sigaction(2): codes of at most 0 are
/// of `kill` and its kind, and tell the sender), as a service manager does whose
/// watchdog was not fed: that is nobody's fault here.
#[allow(unsafe_code, reason = "the sender is a field of a union")]
fn is_sent(info: &libc::siginfo_t) -> bool {
    // SAFETY: with such a code the kernel filled the sender in; getpid cannot fail.
    info.si_code <= 0 && unsafe { info.si_pid() != libc::getpid() }
}

#[allow(unsafe_code, reason = "signal handlers are set by nothing safe")]
pub(crate) fn install(file: &'static File) -> io::Result<()> {
    let was = FILE.swap(ptr::from_ref(file).cast_mut(), AcqRel);
    if !was.is_null() {
        // The handler is there; it writes into the new file from now on.
        return Ok(());
    }
    for (signal, before) in SIGNALS.into_iter().zip(&BEFORE) {
        // Never freed: the handler may be reading it.
        let old = Box::into_raw(Box::new(MaybeUninit::<libc::sigaction>::zeroed()));
        set(signal, 0, old.cast())?;
        before.store(old.cast(), Release);
    }
    // SAFETY: the function stays as long as the process, and does not unwind.
    // It fails where there is no memory for one more: then an exit is not seen.
    unsafe { libc::atexit(on_exit) };
    Ok(())
}

/// Puts the handler in place, to be entered by that way; what was there goes to `old`,
/// where that is not null.
#[allow(unsafe_code, reason = "signal handlers are set by nothing safe")]
pub(crate) fn set(signal: i32, way: usize, old: *mut libc::sigaction) -> io::Result<()> {
    // SAFETY: all-zero is a valid sigaction (no flags, empty mask).
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = address(HANDLERS[way]);
    // On the thread's alternate stack, where it has one: its own may have overflowed.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: `action` is whole; `old` is null or memory for one sigaction, which
    // the call fills. The handler does only what is allowed in one
    // (signal-safety(7)): atomics, getpid, gettid, sigaction and raise.
    if unsafe { libc::sigaction(signal, &raw const action, old) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// By which way a signal goes to the handler here; `None`: it goes to another one.
pub(crate) fn way_of(action: &libc::sigaction) -> Option<usize> {
    HANDLERS.iter().position(|handler| action.sa_sigaction == address(*handler))
}

fn address(handler: Handler) -> usize {
    handler as *const () as usize
}

/// Somebody called `exit` though the process was not to end (atexit(3): on the
/// thread that called it).
#[allow(unsafe_code, reason = "the file's address is shared with the signal handler")]
extern "C" fn on_exit() {
    // SAFETY: the pointer is null or a file that is mapped for ever.
    if let Some(file) = unsafe { FILE.load(Acquire).as_ref() }
        && file.ended.load(Acquire) == 0
        && is_of_this_process(file)
        && file.signal.compare_exchange(0, EXIT, AcqRel, Relaxed).is_ok()
    {
        file.fault_tid.store(tid(), Relaxed);
        file.written.store(1, Release);
    }
}

/// Notes the first fault, and gives the signal back to whoever had it: when the
/// handler returns, the fault happens again, or `abort` raises it again. What
/// another process sent ends this one, as it would have without a handler.
#[allow(unsafe_code, reason = "a signal handler")]
extern "C" fn on_fault<const WAY: usize>(signal: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: with SA_SIGINFO the kernel hands a valid siginfo.
    let info = unsafe { info.as_ref() };
    let sent = info.is_some_and(is_sent);
    // SAFETY: the pointer is null or a file that is mapped for ever.
    if let Some(file) = unsafe { FILE.load(Acquire).as_ref() }
        && !sent
        && is_of_this_process(file)
        && file.signal.compare_exchange(0, u64::from(signal.unsigned_abs()), AcqRel, Relaxed).is_ok()
    {
        file.fault_tid.store(tid(), Relaxed);
        // SAFETY: of the signals of faults the field is the address, of others
        // it is read as a number and means nothing.
        let address = info.map_or(0, |info| unsafe { info.si_addr() } as u64);
        file.address.store(address, Relaxed);
        file.written.store(1, Release);
    }
    let place = SIGNALS.iter().position(|known| *known == signal);
    let before = place.map_or(ptr::null_mut(), |place| BEFORE[place].load(Acquire));
    let theirs = place.filter(|_| !sent).map_or(ptr::null(), |place| handlers::next(place, WAY));
    // SAFETY: all-zero is a valid sigaction, and asks for the default.
    let default: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    let action = match (theirs.is_null(), sent || before.is_null()) {
        (false, _) => theirs,
        (true, true) => &raw const default,
        (true, false) => before.cast_const(),
    };
    // `abort` raises it once for whoever handles it, and then for the default.
    let raised = !theirs.is_null() && info.is_some_and(|info| info.si_code <= 0);
    // SAFETY: a valid action, `before` and `theirs` being what sigaction filled
    // once; sigaction and raise may be called in a handler.
    unsafe {
        libc::sigaction(signal, action, ptr::null_mut());
        if sent || raised {
            // It does not happen again by itself. Blocked until this returns.
            libc::raise(signal);
        }
    }
}
