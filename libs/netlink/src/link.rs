//! Network interfaces (RTM_GETLINK).
//!
//! The attributes are walked one by one, and only those that are wanted are
//! looked at: one that a newer kernel writes in a new form costs nothing.
//! Their numbers and forms are those of include/uapi/linux/if_link.h.

use netlink_packet_core::NlasIterator;
use netlink_packet_route::link::{LinkHeader, LinkLayerType, State};

const IFLA_IFNAME: u16 = 3;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_STATS64: u16 = 23;
const IFLA_INFO_KIND: u16 = 1;

/// The length of `struct ifinfomsg`.
const HEADER: usize = 16;

/// A network interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// Its number within its network namespace.
    pub index: u32,
    /// Its name. The kernel takes any bytes but `/`, `:` and white space; those
    /// that are no UTF-8 are replaced.
    pub name: String,
    /// What made it (`IFLA_INFO_KIND`): `veth`, `bridge`, `vlan`, …; empty for
    /// hardware and for the loopback.
    pub kind: String,
    /// Whether it is a loopback, by its hardware type.
    pub loopback: bool,
    /// Whether its operational state (RFC 2863) is up.
    pub up: bool,
    /// What went through it; absent where the driver counts nothing.
    pub counters: Option<LinkCounters>,
}

/// The first counters of `struct rtnl_link_stats64`, since the interface was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the kernel's")]
pub struct LinkCounters {
    pub rx_packets: u64,
    pub tx_packets: u64,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    pub rx_errors: u64,
    pub tx_errors: u64,
    pub rx_dropped: u64,
    pub tx_dropped: u64,
}

impl LinkCounters {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut words = bytes.chunks_exact(8).map_while(|word| word.try_into().ok()).map(u64::from_ne_bytes);
        Some(Self {
            rx_packets: words.next()?,
            tx_packets: words.next()?,
            rx_bytes: words.next()?,
            tx_bytes: words.next()?,
            rx_errors: words.next()?,
            tx_errors: words.next()?,
            rx_dropped: words.next()?,
            tx_dropped: words.next()?,
        })
    }
}

impl Link {
    /// Reads the payload of a RTM_NEWLINK into `self`, whose texts are used
    /// again. `false`: it is no link, and `self` holds nothing of use.
    pub fn read(&mut self, payload: &[u8]) -> bool {
        let Ok(header) = LinkHeader::parse(payload) else { return false };
        let Some(attributes) = payload.get(HEADER..) else { return false };
        self.index = header.index;
        self.loopback = header.link_layer_type == LinkLayerType::Loopback;
        self.name.clear();
        self.kind.clear();
        self.up = false;
        self.counters = None;
        for attribute in NlasIterator::new(attributes) {
            let Ok(attribute) = attribute else { return false };
            let value = attribute.value();
            match attribute.kind() {
                IFLA_IFNAME => push_text(&mut self.name, value),
                IFLA_OPERSTATE => {
                    self.up = value.first().is_some_and(|state| State::from(*state) == State::Up);
                }
                IFLA_STATS64 => self.counters = LinkCounters::parse(value),
                IFLA_LINKINFO => {
                    let mut inner = NlasIterator::new(value).map_while(Result::ok);
                    if let Some(kind) = inner.find(|inner| inner.kind() == IFLA_INFO_KIND) {
                        push_text(&mut self.kind, kind.value());
                    }
                }
                _ => {}
            }
        }
        !self.name.is_empty()
    }
}

/// Texts of the kernel end with a zero byte.
fn push_text(text: &mut String, value: &[u8]) {
    text.clear();
    text.push_str(&String::from_utf8_lossy(value.split(|byte| *byte == 0).next().unwrap_or_default()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len() + 4).expect("short");
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn veth() -> Vec<u8> {
        let stats: Vec<u8> = (1..=24u64).flat_map(u64::to_ne_bytes).collect();
        let mut payload = vec![0, 0, 1, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        payload.extend(attribute(IFLA_IFNAME, b"ve0\0"));
        payload.extend(attribute(IFLA_OPERSTATE, &[6]));
        payload.extend(attribute(999, b"of a newer kernel"));
        payload.extend(attribute(IFLA_STATS64, &stats));
        payload.extend(attribute(IFLA_LINKINFO, &attribute(IFLA_INFO_KIND, b"veth\0")));
        payload
    }

    #[test]
    fn a_link_is_read() {
        let mut link = Link { name: "left over".into(), ..Link::default() };
        assert!(link.read(&veth()));
        assert_eq!((link.name.as_str(), link.kind.as_str(), link.index), ("ve0", "veth", 7));
        assert!(link.up && !link.loopback);
        let counters = link.counters.expect("present");
        assert_eq!((counters.rx_packets, counters.tx_bytes, counters.tx_dropped), (1, 4, 8));
    }

    #[test]
    fn cut_and_changed_messages_are_no_panic() {
        let whole = veth();
        let mut link = Link::default();
        for end in 0..whole.len() {
            link.read(&whole[..end]);
        }
        for at in 0..whole.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut changed = whole.clone();
                changed[at] = byte;
                link.read(&changed);
            }
        }
    }
}
