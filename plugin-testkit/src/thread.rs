//! The thread that an instance's calls come from, and their deadlines. A call
//! that does not come back cannot be ended: its thread is left behind.

use crate::failure::Failure;
use gantry_pluginfile::Instance;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// What the thread is to do next.
enum Job {
    Call(Box<dyn FnOnce(&mut Instance) + Send>),
    /// Forget the instance without dropping it, as after a crash.
    Forget,
}

/// A thread with an instance on it.
#[derive(Debug)]
pub(crate) struct Thread {
    jobs: Option<mpsc::Sender<Job>>,
    ended: mpsc::Receiver<()>,
    /// Why it can be asked nothing more.
    gone: Option<String>,
    deadline: Duration,
}

impl Thread {
    /// Makes an instance on a thread of its own. What `make` begins with stays
    /// on the thread as long as the instance, whatever it is good for.
    pub(crate) fn start<K>(
        deadline: Duration,
        make: impl FnOnce() -> (K, Result<Instance, gantry_plugin_api::Error>) + Send + 'static,
    ) -> Result<Self, Failure> {
        let (jobs, todo) = mpsc::channel::<Job>();
        let (made, answer) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let body = move || {
            let (_kept, instance) = make();
            match instance {
                Ok(instance) => {
                    // Nobody waits any more after the deadline.
                    let _ = made.send(Ok(()));
                    work(instance, &todo);
                }
                Err(error) => drop(made.send(Err(error))),
            }
            let _ = end.send(());
        };
        std::thread::Builder::new()
            .name("plugin".to_owned())
            .spawn(body)
            .map_err(|error| Failure::of("create", error.into()))?;
        match answer.recv_timeout(deadline) {
            Ok(Ok(())) => Ok(Self { jobs: Some(jobs), ended, gone: None, deadline }),
            Ok(Err(error)) => Err(Failure::of("create", error)),
            Err(RecvTimeoutError::Timeout) => Err(Failure::Deadline { call: "create", deadline }),
            Err(RecvTimeoutError::Disconnected) => Err(Failure::Panicked {
                call: "create",
                message: "create: the plugin panicked where nothing catches it".to_owned(),
            }),
        }
    }

    /// Calls the instance, and waits for the answer until the deadline.
    pub(crate) fn call<T: Send + 'static>(
        &mut self,
        call: &'static str,
        deadline: Duration,
        body: impl FnOnce(&mut Instance) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        if let Some(why) = &self.gone {
            return Err(Failure::Gone { call, why: why.clone() });
        }
        self.deadline = deadline;
        let (give, answer) = mpsc::channel();
        let job = Job::Call(Box::new(move |instance| {
            // Nobody waits any more after the deadline.
            let _ = give.send(body(instance));
        }));
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        match answer.recv_timeout(deadline) {
            Ok(answer) if sent => Ok(answer),
            Err(RecvTimeoutError::Timeout) => {
                self.gone = Some(format!("{call} did not come back"));
                Err(Failure::Deadline { call, deadline })
            }
            _ => {
                let why = "its thread has ended".to_owned();
                self.gone = Some(why.clone());
                Err(Failure::Gone { call, why })
            }
        }
    }

    /// From here on nothing is asked.
    pub(crate) fn close(&mut self, why: &str) {
        self.gone.get_or_insert_with(|| why.to_owned());
    }

    pub(crate) fn is_open(&self) -> bool {
        self.gone.is_none()
    }

    /// The instance is neither stopped nor dropped: what holds it is leaked.
    pub(crate) fn forget(mut self) {
        if let Some(jobs) = self.jobs.take() {
            // A thread that has ended has dropped it already.
            let _ = jobs.send(Job::Forget);
        }
    }
}

impl Drop for Thread {
    /// Waits until the instance is dropped, so that no test leaves a thread to
    /// the next; but not for one that hangs.
    fn drop(&mut self) {
        let Some(jobs) = self.jobs.take() else { return };
        drop(jobs);
        let hangs = self.gone.as_ref().is_some_and(|why| why.ends_with("did not come back"));
        if !hangs {
            let _ = self.ended.recv_timeout(self.deadline);
        }
    }
}

fn work(mut instance: Instance, todo: &mpsc::Receiver<Job>) {
    while let Ok(job) = todo.recv() {
        match job {
            Job::Call(body) => body(&mut instance),
            Job::Forget => {
                std::mem::forget(instance);
                return;
            }
        }
    }
}
