//! Sockets that listen, and the addresses under which they are reached.

use crate::counts::Counts;
use crate::destination::{Rules, is_link_local};
use crate::record::{Kind, Record, V6_ONLY};
use ahash::RandomState;
use hashbrown::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

/// Sockets that are known at the same time.
const MAX: usize = 1 << 16;

/// Of one cgroup, so that none takes the room of all others; and addresses that are
/// shown of one container, of which a socket may have many.
pub const MAX_EACH: usize = 1024;

/// A socket that listens, or did a moment ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    /// Whose it is.
    pub group: u32,
    /// Where: the address may be that of all of its namespace.
    pub at: SocketAddr,
    /// Its network namespace.
    pub netns: u32,
    /// A process that had it: by it its namespace is found.
    pub pid: u32,
    /// One of version 6 that takes nothing of version 4.
    pub is_v6_only: bool,
    /// When it ceased; `None`: it listens.
    pub ceased: Option<u64>,
    found: bool,
}

impl Listen {
    /// One that is there now, of nobody in particular.
    pub fn open(at: SocketAddr, netns: u32, pid: u32) -> Self {
        Self { group: 0, at, netns, pid, is_v6_only: false, ceased: None, found: true }
    }
}

/// The sockets that listen.
#[derive(Debug)]
pub struct Listens {
    by_sock: HashMap<u64, Listen, RandomState>,
    /// How many each group has.
    each: HashMap<u32, usize, RandomState>,
    /// Those that found no room, as far as they are remembered: a look finds them again.
    without_room: HashSet<u64, RandomState>,
    /// Somebody listens where the event did not tell the port: a look does.
    is_unbound: bool,
    /// Sockets for which there was no room.
    pub refused: u64,
}

impl Default for Listens {
    fn default() -> Self {
        Self {
            by_sock: HashMap::with_hasher(RandomState::new()),
            each: HashMap::with_hasher(RandomState::new()),
            without_room: HashSet::with_hasher(RandomState::new()),
            is_unbound: false,
            refused: 0,
        }
    }
}

impl Listens {
    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Listen> {
        self.by_sock.values()
    }

    /// A socket listens.
    pub fn begins(&mut self, record: &Record, rules: &Rules, counts: &mut Counts) {
        let ip = record.local.ip();
        // The kernel chooses a port after the event, where none was asked for.
        self.is_unbound |= record.kind == Kind::Listens && record.local.port() == 0;
        let is_seen = rules.is_service(record.local.port())
            && (!ip.is_loopback() || rules.is_host(record.netns))
            && !is_link_local(ip);
        if !is_seen {
            return;
        }
        let found = counts.group(&record.owner, record.at);
        let is_same = |known: &&mut Listen| known.at == record.local && known.netns == record.netns;
        if let Some(known) = self.by_sock.get_mut(&record.sock).filter(is_same) {
            // Another socket may have the same memory, of another owner. Others that hold one
            // after a fork change nothing but who is there to be asked.
            let begins = record.kind == Kind::Listens || known.ceased.is_some();
            if !begins || found == Some(known.group) {
                (known.ceased, known.found, known.pid) = (None, true, record.owner.tgid);
                known.is_v6_only = record.is(V6_ONLY);
                return;
            }
        }
        if let Some(before) = self.by_sock.remove(&record.sock) {
            leaves(&mut self.each, before.group);
        }
        let group = found.filter(|group| {
            let is_full = self.by_sock.len() >= MAX;
            !is_full && self.each.get(group).is_none_or(|many| *many < MAX_EACH)
        });
        let Some(group) = group else {
            let is_new = self.without_room.len() < MAX && self.without_room.insert(record.sock);
            self.refused += u64::from(is_new);
            return;
        };
        self.without_room.remove(&record.sock);
        let listen = Listen {
            group,
            at: record.local,
            netns: record.netns,
            pid: record.owner.tgid,
            is_v6_only: record.is(V6_ONLY),
            ceased: None,
            found: true,
        };
        *self.each.entry(group).or_default() += 1;
        self.by_sock.insert(record.sock, listen);
    }

    /// It does so no more.
    pub fn ceases(&mut self, record: &Record) {
        self.without_room.remove(&record.sock);
        if let Some(known) = self.by_sock.get_mut(&record.sock) {
            known.ceased = Some(record.at);
        }
    }

    /// Whether somebody began to listen at a port that only a look tells, since it was asked last.
    pub fn take_unbound(&mut self) -> bool {
        std::mem::take(&mut self.is_unbound)
    }

