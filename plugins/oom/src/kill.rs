//! One victim, as people see it: a line of the log and a row of a view.

use crate::record::{Limit, Mark, Memory};
use crate::scope::Scope;
use gantry_plugin_api::ContainerRef;
use gantry_plugin_api::serde::{Deserialize, Serialize};
use std::fmt;

/// One victim.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(crate = "gantry_plugin_api::serde")]
pub struct Kill {
    /// Seconds since the epoch at which it was told.
    pub at: f64,
    /// The container's handle; 0: of none.
    pub container: u64,
    /// The container's id as it was then.
    pub id: String,
    /// The process.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// Its memory.
    pub memory: Memory,
    /// Whose limit was reached.
    pub scope: Scope,
    /// That limit.
    pub limit: Option<Limit>,
}

impl Kill {
    /// Out of a mark.
    pub fn of(mark: &Mark, container: Option<(ContainerRef, &str)>, scope: Scope, at: f64) -> Self {
        let Mark { pid, memory, limit, .. } = *mark;
        let (container, id) = container.map_or((0, ""), |(container, id)| (container.handle(), id));
        Self { at, container, id: id.to_owned(), pid, comm: mark.comm.clone(), memory, scope, limit }
    }
}

/// As in `12.5 MiB`.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} MiB", self.0 as f64 / f64::from(1 << 20))
    }
}

impl fmt::Display for Kill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, pid, comm, memory, .. } = self;
        let of = if self.container == 0 { "no container" } else { id };
        write!(
            f,
            "killed for want of memory: process {pid} ({comm:?}) of {of} with {} (anon {}, file {}, shmem {}), ",
            Bytes(memory.all()),
            Bytes(memory.anon),
            Bytes(memory.file),
            Bytes(memory.shmem)
        )?;
        let Some(limit) = self.limit else { return f.write_str("as the node had none left") };
        let what = if limit.with_swap { "memory and swap" } else { "memory" };
        let whose = match self.scope {
            Scope::Container => "the container's",
            Scope::Ancestor => "an ancestor's",
            Scope::Node | Scope::Unknown => "its cgroup's",
        };
        write!(f, "at {whose} limit of {} of {what}", Bytes(limit.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::some;

    #[test]
    fn a_line_says_who_how_much_and_whose_limit() {
        let container = ContainerRef::from_handle(7).map(|container| (container, "/docker/web"));
        let hostile = Mark { comm: "a\nb\u{1b}".to_owned(), ..some() };
        assert_eq!(
            Kill::of(&hostile, container, Scope::Container, 0.0).to_string(),
            "killed for want of memory: process 4242 (\"a\\nb\\u{1b}\") of /docker/web with 30.0 MiB (anon 30.0 MiB, \
             file 0.0 MiB, shmem 0.0 MiB), at the container's limit of 32.0 MiB of memory"
        );
        let node = Kill::of(&Mark { limit: None, ..some() }, None, Scope::Node, 0.0).to_string();
        assert!(node.contains(" of no container ") && node.ends_with("as the node had none left"), "{node}");
    }
}
