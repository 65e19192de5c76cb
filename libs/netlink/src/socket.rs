//! A netlink socket whose every wait ends.

use crate::error::Error;
use crate::namespace;
use netlink_sys::SocketAddr;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

/// A socket that is connected to the kernel: messages of other senders do not
/// reach it.
#[derive(Debug)]
pub struct Socket {
    inner: netlink_sys::Socket,
    timeout: Duration,
    sequence: u32,
}

impl Socket {
    /// Opens one in the calling thread's network namespace. `protocol` is one of
    /// [`netlink_sys::protocols`]; no send or receive waits longer than `timeout`.
    ///
    /// # Errors
    /// [`Error::Call`], with the system call that failed.
    pub fn open(protocol: isize, timeout: Duration) -> Result<Self, Error> {
        Self::open_group(protocol, 0, timeout)
    }

    /// As [`Self::open`], with what the kernel says to all of these groups
    /// (bits of `nl_groups`, `netlink(7)`).
    ///
    /// # Errors
    /// As [`Self::open`]; EPERM for a group without the capability that it needs.
    pub fn open_group(protocol: isize, groups: u32, timeout: Duration) -> Result<Self, Error> {
        let failed = |call| move |source| Error::Call { call, source };
        let mut inner = netlink_sys::Socket::new(protocol).map_err(failed("socket(AF_NETLINK)"))?;
        inner.bind(&SocketAddr::new(0, groups)).map_err(failed("bind(AF_NETLINK)"))?;
        inner.connect(&SocketAddr::new(0, 0)).map_err(failed("connect(AF_NETLINK)"))?;
        for which in [Timeout::Recv, Timeout::Send] {
            set_socket_timeout(&inner, which, Some(timeout))
                .map_err(|errno| Error::Call { call: "setsockopt(SO_RCVTIMEO)", source: errno.into() })?;
        }
        Ok(Self { inner, timeout, sequence: 0 })
    }

    /// Opens one in the network namespace whose file is at `path`.
    ///
    /// # Errors
    /// [`Error::Namespace`] where it cannot be entered, and those of [`Self::open`].
    pub fn open_in(path: &Path, protocol: isize, timeout: Duration) -> Result<Self, Error> {
        namespace::within(path, namespace::Kind::Network, || Self::open(protocol, timeout))
    }

    /// The longest wait of one call.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// A number for the next request, by which its answer is known.
    pub(crate) fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    pub(crate) fn send(&self, request: &[u8]) -> Result<(), Error> {
        self.inner.send(request, 0).map_err(|source| Error::Call { call: "send(AF_NETLINK)", source })?;
        Ok(())
    }

    /// Receives one datagram: its length in `buffer`.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        loop {
            match rustix::net::recv(&self.inner, &mut *buffer, RecvFlags::TRUNC) {
                Ok((_, length)) if length > buffer.len() => {
                    return Err(Error::TooLarge("the receive buffer"));
                }
                Ok((length, _)) => return Ok(length),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Err(Error::TimedOut(self.timeout)),
                Err(Errno::NOBUFS) => return Err(Error::Overrun),
                Err(errno) => return Err(Error::Call { call: "recv(AF_NETLINK)", source: errno.into() }),
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}
