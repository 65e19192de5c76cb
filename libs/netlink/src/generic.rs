//! Generic netlink: which number a family has in this boot, and asking one a
//! question with one attribute (`include/uapi/linux/genetlink.h`).
//!
//! An exchange allocates nothing once its buffers are warm. The crate
//! `netlink-packet-generic` makes a tree of vectors of each message, which the
//! path of a question a process cannot afford, so the one message of the
//! controller that is needed is read with `netlink-packet-core` alone.

use crate::dump::{HEADER, NLMSG_ERROR, RECEIVE_BUFFER, split};
use crate::error::Error;
use crate::socket::Socket;
use netlink_packet_core::{ErrorBuffer, NLM_F_ACK, NLM_F_REQUEST, NlasIterator};
use netlink_sys::protocols::NETLINK_GENERIC;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

/// The controller's number and the question for a family by its name.
const CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;

/// `struct genlmsghdr`
pub(crate) const GENERIC_HEADER: usize = 4;

/// `struct nlattr`
const ATTRIBUTE: usize = 4;

/// What stands above the length and the type in an attribute's type.
const TYPE_MASK: u16 = 0x3fff;

/// A question.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// What it is called in errors.
    pub name: &'static str,
    /// The family's command.
    pub command: u8,
    /// The type of its one attribute.
    pub attribute: u16,
    /// And its value.
    pub value: &'a [u8],
    /// The kernel says only whether it did it.
    pub is_order: bool,
}

/// A family of generic netlink, over a socket of its own.
pub struct Family {
    socket: Socket,
    number: u16,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the buffers.
        f.debug_struct("Family").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Family {
    /// Opens a socket and asks for the number of a family: in the network namespace
    /// whose file is `within`, or in the calling thread's. No exchange takes longer
    /// than `timeout`.
    ///
    /// # Errors
    /// [`Error::Refused`] with ENOENT where there is no such family: the kernel
    /// was built without it, or the family is not in this network namespace.
    pub fn open(name: &str, within: Option<&Path>, timeout: Duration) -> Result<Self, Error> {
        let socket = match within {
            Some(path) => Socket::open_in(path, NETLINK_GENERIC, timeout)?,
            None => Socket::open(NETLINK_GENERIC, timeout)?,
        };
        let mut family = Self { socket, number: CTRL, request: Vec::new(), answer: vec![0; RECEIVE_BUFFER] };
        let value = [name.as_bytes(), &[0]].concat();
        let question = Question {
            name: "CTRL_CMD_GETFAMILY",
            command: CTRL_CMD_GETFAMILY,
            attribute: CTRL_ATTR_FAMILY_NAME,
            value: &value,
            is_order: false,
        };
        let found = attribute(family.ask(question)?, CTRL_ATTR_FAMILY_ID)?
            .and_then(|value| value.first_chunk())
            .map(|number| u16::from_ne_bytes(*number));
        family.number = found.ok_or_else(|| Error::Malformed("a family without a number".to_owned()))?;
        Ok(family)
    }

    /// The socket.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// The type of its messages.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Asks, and gives the attributes of the answer; those of an order are none.
    ///
    /// # Errors
    /// [`Error::Refused`] with the kernel's reason, and those of the socket.
    pub fn ask(&mut self, question: Question<'_>) -> Result<&[u8], Error> {
        let first = self.send(std::iter::once(question))?;
        let (_, answer) = self.receive(&question, first..first.wrapping_add(1))?;
        Ok(&self.answer[answer?])
    }

    /// Sends questions in one datagram; the number of the first, from which the
    /// others count on. The answer to each is to be received, in any order.
    pub(crate) fn send<'a>(&mut self, questions: impl Iterator<Item = Question<'a>>) -> Result<u32, Error> {
        self.request.clear();
        let mut first = None;
        for question in questions {
            let sequence = self.socket.next_sequence();
            first.get_or_insert(sequence);
            write(&mut self.request, self.number, sequence, &question)?;
        }
        self.socket.send(&self.request)?;
        Ok(first.unwrap_or_default())
    }

