//! Frames on a socket: a length, a kind, a body of values in the machine's own
//! order, since both ends are the same binary. Every read is bounded.

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

/// Length of the body (4 bytes) and kind (1).
const HEADER: usize = 5;

/// A body is read in steps of so much: memory grows as bytes come, and not by
/// what a header claims.
const STEP: usize = 1 << 20;

/// Buffers above this are given back after use.
const KEPT: usize = 256 << 10;

/// Why nothing more can be read.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    #[error("{0}")]
    Socket(#[from] io::Error),
    /// The other side does not keep to the protocol.
    #[error("it broke the protocol: {0}")]
    Protocol(String),
}

impl From<Malformed> for Broken {
    fn from(_: Malformed) -> Self {
        Self::Protocol("a frame's values do not fit it".to_owned())
    }
}

/// A value that is not there, or is larger than it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// A frame to be sent.
#[derive(Debug)]
pub struct Message(Vec<u8>);

impl Message {
    pub fn new(kind: u8) -> Self {
        Self::in_buffer(Vec::new(), kind)
    }

    /// With a buffer that was used before.
    pub fn in_buffer(mut buffer: Vec<u8>, kind: u8) -> Self {
        buffer.clear();
        buffer.extend_from_slice(&[0, 0, 0, 0, kind]);
        Self(buffer)
    }

    /// Bytes of the body so far.
    pub fn len(&self) -> usize {
        self.0.len() - HEADER
    }

    /// What was written there, by places as [`Self::len`] gives them.
    pub fn written(&self, range: &Range<usize>) -> &[u8] {
        self.0.get(HEADER + range.start..HEADER + range.end).unwrap_or_default()
    }

    pub fn u8(&mut self, value: u8) {
        self.0.push(value);
    }
    pub fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_ne_bytes());
    }
    pub fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_ne_bytes());
    }
    pub fn f64(&mut self, value: f64) {
        self.u64(value.to_bits());
    }
    pub fn f64s(&mut self, values: &[f64]) {
        values.iter().for_each(|value| self.f64(*value));
    }
    pub fn u64s(&mut self, values: &[u64]) {
        values.iter().for_each(|value| self.u64(*value));
    }
    /// Values of which all but the labels of a sample are made, at once.
    pub fn sample(&mut self, record: u8, family: u32, container: u64, value: f64) {
        let mut head = [0; 21];
        head[0] = record;
        head[1..5].copy_from_slice(&family.to_ne_bytes());
        head[5..13].copy_from_slice(&container.to_ne_bytes());
        head[13..].copy_from_slice(&value.to_bits().to_ne_bytes());
        self.raw(&head);
    }
    /// Behind their length.
    pub fn bytes(&mut self, bytes: &[u8]) {
        // What is beyond the other side's bound is refused there; a length that
        // fits no longer is cut, so that no frame tells a wrong one.
        let bytes = &bytes[..bytes.len().min(u32::MAX as usize - 1)];
        self.u32(bytes.len() as u32);
        self.raw(bytes);
    }
    /// To the end of the frame.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
    /// A presence, and the bytes where there are some.
    pub fn option(&mut self, bytes: Option<&[u8]>) {
        self.u8(bytes.is_some().into());
        if let Some(bytes) = bytes {
            self.bytes(bytes);
        }
    }

    /// Sends it whole.
    pub fn send(&mut self, mut socket: impl Write) -> io::Result<()> {
        let length = u32::try_from(self.len())
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a frame of 4 GiB or more"))?;
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        socket.write_all(&self.0)
    }

    /// Its buffer, for the next one.
    pub fn into_buffer(self) -> Vec<u8> {
        self.0
    }
}

/// Reads a frame of at most `most` bytes into a buffer, and gives its kind.
pub fn read(mut socket: impl Read, most: usize, buffer: &mut Vec<u8>) -> Result<u8, Broken> {
    let mut header = [0; HEADER];
    socket.read_exact(&mut header)?;
    let [a, b, c, d, kind] = header;
    let length = u32::from_ne_bytes([a, b, c, d]) as usize;
    if length > most {
        return Err(Broken::Protocol(format!("a frame of {length} bytes, where {most} are the most")));
    }
    // What was there is written over, and not filled with zeroes first.
    let mut from = 0;
    while from < length {
        let to = length.min(buffer.len().max(from + STEP));
        if buffer.len() < to {
            buffer.resize(to, 0);
        }
        socket.read_exact(&mut buffer[from..to])?;
        from = to;
    }
    buffer.truncate(length);
    Ok(kind)
}

