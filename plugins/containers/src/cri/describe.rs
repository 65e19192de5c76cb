//! What of CRI's descriptions the host is told. The meaning of each field: the
//! comments of Kubernetes' `runtime.v1` api.proto.

use super::api::{ContainerStatus, Mount, SandboxStatus};
use super::info::Info;
use super::pods::Pod;
use crate::provider::bounds::{Loss, Losses, MAX_VOLUMES};
use crate::provider::described::{claim, environment};
use crate::provider::link::Link;
use crate::provider::started;
use gantry_plugin_api::Container;
use gantry_plugin_api::identity::Volume;

/// The format of the kubelet's log files: a time, a stream and a tag before
/// each line. Named like Docker's, as readers choose by it.
const LOG_DRIVER: &str = "cri";

const NANOSECONDS: i64 = 1_000_000_000;

/// A container of a pod: also one that initialises it, or that was added to it
/// to debug it, which the kubelet tells apart by its own knowledge of the pod.
pub fn container(status: ContainerStatus, info: Info, pod: &Pod, link: &Link) -> Container {
    let losses = link.losses();
    let mut told = begun(&status.id, pod, link);
    let name = status.metadata.unwrap_or_default().name;
    for kind in ["name", "container"] {
        put(&mut told, kind, &name, losses);
    }
    let image = status.image.unwrap_or_default();
    // As the pod asked for it, where that is said; else its name, else its digest.
    let image =
        [info.config.image.user_specified_image, image.user_specified_image, image.image, status.image_ref]
            .into_iter()
            .find(|image| !image.is_empty())
            .unwrap_or_default();
    told.image = losses.text(image);
    told.labels = losses.pairs(status.labels.into_iter().collect(), Loss::Label);
    told.environment = losses.pairs(environment(info.spec.process.env), Loss::Environment);
    if !status.log_path.is_empty() {
        told.log_driver = LOG_DRIVER.to_owned();
        told.log_path = losses.text(status.log_path);
    }
    told.volumes = volumes(status.mounts, losses);
    told.init = started::process(link.proc(), info.pid);
    told.started_at = seconds(status.started_at);
    told
}

/// What holds a pod's namespaces. It has no name but the pod's, by which it is
/// known for what it is.
pub fn sandbox(status: SandboxStatus, info: &Info, pod: &Pod, link: &Link) -> Container {
    let losses = link.losses();
    let mut told = begun(&status.id, pod, link);
    told.labels = losses.pairs(status.labels.into_iter().collect(), Loss::Label);
    // A pod may have any label, and one of this name would make it a container.
    told.labels.remove(CONTAINER_NAME);
    told.init = started::process(link.proc(), info.pid);
    told.started_at = seconds(status.created_at);
    told
}

/// The kubelet's, on containers.
const CONTAINER_NAME: &str = "io.kubernetes.container.name";

fn begun(id: &str, pod: &Pod, link: &Link) -> Container {
    let losses = link.losses();
    let mut told = Container::default();
    told.runtime = link.runtime().to_owned();
    told.runtime_id = losses.text(id.to_owned());
    put(&mut told, "namespace", &pod.namespace, losses);
    put(&mut told, "pod", &pod.name, losses);
    put(&mut told, "pod_uid", &pod.uid, losses);
    if let Some(owner) = &pod.owner {
        put(&mut told, "owner", &owner.name, losses);
        put(&mut told, "owner_kind", owner.kind, losses);
    }
    told.host_network = pod.host_network;
    told
}

fn put(told: &mut Container, kind: &str, name: &str, losses: &Losses) {
    if !name.is_empty() {
        told.names.insert(kind.to_owned(), losses.text(name.to_owned()));
    }
}

fn volumes(mounts: Vec<Mount>, losses: &Losses) -> Vec<Volume> {
    let mut volumes: Vec<Volume> = mounts
        .into_iter()
        .map(|mount| {
            let mut volume = Volume::default();
            volume.mount_point = losses.text(mount.container_path);
            volume.name = claim(&mount.host_path).unwrap_or_default().to_owned();
            let image = mount.image.map(|image| image.image).filter(|image| !image.is_empty());
            volume.kind = if image.is_some() { "image" } else { "bind" }.to_owned();
            volume.source = losses.text(image.unwrap_or(mount.host_path));
            volume.read_only = mount.readonly;
            volume
        })
        .collect();
    volumes.sort_by(|one, other| one.mount_point.cmp(&other.mount_point));
    losses.list(volumes, MAX_VOLUMES, Loss::Volume)
}

fn seconds(nanoseconds: i64) -> u64 {
    u64::try_from(nanoseconds / NANOSECONDS).unwrap_or(0)
}

#[cfg(test)]
mod tests;
