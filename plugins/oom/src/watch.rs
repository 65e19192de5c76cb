//! The thread that takes events over as they come. It sleeps until there is one.

use crate::state::State;
use gantry_plugin_api::{Host, tracing};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often it is asked whose a victim's cgroup is, while one is unknown.
const AGAIN: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// Kills come in bursts; and whoever waits for the lock has it between two looks.
const BREATH: Duration = Duration::from_millis(1);

/// What is known, and the thread that keeps it up to date.
#[derive(Debug)]
pub struct Watch {
    state: Arc<Mutex<State>>,
    wake: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Begins. Without programs there is nothing to wait for, and no thread.
    ///
    /// # Errors
    /// The system call that failed.
    pub fn start(host: &Host, state: State) -> Result<Self, String> {
        let events = state.engine.as_ref().map(|engine| engine.events().try_clone_to_owned());
        let state = Arc::new(Mutex::new(state));
        let Some(events) = events else { return Ok(Self { state, wake: None, thread: None }) };
        let events = events.map_err(|error| format!("fcntl(F_DUPFD_CLOEXEC): {error}"))?;
        let failed = |errno: rustix::io::Errno| format!("eventfd: {errno}");
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(failed)?;
        let stop = wake.try_clone().map_err(|error| format!("fcntl(F_DUPFD_CLOEXEC): {error}"))?;
        let (host, shared) = (host.clone(), Arc::clone(&state));
        let thread = std::thread::Builder::new()
            .name("oom-events".to_owned())
            .spawn(move || follow(&host, &shared, &events, &stop))
            .map_err(|error| format!("clone: {error}"))?;
        Ok(Self { state, wake: Some(wake), thread: Some(thread) })
    }

    /// All that is known, for as long as the answer lives.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Ends the thread.
    pub fn join(&mut self) {
        if let Some(wake) = &self.wake {
            // What is in the way of a write to an eventfd is that it was written to.
            let _ = rustix::io::write(wake, &1_u64.to_ne_bytes());
        }
        if let Some(thread) = self.thread.take() {
            // A panic of it was said already.
            let _ = thread.join();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.join();
    }
}

/// Each change of it is one call: after a panic it is as it was, or one event ahead.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Until it is to end.
fn follow(host: &Host, state: &Mutex<State>, events: &OwnedFd, stop: &OwnedFd) {
    let mut is_waiting = false;
    loop {
        let mut fds = [PollFd::new(events, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
        match poll(&mut fds, is_waiting.then_some(&AGAIN)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => {
                tracing::error!("poll: {errno}; kills are taken over at collections alone");
                return;
            }
        }
        if !fds[1].revents().is_empty() {
            return;
        }
        {
            let mut state = lock(state);
            state.take(host);
            is_waiting = state.is_waiting();
        }
        std::thread::park_timeout(BREATH);
    }
}
