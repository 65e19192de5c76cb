//! From a container to its names: the labels `container_id` and `app_id`.
//!
//! Pure functions. The schemes are coroot-node-agent's, with more runtimes:
//!
//! | container | id |
//! |---|---|
//! | of a pod | `/k8s/NAMESPACE/POD/CONTAINER` |
//! | of a pod of a CronJob | `/k8s-cronjob/NAMESPACE/JOB/CONTAINER`, one for all its runs |
//! | of Docker Swarm | `/swarm/STACK/SERVICE/REPLICA`, `_` without a stack |
//! | of Nomad | `/nomad/NAMESPACE/JOB/GROUP/ALLOCATION/TASK` |
//! | of ECS | `/ecs/CLUSTER/FAMILY/TASK/CONTAINER` |
//! | any other with a name | `/RUNTIME/NAME` |
//! | of containerd outside of its default namespace | `/containerd/NAMESPACE/NAME` |
//! | with no name known | `/RUNTIME/RAW-ID` |
//! | in a user's slice | `/RUNTIME/user-UID/NAME` or `…/RAW-ID` |
//! | a service | `/SLICE/UNIT`, `/talos/NAME` |
//!
//! Names come from outside. A part that could be taken for several, or that is
//! long or unprintable, is written with a digest of the whole
//! (`text::part`), so that no two different names become one.

mod app;
mod orchestrated;
#[cfg(test)]
mod tests;
mod text;

use super::path::{Found, Key, Runtime};
use gantry_plugin_api::identity::Container;
use std::collections::BTreeMap;
use text::{joined, part};

/// What is known besides the path.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// What a provider knows of the container.
    pub metadata: Option<&'a Container>,
    /// The environment of the container's first process; only for tasks that
    /// Nomad runs by itself, which no provider knows.
    pub environment: &'a BTreeMap<String, String>,
    /// Now, in seconds since the epoch.
    pub now: u64,
}

/// How a container is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    pub id: String,
    /// The application that it is one of several of; empty when there is
    /// nothing to say that the id does not.
    pub app_id: String,
    /// Others may have this id at the same time, rightly: they are one series.
    pub shared: bool,
    /// Why it is not shown at all.
    pub skipped: Option<&'static str>,
}

/// It holds a pod's namespaces and does nothing.
pub const PAUSE: &str = "pause";
/// What a provider names it by whose runtime does not label it.
const SANDBOX: &str = "sandbox";
/// A process in a pod's own cgroup that is not known for a sandbox.
pub const NO_ID: &str = "no id";

/// How a container is shown.
pub fn name(found: &Found, known: Known<'_>) -> Named {
    let mut named = scheme(found, known);
    named.id = text::bounded(named.id);
    named.app_id = text::bounded(named.app_id);
    if named.app_id == named.id {
        named.app_id.clear();
    }
    named
}

fn scheme(found: &Found, known: Known<'_>) -> Named {
    if let Some(id) = &found.path_id {
        let parts: Vec<&str> = id.split('/').skip(1).collect();
        // A dash that was an escape may be a plain one in another unit's name,
        // and Talos has a runtime of its own and one of the pods.
        let shared = found.raw_id.contains("\\x2d") || found.runtime == Runtime::Talos;
        return Named { id: joined(&parts), shared, ..Named::default() };
    }
    if let Some(uid) = found.owner {
        return of_user(found, uid, known.metadata);
    }
    if let Some(task) = orchestrated::nomad(found, known) {
        return task;
    }
    let Some(container) = known.metadata else { return raw(found) };
    if container.names.contains_key(SANDBOX) {
        return Named { skipped: Some(PAUSE), ..raw(found) };
    }
    orchestrated::pod(found, container, known.now)
        .or_else(|| orchestrated::swarm(container))
        .or_else(|| orchestrated::ecs(container))
        .or_else(|| plain(found, container))
        .unwrap_or_else(|| raw(found))
}

/// What a user runs is known to his own runtime alone, which may say anything:
/// it is believed a name among this user's.
fn of_user(found: &Found, uid: u32, metadata: Option<&Container>) -> Named {
    let Some(container) = metadata else { return raw(found) };
    if container.names.contains_key(SANDBOX) {
        return Named { skipped: Some(PAUSE), ..raw(found) };
    }
    let Some(name) = name_of(container) else { return raw(found) };
    let id = joined(&[found.runtime.as_str(), &format!("user-{uid}"), name]);
    Named { id, ..Named::default() }
}

/// By the runtime's own id.
fn raw(found: &Found) -> Named {
    if found.raw_id.is_empty() {
        return Named { skipped: Some(NO_ID), ..Named::default() };
    }
    let runtime = found.runtime.as_str();
    let id = match found.owner {
        Some(uid) => joined(&[runtime, &format!("user-{uid}"), &found.raw_id]),
        None => joined(&[runtime, &found.raw_id]),
    };
    Named { id, ..Named::default() }
}

fn name_of(container: &Container) -> Option<&str> {
    let name = container.names.get("name").filter(|name| !name.is_empty());
    let name = name.or_else(|| container.labels.get("nerdctl/name")).filter(|name| !name.is_empty())?;
    // Docker's API writes a slash before each name.
    Some(name.strip_prefix('/').unwrap_or(name))
}

/// By the name that the runtime gave it.
fn plain(found: &Found, container: &Container) -> Option<Named> {
    let name = name_of(container)?;
    // Whoever knew the name of a digest knows the runtime better than the path.
    let told = Runtime::parse(&container.runtime).filter(|told| told.has_digests());
    let runtime = told.filter(|_| found.runtime.has_digests()).unwrap_or(found.runtime);
    let label = container.labels.get("nerdctl/namespace");
    let namespace = container.names.get("containerd_namespace").or(label).map(String::as_str);
    let namespace = namespace.filter(|namespace| !matches!(*namespace, "" | "default"));
    let id = match namespace.filter(|_| runtime == Runtime::Containerd) {
        // `user-1000` stands for a user in this place.
        Some(user) if user.starts_with("user-") => {
            format!("/{}/{}/{}", runtime.as_str(), text::marked(user), part(name))
        }
        Some(namespace) => joined(&[runtime.as_str(), namespace, name]),
        None => joined(&[runtime.as_str(), name]),
    };
    Some(Named { id, ..Named::default() })
}

/// Whether a task that Nomad runs by itself can be named by this.
pub fn is_named_by(environment: &BTreeMap<String, String>) -> bool {
    orchestrated::NOMAD.iter().all(|name| environment.contains_key(*name))
}

/// What makes it the same container, once its metadata are known: a pod's
/// container stays itself when it is started again.
pub fn identity_key(found: &Found, metadata: Option<&Container>) -> Key {
    let pod = metadata.filter(|_| found.owner.is_none()).and_then(orchestrated::PodNames::of);
    match pod {
        Some(pod) if !pod.is_pause() => {
            Key::Pod { namespace: pod.namespace.into(), pod: pod.pod.into(), container: pod.container.into() }
        }
        _ => found.key.clone(),
    }
}
