//! Links and addresses over one rtnetlink socket.

use crate::address::Address;
use crate::dump::{Bounds, Outcome, Step};
use crate::error::Error;
use crate::link::Link;
use crate::socket::Socket;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use std::path::Path;
use std::time::Duration;

const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;

/// A socket to ask for links and addresses of one network namespace. Keep it:
/// opening one in another namespace takes a thread.
#[derive(Debug)]
pub struct RouteSocket {
    socket: Socket,
    buffer: Vec<u8>,
    bounds: Bounds,
}

/// What a table was like besides its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// Whether it stayed the same while it was read.
    pub outcome: Outcome,
    /// Entries that could not be understood.
    pub malformed: u64,
}

impl RouteSocket {
    /// Opens one in the calling thread's network namespace.
    ///
    /// # Errors
    /// See [`Socket::open`].
    pub fn open(timeout: Duration) -> Result<Self, Error> {
        Ok(Self::over(Socket::open(NETLINK_ROUTE, timeout)?))
    }

    /// Opens one in the network namespace whose file is at `path`.
    ///
    /// # Errors
    /// See [`Socket::open_in`].
    pub fn open_in(path: &Path, timeout: Duration) -> Result<Self, Error> {
        Ok(Self::over(Socket::open_in(path, NETLINK_ROUTE, timeout)?))
    }

    fn over(socket: Socket) -> Self {
        Self { socket, buffer: Vec::new(), bounds: Bounds::default() }
    }

    /// Sets how large an answer may be.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// Reads all interfaces into `links`, whose entries are used again.
    ///
    /// # Errors
    /// See [`Error`]; then drop this socket.
    pub fn links(&mut self, links: &mut Vec<Link>) -> Result<Read, Error> {
        let (mut filled, mut malformed) = (0, 0);
        let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let on = |step: Step<'_>| match step {
            Step::Restart => (filled, malformed) = (0, 0),
            Step::Message(RTM_NEWLINK, payload) => {
                if filled == links.len() {
                    links.push(Link::default());
                }
                if links[filled].read(payload) {
                    filled += 1;
                } else {
                    malformed += 1;
                }
            }
            Step::Message(..) => malformed += 1,
        };
        let outcome = self.socket.dump("RTM_GETLINK", request, &mut self.buffer, self.bounds, on);
        links.truncate(filled);
        Ok(Read { outcome: outcome?, malformed })
    }

    /// Reads all addresses of all interfaces into `addresses`.
    ///
    /// # Errors
    /// See [`Error`]; then drop this socket.
    pub fn addresses(&mut self, addresses: &mut Vec<Address>) -> Result<Read, Error> {
        let mut malformed = 0;
        let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let on = |step: Step<'_>| match step {
            Step::Restart => {
                addresses.clear();
                malformed = 0;
            }
            Step::Message(RTM_NEWADDR, payload) => match Address::read(payload) {
                Some(address) => addresses.push(address),
                None => malformed += 1,
            },
            Step::Message(..) => malformed += 1,
        };
        let outcome = self.socket.dump("RTM_GETADDR", request, &mut self.buffer, self.bounds, on)?;
        Ok(Read { outcome, malformed })
    }
}
