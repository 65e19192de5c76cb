//! What lies where a runtime's socket should be, for people. A path may lead over
//! a file system that hangs: it is looked at on another thread, which is left
//! behind where it does not come back.

use std::io::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

/// A look that takes longer hangs: where nothing does it takes some µs.
const EACH: Duration = Duration::from_millis(500);

/// All of them together. Who asks is given some seconds by the host.
const ALL: Duration = Duration::from_secs(2);

/// Threads that were left behind and have not come back; then nothing more is
/// looked for: each start of the plugin may leave some.
const MOST_BEHIND: usize = 16;
static BEHIND: AtomicUsize = AtomicUsize::new(0);

/// They make system calls alone.
const STACK: usize = 128 << 10;

/// What is said of one that hangs.
pub const HANGS: &str = "could not be looked for in time; it may lie on a file system that hangs";

/// One look.
pub type Look<T> = Box<dyn FnOnce() -> T + Send>;

/// What lies where a socket should be.
pub fn socket(path: &Path) -> &'static str {
    use std::io::ErrorKind::{NotFound, PermissionDenied};
    use std::os::unix::fs::FileTypeExt;
    let access = rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK;
    match std::fs::metadata(path) {
        Err(error) if error.kind() == NotFound => "is not there; it is waited for",
        Err(error) if error.kind() == PermissionDenied => {
            "may not be looked for by this user: run as root or in the group of its directory, or add \
             CAP_DAC_READ_SEARCH to grant where this plugin runs in a process of its own"
        }
        Err(_) => "cannot be looked for: something on the way to it is no directory, or is broken",
        Ok(metadata) if !metadata.file_type().is_socket() => "is no socket; one is waited for",
        Ok(_) if rustix::fs::access(path, access).is_err() => {
            "may not be opened by this user: run as root or in the group of the socket, or add CAP_DAC_OVERRIDE to \
             grant where this plugin runs in a process of its own"
        }
        Ok(_) => "is there",
    }
}

/// Looks one after the other, and goes past those that hang: they have no answer.
///
/// # Errors
/// Where the system gives no thread.
pub fn in_time<T: Send + 'static>(looks: Vec<Look<T>>) -> Result<Vec<Option<T>>, Error> {
    within(looks, EACH, ALL, &BEHIND)
}

fn within<T: Send + 'static>(
    looks: Vec<Look<T>>,
    each: Duration,
    all: Duration,
    behind: &'static AtomicUsize,
) -> Result<Vec<Option<T>>, Error> {
    let until = Instant::now() + all;
    let mut answers = Vec::with_capacity(looks.len());
    let mut looker: Option<Looker<T>> = None;
    for look in looks {
        let left = until.saturating_duration_since(Instant::now()).min(each);
        if left.is_zero() || behind.load(SeqCst) >= MOST_BEHIND {
            answers.push(None);
            continue;
        }
        let own = match looker.take() {
            Some(own) => own,
            None => Looker::start(behind)?,
        };
        // It fails where the one before panicked: then there is no answer either.
        let answer = own.ask.send(look).ok().and_then(|()| own.told.recv_timeout(left).ok());
        if answer.is_some() {
            looker = Some(own);
        } else {
            own.leave(behind);
        }
        answers.push(answer);
    }
    Ok(answers)
}

/// A thread that looks, until nobody has anything to look at for it.
struct Looker<T> {
    ask: Sender<Look<T>>,
    told: Receiver<T>,
    /// Whether one of the two has ended: it, or who waits for it.
    one_ended: Arc<AtomicBool>,
}

