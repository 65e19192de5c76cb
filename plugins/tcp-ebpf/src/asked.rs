//! What can be known without programs: connections that are open and sockets
//! that listen, at the moment of a collection, by sock_diag in each network
//! namespace and by the descriptors of the containers' processes.
//!
//! What opens and closes between two collections is not seen, so nothing is
//! counted: a wrong number is worse than none.

use crate::addresses::{Addresses, namespace_of};
use crate::destination::{Destination, Labels, Rules, is_link_local};
use crate::listens::{Listen, reached};
use crate::metrics;
use crate::published::Published;
use gantry_netlink::sockets::{CLOSE_WAIT, ESTABLISHED, LISTEN, tcp_sockets};
use gantry_netlink::{Bounds, TcpSocket};
use gantry_plugin_api::{ContainerRef, Host, Sink};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is missing then.
pub const MISSING: &str = "connects, failures, connection times, bytes and retransmits are missing; \
                           open connections and listening sockets are looked at when metrics are collected";

/// Descriptors that are looked at, of all processes of containers together.
const MAX_DESCRIPTORS: usize = 200_000;

const TIMEOUT: Duration = Duration::from_millis(500);

/// 200,000 sockets in one namespace.
const BOUNDS: Bounds = Bounds { bytes: 64 << 20, messages: 200_000 };

/// What is asked, and how that went.
#[derive(Debug, Default)]
pub struct Asked {
    /// What could not be asked, for people.
    pub trouble: Option<String>,
}

/// What was found of all containers.
#[derive(Debug, Default)]
struct Found {
    active: BTreeMap<(ContainerRef, Destination), u32>,
    listens: Vec<(ContainerRef, Listen)>,
}

impl Asked {
    /// Emits what can be known.
    pub fn collect(
        &mut self,
        host: &Host,
        rules: &Rules,
        addresses: &mut Addresses,
        published: &Published,
        sink: &mut Sink<'_>,
    ) {
        self.trouble = None;
        let found = self.look(host, rules);
        let mut text = Labels::default();
        for ((container, to), active) in &found.active {
            let [to, _] = text.of(*to);
            sink.container(&metrics::ACTIVE, *container, &[to, to], *active);
        }
        let mut wanted: HashMap<u32, Vec<u32>> = HashMap::new();
        for (_, listen) in found.listens.iter().filter(|(_, listen)| listen.at.ip().is_unspecified()) {
            wanted.entry(listen.netns).or_default().push(listen.pid);
        }
        wanted.entry(rules.host_netns).or_default().push(1);
        addresses.refresh(&host.proc(), wanted);
        let mut listens = BTreeMap::new();
        for (container, listen) in &found.listens {
            for at in reached(listen, addresses.of(listen.netns), rules.is_host(listen.netns)) {
                listens.insert((*container, at), true);
            }
        }
        emit_listens(published, &listens, addresses, rules.host_netns, sink);
    }

    fn look(&mut self, host: &Host, rules: &Rules) -> Found {
        let (proc, mut found) = (host.proc(), Found::default());
        let mut left = MAX_DESCRIPTORS;
        let mut owners: HashMap<u32, (ContainerRef, u32)> = HashMap::new();
        let mut namespaces: BTreeMap<u32, PathBuf> = BTreeMap::new();
        for container in host.containers() {
            for process in host.processes(container) {
                // One that is gone by now has nothing that is looked for.
                let Some((netns, path)) = namespace_of(&proc, process.pid) else { continue };
                namespaces.entry(netns).or_insert(path);
                for inode in sockets_of(&proc, process.pid, &mut left) {
                    owners.entry(inode).or_insert((container, process.pid));
                }
            }
        }
        if left == 0 {
            self.trouble = Some(format!("more than {MAX_DESCRIPTORS} descriptors: not all were looked at"));
        }
        for (netns, path) in namespaces {
            match tcp_sockets(&path, TIMEOUT, BOUNDS) {
                Ok((sockets, _)) => found.take(netns, &sockets, &owners, rules),
                Err(error) => self.trouble = Some(error.to_string()),
            }
        }
        found
    }
}

