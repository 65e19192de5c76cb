//! Connections whose destination is translated, by their own two ends.

use gantry_netlink::conntrack::{Entry, Tuple};
use hashbrown::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The most of them, of all network namespaces: some 20 MiB. One more is counted, and
/// is asked for when it matters.
const MOST: usize = 1 << 18;

/// How long one is kept that nobody asks for: what this machine only forwards is nobody's
/// here. One that is open and was forgotten is asked for.
const KEPT: u64 = 150_000_000_000;

/// By what one is found: a digest of namespace and ends. Its key is secret: nobody can
/// choose ends that have the same.
type Name = [u64; 2];

/// An address in 18 bytes instead of 32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Packed([u8; 16], u16);

impl Packed {
    fn of(address: SocketAddr) -> Self {
        let octets = match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        };
        Self(octets, address.port())
    }

    fn address(self) -> SocketAddr {
        let ip = Ipv6Addr::from(self.0);
        SocketAddr::new(ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4), self.1)
    }
}

#[derive(Debug, Clone, Copy)]
struct Beyond {
    source: Packed,
    destination: Packed,
    /// When it was told or asked for last, in nanoseconds.
    used: u64,
}

/// All that are known.
#[derive(Debug, Default)]
pub struct Translations {
    all: HashMap<Name, Beyond, ahash::RandomState>,
    names: RandomState,
    /// Those for which there was no room.
    pub refused: u64,
}

impl Translations {
    fn name(&self, netns: u32, of: &Tuple) -> Name {
        [0_u8, 1].map(|salt| self.names.hash_one((salt, netns, of)))
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// One began in a network namespace. The same ends may have been another's before.
    pub fn put(&mut self, netns: u32, entry: &Entry, now: u64) {
        let name = self.name(netns, &entry.original);
        if self.all.len() >= MOST && !self.all.contains_key(&name) {
            self.refused += 1;
            return;
        }
        let beyond = entry.beyond();
        let (source, destination) = (Packed::of(beyond.source), Packed::of(beyond.destination));
        self.all.insert(name, Beyond { source, destination, used: now });
    }

    /// As what a connection goes on.
    pub fn get(&mut self, netns: u32, of: &Tuple, now: u64) -> Option<Tuple> {
        let name = self.name(netns, of);
        let beyond = self.all.get_mut(&name)?;
        beyond.used = now;
        Some(Tuple { source: beyond.source.address(), destination: beyond.destination.address() })
    }

    /// Forgets those that nobody asked for in a while.
    pub fn forget(&mut self, now: u64) {
        self.all.retain(|_, beyond| now.saturating_sub(beyond.used) <= KEPT);
        // A flood leaves much room that is needed no more.
        if self.all.capacity() > 4 * self.all.len().max(256) {
            self.all.shrink_to(2 * self.all.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(source: &str, destination: &str) -> Tuple {
        let at = |text: &str| text.parse().expect("an address");
        Tuple { source: at(source), destination: at(destination) }
    }

    fn entry(source: &str, destination: &str, real: &str) -> Entry {
        Entry { original: tuple(source, destination), reply: tuple(real, source), status: 1 << 5 }
    }

    #[test]
    fn one_is_found_by_all_of_its_ends_and_its_namespace() {
        let mut all = Translations::default();
        all.put(7, &entry("10.0.0.1:40000", "10.96.0.1:80", "10.0.0.2:8080"), 0);
        all.put(7, &entry("[fd00::1]:40000", "[fd96::1]:80", "[fd00::2]:8080"), 0);
        let v4 = tuple("10.0.0.1:40000", "10.96.0.1:80");
        assert_eq!(all.get(7, &v4, 0), Some(tuple("10.0.0.1:40000", "10.0.0.2:8080")));
        let v6 = tuple("[fd00::1]:40000", "[fd96::1]:80");
        assert_eq!(all.get(7, &v6, 0), Some(tuple("[fd00::1]:40000", "[fd00::2]:8080")));
        assert_eq!(all.get(8, &v4, 0), None);
        assert_eq!(all.get(7, &tuple("10.0.0.1:40001", "10.96.0.1:80"), 0), None);
        // The same ends again go elsewhere.
        all.put(7, &entry("10.0.0.1:40000", "10.96.0.1:80", "10.0.0.3:8080"), 0);
        assert_eq!(all.get(7, &v4, 0), Some(tuple("10.0.0.1:40000", "10.0.0.3:8080")));
    }

    #[test]
    fn what_nobody_asks_for_goes_and_there_are_so_many_at_most() {
        let mut all = Translations::default();
        let number = |number: u32| {
            let source = SocketAddr::new(std::net::Ipv4Addr::from(number).into(), 1);
            let of = Tuple { source, ..tuple("10.0.0.1:1", "10.96.0.1:80") };
            let reply = Tuple { source: "10.0.0.2:8080".parse().expect("one"), destination: source };
            Entry { original: of, reply, status: 1 << 5 }
        };
        for index in 0..MOST as u32 + 3 {
            all.put(1, &number(index), 0);
        }
        assert_eq!((all.len(), all.refused), (MOST, 3));
        assert!(all.get(1, &number(0).original, KEPT).is_some());
        all.forget(KEPT + 1);
        assert_eq!((all.len(), all.is_empty()), (1, false));
        assert!(all.all.capacity() < MOST / 8, "{}", all.all.capacity());
        all.forget(2 * KEPT + 1);
        assert!(all.is_empty());
    }
}
