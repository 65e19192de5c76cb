//! Real faults in real processes: each is this test program, started again.
#![allow(
    unsafe_code,
    clippy::undocumented_unsafe_blocks,
    clippy::exit,
    clippy::disallowed_methods,
    reason = "the faults are the point"
)]
#![allow(unconditional_recursion, reason = "a stack that overflows is one of them")]

use gantry_crash::{Evidence, Report, Stamps, Whose, report};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Barrier;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize};

const BOOT: [u64; 2] = [1, 2];
const WHAT: &str = "GANTRY_CRASH_TEST";
const FILE: &str = "GANTRY_CRASH_FILE";

fn started(what: &str, file: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this"));
    command.args(["--exact", "body", "--ignored", "--nocapture"]);
    command.env(WHAT, what).env(FILE, file).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Runs what `body` names in a process of its own; how that ended, and what it left.
fn left_by(what: &str) -> (Option<i32>, Option<Report>) {
    let (status, left) = ended_by(what);
    (status.signal(), left)
}

fn ended_by(what: &str) -> (ExitStatus, Option<Report>) {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("stamps");
    let status = started(what, &file).status().expect("it starts");
    (status, report::read(&file, BOOT).expect("it can be read"))
}

fn null_write() {
    unsafe { std::ptr::null_mut::<u8>().wrapping_add(16).write_volatile(1) };
}

static OLD: AtomicPtr<libc::sigaction> = AtomicPtr::new(std::ptr::null_mut());
static PAGE: AtomicPtr<libc::c_void> = AtomicPtr::new(std::ptr::null_mut());

/// As a crash reporter does, which then calls whom it found in its place.
fn replace(signal: i32, handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void)) {
    unsafe {
        let page = libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_NONE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        PAGE.store(page, Relaxed);
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        let old = Box::into_raw(Box::new(std::mem::zeroed::<libc::sigaction>()));
        assert_eq!(libc::sigaction(signal, &raw const action, old), 0);
        OLD.store(old, Relaxed);
    }
}

/// What is in place, which is put back by whoever sets a handler now.
fn find(signal: i32) {
    unsafe {
        let old = Box::into_raw(Box::new(std::mem::zeroed::<libc::sigaction>()));
        assert_eq!(libc::sigaction(signal, std::ptr::null(), old), 0);
        OLD.store(old, Relaxed);
    }
}

/// The handler that was found is in place again.
fn put_back(signal: i32) {
    assert_eq!(unsafe { libc::sigaction(signal, OLD.load(Relaxed), std::ptr::null_mut()) }, 0);
}

extern "C" fn ends(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    unsafe { libc::_exit(9) };
}

extern "C" fn chains(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    unsafe {
        let old = (*OLD.load(Relaxed)).sa_sigaction;
        let old: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) = std::mem::transmute(old);
        old(signal, info, context);
    }
}

/// As what runs other programs' code does.
extern "C" fn makes_good(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    unsafe { libc::mprotect(PAGE.load(Relaxed), 4096, libc::PROT_READ | libc::PROT_WRITE) };
}

/// The page that the fault was at.
extern "C" fn makes_each_good(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    unsafe {
        let page = (*info).si_addr().map_addr(|address| address & !4095);
        libc::mprotect(page, 4096, libc::PROT_READ | libc::PROT_WRITE);
    }
}

static IS_AT_WORK: AtomicBool = AtomicBool::new(false);

/// As a crash reporter is, which writes much.
extern "C" fn works_long(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    IS_AT_WORK.store(true, Relaxed);
    loop {
        unsafe { libc::pause() };
    }
}

/// A fault that is made good: there is no such page any longer, and again.
fn touch_page() {
    let page = PAGE.load(Relaxed);
    unsafe {
        assert_eq!(libc::mprotect(page, 4096, libc::PROT_NONE), 0);
        page.cast::<u8>().write_volatile(1);
    }
}

