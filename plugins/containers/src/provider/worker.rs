//! The thread that asks all runtimes: of each one session after the other, until
//! it is stopped. Each request has its own deadline, none waits for another's
//! answer, and a panic ends the sessions with one runtime alone. What does hold
//! the others is the reading of an answer that is there, at most 16 MiB: some
//! 100 ms. One thread, as each takes stack, a poll and buffers, of which a
//! process of the plugin's own is to have little.

use super::backoff::Backoff;
use super::link::Link;
use super::outcome::Outcome;
use super::{Again, Ended, Failed, Provider};
use gantry_plugin_api::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

/// Between two sessions with a runtime that somebody must configure first.
const RARELY: Duration = Duration::from_secs(60);

/// A path that cannot be looked up for so long hangs.
const LOOKED_FOR: Duration = Duration::from_secs(5);

/// Of a thread that looks up paths: it makes system calls alone.
const STACK: usize = 128 << 10;

/// Such a thread is there for those that come together.
const IDLE: Duration = Duration::from_millis(500);

/// The course of a task: made and polled on the thread.
type Course = Pin<Box<dyn Future<Output = ()>>>;

/// What is to be done for one runtime.
pub struct Task {
    link: Arc<Link>,
    begin: Box<dyn FnOnce() -> Course + Send>,
}

impl Task {
    /// Sessions with a runtime. That it is not there is no error.
    pub fn new(provider: impl Provider, link: Link) -> Self {
        let link = Arc::new(link);
        let shared = Arc::clone(&link);
        let begin = move || -> Course {
            Box::pin(async move {
                let _mark = Mark(&shared);
                sessions(provider, &shared).await;
            })
        };
        Self { link, begin: Box::new(begin) }
    }
}

/// The thread, and what it shares.
#[derive(Debug)]
pub struct Worker {
    links: Vec<Arc<Link>>,
    ending: watch::Sender<bool>,
    /// Disconnected by the end of the thread. Waited for by one at a time.
    ended: Mutex<Receiver<()>>,
}

impl Worker {
    /// Begins. Where nothing is to be asked there is no thread.
    ///
    /// # Errors
    /// Where the system gives no thread or no descriptors.
    pub fn start(tasks: Vec<Task>) -> Result<Self, Error> {
        let failed = |error: std::io::Error| Error::new(format!("a thread for runtimes: {error}"));
        let links = tasks.iter().map(|task| Arc::clone(&task.link)).collect();
        let (ending, mut ended) = watch::channel(false);
        let (alive, at_end) = mpsc::channel::<()>();
        let worker = Self { links, ending, ended: Mutex::new(at_end) };
        if tasks.is_empty() {
            return Ok(worker);
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            // One for each way that hangs, and one for the others ([`super::door`]).
            .max_blocking_threads(tasks.len() + 1)
            .thread_name("containers-path")
            .thread_stack_size(STACK)
            .thread_keep_alive(IDLE)
            .build()
            .map_err(failed)?;
        let body = move || {
            let _alive = alive;
            let all = LocalSet::new();
            for task in tasks {
                // Each is a task of its own: a panic ends that one alone.
                drop(all.spawn_local((task.begin)()));
            }
            runtime.block_on(all.run_until(async {
                // The sender is gone only with the plugin itself.
                let _ = ended.wait_for(|ending| *ending).await;
            }));
            {
                // Timers and sockets end where they were made.
                let _inside = runtime.enter();
                drop(all);
            }
            // A way that hangs is not waited for.
            runtime.shutdown_background();
        };
        // The handle is let go: who joins it cannot say for how long at most.
        std::thread::Builder::new().name("runtimes".to_owned()).spawn(body).map_err(failed)?;
        Ok(worker)
    }

    /// What it shares, by runtime.
    pub fn links(&self) -> &[Arc<Link>] {
        &self.links
    }

    /// Tells it to end, and does not wait.
    pub fn end(&self) {
        // Without a receiver it has ended already.
        let _ = self.ending.send(true);
    }

    /// Waits for its end, at most so long; whether it ended.
    pub fn join(&self, at_most: Duration) -> bool {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        !matches!(ended.recv_timeout(at_most), Err(mpsc::RecvTimeoutError::Timeout))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end();
    }
}

/// Says that a runtime is asked no more, where a panic unwinds its task.
struct Mark<'a>(&'a Link);