    /// Receives the answer to one of these: which, and where its attributes are in
    /// [`Self::answer`], or the kernel's reason. `like` is one of the questions.
    pub(crate) fn receive(
        &mut self,
        like: &Question<'_>,
        those: Range<u32>,
    ) -> Result<(u32, Result<Range<usize>, Error>), Error> {
        let mut begun = None;
        loop {
            let length = self.socket.receive(&mut self.answer)?;
            if let Some(found) = find(&self.answer[..length], &those, like)? {
                return Ok(found);
            }
            // An answer to a question that was given up. Each receive is bounded by
            // itself, many are bounded here.
            if begun.get_or_insert_with(Instant::now).elapsed() > self.socket.timeout() {
                return Err(Error::TimedOut(self.socket.timeout()));
            }
        }
    }

    /// What was received last.
    pub(crate) fn answer(&self) -> &[u8] {
        &self.answer
    }
}

fn write(into: &mut Vec<u8>, kind: u16, sequence: u32, question: &Question<'_>) -> Result<(), Error> {
    let attribute = ATTRIBUTE + question.value.len();
    let length = HEADER + GENERIC_HEADER + attribute.next_multiple_of(4);
    let (Ok(attribute), Ok(whole)) = (u16::try_from(attribute), u32::try_from(length)) else {
        return Err(Error::TooLarge("an attribute"));
    };
    let flags = if question.is_order { NLM_F_REQUEST | NLM_F_ACK } else { NLM_F_REQUEST };
    let end = into.len() + length;
    into.extend_from_slice(&whole.to_ne_bytes());
    into.extend_from_slice(&kind.to_ne_bytes());
    into.extend_from_slice(&flags.to_ne_bytes());
    into.extend_from_slice(&sequence.to_ne_bytes());
    // The kernel fills in whose it is. Version 1 does for all families here.
    into.extend_from_slice(&[0, 0, 0, 0, question.command, 1, 0, 0]);
    into.extend_from_slice(&attribute.to_ne_bytes());
    into.extend_from_slice(&question.attribute.to_ne_bytes());
    into.extend_from_slice(question.value);
    into.resize(end, 0);
    Ok(())
}

/// An answer: to which question, and where in the datagram its attributes are, or
/// the kernel's reason.
type Found = (u32, Result<Range<usize>, Error>);

/// The first answer in a datagram to one of these. To an order nothing but an
/// error or its absence is one: messages that nobody asked for have numbers of their own.
fn find(datagram: &[u8], those: &Range<u32>, like: &Question<'_>) -> Result<Option<Found>, Error> {
    let count = those.end.wrapping_sub(those.start);
    let mut rest = datagram;
    while !rest.is_empty() {
        let at = datagram.len() - rest.len();
        let (header, payload, behind) = split(rest)?;
        rest = behind;
        let sequence = header.sequence_number();
        let is_error = header.message_type() == NLMSG_ERROR;
        if sequence.wrapping_sub(those.start) >= count || (like.is_order && !is_error) {
            continue;
        }
        if is_error {
            let error =
                ErrorBuffer::new_checked(payload).map_err(|error| Error::Malformed(error.to_string()))?;
            let answer = match error.code() {
                None => Ok(0..0),
                Some(code) => {
                    let source = io::Error::from_raw_os_error(i32::from(code).saturating_abs());
                    Err(Error::Refused { request: like.name, source })
                }
            };
            return Ok(Some((sequence, answer)));
        }
        if payload.len() < GENERIC_HEADER {
            return Err(Error::Malformed(format!("{} bytes of generic netlink", payload.len())));
        }
        let attributes = at + HEADER + GENERIC_HEADER..at + HEADER + payload.len();
        return Ok(Some((sequence, Ok(attributes))));
    }
    Ok(None)
}