impl Found {
    fn take(
        &mut self,
        netns: u32,
        sockets: &[TcpSocket],
        owners: &HashMap<u32, (ContainerRef, u32)>,
        rules: &Rules,
    ) {
        let listening: HashSet<u16> = sockets
            .iter()
            .filter(|socket| socket.state == LISTEN)
            .map(|socket| socket.local.port())
            .collect();
        for socket in sockets {
            let Some((container, pid)) = owners.get(&socket.inode).copied() else { continue };
            match socket.state {
                LISTEN => {
                    let ip = socket.local.ip();
                    let is_seen = rules.is_service(socket.local.port())
                        && (!ip.is_loopback() || rules.is_host(netns))
                        && !is_link_local(ip);
                    if is_seen {
                        self.listens.push((container, Listen::open(socket.local, netns, pid)));
                    }
                }
                // Taken from a socket that listens.
                _ if listening.contains(&socket.local.port()) => {}
                ESTABLISHED | CLOSE_WAIT => {
                    if let Some(to) = rules.destination_of(socket.remote, netns) {
                        *self.active.entry((container, to)).or_default() += 1;
                    }
                }
                _ => {}
            }
        }
    }
}

/// The inodes of the sockets that a process holds.
fn sockets_of(proc: &Path, pid: u32, left: &mut usize) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir(proc.join(pid.to_string()).join("fd")) else { return Vec::new() };
    let mut inodes = Vec::new();
    for entry in entries.flatten() {
        if *left == 0 {
            break;
        }
        *left -= 1;
        let Ok(target) = std::fs::read_link(entry.path()) else { continue };
        let target = target.to_string_lossy();
        inodes.extend(
            target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')?.parse::<u32>().ok()),
        );
    }
    inodes
}

/// Emits where containers listen, and the ports that Docker published for them.
pub fn emit_listens(
    published: &Published,
    listens: &BTreeMap<(ContainerRef, SocketAddr), bool>,
    addresses: &Addresses,
    host_netns: u32,
    sink: &mut Sink<'_>,
) {
    for ((container, at), is_open) in listens {
        sink.container(&metrics::LISTEN, *container, &[&at.to_string(), ""], *is_open);
    }
    let mut proxied = BTreeSet::new();
    for (container, at) in published.all() {
        let at = reached(&Listen::open(at, host_netns, 1), addresses.of(host_netns), true);
        proxied.extend(at.into_iter().map(|at| (container, at)));
    }
    for (container, at) in proxied {
        sink.container(&metrics::LISTEN, container, &[&at.to_string(), "dockerd"], true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destination::tests::rules;

    fn socket(state: u8, local: &str, remote: &str, inode: u32) -> TcpSocket {
        let at = |text: &str| text.parse().expect("an address");
        TcpSocket { state, local: at(local), remote: at(remote), inode }
    }

    #[test]
    fn what_is_open_is_told_from_what_was_taken() {
        let container = ContainerRef::from_handle(7).expect("not 0");
        let owners = [(1, (container, 10)), (2, (container, 10)), (3, (container, 10)), (4, (container, 10))];
        let sockets = [
            socket(LISTEN, "0.0.0.0:80", "0.0.0.0:0", 1),
            socket(ESTABLISHED, "10.0.0.1:80", "10.0.0.9:40000", 2),
            socket(ESTABLISHED, "10.0.0.1:41000", "10.0.0.2:5432", 3),
            socket(CLOSE_WAIT, "10.0.0.1:41001", "10.0.0.2:5432", 4),
            socket(ESTABLISHED, "10.0.0.1:41002", "10.0.0.2:5432", 5),
        ];
        let mut found = Found::default();
        found.take(9, &sockets, &owners.into(), &rules());
        let to = Destination::At("10.0.0.2:5432".parse().expect("an address"));
        assert_eq!(found.active, [((container, to), 2)].into());
        assert_eq!(found.listens, [(container, Listen::open(sockets[0].local, 9, 10))]);
    }
}