impl Drop for Mark<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.dead();
            self.0.first_is_over();
        }
    }
}

async fn sessions(mut provider: impl Provider, link: &Arc<Link>) {
    let mut backoff = Backoff::default();
    // Polled and not watched with inotify: what must be noticed is that somebody
    // answers, and a socket file is there before its Docker, and after it died.
    // A directory that is made later, or mounted over, cannot be watched either.
    loop {
        let begun = Instant::now();
        let there = match timeout(LOOKED_FOR, provider.door().is_there()).await {
            Ok(there) => there,
            Err(_) => Err(std::io::Error::other(
                "its path could not be looked up; it may lie on a file system that hangs",
            )),
        };
        if let Err(error) = &there {
            link.failing(&unreachable(error));
        } else if there.is_ok_and(|there| there) {
            link.tried();
            let ended = match provider.session(link).await {
                Ok(never) => match never {},
                Err(ended) => ended,
            };
            match ended.again {
                Again::Unused => link.unused(&ended),
                Again::Soon | Again::Rarely => link.failing(&ended),
            }
            link.flush();
            // Before a long rest: who starts waits for it.
            link.first_is_over();
            if ended.again != Again::Soon {
                rest(link).await;
            }
        } else {
            link.absent();
        }
        link.first_is_over();
        let wait = backoff.after(begun.elapsed(), link.take_listed());
        // The host saw a container of this runtime: it is probably there.
        if timeout(wait, link.wanted.added()).await.is_ok() && wait > Backoff::least() {
            sleep(Backoff::least()).await;
        }
    }
}

/// A directory on the way to the socket may not be entered, say.
fn unreachable(error: &std::io::Error) -> Ended {
    let remedy = match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            "; run as root or in the group of its directory, or add CAP_DAC_READ_SEARCH to grant where this plugin \
             runs in a process of its own"
        }
        _ => "",
    };
    Failed { outcome: Outcome::Failed, detail: format!("{error}{remedy}") }.into_ended("connect")
}

/// A long time in which nothing that the host wants can be had.
async fn rest(link: &Link) {
    let drain = async {
        loop {
            link.wanted.added().await;
            link.wanted.take();
        }
    };
    // It has no end of its own.
    let _: Result<(), _> = timeout(RARELY, drain).await;
}

#[cfg(test)]
mod tests {
    use super::super::bounds::Losses;
    use super::super::door::{Door, Turn};
    use super::super::link::State;
    use super::*;
    use gantry_plugin_testkit::{Kit, PATIENCE};
    use std::convert::Infallible;

    struct Fake(Door, fn());

    impl Provider for Fake {
        fn runtime(&self) -> &'static str {
            "docker"
        }
        fn door(&self) -> &Door {
            &self.0
        }
        async fn session(&mut self, link: &Arc<Link>) -> Result<Infallible, Ended> {
            link.up();
            (self.1)();
            std::future::pending().await
        }
    }

    #[test]
    fn a_panic_ends_the_sessions_of_one_runtime_alone() {
        let kit = Kit::of::<crate::Containers>();
        let dir = tempfile::tempdir().expect("a directory");
        let turn = Turn::default();
        let task = |course: fn()| {
            let losses = Arc::new(Losses::default());
            let link = Link::new(kit.host(), "docker", "docker", "/socket".into(), &[], losses);
            Task::new(Fake(Door::new(dir.path().into(), &turn), course), link)
        };
        let worker = Worker::start(vec![task(|| panic!("a test's")), task(|| ())]).expect("a thread");
        let until = Instant::now() + PATIENCE;
        let states = || worker.links().iter().map(|link| link.state()).collect::<Vec<_>>();
        while states() != [State::Dead, State::Up] {
            assert!(Instant::now() < until, "{:?}", states());
            std::thread::park_timeout(Duration::from_millis(2));
        }
        worker.end();
        assert!(worker.join(PATIENCE));
        assert_eq!(states(), [State::Dead, State::Up], "its end is no panic");
        let none = Worker::start(Vec::new()).expect("nothing is needed");
        assert!(none.join(Duration::ZERO), "there is no thread");
    }
}