/// Many threads that fault at once, again and again, each time behind a look.
fn fault_together(stamps: Stamps) {
    const THREADS: usize = 4;
    const ROUNDS: usize = 400;
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let pages = unsafe { libc::mmap(std::ptr::null_mut(), THREADS * 4096, prot, flags, -1, 0) };
    assert_ne!(pages, libc::MAP_FAILED);
    let base = pages.expose_provenance();
    let barrier = Barrier::new(THREADS + 1);
    let arrived = AtomicUsize::new(0);
    let mut set_anew = None;
    let before = threads();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (barrier, arrived) = (&barrier, &arrived);
            scope.spawn(move || {
                for round in 1..=ROUNDS {
                    barrier.wait();
                    // Those that a barrier wakes go one after the other.
                    arrived.fetch_add(1, Relaxed);
                    while arrived.load(Relaxed) < round * THREADS {
                        std::thread::yield_now();
                    }
                    let page = std::ptr::with_exposed_provenance_mut::<u8>(base + thread * 4096);
                    unsafe { page.write_volatile(1) };
                    barrier.wait();
                }
            });
        }
        for _ in 0..ROUNDS {
            assert_eq!(unsafe { libc::mprotect(pages, THREADS * 4096, libc::PROT_NONE) }, 0);
            // Told behind the threads, which wait for each other.
            set_anew = set_anew.take().or(stamps.mind_handlers());
            barrier.wait();
            barrier.wait();
        }
    });
    wait_for_ended(before);
    assert_eq!(set_anew, None);
}

/// How many threads the kernel shows of this process.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").expect("it is there").count()
}

/// Waits until `before` threads are left: one that was joined is in `/proc` for a
/// while, with all signals blocked, which looks like one that a handler is at work in.
fn wait_for_ended(before: usize) {
    while threads() > before {
        std::thread::park_timeout(std::time::Duration::from_millis(1));
    }
}

fn kill() {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
}

/// Two that set handlers of their own again and again, and then one with ever new ones.
fn set_anew(stamps: Stamps) {
    let signals = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGSYS];
    // Nobody calls them.
    let put = |signal, handler: usize| unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        assert_eq!(libc::sigaction(signal, &raw const action, std::ptr::null_mut()), 0);
    };
    for _ in 0..40 {
        for handler in [4096, 8192] {
            signals.iter().for_each(|signal| put(*signal, handler));
            let found = stamps.mind_handlers().expect("they are others");
            assert_eq!((found.signals.as_slice(), found.are_back), (&signals[..], true));
        }
    }
    let kept = |handler: &usize| {
        put(libc::SIGSEGV, *handler);
        stamps.mind_handlers().is_some_and(|found| found.are_back)
    };
    assert_eq!((1 << 20..1 << 21).take_while(kept).count(), 64 - 2 * signals.len());
    assert_eq!(stamps.mind_handlers(), None, "whoever is in a call now did not set the one that stays");
    put(libc::SIGSEGV, 1 << 22);
    let found = stamps.mind_handlers().expect("it is another one");
    assert_eq!((found.handler, found.are_back), (1 << 22, false));
    assert!(kept(&4096), "what is known is dealt with as ever");
}

fn overflow(depth: u64) -> u64 {
    let room = std::hint::black_box([depth; 512]);
    room[7] + overflow(depth + 1)
}

