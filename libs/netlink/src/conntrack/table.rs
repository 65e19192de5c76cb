//! Asking for one connection, or for all whose destination is translated.

use super::entry::{CTA_STATUS, CTA_STATUS_MASK, Entry, Tuple, ask_for, attributes, put};
use super::{DST_NAT, GENERIC, GET, GET_STATS, HEADER, NEW};
use crate::dump::{Bounds, Outcome, RECEIVE_BUFFER, Step};
use crate::error::Error;
use crate::socket::Socket;
use netlink_packet_core::{ErrorBuffer, NLM_F_REQUEST, NetlinkBuffer, NetlinkSerializable};
use netlink_sys::protocols::NETLINK_NETFILTER;
use rustix::io::Errno;
use std::path::Path;
use std::time::Duration;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const NLMSG_ERROR: u16 = 2;

/// `CTA_STATS_GLOBAL_ENTRIES`.
const CTA_STATS_GLOBAL_ENTRIES: u16 = 1;

/// The table of a network namespace.
#[derive(Debug)]
pub struct Table {
    socket: Socket,
    buffer: Vec<u8>,
}

/// `struct nfgenmsg`, and which of them: the kernel leaves out the others since Linux
/// 5.15, and earlier ones pass the attributes over.
struct Translated {
    family: u8,
    attributes: Vec<u8>,
}

impl NetlinkSerializable for Translated {
    fn message_type(&self) -> u16 {
        GET
    }
    fn buffer_len(&self) -> usize {
        4 + self.attributes.len()
    }
    fn serialize(&self, buffer: &mut [u8]) {
        buffer[..4].copy_from_slice(&[self.family, 0, 0, 0]);
        buffer[4..].copy_from_slice(&self.attributes);
    }
}

impl Table {
    /// Of the network namespace whose file is at `path`. No question waits longer than
    /// `timeout`.
    ///
    /// # Errors
    /// As [`Events::open_in`](super::Events::open_in).
    pub fn open_in(path: &Path, timeout: Duration) -> Result<Self, Error> {
        Ok(Self { socket: Socket::open_in(path, NETLINK_NETFILTER, timeout)?, buffer: Vec::new() })
    }

    /// How many connections the kernel tracks, of all protocols. It goes through none of
    /// them for that.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn count(&mut self) -> Result<u32, Error> {
        let payload = [0; GENERIC];
        self.ask(GET_STATS, &payload, |kind, payload| match kind {
            GET_STATS => attributes(payload.get(GENERIC..)?).find_map(|(kind, value)| {
                let count = value.try_into().map(u32::from_be_bytes).ok()?;
                (kind == CTA_STATS_GLOBAL_ENTRIES).then_some(count)
            }),
            _ => None,
        })?
        .ok_or_else(|| Error::Malformed("an answer without a count".to_owned()))
    }

    /// Gives each TCP connection whose destination is translated, once or, where the
    /// table changes meanwhile, more often. The kernel has one table for all namespaces, and
    /// goes through all of it.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::Refused`] where the kernel tracks nothing.
    pub fn translated(&mut self, bounds: Bounds, mut give: impl FnMut(Entry)) -> Result<Outcome, Error> {
        let mut outcome = Outcome::Consistent;
        for family in [AF_INET, AF_INET6] {
            let mut attributes = Vec::new();
            for kind in [CTA_STATUS, CTA_STATUS_MASK] {
                put(kind, &DST_NAT.to_be_bytes(), &mut attributes);
            }
            let request = Translated { family, attributes };
            let read = self.socket.dump("IPCTNL_MSG_CT_GET", request, &mut self.buffer, bounds, |step| {
                if let Step::Message(NEW, payload) = step
                    && let Some(entry) = Entry::read(payload).filter(Entry::is_translated)
                {
                    give(entry);
                }
            })?;
            if read == Outcome::Interrupted {
                outcome = read;
            }
        }
        Ok(outcome)
    }

    /// The connection that this one sends on. `None`: the kernel tracks no such.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn find(&mut self, of: &Tuple) -> Result<Option<Entry>, Error> {
        let mut payload = vec![if of.source.is_ipv4() { AF_INET } else { AF_INET6 }, 0, 0, 0];
        ask_for(of, &mut payload);
        self.ask(GET, &payload, |kind, payload| (kind == NEW).then(|| Entry::read(payload)).flatten())
    }

    /// Asks one thing. `None`: there is no such, or `read` finds nothing in the answer.
    fn ask<T>(
        &mut self,
        kind: u16,
        payload: &[u8],
        read: impl FnOnce(u16, &[u8]) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let sequence = self.socket.next_sequence();
        self.socket.send(&question(kind, payload, sequence))?;
        self.buffer.resize(RECEIVE_BUFFER, 0);
        let malformed = |what: &dyn std::fmt::Display| Error::Malformed(what.to_string());
        // What an earlier question was answered, after its time was over, comes first.
        loop {
            let length = self.socket.receive(&mut self.buffer)?;
            let bytes = &self.buffer[..length];
            let header = NetlinkBuffer::new_checked(bytes).map_err(|error| malformed(&error))?;
            if header.sequence_number() != sequence {
                continue;
            }
            let end = usize::try_from(header.length()).unwrap_or(usize::MAX);
            let payload = bytes.get(HEADER..end).ok_or_else(|| malformed(&"a message that is not whole"))?;
            if header.message_type() != NLMSG_ERROR {
                return Ok(read(header.message_type(), payload));
            }
            let error = ErrorBuffer::new_checked(payload).map_err(|error| malformed(&error))?;
            let code = error.code().map_or(0, i32::from).saturating_abs();
            if code == Errno::NOENT.raw_os_error() {
                return Ok(None);
            }
            let source = std::io::Error::from_raw_os_error(code);
            return Err(Error::Refused { request: "IPCTNL_MSG_CT_GET", source });
        }
    }
}

fn question(kind: u16, payload: &[u8], sequence: u32) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    bytes.extend(payload);
    let length = u32::try_from(bytes.len()).expect("a question is of some bytes");
    bytes[..4].copy_from_slice(&length.to_ne_bytes());
    bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
    bytes[6..8].copy_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
    bytes
}
