//! Records as the programs write them: `struct record` in `bpf/record.h`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The version that is read here.
pub const VERSION: u8 = 3;

/// The length of a record.
pub const SIZE: usize = 144;

/// What a record tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A connection that is there, by an iterator.
    Live,
    /// A connection ended, or did not come to be.
    Closed,
    /// A socket listens.
    Listens,
    /// It does so no more.
    Listened,
    /// A connection that was there before the programs were, or whose beginning they
    /// missed: from here on its end is told.
    Adopted,
    /// A socket that listens, by an iterator: once for each descriptor of it.
    Listening,
}

/// It was there before the programs were.
pub const ADOPTED: u8 = 1;
/// No process holds it any more.
pub const ORPHAN: u8 = 2;
/// It listens for version 6 alone.
pub const V6_ONLY: u8 = 4;
/// It came to be.
pub const ESTABLISHED: u8 = 8;
/// It ended within `connect` itself.
pub const SYNCHRONOUS: u8 = 16;

/// More was sent again than was sent at all, as of two moments: it is taken for nothing.
pub const UNDERFLOW: u8 = 64;

/// Whose a socket is: the process that opened it, where it was then.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Owner {
    /// When it started, in nanoseconds since boot.
    pub start: u64,
    /// Its cgroup of version 2.
    pub cgroup2: u64,
    /// Its cgroup in `hierarchy`; 0 where version 1 has no memory controller.
    pub cgroup1: u64,
    /// The number of that hierarchy.
    pub hierarchy: u32,
    /// Its pid.
    pub tgid: u32,
}

/// The id of a hierarchy's root.
pub const ROOT: u64 = 1;

impl Owner {
    /// By which cgroup it is known whose it is: hierarchy and id. A process that has one
    /// of version 1 is where that is; that of version 2 may be one that the runtime
    /// itself is in. In the root of version 1 is all that is in none.
    pub fn cgroup(&self) -> (u32, u64) {
        if self.hierarchy != 0 && self.cgroup1 > ROOT {
            (self.hierarchy, self.cgroup1)
        } else {
            (0, self.cgroup2)
        }
    }
}

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// What it tells.
    pub kind: Kind,
    /// Bits of what is so.
    pub flags: u8,
    /// `sk_err`: 0 or a number of errno(3).
    pub error: i32,
    /// The socket. Another may have the same later.
    pub sock: u64,
    /// When it was written; as all times here of `CLOCK_MONOTONIC`.
    pub at: u64,
    /// When `connect` began, or when it was adopted.
    pub opened_at: u64,
    /// When the handshake was over; 0 where that is not known.
    pub established_at: u64,
    /// Who opened it.
    pub owner: Owner,
    /// Bytes that were sent, each once.
    pub sent: u64,
    /// Bytes that were received.
    pub received: u64,
    /// Segments that were sent again.
    pub retransmits: u32,
    /// The smoothed round trip time, in microseconds.
    pub rtt: u32,
    /// The inode number of its network namespace.
    pub netns: u32,
    /// Its own end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
}

impl Record {
    /// Reads one. `None`: it is of another length, version or kind.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; SIZE] = bytes.try_into().ok()?;
        if bytes[0] != VERSION {
            return None;
        }
        let kind = match bytes[1] {
            1 => Kind::Live,
            2 => Kind::Closed,
            3 => Kind::Listens,
            4 => Kind::Listened,
            5 => Kind::Adopted,
            6 => Kind::Listening,
            _ => return None,
        };
        let owner = Owner {
            start: u64_at(bytes, 40),
            cgroup2: u64_at(bytes, 48),
            cgroup1: u64_at(bytes, 56),
            hierarchy: u32_at(bytes, 64),
            tgid: u32_at(bytes, 68),
        };
        let (sent, resent) = (u64_at(bytes, 72), u64_at(bytes, 80));
        let underflow = if resent > sent { UNDERFLOW } else { 0 };
        Some(Self {
            kind,
            flags: bytes[3] | underflow,
            error: u32_at(bytes, 4).cast_signed(),
            sock: u64_at(bytes, 8),
            at: u64_at(bytes, 16),
            opened_at: u64_at(bytes, 24),
            established_at: u64_at(bytes, 32),
            owner,
            sent: sent.saturating_sub(resent),
            received: u64_at(bytes, 88),
            retransmits: u32_at(bytes, 96),
            rtt: u32_at(bytes, 100),
            netns: u32_at(bytes, 104),
            local: address(bytes, 112, u16_at(bytes, 108)),
            remote: address(bytes, 128, u16_at(bytes, 110)),
        })
    }

    /// Whether all of these bits are set.
    pub fn is(&self, flag: u8) -> bool {
        self.flags & flag == flag
    }
}

