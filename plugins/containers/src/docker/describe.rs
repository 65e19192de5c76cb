//! What of Docker's description of a container the host is told. The meaning of
//! each field: Docker Engine API, `ContainerInspect` and `ContainerList`.

use crate::provider::bounds::{Loss, Losses, MAX_NETWORKS, MAX_PORTS, MAX_VOLUMES};
use crate::provider::described::{claim, environment};
use crate::provider::link::Link;
use crate::provider::started;
use bollard::models::{ContainerInspectResponse, ContainerSummary, MountPoint, PortMap};
use gantry_plugin_api::Container;
use gantry_plugin_api::identity::{PublishedPort, Volume};
use std::collections::HashMap;

/// The one log driver whose file can be read: it has one line a record.
const JSON_FILE: &str = "json-file";

/// Out of the whole description.
pub fn inspected(id: &str, found: ContainerInspectResponse, link: &Link) -> Container {
    let losses = link.losses();
    let config = found.config.unwrap_or_default();
    let host = found.host_config.unwrap_or_default();
    let network = found.network_settings.unwrap_or_default();
    let state = found.state.unwrap_or_default();
    let mut container = begun(id, link);
    name(&mut container, found.name.as_deref(), losses);
    // As it was asked for; Docker itself shows the image's id where that name
    // is another image's by now.
    let image = config.image.filter(|image| !image.is_empty()).or(found.image).unwrap_or_default();
    container.image = losses.text(image);
    container.labels = losses.pairs(config.labels.unwrap_or_default().into_iter().collect(), Loss::Label);
    container.environment = losses.pairs(environment(config.env.unwrap_or_default()), Loss::Environment);
    let driver = host.log_config.and_then(|log| log.typ).unwrap_or_default();
    if driver == JSON_FILE {
        container.log_path = losses.text(found.log_path.unwrap_or_default());
    }
    container.log_driver = losses.text(driver);
    let tmpfs: Vec<String> = host.tmpfs.unwrap_or_default().into_keys().collect();
    container.volumes = volumes(found.mounts.unwrap_or_default(), tmpfs, losses);
    container.ports = ports(network.ports.unwrap_or_default(), losses);
    networks(&mut container, network.networks, host.network_mode.as_deref(), losses);
    container.init = started::process(link.proc(), state.pid.unwrap_or(0));
    container.started_at = started::seconds(&state.started_at.unwrap_or_default());
    container
}

/// Out of a row of the list, where there is no description: no environment, no
/// log, no process.
pub fn listed(id: &str, row: ContainerSummary, link: &Link) -> Container {
    let losses = link.losses();
    let mut container = begun(id, link);
    // Others are those of links, `/other/alias`.
    let names = row.names.unwrap_or_default();
    let own = names.iter().find(|name| name.rfind('/') == Some(0)).or(names.first());
    name(&mut container, own.map(String::as_str), losses);
    let image = row.image.filter(|image| !image.is_empty()).or(row.image_id).unwrap_or_default();
    container.image = losses.text(image);
    container.labels = losses.pairs(row.labels.unwrap_or_default().into_iter().collect(), Loss::Label);
    container.volumes = volumes(row.mounts.unwrap_or_default(), Vec::new(), losses);
    let mode = row.host_config.and_then(|host| host.network_mode);
    let attached = row.network_settings.and_then(|settings| settings.networks);
    networks(&mut container, attached, mode.as_deref(), losses);
    container
}

fn begun(id: &str, link: &Link) -> Container {
    let losses = link.losses();
    let mut container = Container::default();
    container.runtime = link.runtime().to_owned();
    container.runtime_id = losses.text(id.to_owned());
    container
}

/// Docker writes names with a slash before them.
fn name(container: &mut Container, name: Option<&str>, losses: &Losses) {
    let name = name.map(|name| name.strip_prefix('/').unwrap_or(name)).unwrap_or_default();
    if !name.is_empty() {
        container.names.insert("name".to_owned(), losses.text(name.to_owned()));
    }
}

fn volumes(mounts: Vec<MountPoint>, tmpfs: Vec<String>, losses: &Losses) -> Vec<Volume> {
    let mut volumes: Vec<Volume> = mounts
        .into_iter()
        .map(|mount| {
            let mut volume = Volume::default();
            let source = mount.source.unwrap_or_default();
            let name = claim(&source).map(str::to_owned).or(mount.name).unwrap_or_default();
            volume.mount_point = losses.text(mount.destination.unwrap_or_default());
            volume.name = losses.text(name);
            volume.source = losses.text(source);
            volume.kind = mount.typ.as_ref().map(ToString::to_string).unwrap_or_default();
            volume.read_only = mount.rw == Some(false);
            volume
        })
        .collect();
    for mount_point in tmpfs {
        if !volumes.iter().any(|volume| volume.mount_point == mount_point) {
            let mut volume = Volume::default();
            volume.mount_point = losses.text(mount_point);
            volume.kind = "tmpfs".to_owned();
            volumes.push(volume);
        }
    }
    // Docker has them in a map: each answer would be another one.
    volumes.sort_by(|one, other| one.mount_point.cmp(&other.mount_point));
    losses.list(volumes, MAX_VOLUMES, Loss::Volume)
}

/// `"80/tcp": [{ "HostIp": "0.0.0.0", "HostPort": "8080" }]`; one that is only
/// exposed has no list.
fn ports(map: PortMap, losses: &Losses) -> Vec<PublishedPort> {
    let mut ports = Vec::new();
    for (container, bindings) in map {
        let (number, protocol) = container.split_once('/').unwrap_or((&container, "tcp"));
        for binding in bindings.unwrap_or_default() {
            let host_port = binding.host_port.unwrap_or_default();
            let (Ok(container_port), Ok(host_port)) = (number.parse(), host_port.parse()) else {
                losses.add(Loss::Port, 1);
                continue;
            };
            let mut port = PublishedPort::default();
            port.protocol = losses.text(protocol.to_owned());
            port.host_address = losses.text(binding.host_ip.unwrap_or_default());
            port.host_port = host_port;
            port.container_port = container_port;
            ports.push(port);
        }
    }
    ports.sort_by(|one, other| {
        let key = |port: &PublishedPort| (port.container_port, port.host_port);
        key(one)
            .cmp(&key(other))
            .then_with(|| (&one.protocol, &one.host_address).cmp(&(&other.protocol, &other.host_address)))
    });
    losses.list(ports, MAX_PORTS, Loss::Port)
}

fn networks<T>(
    container: &mut Container,
    attached: Option<HashMap<String, T>>,
    mode: Option<&str>,
    losses: &Losses,
) {
    let mut networks: Vec<String> =
        attached.unwrap_or_default().into_keys().map(|name| losses.text(name)).collect();
    networks.sort_unstable();
    container.networks = losses.list(networks, MAX_NETWORKS, Loss::Network);
    container.host_network = mode == Some("host");
}

#[cfg(test)]
mod tests;