/// The value of the first attribute of a type.
pub(crate) fn attribute(attributes: &[u8], kind: u16) -> Result<Option<&[u8]>, Error> {
    for each in NlasIterator::new(attributes) {
        let each = each.map_err(|error| Error::Malformed(error.to_string()))?;
        if each.kind() & TYPE_MASK == kind {
            let value = ATTRIBUTE..usize::from(each.length());
            let all = each.into_inner();
            return all
                .get(value)
                .map(Some)
                .ok_or_else(|| Error::Malformed("an attribute's length".to_owned()));
        }
    }
    Ok(None)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const ASKED: Question<'static> =
        Question { name: "ASK", command: 1, attribute: 1, value: &[], is_order: false };

    /// An attribute as the kernel writes it.
    pub(crate) fn nla(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(ATTRIBUTE + value.len()).expect("short");
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// A message of generic netlink.
    pub(crate) fn message(kind: u16, sequence: u32, attributes: &[u8]) -> Vec<u8> {
        let length = HEADER + GENERIC_HEADER + attributes.len();
        let mut bytes = u32::try_from(length).expect("short").to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0, 0]);
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(attributes);
        bytes
    }

    #[test]
    fn the_answer_to_this_question_is_found_among_others() {
        let mut datagram = message(30, 6, &nla(1, b"old"));
        datagram.extend(message(30, 7, &nla(1, b"new")));
        let (which, range) = find(&datagram, &(7..9), &ASKED).expect("whole").expect("there");
        assert_eq!(which, 7);
        let range = range.expect("an answer");
        assert_eq!(attribute(&datagram[range], 1).expect("whole"), Some(&b"new"[..]));
        assert!(find(&datagram, &(8..9), &ASKED).expect("whole").is_none());
        let ordered = Question { is_order: true, ..ASKED };
        assert!(
            find(&datagram, &(7..9), &ordered).expect("whole").is_none(),
            "that is no answer to an order"
        );
        // Numbers begin anew some day.
        let around = Range { start: u32::MAX, end: 2 };
        assert!(find(&message(30, 0, &[]), &around, &ASKED).expect("whole").is_some());
    }

    #[test]
    fn a_refusal_is_told_with_its_reason_and_an_order_that_was_done_is_none() {
        let answer = |code: i32| {
            let mut bytes = 36_u32.to_ne_bytes().to_vec();
            bytes.extend(NLMSG_ERROR.to_ne_bytes());
            bytes.extend([0, 0]);
            bytes.extend(7_u32.to_ne_bytes());
            bytes.extend([0; 4]);
            bytes.extend(code.to_ne_bytes());
            bytes.extend([0; 16]);
            bytes
        };
        let answered = |code| find(&answer(code), &(7..8), &ASKED).expect("whole").expect("an answer").1;
        let error = answered(-3).expect_err("ESRCH");
        assert!(error.to_string().starts_with("the kernel refused ASK: No such process"), "{error}");
        assert_eq!(answered(0).expect("done"), 0..0);
    }

    #[test]
    fn nothing_that_is_cut_or_wrong_is_read() {
        let whole = message(30, 7, &nla(1, b"value"));
        for length in 1..whole.len() {
            assert!(find(&whole[..length], &(7..8), &ASKED).is_err(), "{length} bytes");
        }
        let short = [&18_u32.to_ne_bytes()[..], &[30, 0, 0, 0, 7, 0, 0, 0], &[0; 6]].concat();
        assert!(find(&short, &(7..8), &ASKED).is_err(), "no header of generic netlink");
        for bad in [[3, 0, 1, 0], [9, 0, 1, 0], [0, 0, 1, 0]] {
            assert!(attribute(&bad, 1).is_err(), "{bad:?}");
        }
        assert_eq!(attribute(&nla(2, b"x"), 1).expect("whole"), None);
        assert_eq!(attribute(&nla(0x8001, b"nest"), 1).expect("whole"), Some(&b"nest"[..]));
    }

    #[test]
    fn a_question_has_the_form_that_the_kernel_checks() {
        let mut bytes = Vec::new();
        let question = Question { name: "X", command: 3, attribute: 2, value: b"abc\0d", is_order: true };
        write(&mut bytes, 16, 9, &question).expect("short");
        assert_eq!(bytes.len(), 32);
        assert_eq!(bytes[..4], 32_u32.to_ne_bytes());
        assert_eq!(bytes[6..8], (NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
        assert_eq!(bytes[16..20], [3, 1, 0, 0]);
        assert_eq!(bytes[20..], [9, 0, 2, 0, b'a', b'b', b'c', 0, b'd', 0, 0, 0]);
        let long = vec![0; 70_000];
        assert!(write(&mut bytes, 16, 9, &Question { value: &long, ..question }).is_err());
    }
}
