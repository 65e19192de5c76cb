//! TCP sockets of a network namespace (SOCK_DIAG_BY_FAMILY, `sock_diag(7)`).

use crate::dump::{Bounds, Outcome, Step};
use crate::error::Error;
use crate::socket::Socket;
use netlink_packet_core::NetlinkSerializable;
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;

/// `TCP_ESTABLISHED` (include/net/tcp_states.h).
pub const ESTABLISHED: u8 = 1;
/// `TCP_CLOSE_WAIT`: the other end sends no more.
pub const CLOSE_WAIT: u8 = 8;
/// `TCP_LISTEN`.
pub const LISTEN: u8 = 10;

/// Which states are asked for.
const STATES: u32 = 1 << ESTABLISHED | 1 << CLOSE_WAIT | 1 << LISTEN;

/// `struct inet_diag_msg` (include/uapi/linux/inet_diag.h).
const MESSAGE: usize = 72;

/// A TCP socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpSocket {
    /// Its state.
    pub state: u8,
    /// Its own end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// The number of its inode, as descriptors have it; 0: nobody holds it.
    pub inode: u32,
}

impl TcpSocket {
    fn read(payload: &[u8]) -> Option<Self> {
        let payload: &[u8; MESSAGE] = payload.first_chunk()?;
        let port = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
        let ip = |at: usize| {
            let bytes: [u8; 16] = std::array::from_fn(|byte| payload[at + byte]);
            if payload[0] == AF_INET {
                return Some(IpAddr::from([bytes[0], bytes[1], bytes[2], bytes[3]]));
            }
            let whole = Ipv6Addr::from(bytes);
            (payload[0] == AF_INET6).then(|| whole.to_ipv4_mapped().map_or(IpAddr::V6(whole), IpAddr::V4))
        };
        Some(Self {
            state: payload[1],
            local: SocketAddr::new(ip(8)?, port(4)),
            remote: SocketAddr::new(ip(24)?, port(6)),
            inode: u32::from_ne_bytes(std::array::from_fn(|byte| payload[68 + byte])),
        })
    }
}

/// `struct inet_diag_req_v2`: all sockets of a family in the states above.
struct Request(u8);

impl NetlinkSerializable for Request {
    fn message_type(&self) -> u16 {
        SOCK_DIAG_BY_FAMILY
    }
    fn buffer_len(&self) -> usize {
        56
    }
    fn serialize(&self, buffer: &mut [u8]) {
        buffer.fill(0);
        buffer[0] = self.0;
        buffer[1] = IPPROTO_TCP;
        buffer[4..8].copy_from_slice(&STATES.to_ne_bytes());
    }
}

/// Asks for the TCP sockets that are established or listen in the network
/// namespace whose file is at `path`.
///
/// # Errors
/// See [`Error`].
pub fn tcp_sockets(
    path: &Path,
    timeout: Duration,
    bounds: Bounds,
) -> Result<(Vec<TcpSocket>, Outcome), Error> {
    let mut socket = Socket::open_in(path, NETLINK_SOCK_DIAG, timeout)?;
    let (mut all, mut buffer) = (Vec::new(), Vec::new());
    let mut outcome = Outcome::Consistent;
    for family in [AF_INET, AF_INET6] {
        let before = all.len();
        let read =
            socket.dump("SOCK_DIAG_BY_FAMILY", Request(family), &mut buffer, bounds, |step| match step {
                Step::Restart => all.truncate(before),
                Step::Message(_, payload) => all.extend(TcpSocket::read(payload)),
            })?;
        if read == Outcome::Interrupted {
            outcome = read;
        }
    }
    Ok((all, outcome))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_and_a_short_one_is_none() {
        let mut payload = vec![0; MESSAGE];
        (payload[0], payload[1]) = (AF_INET, ESTABLISHED);
        payload[4..8].copy_from_slice(&[0x9c, 0x40, 0, 80]);
        payload[8..12].copy_from_slice(&[10, 0, 0, 1]);
        payload[24..28].copy_from_slice(&[10, 0, 0, 2]);
        payload[68..72].copy_from_slice(&77_u32.to_ne_bytes());
        let read = TcpSocket::read(&payload).expect("whole");
        assert_eq!(
            (read.local.to_string(), read.remote.to_string()),
            ("10.0.0.1:40000".into(), "10.0.0.2:80".into())
        );
        assert_eq!((read.state, read.inode), (ESTABLISHED, 77));
        payload[0] = AF_INET6;
        payload[24..40].copy_from_slice(&"::ffff:10.0.0.2".parse::<Ipv6Addr>().expect("an address").octets());
        assert_eq!(
            TcpSocket::read(&payload).map(|read| read.remote.to_string()).as_deref(),
            Some("10.0.0.2:80")
        );
        payload[0] = 1;
        assert_eq!(TcpSocket::read(&payload), None);
        assert_eq!(TcpSocket::read(&payload[..MESSAGE - 1]), None);
    }

    #[test]
    fn our_own_sockets_are_there() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("bound");
        let open = std::net::TcpStream::connect(at).expect("somebody listens");
        if !rustix::process::getuid().is_root() {
            return;
        }
        let namespace = Path::new("/proc/self/ns/net");
        let (all, _) = tcp_sockets(namespace, Duration::from_secs(5), Bounds::default()).expect("it answers");
        assert!(all.iter().any(|socket| socket.state == LISTEN && socket.local == at));
        let own = open.local_addr().expect("bound");
        let found = all.iter().find(|socket| socket.local == own).expect("there");
        assert_eq!((found.state, found.remote), (ESTABLISHED, at));
        assert_ne!(found.inode, 0);
    }
}
