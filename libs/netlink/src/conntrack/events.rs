//! Connections whose destination is translated, as they begin.

use super::entry::Entry;
use super::{HEADER, NEW, filter};
use crate::error::Error;
use crate::namespace::{Kind, within};
use crate::socket::Socket;
use netlink_packet_core::NetlinkBuffer;
use netlink_sys::protocols::NETLINK_NETFILTER;
use rustix::io::Errno;
use rustix::net::{RecvFlags, sockopt};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

/// `NFNLGRP_CONNTRACK_NEW`, as a bit of `nl_groups`.
const GROUP_NEW: u32 = 1;

/// Larger than any message of an entry: 500 bytes in Linux 6.18, with names and labels.
const MESSAGE: usize = 4096;

/// A subscription. The kernel writes an event of each connection that it tracks in the
/// namespace, as long as somebody listens, and a filter there drops those that are not
/// translated. The event comes before the packet goes on: whoever knows a connection to
/// be established can read its event.
///
/// What it needs of the kernel is as it is by itself: `net.netfilter.nf_conntrack_events`
/// is 2 (while somebody listens) since Linux 5.19, and was 1 before. Where it is 0 there are no events.
#[derive(Debug)]
pub struct Events {
    socket: Socket,
}

impl Events {
    /// Subscribes in the network namespace whose file is at `path`. `buffer` is how many
    /// bytes the kernel may keep for this socket; an event takes about 1 KiB of it.
    ///
    /// # Errors
    /// [`Error::Namespace`]; [`Error::Call`]: EPROTONOSUPPORT where the kernel has no
    /// nfnetlink, EPERM without CAP_NET_ADMIN over the namespace.
    pub fn open_in(path: &Path, buffer: usize, timeout: Duration) -> Result<Self, Error> {
        within(path, Kind::Network, || {
            let socket = Socket::open_group(NETLINK_NETFILTER, GROUP_NEW, timeout)?;
            socket2::SockRef::from(&socket)
                .attach_filter(&filter::program())
                .map_err(|source| Error::Call { call: "setsockopt(SO_ATTACH_FILTER)", source })?;
            // Over `net.core.rmem_max` where the capability is there; less must do elsewhere.
            if sockopt::set_socket_recv_buffer_size_force(&socket, buffer).is_err() {
                let _ = sockopt::set_socket_recv_buffer_size(&socket, buffer);
            }
            Ok(Self { socket })
        })
    }

    /// Gives what there is, without waiting, at most `most`; whether there may be more.
    ///
    /// # Errors
    /// [`Error::Overrun`]: events were lost; what comes then is good again.
    pub fn read(&self, most: usize, mut give: impl FnMut(Entry)) -> Result<bool, Error> {
        let mut message = [0; MESSAGE];
        for _ in 0..most {
            match rustix::net::recv(&self.socket, &mut message[..], RecvFlags::DONTWAIT) {
                Ok((_, length)) => {
                    if let Some(entry) = read(&message[..length.min(MESSAGE)]) {
                        give(entry);
                    }
                }
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => {}
                Err(Errno::NOBUFS) => return Err(Error::Overrun),
                Err(errno) => {
                    return Err(Error::Call { call: "recv(NETLINK_NETFILTER)", source: errno.into() });
                }
            }
        }
        Ok(true)
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn read(bytes: &[u8]) -> Option<Entry> {
    let header = NetlinkBuffer::new_checked(bytes).ok()?;
    let length = usize::try_from(header.length()).ok()?;
    let payload = bytes.get(HEADER..length)?;
    (header.message_type() == NEW).then(|| Entry::read(payload)).flatten().filter(Entry::is_translated)
}

#[cfg(test)]
mod tests {
    use super::super::entry::tests::{payload, tuple_of};
    use super::*;

    #[test]
    fn an_event_that_is_cut_or_another_message_is_none() {
        let (original, reply) = (tuple_of("10.0.0.1:1", "10.0.0.2:2"), tuple_of("10.0.0.3:3", "10.0.0.1:1"));
        let event = |kind: u16, status: u32| {
            let payload = payload(&original, &reply, status);
            let mut bytes = ((HEADER + payload.len()) as u32).to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0; 10]);
            bytes.extend(payload);
            bytes
        };
        let whole = event(NEW, 0x128);
        assert_eq!(read(&whole).map(|entry| entry.original), Some(original));
        for length in 0..whole.len() {
            assert_eq!(read(&whole[..length]), None, "cut at {length}");
        }
        assert_eq!(read(&event(NEW, 0x108)), None, "it is not translated");
        assert_eq!(read(&event(NEW | 2, 0x128)), None, "one that ended");
    }
}