impl<T: Send + 'static> Looker<T> {
    fn start(behind: &'static AtomicUsize) -> Result<Self, Error> {
        let (ask, looks) = mpsc::channel::<Look<T>>();
        let (tell, told) = mpsc::channel();
        let one_ended = Arc::new(AtomicBool::new(false));
        let came_back = CameBack(Arc::clone(&one_ended), behind);
        let body = move || {
            let _came_back = came_back;
            for look in looks {
                if tell.send(look()).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("containers-found".to_owned()).stack_size(STACK).spawn(body)?;
        Ok(Self { ask, told, one_ended })
    }

    fn leave(self, behind: &AtomicUsize) {
        leave(behind, || self.one_ended.swap(true, SeqCst));
    }
}

/// Counts one that nobody waits for any longer, unless it has ended.
fn leave(behind: &AtomicUsize, has_ended: impl FnOnce() -> bool) {
    // First: it may come back as soon as that is asked, and is taken off again then.
    behind.fetch_add(1, SeqCst);
    if has_ended() {
        behind.fetch_sub(1, SeqCst);
    }
}

/// Dropped at the end of a thread, also if it panics.
struct CameBack(Arc<AtomicBool>, &'static AtomicUsize);

impl Drop for CameBack {
    fn drop(&mut self) {
        if self.0.swap(true, SeqCst) {
            self.1.fetch_sub(1, SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_plugin_testkit::PATIENCE;

    #[test]
    fn one_that_hangs_is_gone_past_and_holds_nobody() {
        static HERE: AtomicUsize = AtomicUsize::new(0);
        let (let_go, held) = mpsc::channel::<()>();
        let (ended, all_ended) = mpsc::channel::<&str>();
        let hangs: Look<&str> = Box::new(move || {
            let _ = held.recv();
            let _ = ended.send("it came back");
            "late"
        });
        // Those that do not hang have the time that the one which does is given.
        let looks = vec![Box::new(|| "one") as Look<&str>, hangs, Box::new(|| "three")];
        let answers = within(looks, Duration::from_secs(2), PATIENCE, &HERE).expect("threads");
        assert_eq!(answers, [Some("one"), None, Some("three")]);
        assert_eq!(HERE.load(SeqCst), 1);
        drop(let_go);
        assert_eq!(all_ended.recv_timeout(PATIENCE), Ok("it came back"));
        gantry_plugin_testkit::eventually(|| match HERE.load(SeqCst) {
            0 => Ok(()),
            left => Err(format!("{left} left behind")),
        })
        .expect("it is no longer behind");
    }

    /// Fewer than none would be more than may be left behind.
    #[test]
    fn one_that_comes_back_as_it_is_left_is_counted_first() {
        static HERE: AtomicUsize = AtomicUsize::new(0);
        let one_ended = Arc::new(AtomicBool::new(false));
        leave(&HERE, || {
            let had_ended = one_ended.swap(true, SeqCst);
            drop(CameBack(Arc::clone(&one_ended), &HERE));
            assert_eq!(HERE.load(SeqCst), 0, "it came back at once");
            had_ended
        });
        assert_eq!(HERE.load(SeqCst), 0);
        leave(&HERE, || one_ended.swap(true, SeqCst));
        assert_eq!(HERE.load(SeqCst), 0, "it had ended before");
    }

    #[test]
    fn all_together_have_an_end_and_a_panic_is_no_answer() {
        static HERE: AtomicUsize = AtomicUsize::new(0);
        let looks: Vec<Look<()>> = (0..1000).map(|_| Box::new(std::thread::park) as Look<()>).collect();
        let none = within(looks, Duration::from_millis(1), PATIENCE, &HERE).expect("threads");
        assert_eq!(none, vec![None; 1000]);
        assert_eq!(HERE.load(SeqCst), MOST_BEHIND, "no more threads than that");
        static OTHERS: AtomicUsize = AtomicUsize::new(0);
        let looks = vec![Box::new(|| -> u8 { panic!("a test's") }) as Look<u8>, Box::new(|| 2)];
        assert_eq!(within(looks, PATIENCE, PATIENCE, &OTHERS).expect("threads"), [None, Some(2)]);
        let looks: Vec<Look<()>> = (0..9).map(|_| Box::new(std::thread::park) as Look<()>).collect();
        let begun = within(looks, PATIENCE, Duration::from_millis(20), &OTHERS).expect("threads");
        assert_eq!(begun, vec![None; 9], "all together have an end");
    }
}