#[test]
#[ignore = "the others run it in a process of its own"]
fn body() {
    let Ok(what) = std::env::var(WHAT) else { return };
    let file = std::env::var(FILE).expect("told");
    let stamps = Stamps::create(Path::new(&file), BOOT).expect("made");
    stamps.watch_faults().expect("set");
    let other = stamps.thread_of("bystander", 1).expect("a place");
    let own = stamps.thread("culprit").expect("a place");
    match what.as_str() {
        "in a call" => {
            own.enter(7);
            null_write();
        }
        "abort" => {
            own.enter(8);
            std::process::abort();
        }
        "between calls" => null_write(),
        "overflow" => {
            own.enter(9);
            std::hint::black_box(overflow(0));
        }
        "another thread" => {
            own.enter(3);
            let address = std::ptr::null::<u8>().wrapping_add(16) as u64;
            stamps.library("mapped", address..address + 1);
            let _ = std::thread::spawn(null_write).join();
        }
        "set anew" => {
            set_anew(stamps);
            stamps.end();
            std::process::exit(0);
        }
        "replaced"
        | "replaced and aborted"
        | "chained"
        | "made good"
        | "made good elsewhere"
        | "made good, then aborted"
        | "made good and put back"
        | "made good together"
        | "for a while"
        | "for a while, unseen"
        | "over another"
        | "over another, for a while"
        | "at work" => {
            own.enter(7);
            let (handler, signal): (extern "C" fn(_, _, _), _) = match what.as_str() {
                "replaced"
                | "for a while"
                | "for a while, unseen"
                | "over another"
                | "over another, for a while" => (ends, libc::SIGSEGV),
                "replaced and aborted" => (ends, libc::SIGABRT),
                "chained" => (chains, libc::SIGSEGV),
                "made good together" => (makes_each_good, libc::SIGSEGV),
                "at work" => (works_long, libc::SIGSEGV),
                _ => (makes_good, libc::SIGSEGV),
            };
            replace(signal, handler);
            let found = stamps.mind_handlers().expect("it is another one");
            assert_eq!((found.signals.as_slice(), found.are_back), (&[signal][..], true));
            assert_eq!(found.handler, handler as *const () as u64);
            assert_eq!(stamps.mind_handlers(), None, "it is back");
            match what.as_str() {
                "replaced and aborted" => std::process::abort(),
                "made good" => {
                    for _ in 0..3 {
                        touch_page();
                        assert_eq!(stamps.mind_handlers(), None, "nobody set it anew");
                    }
                    kill();
                }
                "made good elsewhere" | "made good, then aborted" => {
                    let before = threads();
                    std::thread::spawn(touch_page).join().expect("it is made good");
                    wait_for_ended(before);
                    assert_eq!(stamps.mind_handlers(), None, "nobody set it anew");
                    assert_eq!(stamps.mind_handlers(), None);
                    if what == "made good, then aborted" {
                        std::process::abort();
                    }
                    kill();
                }
                "made good and put back" => {
                    find(signal);
                    for _ in 0..3 {
                        touch_page();
                        put_back(signal);
                        assert_eq!(stamps.mind_handlers(), None, "it is in place");
                    }
                    kill();
                }
                "for a while" | "for a while, unseen" => {
                    put_back(signal);
                    if what == "for a while" {
                        assert_eq!(stamps.mind_handlers(), None, "it is in place");
                    }
                    null_write();
                }
                "over another" | "over another, for a while" => {
                    // However many there were before: they are over.
                    let others: [extern "C" fn(_, _, _); _] = [makes_good, works_long, makes_each_good, ends];
                    for other in others {
                        put_back(signal);
                        assert_eq!(stamps.mind_handlers(), None, "it is in place");
                        replace(signal, other);
                        assert!(stamps.mind_handlers().is_some_and(|found| found.are_back));
                    }
                    replace(signal, chains);
                    assert!(stamps.mind_handlers().is_some_and(|found| found.are_back));
                    if what == "over another, for a while" {
                        put_back(signal);
                    }
                    assert_eq!(stamps.mind_handlers(), None, "it is in place");
                    null_write();
                }
                "made good together" => {
                    fault_together(stamps);
                    for _ in 0..2 {
                        assert_eq!(stamps.mind_handlers(), None);
                    }
                    kill();
                }
                "at work" => {
                    let _never_ends = std::thread::spawn(null_write);
                    while !IS_AT_WORK.load(Relaxed) {
                        std::thread::park_timeout(std::time::Duration::from_millis(1));
                    }
                    for _ in 0..5 {
                        assert_eq!(stamps.mind_handlers(), None, "nobody set it anew");
                    }
                    kill();
                }
                _ => null_write(),
            }
        }
        "exit" => {
            own.enter(4);
            std::process::exit(0);
        }
        "killed" | "killed alone" => {
            own.enter(5);
            if what == "killed" {
                other.enter(6);
            }
            kill();
        }
        "forked" => {
            own.enter(6);
            let child = unsafe { libc::fork() };
            if child == 0 {
                std::process::abort();
            }
            let mut status = 0;
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            kill();
        }
        "waits" => {
            own.enter(11);
            std::fs::write(Path::new(&file).with_extension("ready"), "").expect("written");
            loop {
                std::thread::park();
            }
        }
        "good" => {
            own.enter(1);
            own.leave();
            stamps.end();
            std::process::exit(0);
        }
        "went on" => {
            drop(own);
            let again = stamps.thread("later").expect("a place");
            again.enter(2);
            null_write();
        }
        _ => panic!("unknown"),
    }
    unreachable!("it is over");
}

fn culprit(what: &str, signal: Option<i32>, evidence: Evidence) -> Report {
    let (ended_by, left) = left_by(what);
    let left = left.unwrap_or_else(|| panic!("{what}: nothing is left"));
    assert_eq!(ended_by, signal, "{what}");
    assert_eq!(left.culprit, Some(("culprit".to_owned(), evidence)), "{what}: {left:?}");
    left
}

