//! Ids of containers that an orchestrator runs, by what it tells the runtime.
//!
//! Labels are taken at their word: whoever may set them may start containers.

use super::super::path::{Found, Runtime};
use super::text::joined;
use super::{Known, Named, PAUSE, app};
use gantry_plugin_api::identity::Container;

/// A pod's container, as the kubelet labels it.
#[derive(Debug, Clone, Copy)]
pub struct PodNames<'a> {
    pub namespace: &'a str,
    pub pod: &'a str,
    /// Empty or `POD` for the container that holds the pod's namespaces.
    pub container: &'a str,
    /// What made the pod, as a provider that sees its labels knows: the pod's own
    /// name where nobody did, empty where it is not known.
    pub owner: &'a str,
    sandbox: bool,
}

impl<'a> PodNames<'a> {
    /// None for a container that is no pod's.
    pub fn of(container: &'a Container) -> Option<Self> {
        // kubelet, pkg/kubelet/types/labels.go; a provider may name them otherwise.
        let get = |label: &str, name: &str| {
            let label = container.labels.get(label).filter(|value| !value.is_empty());
            label.or_else(|| container.names.get(name)).map_or("", String::as_str)
        };
        let kind = |label: &str, value: &str| container.labels.get(label).is_some_and(|kind| kind == value);
        let names = Self {
            namespace: get("io.kubernetes.pod.namespace", "namespace"),
            pod: get("io.kubernetes.pod.name", "pod"),
            container: get("io.kubernetes.container.name", "container"),
            owner: container.names.get("owner").map_or("", String::as_str),
            sandbox: kind("io.cri-containerd.kind", "sandbox")
                || kind("io.kubernetes.docker.type", "podsandbox"),
        };
        (!names.pod.is_empty()).then_some(names)
    }

    pub fn is_pause(&self) -> bool {
        self.sandbox || matches!(self.container, "" | "POD")
    }
}

/// A container of Kubernetes.
pub fn pod(found: &Found, container: &Container, now: u64) -> Option<Named> {
    let names = PodNames::of(container)?;
    let name = match (names.is_pause(), found.sandbox) {
        (false, _) => names.container,
        // A sandbox has all of the pod's processes in it.
        (true, true) => "sandbox",
        (true, false) => return Some(Named { skipped: Some(PAUSE), ..Named::default() }),
    };
    // Eight digits may be the digest of a Deployment's template as well.
    let is_job = names.owner.is_empty() || is_kind(container, "CronJob") || is_kind(container, "Job");
    if let Some(job) = app::cronjob(names.pod, now).filter(|_| is_job) {
        return Some(Named {
            id: joined(&["k8s-cronjob", names.namespace, job, name]),
            app_id: joined(&["k8s-cronjob", names.namespace, job]),
            shared: true,
            skipped: None,
        });
    }
    let owner = match names.owner {
        "" => app::of_pod(names.pod),
        owner => Some(owner).filter(|owner| *owner != names.pod),
    };
    Some(Named {
        id: joined(&["k8s", names.namespace, names.pod, name]),
        app_id: owner.map(|owner| joined(&["k8s", names.namespace, owner])).unwrap_or_default(),
        ..Named::default()
    })
}

/// Whether a provider knows that what made the pod is of this kind.
fn is_kind(container: &Container, kind: &str) -> bool {
    container.names.get("owner_kind").is_some_and(|known| known == kind)
}

/// A task of a Swarm service. While an update starts the new task before it
/// stops the old one, both have the same replica's id.
pub fn swarm(container: &Container) -> Option<Named> {
    let label = |name: &str| container.labels.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let full = label("com.docker.swarm.service.name")?;
    let stack = label("com.docker.stack.namespace");
    let service = stack.and_then(|stack| full.strip_prefix(stack)?.strip_prefix('_')).unwrap_or(full);
    // SERVICE.REPLICA.TASK, or SERVICE.NODE.TASK for a service on every node.
    let task =
        label("com.docker.swarm.task.name").and_then(|task| task.strip_prefix(full)?.strip_prefix('.'));
    let replica = task.and_then(|rest| rest.split('.').next()).filter(|replica| !replica.is_empty());
    let replica = replica.or_else(|| label("com.docker.swarm.node.id")).unwrap_or_default();
    let stack = stack.unwrap_or_default();
    Some(Named {
        id: joined(&["swarm", stack, service, replica]),
        app_id: joined(&["swarm", stack, service]),
        shared: true,
        skipped: None,
    })
}

/// The variables that name a task, in the order of the id.
pub const NOMAD: [&str; 5] =
    ["NOMAD_NAMESPACE", "NOMAD_JOB_NAME", "NOMAD_GROUP_NAME", "NOMAD_ALLOC_ID", "NOMAD_TASK_NAME"];

/// A task of Nomad, when all five variables are there. A container's are what
/// the runtime was told. Those of a process are its own and prove nothing, so
/// they must fit the cgroup that Nomad made.
pub fn nomad(found: &Found, known: Known<'_>) -> Option<Named> {
    let told = known.metadata.map(|container| &container.environment);
    let environment = if found.runtime == Runtime::Nomad { known.environment } else { told? };
    let get = |name: &str| environment.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let [namespace, job, group, alloc, task] = NOMAD.map(get);
    let (namespace, job, group, alloc, task) = (namespace?, job?, group?, alloc?, task?);
    if found.runtime == Runtime::Nomad && found.raw_id.split_once('.') != Some((alloc, task)) {
        return None;
    }
    Some(Named { id: joined(&["nomad", namespace, job, group, alloc, task]), ..Named::default() })
}

/// A container of an ECS task, by the labels of its agent. Without the task
/// all copies of a container are one application.
pub fn ecs(container: &Container) -> Option<Named> {
    let label = |name: &str| {
        let name = format!("com.amazonaws.ecs.{name}");
        container.labels.get(&name).map(String::as_str).filter(|value| !value.is_empty())
    };
    // Cluster and task may be ARNs, whose last part is the name.
    let last = |arn: &'_ str| arn.rsplit('/').next().map(str::to_owned).unwrap_or_default();
    let name = label("container-name")?;
    let task = last(label("task-arn")?);
    let cluster = label("cluster").map(last).unwrap_or_default();
    let family = label("task-definition-family").unwrap_or_default();
    if name == "~internal~ecs~pause" {
        return Some(Named { skipped: Some(PAUSE), ..Named::default() });
    }
    Some(Named {
        id: joined(&["ecs", &cluster, family, &task, name]),
        app_id: joined(&["ecs", &cluster, family, name]),
        ..Named::default()
    })
}
