//! An entry of the table, as attributes.

use super::{DST_NAT, GENERIC};
use netlink_packet_core::{NLA_F_NESTED, NlasIterator};
use std::net::{IpAddr, SocketAddr};

const IPPROTO_TCP: u8 = 6;

// `enum ctattr_type`.
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
pub(super) const CTA_STATUS: u16 = 3;
pub(super) const CTA_STATUS_MASK: u16 = 26;
// `enum ctattr_tuple`.
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
// `enum ctattr_ip`.
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
// `enum ctattr_l4proto`.
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;

/// Who sends to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// Who sends.
    pub source: SocketAddr,
    /// To whom.
    pub destination: SocketAddr,
}

/// A TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// As whoever opened it sends.
    pub original: Tuple,
    /// As answers come: their source is who really answers, their destination as whom
    /// the one who opened it is seen there.
    pub reply: Tuple,
    /// `IPS_*`.
    pub status: u32,
}

impl Entry {
    /// Reads the payload of a message. `None`: it is of another protocol, or is not whole.
    pub fn read(payload: &[u8]) -> Option<Self> {
        let (mut original, mut reply, mut status) = (None, None, 0);
        for (kind, value) in attributes(payload.get(GENERIC..)?) {
            match kind {
                CTA_TUPLE_ORIG => original = Some(tuple(value)?),
                CTA_TUPLE_REPLY => reply = Some(tuple(value)?),
                CTA_STATUS => status = u32::from_be_bytes(value.try_into().ok()?),
                _ => {}
            }
        }
        Some(Self { original: original?, reply: reply?, status })
    }

    /// Whether somebody else answers than was asked.
    pub fn is_translated(&self) -> bool {
        self.status & DST_NAT != 0
    }

    /// The same connection as it is seen beyond the translation.
    pub fn beyond(&self) -> Tuple {
        Tuple { source: self.reply.destination, destination: self.reply.source }
    }
}

/// The attributes as far as they are whole.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes).map_while(Result::ok).map(|attribute| {
        let (kind, length) = (attribute.kind(), attribute.value_length());
        let value = attribute.into_inner().get(4..4 + length).unwrap_or_default();
        (kind, value)
    })
}

