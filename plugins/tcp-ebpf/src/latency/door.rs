//! A socket for echoes within a network namespace, with the kernel's own times of
//! what goes out and comes in (Documentation/networking/timestamping.rst).

use super::echo::{Echo, LENGTH, ROOM};
use gantry_netlink::Error;
use gantry_netlink::namespace::{Kind, within};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, TimestampingFlag, recvmsg, setsockopt, sockopt,
};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, sendto, socket_with};
use std::io::IoSliceMut;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;

/// `SO_EE_ORIGIN_TIMESTAMPING` (include/uapi/linux/errqueue.h).
const ORIGIN_TIMESTAMPING: u8 = 4;

/// Room for time stamps and the error's description with an address.
const CONTROL: usize = 256;

/// A moment by the kernel's clocks, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stamp {
    /// By `CLOCK_REALTIME`; 0: there is none.
    pub software: u64,
    /// By the network card's own clock; 0: there is none.
    pub hardware: u64,
}

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// The request of this number went out. They are counted from 0.
    Sent(u32, Stamp),
    /// An answer came from this address.
    Answer(Echo, IpAddr, Stamp),
    /// Something else.
    Other,
}

/// A socket. It keeps its namespace alive.
#[derive(Debug)]
pub struct Door {
    socket: OwnedFd,
    is_v4: bool,
    is_raw: bool,
    control: Vec<u8>,
}

impl Door {
    /// Opens one in the network namespace whose file is at `path`: one of `ping(8)`,
    /// which needs no capability where `net.ipv4.ping_group_range` of the namespace has
    /// our group, and else a raw one (`CAP_NET_RAW` over the namespace).
    ///
    /// # Errors
    /// [`Error::Namespace`] where the namespace cannot be entered; [`Error::Call`].
    pub fn open(path: &Path, is_v4: bool) -> Result<Self, Error> {
        within(path, Kind::Network, || Self::here(is_v4))
    }

    /// The same in the calling thread's own namespace.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub fn here(is_v4: bool) -> Result<Self, Error> {
        let (family, protocol) = if is_v4 {
            (AddressFamily::INET, ipproto::ICMP)
        } else {
            (AddressFamily::INET6, ipproto::ICMPV6)
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let open = |kind| socket_with(family, kind, flags, Some(protocol));
        let (socket, is_raw) = match open(SocketType::DGRAM) {
            Ok(socket) => (socket, false),
            Err(_) => match open(SocketType::RAW) {
                Ok(socket) => (socket, true),
                Err(errno) => {
                    return Err(Error::Call { call: "socket(SOCK_RAW, ICMP)", source: errno.into() });
                }
            },
        };
        let stamps = TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE
            | TimestampingFlag::SOF_TIMESTAMPING_RAW_HARDWARE
            | TimestampingFlag::SOF_TIMESTAMPING_TX_SOFTWARE
            | TimestampingFlag::SOF_TIMESTAMPING_TX_HARDWARE
            | TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE
            | TimestampingFlag::SOF_TIMESTAMPING_RX_HARDWARE
            | TimestampingFlag::SOF_TIMESTAMPING_OPT_ID
            | TimestampingFlag::SOF_TIMESTAMPING_OPT_TSONLY;
        setsockopt(&socket, sockopt::Timestamping, &stamps)
            .map_err(|errno| Error::Call { call: "setsockopt(SO_TIMESTAMPING)", source: errno.into() })?;
        Ok(Self { socket, is_v4, is_raw, control: vec![0; CONTROL] })
    }

    /// Sends one. The kernel's own number of it is one more than that of the one before.
    ///
    /// # Errors
    /// The system call's: there is no way to the address, say.
    pub fn send(&self, echo: &Echo, to: IpAddr) -> Result<(), Errno> {
        let bytes = echo.request(to);
        match sendto(&self.socket, &bytes, SendFlags::DONTWAIT, &SocketAddr::new(to, 0))? {
            LENGTH => Ok(()),
            _ => Err(Errno::MSGSIZE),
        }
    }

    /// Whether the kernel chooses by what its requests are known.
    pub fn chooses_id(&self) -> bool {
        !self.is_raw
    }

    /// What went out. `None`: there is no more at present.
    pub fn sent(&mut self) -> Option<Came> {
        self.receive(MsgFlags::MSG_ERRQUEUE)
    }

    /// What came in. `None`: there is no more at present.
    pub fn came(&mut self) -> Option<Came> {
        self.receive(MsgFlags::empty())
    }

    fn receive(&mut self, queue: MsgFlags) -> Option<Came> {
        let mut bytes = [0; ROOM];
        let mut into = [IoSliceMut::new(&mut bytes)];
        let flags = queue | MsgFlags::MSG_DONTWAIT;
        let read =
            recvmsg::<SockaddrStorage>(self.socket.as_raw_fd(), &mut into, Some(&mut self.control), flags);
        let message = match read {
            Ok(message) => message,
            // An error of one that was sent before: it will not be answered.
            Err(nix::Error::EAGAIN) => return None,
            Err(_) => return Some(Came::Other),
        };
        let (length, from) = (message.bytes, message.address.as_ref().and_then(ip));
        let (mut stamp, mut number) = (Stamp::default(), None);
        for control in message.cmsgs().into_iter().flatten() {
            match control {
                ControlMessageOwned::ScmTimestampsns(stamps) => {
                    stamp = Stamp { software: nanos(stamps.system), hardware: nanos(stamps.hw_raw) };
                }
                ControlMessageOwned::Ipv4RecvErr(error, _) | ControlMessageOwned::Ipv6RecvErr(error, _)
                    if error.ee_origin == ORIGIN_TIMESTAMPING =>
                {
                    number = Some(error.ee_data);
                }
                _ => {}
            }
        }
        if let Some(number) = number {
            return Some(Came::Sent(number, stamp));
        }
        let echo = Echo::answer(&bytes[..length], self.is_v4, self.is_v4 && self.is_raw);
        Some(echo.zip(from).map_or(Came::Other, |(echo, from)| Came::Answer(echo, from, stamp)))
    }
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

fn nanos(time: nix::sys::time::TimeSpec) -> u64 {
    let (seconds, nanos) = (u64::try_from(time.tv_sec()), u64::try_from(time.tv_nsec()));
    seconds.unwrap_or(0).saturating_mul(1_000_000_000).saturating_add(nanos.unwrap_or(0))
}
