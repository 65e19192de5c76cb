//! Which connections count, and under which name.

use crate::record::Record;
use std::cmp::Ordering;
use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

/// Where connections go to, as a series has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Destination {
    /// An address and a port.
    At(SocketAddr),
    /// The same, where somebody else answers.
    Translated {
        /// Who was asked.
        to: SocketAddr,
        /// Who answers.
        actual: SocketAddr,
    },
    /// All those for which there is no series of their own.
    Other,
}

impl Destination {
    /// To an address, and really to this one.
    pub fn of(to: SocketAddr, actual: SocketAddr) -> Self {
        if to == actual { Self::At(to) } else { Self::Translated { to, actual } }
    }

    /// Who was asked, and who answers.
    pub fn ends(self) -> Option<(SocketAddr, SocketAddr)> {
        match self {
            Self::At(at) => Some((at, at)),
            Self::Translated { to, actual } => Some((to, actual)),
            Self::Other => None,
        }
    }
}

/// Those of one address lie side by side; what has no series of its own comes last.
impl Ord for Destination {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |to: &Self| (to.ends().is_none(), to.ends());
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for Destination {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(address) | Self::Translated { to: address, .. } => address.fmt(f),
            Self::Other => f.write_str("~other"),
        }
    }
}

/// A network: an address and the length of its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Reads `10.0.0.0/8` or `2001:db8::/32`.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let (address, bits): (IpAddr, u8) = (address.parse().ok()?, bits.parse().ok()?);
        let most = if address.is_ipv4() { 32 } else { 128 };
        (bits <= most).then_some(Self { address, bits })
    }

    /// Whether an address is in it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                u32::from(network) & mask == u32::from(ip) & mask
            }
            (IpAddr::V6(network), IpAddr::V6(ip)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                u128::from(network) & mask == u128::from(ip) & mask
            }
            _ => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// What counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Ports from which clients connect: nobody serves there.
    pub ephemeral: RangeInclusive<u16>,
    /// Ports within that range at which somebody does.
    pub served: Vec<u16>,
    /// Public addresses that count.
    pub public: Vec<Network>,
    /// The machine's own network namespace; 0 where it is not known.
    pub host_netns: u32,
}

impl Rules {
    /// Where a connection goes to; `None` where it does not count.
    pub fn destination(&self, record: &Record) -> Option<Destination> {
        self.destination_of(record.remote, record.netns)
    }

    /// The same of one end, in a network namespace.
    pub fn destination_of(&self, remote: SocketAddr, netns: u32) -> Option<Destination> {
        (self.is_service(remote.port()) && self.is_shown(remote.ip(), netns))
            .then_some(Destination::At(remote))
    }

    /// Whether somebody may serve at a port.
    pub fn is_service(&self, port: u16) -> bool {
        port != 0 && (!self.ephemeral.contains(&port) || self.served.contains(&port))
    }

    /// Whether connections to an address count.
    fn is_shown(&self, ip: IpAddr, netns: u32) -> bool {
        if ip.is_loopback() {
            // Within a container it is nobody else's concern.
            return self.is_host(netns);
        }
        if is_link_local(ip) || ip.is_multicast() || ip.is_unspecified() {
            return false;
        }
        is_private(ip) || self.public.iter().any(|network| network.contains(ip))
    }

    /// Whether a network namespace is the machine's own.
    pub fn is_host(&self, netns: u32) -> bool {
        netns != 0 && netns == self.host_netns
    }
}

/// Addresses that only the next machines know.
pub fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// Addresses that are nobody's on the public network: RFC 1918, 6598, 4193.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || (ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64),
        IpAddr::V6(ip) => ip.is_unique_local(),
    }
}

/// Every address of the version, for the default of what counts.
pub const ALL_V4: Network = Network { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), bits: 0 };
/// As [`ALL_V4`].
pub const ALL_V6: Network = Network { address: IpAddr::V6(Ipv6Addr::UNSPECIFIED), bits: 0 };

/// A destination as two labels: who was asked, and who answers.
#[derive(Debug, Default)]
pub struct Labels {
    to: String,
    actual: String,
}

impl Labels {
    /// Those of a destination, in texts that are used again.
    pub fn of(&mut self, to: Destination) -> [&str; 2] {
        self.to.clear();
        // A String takes anything.
        let _ = write!(self.to, "{to}");
        let Destination::Translated { actual, .. } = to else { return [&self.to, &self.to] };
        self.actual.clear();
        let _ = write!(self.actual, "{actual}");
        [&self.to, &self.actual]
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::record::tests::some;

    pub(crate) fn rules() -> Rules {
        Rules { ephemeral: 32768..=60999, served: vec![50051], public: vec![ALL_V4, ALL_V6], host_netns: 1 }
    }

    fn shown(rules: &Rules, remote: &str, netns: u32) -> Option<String> {
        let record = Record { remote: remote.parse().expect("an address"), netns, ..some() };
        rules.destination(&record).map(|to| to.to_string())
    }

    #[test]
    fn ephemeral_ports_are_nobody_s() {
        let rules = rules();
        for (remote, counts) in [
            ("10.0.0.1:80", true),
            ("10.0.0.1:32767", true),
            ("10.0.0.1:32768", false),
            ("10.0.0.1:60999", false),
            ("10.0.0.1:61000", true),
            ("10.0.0.1:50051", true),
            ("10.0.0.1:0", false),
        ] {
            assert_eq!(shown(&rules, remote, 7).is_some(), counts, "{remote}");
        }
    }

    #[test]
    fn the_loopback_counts_in_the_machine_s_own_namespace_alone() {
        let rules = rules();
        for remote in ["127.0.0.1:80", "[::1]:80"] {
            assert_eq!(shown(&rules, remote, 1).as_deref(), Some(remote));
            assert_eq!(shown(&rules, remote, 7), None);
        }
        let unknown = Rules { host_netns: 0, ..rules };
        assert_eq!(shown(&unknown, "127.0.0.1:80", 0), None);
    }

    #[test]
    fn both_versions_are_alike() {
        let narrow = Rules {
            public: vec![
                Network::parse("192.0.2.0/25").expect("one"),
                Network::parse("2001:db8::/33").expect("one"),
            ],
            ..rules()
        };
        for (remote, all, few) in [
            ("192.168.1.1:80", true, true),
            ("100.64.0.1:80", true, true),
            ("100.128.0.1:80", true, false),
            ("[fd00::1]:80", true, true),
            ("169.254.1.1:80", false, false),
            ("[fe80::1]:80", false, false),
            ("224.0.0.1:80", false, false),
            ("192.0.2.1:80", true, true),
            ("192.0.2.128:80", true, false),
            ("[2001:db8::1]:80", true, true),
            ("[2001:db8:8000::1]:80", true, false),
        ] {
            assert_eq!(shown(&rules(), remote, 7).is_some(), all, "{remote}");
            assert_eq!(shown(&narrow, remote, 7).is_some(), few, "{remote}");
        }
    }

    #[test]
    fn networks_are_read() {
        for bad in ["", "10.0.0.0", "10.0.0.0/33", "::/129", "x/8", "10.0.0.0/-1"] {
            assert_eq!(Network::parse(bad), None, "{bad:?}");
        }
        assert_eq!(Network::parse("::/0"), Some(ALL_V6));
        assert!(!ALL_V4.contains("::1".parse().expect("an address")));
    }
}
