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

/// An address that comes or goes is seen at the first collection after so long, or at a
/// later one, where there are more namespaces than there is time for.
const CURRENT: Duration = Duration::from_secs(15);

/// How long the kernel is asked at one collection: a namespace takes some 0.2 ms, unless
/// somebody holds a lock of it. One that was begun may take [`TIMEOUT`] longer.
const BUDGET: Duration = Duration::from_millis(50);

/// The kernel answers at once, unless somebody holds its lock.
const TIMEOUT: Duration = Duration::from_millis(100);

/// What was answered.
#[derive(Debug, Default)]
struct Answer {
    at: Option<Instant>,
    /// When it was asked for last, with an answer or without.
    tried: Option<Instant>,
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
    /// These, of one namespace.
    #[cfg(test)]
    pub(crate) fn with(netns: u32, addresses: Vec<IpAddr>) -> Self {
        Self { known: [(netns, Answer { addresses, ..Answer::default() })].into() }
    }

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
        ask: impl FnMut(&Path) -> Option<Vec<IpAddr>>,
    ) {
        self.refresh_within(BUDGET, proc, wanted, ask);
    }

    /// Those that were never asked come first, and then those for which it is longest
    /// ago: where time is short all have their turn.
    fn refresh_within(
        &mut self,
        budget: Duration,
        proc: &Path,
        mut wanted: HashMap<u32, Vec<u32>>,
        mut ask: impl FnMut(&Path) -> Option<Vec<IpAddr>>,
    ) {
        let begun = Instant::now();
        self.known.retain(|netns, _| wanted.contains_key(netns));
        for netns in wanted.keys() {
            self.known.entry(*netns).or_default();
        }
        let is_due = |answer: &Answer| answer.at.is_none_or(|at| begun.duration_since(at) >= CURRENT);
        let mut due: Vec<(Option<Instant>, u32)> = self
            .known
            .iter()
            .filter(|(_, answer)| is_due(answer))
            .map(|(netns, answer)| (answer.tried, *netns))
            .collect();
        due.sort_unstable();
        for (index, (_, netns)) in due.into_iter().enumerate() {
            // One at least, however slow.
            if index > 0 && begun.elapsed() >= budget {
                break;
            }
            let (Some(answer), Some(pids)) = (self.known.get_mut(&netns), wanted.remove(&netns)) else {
                continue;
            };
            answer.tried = Some(Instant::now());
            let place = pids
                .into_iter()
                .filter_map(|pid| namespace_of(proc, pid))
                .find_map(|(found, path)| (found == netns).then_some(path));
            // Where nobody is known to be in it, it keeps those it had, and is
            // looked for when its turn comes again.
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

    /// A tree with a process for each namespace, which has its number.
    #[test]
    fn where_time_is_short_each_has_its_turn() {
        let tree = gantry_plugin_testkit::Tree::new();
        let proc = tree.path("proc");
        let inode = |pid: u32| {
            tree.write(format!("proc/{pid}/ns/net"), "");
            namespace_of(&proc, pid).expect("there").0
        };
        let all: HashMap<u32, Vec<u32>> = (1..=5).map(|pid| (inode(pid), vec![pid])).collect();
        let mut addresses = Addresses::default();
        let mut asked = Vec::new();
        for turn in 0..7 {
            addresses.refresh_within(Duration::ZERO, &proc, all.clone(), |path| {
                asked.push(path.to_owned());
                // One of them never answers, and takes no other's turn.
                (turn > 0).then(Vec::new)
            });
        }
        let different: std::collections::HashSet<_> = asked[..5].iter().collect();
        assert_eq!((asked.len(), different.len()), (6, 5), "one at a time: {asked:?}");
        assert_eq!(asked[5], asked[0], "it is asked again when all others were");
    }
}