fn tuple(bytes: &[u8]) -> Option<Tuple> {
    let (mut source, mut destination) = (None, None);
    let (mut from, mut to, mut protocol) = (None, None, None);
    for (kind, value) in attributes(bytes) {
        match kind {
            CTA_TUPLE_IP => {
                for (kind, value) in attributes(value) {
                    match kind {
                        CTA_IP_V4_SRC | CTA_IP_V6_SRC => source = Some(ip(value)?),
                        CTA_IP_V4_DST | CTA_IP_V6_DST => destination = Some(ip(value)?),
                        _ => {}
                    }
                }
            }
            CTA_TUPLE_PROTO => {
                for (kind, value) in attributes(value) {
                    match kind {
                        CTA_PROTO_NUM => protocol = value.first().copied(),
                        CTA_PROTO_SRC_PORT => from = Some(u16::from_be_bytes(value.try_into().ok()?)),
                        CTA_PROTO_DST_PORT => to = Some(u16::from_be_bytes(value.try_into().ok()?)),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    (protocol? == IPPROTO_TCP).then_some(Tuple {
        source: SocketAddr::new(source?, from?),
        destination: SocketAddr::new(destination?, to?),
    })
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    v4.or_else(|| <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from))
}

/// Appends a connection as the attribute that asks for it.
pub(super) fn ask_for(of: &Tuple, out: &mut Vec<u8>) {
    nested(CTA_TUPLE_ORIG, out, |out| {
        nested(CTA_TUPLE_IP, out, |out| {
            let kinds = if of.source.is_ipv4() {
                (CTA_IP_V4_SRC, CTA_IP_V4_DST)
            } else {
                (CTA_IP_V6_SRC, CTA_IP_V6_DST)
            };
            for (kind, ip) in [(kinds.0, of.source.ip()), (kinds.1, of.destination.ip())] {
                match ip {
                    IpAddr::V4(ip) => put(kind, &ip.octets(), out),
                    IpAddr::V6(ip) => put(kind, &ip.octets(), out),
                }
            }
        });
        nested(CTA_TUPLE_PROTO, out, |out| {
            put(CTA_PROTO_NUM, &[IPPROTO_TCP], out);
            put(CTA_PROTO_SRC_PORT, &of.source.port().to_be_bytes(), out);
            put(CTA_PROTO_DST_PORT, &of.destination.port().to_be_bytes(), out);
        });
    });
}

/// Appends an attribute, filled up to a multiple of 4.
pub(super) fn put(kind: u16, value: &[u8], out: &mut Vec<u8>) {
    let length = u16::try_from(4 + value.len()).expect("values here are of some bytes");
    out.extend_from_slice(&length.to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

fn nested(kind: u16, out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    put(kind | NLA_F_NESTED, &[], out);
    fill(out);
    let length = u16::try_from(out.len() - at).expect("attributes here are of some bytes");
    out[at..at + 2].copy_from_slice(&length.to_ne_bytes());
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn tuple_of(source: &str, destination: &str) -> Tuple {
        let at = |text: &str| text.parse().expect("an address");
        Tuple { source: at(source), destination: at(destination) }
    }

    /// An entry as the kernel writes it, with attributes that nobody reads in between.
    pub(in super::super) fn payload(original: &Tuple, reply: &Tuple, status: u32) -> Vec<u8> {
        let mut bytes = vec![2, 0, 0, 0];
        ask_for(original, &mut bytes);
        put(12, &[1, 2, 3, 4], &mut bytes);
        let mut other = Vec::new();
        ask_for(reply, &mut other);
        other[2..4].copy_from_slice(&(CTA_TUPLE_REPLY | NLA_F_NESTED).to_ne_bytes());
        bytes.extend(other);
        put(CTA_STATUS, &status.to_be_bytes(), &mut bytes);
        bytes
    }

    #[test]
    fn an_entry_of_either_version_is_read() {
        for (client, service, pod) in [
            ("10.0.0.1:40000", "10.96.0.1:80", "10.0.0.2:8080"),
            ("[fd00::1]:40000", "[fd00:96::1]:80", "[fd00::2]:8080"),
        ] {
            let (original, reply) = (tuple_of(client, service), tuple_of(pod, client));
            let read = Entry::read(&payload(&original, &reply, 0x128)).expect("whole");
            assert_eq!(read, Entry { original, reply, status: 0x128 });
            assert!(read.is_translated());
            assert_eq!(read.beyond(), tuple_of(client, pod));
        }
        let same = tuple_of("10.0.0.1:1", "10.0.0.2:2");
        assert!(!Entry::read(&payload(&same, &same, 0x18f & !DST_NAT)).expect("whole").is_translated());
    }

    #[test]
    fn what_is_cut_or_of_another_protocol_is_none() {
        let (original, reply) = (tuple_of("10.0.0.1:1", "10.0.0.2:2"), tuple_of("10.0.0.3:3", "10.0.0.1:1"));
        let whole = payload(&original, &reply, DST_NAT);
        for length in 0..whole.len() - 8 {
            assert_eq!(Entry::read(&whole[..length]), None, "cut at {length}");
        }
        // Without its status it is a connection of which nothing more is known.
        assert_eq!(Entry::read(&whole[..whole.len() - 8]).map(|entry| entry.status), Some(0));
        for at in 0..whole.len() {
            for value in [0, 1, 3, 0x7f, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                // Whatever it is, it is no panic.
                let _ = Entry::read(&bytes);
            }
        }
        let mut udp = whole;
        let protocol = udp.windows(5).position(|bytes| bytes == [5, 0, 1, 0, 6]).expect("TCP");
        udp[protocol + 4] = 17;
        assert_eq!(Entry::read(&udp), None);
    }
}
