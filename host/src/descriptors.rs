//! How many descriptors the agent may have.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Takes all that the system gives: the usual first limit of 1,024 is for
/// programs that call select(2), of which there is none here; plugins keep a
/// dozen files of each container open, within half of what there is.
pub fn take_all() {
    let limit = getrlimit(Resource::Nofile);
    let all = rustix::process::Rlimit { current: limit.maximum, ..limit };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, all)
    {
        tracing::warn!("setrlimit(RLIMIT_NOFILE): {error}; files of containers are opened anew more often");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_limit_becomes_the_last() {
        take_all();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
