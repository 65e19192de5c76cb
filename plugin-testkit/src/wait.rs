//! Waiting for what another thread does.

use crate::failure::Failure;
use std::time::{Duration, Instant};

/// How long the kit waits for something that must come: far longer than a
/// machine under load takes, so that only what never comes is missed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Between two tries: little beside what a collection of a test takes.
const PAUSE: Duration = Duration::from_millis(5);

/// Tries until `attempt` gives an answer, at most for [`PATIENCE`]; the failure
/// then is its last complaint. For what a plugin does on a thread of its own
/// and nothing else tells of.
pub fn eventually<T>(mut attempt: impl FnMut() -> Result<T, String>) -> Result<T, Failure> {
    let end = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(complaint) if Instant::now() > end => {
                return Err(Failure::NeverCame(format!("still, after {PATIENCE:?}: {complaint}")));
            }
            // Not as fast as it can: what is waited for needs the processors too.
            Err(_) => std::thread::park_timeout(PAUSE),
        }
    }
}
