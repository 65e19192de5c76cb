//! What of containerd's descriptions the host is told. The meaning of each
//! field: containerd's `api/services/containers/v1` and `api/types/task`.

use super::api::{Container as Described, Process, STOPPED};
use super::namespaces::DEFAULT;
use super::nerdctl;
use super::spec::{Mount, Spec};
use crate::provider::bounds::{Loss, Losses, MAX_VOLUMES};
use crate::provider::described::{claim, environment};
use crate::provider::link::Link;
use crate::provider::started;
use gantry_plugin_api::Container;
use gantry_plugin_api::identity::Volume;
use std::collections::HashMap;

/// Files that nerdctl mounts into each container.
const OF_EACH: [&str; 3] = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];

/// The container of a namespace, with the process that runs in it.
pub fn container(
    namespace: &str,
    described: Described,
    spec: Spec,
    process: Option<Process>,
    link: &Link,
) -> Container {
    let losses = link.losses();
    let Described { id, labels, image, .. } = described;
    let mut told = Container::default();
    told.runtime = link.runtime().to_owned();
    told.runtime_id = losses.text(id.clone());
    // `ctr` and others give none but the id.
    let name = labels.get(nerdctl::NAME).filter(|name| !name.is_empty()).unwrap_or(&id);
    told.names.insert("name".to_owned(), losses.text(name.clone()));
    if namespace != DEFAULT {
        told.names.insert("containerd_namespace".to_owned(), losses.text(namespace.to_owned()));
    }
    told.image = losses.text(image);
    told.host_network = spec.is_in_host_network();
    nerdctl::add(&labels, &id, &mut told, link);
    told.volumes = volumes(spec.mounts, nerdctl::volumes(&labels), losses);
    told.environment = losses.pairs(environment(spec.process.env), Loss::Environment);
    told.labels = losses.pairs(labels.into_iter().collect(), Loss::Label);
    let pid = process.filter(|process| process.status != STOPPED).map_or(0, |process| process.pid);
    told.init = started::process(link.proc(), i64::from(pid));
    told.started_at = told.init.map_or(0, |init| started::since(link.proc(), init));
    told
}

fn volumes(mounts: Vec<Mount>, mut names: HashMap<String, String>, losses: &Losses) -> Vec<Volume> {
    let told = |mount: &Mount| mount.is_bound() && !OF_EACH.contains(&mount.destination.as_str());
    let mut volumes: Vec<Volume> = mounts
        .into_iter()
        .filter(told)
        .map(|mount| {
            let mut volume = Volume::default();
            let named = names.remove(&mount.destination).filter(|name| !name.is_empty());
            volume.kind = if named.is_some() { "volume" } else { "bind" }.to_owned();
            let name = claim(&mount.source).map(str::to_owned).or(named).unwrap_or_default();
            volume.name = losses.text(name);
            volume.read_only = mount.is_read_only();
            volume.mount_point = losses.text(mount.destination);
            volume.source = losses.text(mount.source);
            volume
        })
        .collect();
    volumes.sort_by(|one, other| one.mount_point.cmp(&other.mount_point));
    losses.list(volumes, MAX_VOLUMES, Loss::Volume)
}
