//! The thread that takes ends of processes over.

use crate::engine::Engine;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;

/// After the first end of many it waits for the others: a machine that starts
/// thousands of processes a second wakes it 20 times.
const GATHER: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// The cursor of events must not fall behind while nobody collects.
const EVERY: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// A running thread; ends when dropped.
#[derive(Debug)]
pub struct Watch {
    stop: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts it. `ends` becomes readable when processes end.
    ///
    /// # Errors
    /// The system call that failed.
    pub fn start(engine: &Arc<Engine>, ends: OwnedFd) -> Result<Self, String> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let stop = eventfd(0, flags).map_err(|errno| format!("eventfd: {errno}"))?;
        let waits = stop.try_clone().map_err(|error| format!("dup: {error}"))?;
        let engine = Arc::clone(engine);
        let thread = std::thread::Builder::new()
            .name("taskstats".to_owned())
            .spawn(move || run(&engine, &ends, &waits))
            .map_err(|error| format!("clone: {error}"))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // What is in the way of a write to an eventfd is that it was written to.
        let _ = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            // A panic of it was said already.
            let _ = thread.join();
        }
    }
}

fn run(engine: &Engine, ends: &OwnedFd, stop: &OwnedFd) {
    loop {
        let mut fds = [PollFd::new(stop, PollFlags::IN), PollFd::new(ends, PollFlags::IN)];
        // An interrupt is as good as the end of the time.
        let _ = poll(&mut fds, Some(&EVERY));
        let mut fds = [PollFd::from_borrowed_fd(stop.as_fd(), PollFlags::IN)];
        let _ = poll(&mut fds, Some(&GATHER));
        if fds[0].revents().contains(PollFlags::IN) {
            return;
        }
        engine.turn();
    }
}