#[test]
fn a_fault_is_of_the_plugin_whose_call_it_was() {
    let left = culprit("in a call", Some(libc::SIGSEGV), Evidence::InCall(7));
    assert_eq!((left.signal, left.address), (Some(libc::SIGSEGV), 16));
    assert_eq!(left.in_calls, [("culprit".to_owned(), 7)]);
    let left = culprit("abort", Some(libc::SIGABRT), Evidence::InCall(8));
    assert_eq!(left.signal, Some(libc::SIGABRT));
    culprit("between calls", Some(libc::SIGSEGV), Evidence::OwnThread);
}

#[test]
fn rust_s_own_handler_still_says_that_a_stack_overflowed() {
    let left = culprit("overflow", Some(libc::SIGABRT), Evidence::InCall(9));
    assert_eq!(left.signal, Some(libc::SIGSEGV), "the first one counts");
}

#[test]
fn a_thread_that_nobody_knows_is_found_by_its_address() {
    let (_, left) = left_by("another thread");
    assert_eq!(left.expect("left").culprit, Some(("mapped".to_owned(), Evidence::Address)));
}

#[test]
fn without_a_fault_the_only_one_in_a_call_is_suspected() {
    let left = culprit("exit", None, Evidence::InCall(4));
    assert_eq!((left.signal, left.exited), (None, true), "it is told by whoever called it");
    let left = culprit("killed alone", Some(libc::SIGKILL), Evidence::OnlyInCall(5));
    assert_eq!((left.signal, left.exited), (None, false));
    let (ended_by, left) = left_by("killed");
    let left = left.expect("left");
    assert_eq!((ended_by, left.culprit), (Some(libc::SIGKILL), None), "two were in calls");
    assert_eq!(left.in_calls.len(), 2);
}

#[test]
fn what_a_forked_child_does_is_not_this_process_s() {
    let left = culprit("forked", Some(libc::SIGKILL), Evidence::OnlyInCall(6));
    assert_eq!((left.signal, left.exited), (None, false));
}

#[test]
fn a_signal_that_another_process_sends_ends_it_at_once_and_is_no_fault() {
    for signal in [libc::SIGABRT, libc::SIGSEGV] {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("stamps");
        let mut waits = started("waits", &file).spawn().expect("it starts");
        while !file.with_extension("ready").exists() {
            assert_eq!(waits.try_wait().expect("its state"), None, "it ended too early");
            std::thread::park_timeout(std::time::Duration::from_millis(5));
        }
        assert_eq!(unsafe { libc::kill(waits.id().cast_signed(), signal) }, 0);
        assert_eq!(waits.wait().expect("it ends").signal(), Some(signal));
        let left = report::read(&file, BOOT).expect("it can be read").expect("left");
        assert_eq!(left.signal, None);
        assert_eq!(left.culprit, Some(("culprit".to_owned(), Evidence::OnlyInCall(11))), "a guess");
    }
}

#[test]
fn a_place_is_used_again() {
    let (_, left) = left_by("went on");
    assert_eq!(left.expect("left").culprit, Some(("later".to_owned(), Evidence::InCall(2))));
}

#[test]
fn a_good_end_another_boot_and_garbage_leave_nothing() {
    assert_eq!(left_by("good"), (None, None));
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("stamps");
    assert_eq!(report::read(&file, BOOT).expect("absent"), None);
    let stamps = Stamps::create(&file, BOOT).expect("made");
    assert!(report::read(&file, BOOT).expect("read").is_some(), "it runs");
    assert_eq!(report::read(&file, [1, 3]).expect("read"), None, "another boot");
    stamps.end();
    assert_eq!(report::read(&file, BOOT).expect("read"), None);
    for garbage in [&b""[..], b"gantryC1", &[0xff; 200_000]] {
        std::fs::write(&file, garbage).expect("written");
        assert_eq!(report::read(&file, BOOT).expect("read"), None);
    }
    let mut whole = Vec::new();
    let stamps = Stamps::create(&file, BOOT).expect("made in its place");
    stamps.thread("x").expect("a place").enter(1);
    whole.extend(std::fs::read(&file).expect("read"));
    // Of the right length and number, and garbage behind.
    whole[5 * 8..].fill(0xff);
    std::fs::write(&file, &whole).expect("written");
    assert!(report::read(&file, BOOT).expect("no panic").is_some());
}

