//! From a cgroup's path to the container that it belongs to.
//!
//! Pure functions over text: nothing is read. [`identify`] reduces the paths of
//! `/proc/PID/cgroup` to one, [`classify`] says what that one is.
//!
//! A path may name several containers, one within the other. The outermost
//! counts: it is the one whose runtime runs on this node and can be asked for
//! its name, and what it holds counts as its own. So the inner container of
//! `/docker/OUTER/docker/INNER` is the outer one, and so is a service of a
//! systemd that runs in a container. One exception: the pods of a Kubernetes
//! node that is a container itself (kind, k3d, minikube) are containers each,
//! because they are what people look for there, and because an agent that runs
//! in such a node sees the same paths. System containers (LXC, nspawn) end the
//! search also for pods: their root may make cgroups of any name.
//!
//! Whoever has a delegated subtree of cgroups may name them as he likes. What
//! lies in a user's slice therefore carries the user's number ([`Found::owner`])
//! and is never the same container as one outside of it.

mod choose;
mod machine;
mod pods;
mod runtime;
mod scope;
#[cfg(test)]
mod tests;
mod unit;

use std::borrow::Cow;
use std::sync::Arc;

pub use choose::{Entry, identify};
pub use pods::sandbox_of_command;
pub use runtime::Runtime;

/// The kernel prints no longer path (`PATH_MAX` in `include/uapi/linux/limits.h`).
const MAX_PATH: usize = 4096;

/// What a cgroup's path stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// No container: the root, a login session, a bare scope, the helper of a
    /// runtime (conmon, an LXC monitor), or a path that nobody is known to make.
    Nobody,
    Container(Found),
}

/// A container, as far as its path tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub runtime: Runtime,
    /// What the runtime calls it: usually 64 hexadecimal digits, a name for
    /// LXC and nspawn, a unit's name (escaped, as systemd's bus wants it) for
    /// a service. For a user's own service its path, since the system's manager
    /// may have another of that name. Empty for a pod's sandbox of which the
    /// path does not tell the id ([`Found::in_sandbox`]).
    pub raw_id: Arc<str>,
    /// What makes it the same container.
    pub key: Key,
    /// The user in whose slice it lies, if not root's. No provider of the
    /// node's own runtimes knows it, but one that asks this user's may.
    pub owner: Option<u32>,
    /// The pod's uid, with dashes, for a container of Kubernetes.
    pub pod_uid: Option<Box<str>>,
    /// It holds a whole pod: gVisor, Kata.
    pub sandbox: bool,
    /// The path does not tell the runtime; this one is the likeliest.
    pub guessed: bool,
    /// The id, where the path is all that there is to know (services).
    pub path_id: Option<Box<str>>,
}

/// What makes two sightings the same container.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// A runtime's own id. `family` is one for all runtimes whose ids are
    /// digests, and otherwise the runtime.
    Id { family: &'static str, owner: Option<u32>, id: Arc<str> },
    /// A cgroup's path, for services.
    Cgroup(Box<str>),
    /// A container of a pod; it stays the same when it is started again under
    /// another raw id. Known from metadata alone.
    Pod { namespace: Box<str>, pod: Box<str>, container: Box<str> },
}

impl std::fmt::Display for Key {
    /// No two keys have the same text: no part but the last may hold a slash.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id { family, owner: None, id } => write!(f, "{family}/{id}"),
            Self::Id { family, owner: Some(uid), id } => write!(f, "user-{uid}/{family}/{id}"),
            Self::Cgroup(path) => write!(f, "cgroup{path}"),
            Self::Pod { namespace, pod, container } => write!(f, "pod/{namespace}/{pod}/{container}"),
        }
    }
}

/// Whether what users run in their own slices is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UserSlices {
    #[default]
    Hidden,
    Shown,
}

impl Found {
    fn new(runtime: Runtime, id: &str, owner: Option<u32>) -> Self {
        let family = if runtime.has_digests() && is_digest(id) { "digest" } else { runtime.as_str() };
        // One text for both: there are many of these.
        let raw_id: Arc<str> = id.into();
        Self {
            runtime,
            raw_id: raw_id.clone(),
            key: Key::Id { family, owner, id: raw_id },
            owner,
            pod_uid: None,
            sandbox: false,
            guessed: false,
            path_id: None,
        }
    }