fn u64_at(bytes: &[u8; SIZE], at: usize) -> u64 {
    u64::from_ne_bytes(array(bytes, at))
}
fn u32_at(bytes: &[u8; SIZE], at: usize) -> u32 {
    u32::from_ne_bytes(array(bytes, at))
}
fn u16_at(bytes: &[u8; SIZE], at: usize) -> u16 {
    u16::from_ne_bytes(array(bytes, at))
}
fn array<const N: usize>(bytes: &[u8; SIZE], at: usize) -> [u8; N] {
    std::array::from_fn(|byte| bytes[at + byte])
}

/// An address of version 4 that a socket of version 6 has is one of version 4.
fn address(bytes: &[u8; SIZE], at: usize, port: u16) -> SocketAddr {
    let whole = Ipv6Addr::from(array::<16>(bytes, at));
    SocketAddr::new(whole.to_ipv4_mapped().map_or(IpAddr::V6(whole), IpAddr::V4), port)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// As the programs write it.
    pub(crate) fn written(record: &Record) -> Vec<u8> {
        let kind = match record.kind {
            Kind::Live => 1,
            Kind::Closed => 2,
            Kind::Listens => 3,
            Kind::Listened => 4,
            Kind::Adopted => 5,
            Kind::Listening => 6,
        };
        let mut out = vec![VERSION, kind, 0, record.flags];
        out.extend(record.error.to_ne_bytes());
        for number in [record.sock, record.at, record.opened_at, record.established_at] {
            out.extend(number.to_ne_bytes());
        }
        for number in [record.owner.start, record.owner.cgroup2, record.owner.cgroup1] {
            out.extend(number.to_ne_bytes());
        }
        out.extend(record.owner.hierarchy.to_ne_bytes());
        out.extend(record.owner.tgid.to_ne_bytes());
        // A part of it was sent again.
        out.extend((record.sent + 77).to_ne_bytes());
        out.extend(77_u64.to_ne_bytes());
        out.extend(record.received.to_ne_bytes());
        for number in [record.retransmits, record.rtt, record.netns] {
            out.extend(number.to_ne_bytes());
        }
        out.extend(record.local.port().to_ne_bytes());
        out.extend(record.remote.port().to_ne_bytes());
        for end in [record.local, record.remote] {
            out.extend(match end.ip() {
                IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                IpAddr::V6(ip) => ip.octets(),
            });
        }
        out
    }

    /// A connection of one process to a web server, which ended well.
    pub(crate) fn some() -> Record {
        Record {
            kind: Kind::Closed,
            flags: ESTABLISHED,
            error: 0,
            sock: 0xffff_8883_dd97_4a00,
            at: 9_000_000,
            opened_at: 1_000_000,
            established_at: 3_000_000,
            owner: Owner { start: 5, cgroup2: 77, cgroup1: 0, hierarchy: 0, tgid: 4242 },
            sent: 1000,
            received: 2000,
            retransmits: 3,
            rtt: 150,
            netns: 4_026_532_000,
            local: "10.0.0.1:40000".parse().expect("an address"),
            remote: "10.0.0.2:80".parse().expect("an address"),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let v6 = Record { remote: "[2001:db8::1]:443".parse().expect("an address"), error: -111, ..some() };
        for record in [some(), v6, Record { kind: Kind::Listening, ..some() }] {
            let bytes = written(&record);
            assert_eq!(bytes.len(), SIZE);
            assert_eq!(Record::read(&bytes), Some(record));
        }
    }

    #[test]
    fn what_was_sent_never_wraps() {
        let mut bytes = written(&Record { sent: 0, ..some() });
        bytes[80..88].copy_from_slice(&78_u64.to_ne_bytes());
        let record = Record::read(&bytes).expect("a record");
        assert_eq!((record.sent, record.is(UNDERFLOW)), (0, true));
    }

    #[test]
    fn what_is_none_is_none() {
        let bytes = written(&some());
        for length in [0, 1, SIZE - 1] {
            assert_eq!(Record::read(&bytes[..length]), None);
        }
        for (at, value) in [(0, 1), (0, 2), (1, 0), (1, 7)] {
            let mut other = bytes.clone();
            other[at] = value;
            assert_eq!(Record::read(&other), None, "byte {at}");
        }
    }
}