    /// A look at all sockets begins.
    pub fn begin_scan(&mut self) {
        self.by_sock.values_mut().for_each(|listen| listen.found = false);
    }

    /// It found what there is.
    pub fn end_scan(&mut self, now: u64) {
        let missing = self.by_sock.values_mut().filter(|listen| !listen.found && listen.ceased.is_none());
        missing.for_each(|listen| listen.ceased = Some(now));
    }

    /// Forgets those that ceased longer ago than this, and those of groups that
    /// are forgotten.
    pub fn forget(&mut self, now: u64, after: u64, counts: &Counts) {
        let each = &mut self.each;
        self.by_sock.retain(|_, listen| {
            let stays = listen.ceased.is_none_or(|ceased| now.saturating_sub(ceased) <= after)
                && counts.of(listen.group).is_some();
            if !stays {
                leaves(each, listen.group);
            }
            stays
        });
    }

    /// The namespaces in which somebody listens at all addresses, or did a moment
    /// ago, each with those who may be there to be asked for it.
    pub fn wildcards(&self) -> HashMap<u32, HashSet<u32>> {
        let mut out: HashMap<u32, HashSet<u32>> = HashMap::new();
        for listen in self.all().filter(|listen| listen.at.ip().is_unspecified()) {
            out.entry(listen.netns).or_default().insert(listen.pid);
        }
        out
    }
}

fn leaves(each: &mut HashMap<u32, usize, RandomState>, group: u32) {
    if let Some(many) = each.get_mut(&group) {
        *many -= 1;
        if *many == 0 {
            each.remove(&group);
        }
    }
}