    fn service(runtime: Runtime, raw_id: &str, cgroup: String, id: String) -> Self {
        Self {
            runtime,
            raw_id: raw_id.into(),
            key: Key::Cgroup(cgroup.into()),
            owner: None,
            pod_uid: None,
            sandbox: false,
            guessed: false,
            path_id: Some(id.into()),
        }
    }

    /// By which a provider tells of it: the runtime's id, and whose runtime it is
    /// where it is a user's.
    pub fn told_id(&self) -> Cow<'_, str> {
        match self.owner {
            Some(uid) => Self::id_of_user(uid, &self.raw_id).into(),
            None => Cow::Borrowed(&self.raw_id),
        }
    }

    /// That of a container in a user's slice.
    pub fn id_of_user(uid: u32, raw_id: &str) -> String {
        format!("user-{uid}/{raw_id}")
    }

    /// Whether the path tells only that some runtime made it.
    fn is_open(&self) -> bool {
        self.guessed || matches!(self.runtime, Runtime::Kubernetes | Runtime::Oci)
    }

    /// The runtime; where the path does not tell it, the one that a provider
    /// says it is of.
    pub fn runtime_of<'a>(&self, told: &'a str) -> &'a str {
        let known = Runtime::parse(told).filter(|told| self.is_open() && told.has_digests());
        known.map_or(self.runtime.as_str(), |_| told)
    }

    /// Whether it may turn out to be a pod's, whose name says of which namespace.
    pub fn may_be_of_pod(&self) -> bool {
        self.owner.is_none() && (self.pod_uid.is_some() || self.is_open())
    }

    /// Whether a provider of this runtime's metadata can know it.
    pub fn is_known_to(&self, provided: &str) -> bool {
        let any = self.is_open() && Runtime::parse(provided).is_some_and(Runtime::has_digests);
        self.owner.is_none() && (any || self.runtime.as_str() == provided)
    }

    /// Whether it counts only where what users run in their own slices does.
    pub fn is_of_user_slice(&self) -> bool {
        matches!(&self.key, Key::Cgroup(path) if classify(path, UserSlices::Hidden) == Place::Nobody)
    }

    /// The same, where a process in it is a gVisor sandbox of this id
    /// ([`sandbox_of_command`]): its cgroup may be the pod's own.
    #[must_use]
    pub fn in_sandbox(mut self, id: &str) -> Self {
        if self.pod_uid.is_none() {
            return self;
        }
        if self.raw_id.is_empty() {
            self.raw_id = id.into();
            self.key = Key::Id { family: "digest", owner: self.owner, id: self.raw_id.clone() };
        }
        self.sandbox = true;
        self
    }
}

/// What a path stands for. Takes time linear in the path's length.
pub fn classify(path: &str, users: UserSlices) -> Place {
    if path.len() > MAX_PATH {
        return Place::Nobody;
    }
    // proc_cgroup_show in kernel/cgroup/cgroup.c: a removed v2 cgroup's path,
    // as its zombies see it.
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    // A path outside of the reader's cgroup namespace begins with "..".
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != "..").collect();
    if parts.is_empty() {
        return Place::Nobody;
    }
    let owner = owner(&parts);
    let machine = machine::find(&parts, owner);
    let end = machine.as_ref().map_or(parts.len(), |(at, _)| *at);
    if let Some(place) = pods::find(&parts[..end], owner) {
        return place;
    }
    if let Some(place) = scope::find(&parts[..end], owner) {
        return place;
    }
    match machine {
        Some((_, place)) => place,
        None => unit::find(&parts, users),
    }
}

/// The user in whose slice a path lies; none for root, who may do as he likes.
fn owner(parts: &[&str]) -> Option<u32> {
    let ["user.slice", slice, ..] = parts else { return None };
    user_of(slice).filter(|uid| *uid != 0)
}

/// `user-UID.slice`
fn user_of(slice: &str) -> Option<u32> {
    slice.strip_prefix("user-")?.strip_suffix(".slice")?.parse().ok()
}

/// Whether a text is an id as runtimes make them: 64 hexadecimal digits.
fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Decodes `\x2d`, systemd's escape for a dash. Other escapes stay: what they
/// stand for (a slash, say) has no place in an id.
fn unescaped(name: &str) -> String {
    name.replace("\\x2d", "-")
}