#[test]
fn what_a_handler_in_the_own_ones_place_gets_is_noted_first() {
    for (what, signal) in [("replaced", libc::SIGSEGV), ("replaced and aborted", libc::SIGABRT)] {
        let (status, left) = ended_by(what);
        assert_eq!(status.code(), Some(9), "{what}: it is handed on: {status}");
        let left = left.expect("it did not end as it should");
        assert_eq!(left.signal, Some(signal), "{what}");
        assert_eq!(left.culprit, Some(("culprit".to_owned(), Evidence::InCall(7))), "{what}");
    }
}

#[test]
fn a_handler_that_calls_the_one_before_it_ends_the_process_as_ever() {
    let left = culprit("chained", Some(libc::SIGSEGV), Evidence::InCall(7));
    assert_eq!(left.signal, Some(libc::SIGSEGV));
}

/// `what` ends by SIGKILL, which no earlier fault is to be taken for.
fn killed_without_a_note(what: &str) {
    let (signal, left) = left_by(what);
    assert_eq!(signal, Some(libc::SIGKILL), "{what}");
    assert_eq!(left.expect("left").signal, None, "{what}: what ended it is another one");
}

#[test]
fn faults_that_a_handler_makes_good_are_nobodys_end() {
    killed_without_a_note("made good");
}

/// Whoever made them good may have put the handler back that it found.
#[test]
fn a_handler_that_is_put_back_by_others_hands_on_the_next_fault_too() {
    killed_without_a_note("made good and put back");
}

/// As who asks whether an instruction is there does.
#[test]
fn a_handler_that_was_taken_away_again_gets_no_fault() {
    for what in ["for a while", "for a while, unseen"] {
        let left = culprit(what, Some(libc::SIGSEGV), Evidence::InCall(7));
        assert_eq!((left.signal, left.address), (Some(libc::SIGSEGV), 16), "{what}");
    }
    // The other one gets it, at once or from this one.
    for what in ["over another, for a while", "over another"] {
        let (status, left) = ended_by(what);
        assert_eq!(status.code(), Some(9), "{what}: {status}");
        assert_eq!(left.expect("left").signal, Some(libc::SIGSEGV), "{what}");
    }
}

#[test]
fn a_fault_that_is_made_good_on_a_thread_that_nobody_looks_from_is_nobodys_end() {
    killed_without_a_note("made good elsewhere");
    let left = culprit("made good, then aborted", Some(libc::SIGABRT), Evidence::InCall(7));
    assert_eq!(left.signal, Some(libc::SIGABRT), "the next one is noted");
}

#[test]
fn a_fault_that_a_handler_is_at_work_on_stays_noted() {
    let (signal, left) = left_by("at work");
    let left = left.expect("left");
    assert_eq!((signal, left.signal, left.address), (Some(libc::SIGKILL), Some(libc::SIGSEGV), 16));
}

#[test]
fn threads_that_fault_at_once_are_all_handed_on() {
    killed_without_a_note("made good together");
}

#[test]
fn handlers_that_are_set_anew_for_ever_are_remembered_once() {
    let (status, left) = ended_by("set anew");
    assert!(status.success() && left.is_none(), "{status}");
}

#[test]
fn handlers_are_of_one_plugin_by_its_library_or_when_it_alone_was_in_a_call() {
    let dir = tempfile::tempdir().expect("a directory");
    let stamps = Stamps::create(&dir.path().join("stamps"), BOOT).expect("made");
    stamps.library("a", 4096..8192);
    let stamp = |plugin, tid| stamps.thread_of(plugin, tid).expect("a place");
    let (a, b, more_of_b) = (stamp("a", 1), stamp("b", 2), stamp("b", 3));
    b.enter(1);
    more_of_b.enter(2);
    assert_eq!(stamps.whose(9000, "b"), Whose::OnlyInCall);
    a.enter(1);
    assert_eq!(stamps.whose(9000, "b"), Whose::Unknown(vec!["a".to_owned()]), "it may be either");
    assert_eq!(stamps.whose(5000, "b"), Whose::Library("a".to_owned()));
    a.leave();
    assert_eq!(stamps.whose(9000, "b"), Whose::OnlyInCall);
    assert_eq!(stamps.whose(5000, "b"), Whose::Library("a".to_owned()), "in no call any more");
}