/// Sends a socket over another one, with one byte that nobody reads.
pub fn send_socket(over: &UnixStream, socket: &UnixStream) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    let sent = [socket.as_fd()];
    rights.push(SendAncillaryMessage::ScmRights(&sent));
    sendmsg(over, &[IoSlice::new(&[0])], &mut rights, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Takes the socket that [`send_socket`] sent.
pub fn take_socket(over: &UnixStream) -> io::Result<UnixStream> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(over, &mut [IoSliceMut::new(&mut byte)], &mut rights, RecvFlags::CMSG_CLOEXEC)?;
    let mut sockets = rights.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
        _ => None,
    });
    let socket = sockets.next().and_then(|mut sockets| sockets.next());
    socket.map(UnixStream::from).ok_or_else(|| io::Error::other("no socket was sent"))
}

/// Gives a large buffer's memory back; what was in it has been used.
pub fn shrink(buffer: &mut Vec<u8>) {
    if buffer.capacity() > KEPT {
        *buffer = Vec::new();
    }
}

/// The values of a frame that are left.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a>(pub &'a [u8]);

impl<'a> Values<'a> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// So many bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*taken)
    }
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }
    pub fn bool(&mut self) -> Result<bool, Malformed> {
        self.u8().map(|byte| byte != 0)
    }
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_ne_bytes)
    }
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_ne_bytes)
    }
    pub fn f64(&mut self) -> Result<f64, Malformed> {
        self.u64().map(f64::from_bits)
    }
    pub fn f64s(&mut self, count: usize, into: &mut Vec<f64>) -> Result<(), Malformed> {
        into.clear();
        (0..count).try_for_each(|_| self.f64().map(|value| into.push(value)))
    }
    pub fn u64s(&mut self, count: usize, into: &mut Vec<u64>) -> Result<(), Malformed> {
        into.clear();
        (0..count).try_for_each(|_| self.u64().map(|value| into.push(value)))
    }
    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.u32()?;
        self.take(length as usize)
    }
    pub fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed)
    }
    pub fn option(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        if self.bool()? { self.bytes().map(Some) } else { Ok(None) }
    }
    pub fn option_text(&mut self) -> Result<Option<&'a str>, Malformed> {
        if self.bool()? { self.text().map(Some) } else { Ok(None) }
    }
    /// Nothing may be left.
    pub fn end(&self) -> Result<(), Malformed> {
        self.is_empty().then_some(()).ok_or(Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut message = Message::new(7);
        message.u8(1);
        message.u32(u32::MAX);
        message.f64(-0.0);
        message.bytes(b"text");
        message.option(None);
        message.option(Some(b"x"));
        let mut sent = Vec::new();
        message.send(&mut sent).unwrap();
        let mut body = Vec::new();
        assert_eq!(read(&sent[..], 100, &mut body).unwrap(), 7);
        let mut values = Values(&body);
        assert_eq!((values.bool(), values.u32()), (Ok(true), Ok(u32::MAX)));
        assert_eq!(values.f64().map(f64::to_bits), Ok((-0.0_f64).to_bits()));
        assert_eq!((values.text(), values.option()), (Ok("text"), Ok(None)));
        assert_eq!((values.option_text(), values.end()), (Ok(Some("x")), Ok(())));
        assert_eq!(values.u8(), Err(Malformed));
    }

    #[test]
    fn a_claim_is_no_reason_to_take_memory() {
        let mut body = Vec::new();
        let mut huge = (60_u32 << 20).to_ne_bytes().to_vec();
        huge.extend_from_slice(b"\x01and nothing more");
        assert!(matches!(read(&huge[..], 64 << 20, &mut body), Err(Broken::Socket(_))));
        assert!(body.capacity() <= 2 * STEP, "{}", body.capacity());
        let refused = read(&huge[..], 1 << 20, &mut body).unwrap_err().to_string();
        assert!(refused.contains("a frame of 62914560 bytes"), "{refused}");
    }

    #[test]
    fn cut_off_and_random_bytes_are_errors() {
        let mut random = 1_u64;
        for length in 0..2000_usize {
            let bytes: Vec<u8> = (0..length % 40)
                .map(|_| {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (random >> 56) as u8
                })
                .collect();
            let mut values = Values(&bytes);
            let mut many = Vec::new();
            // None of them may panic, and each takes from what is there alone.
            let _ = (values.option(), values.text(), values.u64s(bytes.len(), &mut many), values.end());
            assert!(many.len() <= bytes.len() / 8);
        }
    }
}
