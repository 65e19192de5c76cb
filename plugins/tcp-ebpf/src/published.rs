//! What runtimes say of containers: ports that Docker published for them, which
//! its own proxy or a rule of the firewall takes, and who wants to be left alone.

use gantry_plugin_api::identity::{Container, Cursor, EventKind};
use gantry_plugin_api::{ContainerRef, Host};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// Events that are taken over at once.
const EVENTS: u32 = 4096;

/// Published ports, by container.
#[derive(Debug, Default)]
pub struct Published {
    cursor: Option<Cursor>,
    known: BTreeMap<ContainerRef, Vec<SocketAddr>>,
    left_alone: BTreeSet<ContainerRef>,
}

impl Published {
    /// Brings it up to date: only what changed is asked for.
    pub fn refresh(&mut self, host: &Host) {
        let begins = self.cursor.is_none();
        let mut cursor = self.cursor.unwrap_or_default();
        let mut all = begins;
        loop {
            let batch = host.events(cursor, EVENTS);
            let is_last = batch.next == cursor || batch.events.is_empty();
            cursor = batch.next;
            all |= batch.lost > 0;
            // Where all are asked for anyhow, only the place counts.
            for event in batch.events.iter().filter(|_| !all) {
                let Some(container) = event.container else { continue };
                match event.kind {
                    EventKind::ContainerAppeared | EventKind::ContainerChanged => self.ask(host, container),
                    EventKind::ContainerGone => {
                        self.known.remove(&container);
                        self.left_alone.remove(&container);
                    }
                    _ => {}
                }
            }
            if is_last {
                break;
            }
        }
        self.cursor = Some(cursor);
        if all {
            self.known.clear();
            self.left_alone.clear();
            host.containers().into_iter().for_each(|container| self.ask(host, container));
        }
    }

    fn ask(&mut self, host: &Host, container: ContainerRef) {
        let known = host.container(container);
        if known.as_ref().is_some_and(|known| known.opted_out.iter().any(|name| name == "tcp-ebpf")) {
            self.left_alone.insert(container);
        } else {
            self.left_alone.remove(&container);
        }
        let ports = known.map(|known| ports(&known)).unwrap_or_default();
        if ports.is_empty() {
            self.known.remove(&container);
        } else {
            self.known.insert(container, ports);
        }
    }

    /// Whether a container asked to be left alone.
    pub fn is_left_alone(&self, container: ContainerRef) -> bool {
        self.left_alone.contains(&container)
    }

    /// All of them; the address may be that of all of the machine's.
    pub fn all(&self) -> impl Iterator<Item = (ContainerRef, SocketAddr)> {
        self.known.iter().flat_map(|(container, ports)| ports.iter().map(|at| (*container, *at)))
    }
}

fn ports(container: &Container) -> Vec<SocketAddr> {
    if container.runtime != "docker" {
        return Vec::new();
    }
    let tcp = container.ports.iter().filter(|port| port.protocol == "tcp" && port.host_port != 0);
    tcp.filter_map(|port| Some(SocketAddr::new(port.host_address.parse().ok()?, port.host_port))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_plugin_api::identity::PublishedPort;
    use gantry_plugin_testkit::{Kit, NewContainer};

    fn publishes(container: &mut Container, ports: &[u16]) {
        let port = |number: &u16| {
            let mut port = PublishedPort::default();
            (port.protocol, port.host_address, port.host_port) = ("tcp".into(), "0.0.0.0".into(), *number);
            port
        };
        container.ports = ports.iter().map(port).collect();
    }

    #[test]
    fn what_changes_is_asked_for() {
        let kit = Kit::of::<crate::TcpEbpf>();
        let new = |name: &str, ports: &[u16]| {
            NewContainer::new(name).runtime("docker", name).with(|container| publishes(container, ports))
        };
        kit.identity().declare(new("/docker/a", &[80]));
        let other =
            NewContainer::new("/x").runtime("podman", "x").with(|container| publishes(container, &[81]));
        kit.identity().declare(other);
        let mut published = Published::default();
        let shown = |published: &mut Published| {
            published.refresh(&kit.host());
            published.all().map(|(_, at)| at.port()).collect::<Vec<_>>()
        };
        assert_eq!(shown(&mut published), [80]);
        let second = kit.identity().appear(new("/docker/b", &[]));
        assert_eq!(shown(&mut published), [80]);
        kit.identity().change(second, |container| publishes(container, &[8080, 0]));
        assert_eq!(shown(&mut published), [80, 8080]);
        let leaves = |published: &Published| published.is_left_alone(second);
        assert!(!leaves(&published));
        kit.identity().change(second, |container| container.opted_out = vec!["tcp-ebpf".into()]);
        shown(&mut published);
        assert!(leaves(&published));
        kit.identity().vanish(second);
        assert_eq!(shown(&mut published), [80]);
        assert!(!leaves(&published), "nobody who is gone wants anything");
    }
}
