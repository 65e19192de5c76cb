//! Asking the kernel for a whole table.

use crate::error::Error;
use crate::socket::Socket;
use netlink_packet_core::{
    ErrorBuffer, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable,
};
use std::io;
use std::time::Instant;

/// The types of messages that the kernel sends in between and at the end.
const NLMSG_NOOP: u16 = 1;
pub(crate) const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_OVERRUN: u16 = 4;

/// The length of `struct nlmsghdr`.
pub(crate) const HEADER: usize = 16;

/// The kernel fills at most 32 KiB into one datagram of a dump (`NLMSG_GOODSIZE`
/// and `max_recvmsg_len` in net/netlink/af_netlink.c), or one message that is larger.
pub const RECEIVE_BUFFER: usize = 64 * 1024;

/// A table that changed while it was read is read again so often. A node that
/// starts a container a second does not change it in four reads of 1 ms.
const READS: u32 = 4;

/// How much an answer may be. The defaults hold 20,000 interfaces of 1.6 KiB.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes in all.
    pub bytes: usize,
    /// Messages in all.
    pub messages: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { bytes: 32 << 20, messages: 20_000 }
    }
}

/// How a dump ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The table did not change while it was read.
    Consistent,
    /// It changed at each of several reads; entries may be missing or twice.
    Interrupted,
}

impl Socket {
    /// Asks for a table and gives each message's type and payload to `take`.
    /// `restart` is called before each read: where the kernel says that the
    /// table changed in between (`NLM_F_DUMP_INTR`) it is read anew.
    ///
    /// # Errors
    /// See [`Error`]. In all, no longer than twice the socket's time-out.
    pub fn dump<M: NetlinkSerializable>(
        &mut self,
        name: &'static str,
        request: M,
        buffer: &mut Vec<u8>,
        bounds: Bounds,
        mut on: impl FnMut(Step<'_>),
    ) -> Result<Outcome, Error> {
        buffer.resize(RECEIVE_BUFFER, 0);
        let mut message =
            NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::InnerMessage(request));
        message.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        let begun = Instant::now();
        for read in 0..READS {
            // An answer with a gap is worth more than none: another read that
            // might not end in time is not begun.
            if read > 0 && begun.elapsed() > self.timeout() / 2 {
                break;
            }
            message.header.sequence_number = self.next_sequence();
            message.finalize();
            let length = message.buffer_len();
            if length > buffer.len() {
                return Err(Error::TooLarge("the send buffer"));
            }
            message.serialize(&mut buffer[..length]);
            self.send(&buffer[..length])?;
            on(Step::Restart);
            let sequence = message.header.sequence_number;
            let answer = Answer { name, sequence, bounds, begun };
            if answer.read(self, buffer, &mut on)? == Outcome::Consistent {
                return Ok(Outcome::Consistent);
            }
        }
        Ok(Outcome::Interrupted)
    }
}

/// What a dump gives to its caller.
#[derive(Debug)]
pub enum Step<'a> {
    /// The table is read (again) from its beginning: forget what came before.
    Restart,
    /// One message: its type and its payload.
    Message(u16, &'a [u8]),
}

struct Answer {
    name: &'static str,
    sequence: u32,
    bounds: Bounds,
    begun: Instant,
}

impl Answer {
    fn read(
        &self,
        socket: &Socket,
        buffer: &mut [u8],
        on: &mut impl FnMut(Step<'_>),
    ) -> Result<Outcome, Error> {
        let (mut bytes, mut messages) = (0, 0);
        let mut outcome = Outcome::Consistent;
        loop {
            // Each receive is bounded by itself; many slow ones are bounded here.
            if self.begun.elapsed() > socket.timeout() {
                return Err(Error::TimedOut(socket.timeout()));
            }
            let length = socket.receive(buffer)?;
            bytes += length;
            if bytes > self.bounds.bytes {
                return Err(Error::TooLarge("the bound on bytes"));
            }
            let mut rest = &buffer[..length];
            while !rest.is_empty() {
                messages += 1;
                if messages > self.bounds.messages {
                    return Err(Error::TooLarge("the bound on messages"));
                }
                let (header, payload, behind) = split(rest)?;
                rest = behind;
                if header.sequence_number() != self.sequence {
                    continue;
                }
                if header.flags() & NLM_F_DUMP_INTR != 0 {
                    outcome = Outcome::Interrupted;
                }
                match header.message_type() {
                    NLMSG_NOOP => {}
                    NLMSG_OVERRUN => return Err(Error::Overrun),
                    NLMSG_DONE => {
                        // A dump that broke off says why in the last message.
                        return match payload.first_chunk().map(|code| i32::from_ne_bytes(*code)) {
                            Some(code) if code < 0 => Err(self.refused(code)),
                            _ => Ok(outcome),
                        };
                    }
                    NLMSG_ERROR => {
                        let code = ErrorBuffer::new_checked(payload)
                            .map_err(|error| Error::Malformed(error.to_string()))?
                            .code();
                        return Err(self.refused(code.map_or(0, i32::from)));
                    }
                    kind => on(Step::Message(kind, payload)),
                }
            }
        }
    }

    fn refused(&self, code: i32) -> Error {
        Error::Refused { request: self.name, source: io::Error::from_raw_os_error(code.saturating_abs()) }
    }
}

/// The first message of a datagram, its payload, and what is behind it.
pub(crate) type Parts<'a> = (NetlinkBuffer<&'a [u8]>, &'a [u8], &'a [u8]);

pub(crate) fn split(bytes: &[u8]) -> Result<Parts<'_>, Error> {
    let header = NetlinkBuffer::new_checked(bytes).map_err(|error| Error::Malformed(error.to_string()))?;
    let length = usize::try_from(header.length()).unwrap_or(usize::MAX);
    if length < HEADER || length > bytes.len() {
        return Err(Error::Malformed(format!("a message of {length} bytes in {}", bytes.len())));
    }
    // Messages begin at multiples of 4; the last one need not be filled up.
    let next = length.next_multiple_of(4).min(bytes.len());
    Ok((header, &bytes[HEADER..length], &bytes[next..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: u32, rest: &[u8]) -> Vec<u8> {
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend([0; 12]);
        bytes.extend(rest);
        bytes
    }

    #[test]
    fn messages_are_split_where_they_end() {
        let mut bytes = message(18, &[7, 8, 0, 0]);
        bytes.extend(message(17, &[9]));
        let (_, first, behind) = split(&bytes).expect("whole");
        assert_eq!(first, [7, 8]);
        let (_, payload, behind) = split(behind).expect("whole");
        assert_eq!((payload, behind), (&[9][..], &[][..]));
    }

    #[test]
    fn wrong_lengths_are_errors() {
        for length in [0, 3, 15, 21, u32::MAX] {
            assert!(split(&message(length, &[0; 4])).is_err(), "{length}");
        }
        for cut in 0..16 {
            assert!(split(&message(16, &[])[..cut]).is_err(), "cut at {cut}");
        }
    }
}
