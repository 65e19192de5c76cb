//! The addresses of network namespaces, kept current.
//!
//! A namespace is entered by a process that is in it, asked, and left: a socket
//! that stayed would keep it alive. So the answers are kept for a while.

use gantry_netlink::{Address, Link, RouteSocket};
use std::collections::HashMap;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// An address that comes or goes is seen after so long.
const CURRENT: Duration = Duration::from_secs(15);

/// Namespaces that are asked at one collection: each takes some 0.2 ms.
const AT_ONCE: usize = 32;

/// The kernel answers at once, unless somebody holds its lock.
const TIMEOUT: Duration = Duration::from_millis(100);

/// What was answered.
#[derive(Debug)]
struct Answer {
    at: Option<Instant>,
    addresses: Vec<IpAddr>,
}

/// The addresses of network namespaces.
#[derive(Debug, Default)]
pub struct Addresses {
    known: HashMap<u32, Answer>,
}

/// The network namespace of a process, if it can be seen.
pub fn namespace_of(proc: &Path, pid: u32) -> Option<(u32, PathBuf)> {
    let path = proc.join(pid.to_string()).join("ns/net");
    // The inode number of what the link leads to is the namespace's.
    let inode = std::fs::metadata(&path).ok()?.ino();
    Some((u32::try_from(inode).ok()?, path))
}

impl Addresses {
    /// Those of a namespace, as far as they are known.
    pub fn of(&self, netns: u32) -> &[IpAddr] {
        self.known.get(&netns).map_or(&[], |answer| &answer.addresses)
    }

    /// Asks again where that is due. `wanted` are the namespaces with those who
    /// may be in them; others are forgotten.
    pub fn refresh(&mut self, proc: &Path, wanted: HashMap<u32, Vec<u32>>) {
        self.refresh_by(proc, wanted, ask);
    }

    /// The same, with another who asks.
    pub fn refresh_by(
        &mut self,
        proc: &Path,
        wanted: HashMap<u32, Vec<u32>>,
        mut ask: impl FnMut(&Path) -> Option<Vec<IpAddr>>,
    ) {
        self.known.retain(|netns, _| wanted.contains_key(netns));
        let mut asked = 0;
        for (netns, pids) in wanted {
            let answer = self.known.entry(netns).or_insert(Answer { at: None, addresses: Vec::new() });
            if asked >= AT_ONCE || answer.at.is_some_and(|at| at.elapsed() < CURRENT) {
                continue;
            }
            asked += 1;
            let place = pids
                .into_iter()
                .filter_map(|pid| namespace_of(proc, pid))
                .find_map(|(found, path)| (found == netns).then_some(path));
            // Where nobody is known to be in it, it keeps those it had, and is
            // looked for the next time.
            if let Some(addresses) = place.and_then(|path| ask(&path)) {
                (answer.addresses, answer.at) = (addresses, Some(Instant::now()));
            }
        }
    }
}

/// Addresses of all interfaces but those that are down.
pub fn ask(namespace: &Path) -> Option<Vec<IpAddr>> {
    let mut socket = RouteSocket::open_in(namespace, TIMEOUT).ok()?;
    let (mut links, mut addresses): (Vec<Link>, Vec<Address>) = (Vec::new(), Vec::new());
    socket.links(&mut links).ok()?;
    socket.addresses(&mut addresses).ok()?;
    let is_there = |index| links.iter().any(|link| link.index == index && (link.up || link.loopback));
    let mut ips: Vec<IpAddr> =
        addresses.into_iter().filter(|address| is_there(address.index)).map(|address| address.ip).collect();
    ips.sort_unstable();
    ips.dedup();
    Some(ips)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_namespace_has_a_loopback() {
        let proc = Path::new("/proc");
        let pid = std::process::id();
        let (netns, _) = namespace_of(proc, pid).expect("our own");
        let mut addresses = Addresses::default();
        // One who is gone is passed over.
        addresses.refresh(proc, [(netns, vec![u32::MAX, pid])].into());
        if rustix::process::getuid().is_root() {
            assert!(addresses.of(netns).iter().any(IpAddr::is_loopback), "{addresses:?}");
        }
        addresses.refresh(proc, HashMap::new());
        assert!(addresses.of(netns).is_empty());
    }
}