/// The addresses at which a socket is reached, of those of its namespace.
pub fn reached(listen: &Listen, own: &[IpAddr], is_host: bool) -> Vec<SocketAddr> {
    let at = listen.at;
    if !at.ip().is_unspecified() {
        return vec![at];
    }
    // One of version 6 takes both, unless it says otherwise.
    let takes = |ip: &IpAddr| if ip.is_ipv4() { !listen.is_v6_only } else { at.is_ipv6() };
    let shown = |ip: &IpAddr| !is_link_local(*ip) && !ip.is_multicast() && (is_host || !ip.is_loopback());
    let of = own.iter().filter(|ip| takes(ip) && shown(ip));
    of.map(|ip| SocketAddr::new(*ip, at.port())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destination::tests::rules;
    use crate::record::{Owner, tests::some};

    fn listens(sock: u64, at: &str) -> Record {
        Record { kind: Kind::Listens, sock, local: at.parse().expect("an address"), ..some() }
    }

    fn open(listens: &Listens) -> Vec<String> {
        let mut open: Vec<String> = listens
            .all()
            .filter(|listen| listen.ceased.is_none())
            .map(|listen| listen.at.to_string())
            .collect();
        open.sort();
        open
    }

    #[test]
    fn a_look_at_all_sockets_finds_what_was_missed() {
        let (mut known, mut counts, rules) = (Listens::default(), Counts::default(), rules());
        known.begins(&listens(1, "0.0.0.0:80"), &rules, &mut counts);
        known.begins(&listens(2, "10.0.0.1:81"), &rules, &mut counts);
        known.ceases(&listens(2, "10.0.0.1:81"));
        assert_eq!(open(&known), ["0.0.0.0:80"]);
        known.begin_scan();
        known.begins(&listens(3, "[::]:82"), &rules, &mut counts);
        known.end_scan(some().at + 100);
        assert_eq!(open(&known), ["[::]:82"]);
        assert_eq!(known.all().count(), 3);
        known.forget(some().at + 101, 10, &counts);
        assert_eq!(known.all().count(), 2, "the one that ceased just now is shown still");
    }

    #[test]
    fn a_socket_that_two_processes_hold_is_one() {
        let (mut known, mut counts, rules) = (Listens::default(), Counts::default(), rules());
        for tgid in [7, 8] {
            let record = listens(1, "0.0.0.0:80");
            known.begins(
                &Record { owner: crate::record::Owner { tgid, ..record.owner }, ..record },
                &rules,
                &mut counts,
            );
        }
        assert_eq!(open(&known), ["0.0.0.0:80"]);
        assert_eq!(known.wildcards()[&some().netns], HashSet::from([8]));
    }

    /// The memory of a socket that ceased is the next one's, at the same place, of somebody else.
    #[test]
    fn who_listens_with_memory_that_was_used_is_asked_for_anew() {
        let other = Owner { cgroup2: 5, ..some().owner };
        for (kind, ceases, changes) in [
            (Kind::Listens, false, true),
            (Kind::Listens, true, true),
            (Kind::Listening, true, true),
            // A child in another cgroup has it as well.
            (Kind::Listening, false, false),
        ] {
            let (mut known, mut counts, rules) = (Listens::default(), Counts::default(), rules());
            let first = listens(1, "0.0.0.0:80");
            known.begins(&first, &rules, &mut counts);
            let group = known.by_sock[&1].group;
            if ceases {
                known.ceases(&first);
            }
            known.begins(&Record { kind, owner: other, ..first }, &rules, &mut counts);
            let now = known.by_sock[&1];
            assert_eq!((now.group != group, now.ceased), (changes, None), "{kind:?} {ceases}");
            assert_eq!(known.each.values().sum::<usize>(), 1);
        }
    }

    #[test]
    fn a_port_that_is_not_known_yet_is_asked_for() {
        let (mut known, mut counts, rules) = (Listens::default(), Counts::default(), rules());
        known.begins(&listens(1, "0.0.0.0:80"), &rules, &mut counts);
        assert!(!known.take_unbound());
        known.begins(&listens(2, "0.0.0.0:0"), &rules, &mut counts);
        assert!(known.take_unbound() && !known.take_unbound());
    }

    /// Descriptors of one socket are one, however many; sockets of one cgroup have a
    /// bound; and what found no room is lost once, however often a look finds it.
    #[test]
    fn none_takes_the_room_of_all_others() {
        let (mut known, mut counts, rules) = (Listens::default(), Counts::default(), rules());
        for sock in 0..MAX_EACH as u64 + 5 {
            for _ in 0..3 {
                known.begins(&listens(sock, "0.0.0.0:80"), &rules, &mut counts);
            }
        }
        assert_eq!((known.all().count(), known.refused), (MAX_EACH, 5));
        let other = Owner { cgroup2: 5, ..some().owner };
        known.begins(&Record { owner: other, ..listens(1 << 40, "0.0.0.0:80") }, &rules, &mut counts);
        assert_eq!((known.all().count(), known.refused), (MAX_EACH + 1, 5));
        // Where one goes there is room again.
        known.ceases(&listens(0, "0.0.0.0:80"));
        known.forget(some().at + 100, 10, &counts);
        known.begins(&listens(MAX_EACH as u64, "0.0.0.0:80"), &rules, &mut counts);
        assert_eq!((known.all().count(), known.refused), (MAX_EACH + 1, 5));
    }

    #[test]
    fn only_what_others_reach_is_shown() {
        let (mut known, mut counts, rules) = (Listens::default(), Counts::default(), rules());
        for (sock, at) in (1..).zip(["127.0.0.1:80", "0.0.0.0:40000", "[fe80::1]:80", "0.0.0.0:0"]) {
            known.begins(&listens(sock, at), &rules, &mut counts);
        }
        assert_eq!(open(&known), [""; 0]);
        let host = Record { netns: 1, ..listens(9, "127.0.0.1:80") };
        known.begins(&host, &rules, &mut counts);
        assert_eq!(open(&known), ["127.0.0.1:80"]);
    }

    #[test]
    fn a_wildcard_is_each_address_of_its_namespace() {
        let own: Vec<IpAddr> = ["127.0.0.1", "10.0.0.1", "fe80::1", "fd00::1"]
            .iter()
            .map(|text| text.parse().expect("an address"))
            .collect();
        let listen = |at: &str| Listen {
            group: 0,
            at: at.parse().expect("an address"),
            netns: 7,
            pid: 1,
            is_v6_only: false,
            ceased: None,
            found: true,
        };
        let shown = |at, is_host| {
            let all = reached(&listen(at), &own, is_host);
            all.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(shown("0.0.0.0:80", false), ["10.0.0.1:80"]);
        assert_eq!(shown("[::]:80", false), ["10.0.0.1:80", "[fd00::1]:80"]);
        assert_eq!(shown("[::]:80", true), ["127.0.0.1:80", "10.0.0.1:80", "[fd00::1]:80"]);
        assert_eq!(shown("10.9.9.9:80", false), ["10.9.9.9:80"]);
        let alone = Listen { is_v6_only: true, ..listen("[::]:80") };
        assert_eq!(reached(&alone, &own, false), ["[fd00::1]:80".parse().expect("an address")]);
    }
}
