//! A connection to a D-Bus socket whose messages are bounded: zbus makes room
//! for 128 MiB where a message announces so much.

use crate::provider::bounds::Loss;
use crate::provider::door::Door;
use crate::provider::link::Link;
use std::io;
use std::sync::Arc;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use zbus::connection::socket::{ReadHalf, Socket, Split};
use zbus::export::async_trait::async_trait;

/// An answer. Ten thousand units are a list of 3 MiB.
pub const MAX_ANSWER: u64 = 16 << 20;
/// A signal, or a call. Those that are listened to have some 300 bytes; every
/// user of the node may send others to everybody on the bus.
pub const MAX_SIGNAL: u64 = 64 << 10;

/// The fixed part of a message, with the length of its fields.
const HEAD: usize = 16;
/// The answer to an authentication has some 40 bytes.
const MAX_LINE: usize = 1024;

/// The answer is longer than is read.
#[derive(Debug, thiserror::Error)]
#[error("the answer is longer than {MAX_ANSWER} bytes")]
pub struct TooLarge;

/// What came is no message.
#[derive(Debug, thiserror::Error)]
#[error("it speaks no D-Bus")]
pub struct Malformed;

/// The server does not want this user.
#[derive(Debug, thiserror::Error)]
#[error("it does not let this user in: run as root, or name the socket of the system's bus")]
pub struct Rejected;

/// Connects and authenticates as the agent's own user; gives the server's id.
///
/// # Errors
/// Where there is no connection, or the answer is none; with a [`Rejected`] or
/// a [`Malformed`] within.
pub async fn connect(door: &Door, link: Arc<Link>) -> io::Result<(Bounded, String)> {
    let stream = door.connect().await?;
    let user = rustix::process::geteuid().as_raw().to_string();
    let digits: String = user.bytes().map(|digit| format!("{digit:02x}")).collect();
    write(&stream, format!("\0AUTH EXTERNAL {digits}\r\n").as_bytes()).await?;
    let line = line(&stream).await?;
    let Some(id) = line.strip_prefix("OK ") else {
        let rejected = line.starts_with("REJECTED") || line.starts_with("ERROR");
        return Err(if rejected { io::Error::other(Rejected) } else { io::Error::other(Malformed) });
    };
    write(&stream, b"BEGIN\r\n").await?;
    Ok((Bounded { stream, link }, id.trim().to_owned()))
}

async fn write(stream: &UnixStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A line. The server says nothing after it until it is asked.
async fn line(stream: &UnixStream) -> io::Result<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n") {
        let mut part = [0; MAX_LINE];
        stream.readable().await?;
        match stream.try_read(&mut part) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => bytes.extend_from_slice(&part[..read]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if bytes.len() > MAX_LINE {
            return Err(io::Error::other(Malformed));
        }
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other(Malformed))
}

/// The socket, for zbus.
#[derive(Debug)]
pub struct Bounded {
    stream: UnixStream,
    link: Arc<Link>,
}

impl Socket for Bounded {
    type ReadHalf = Reader;
    type WriteHalf = OwnedWriteHalf;

    fn split(self) -> Split<Reader, OwnedWriteHalf> {
        let (read, write) = self.stream.into_split();
        let reader = Reader { stream: read, link: self.link, head: [0; HEAD], given: HEAD, left: 0 };
        Split::new(reader, write)
    }
}

/// Its side that reads. Descriptors that come along are closed by the kernel.
#[derive(Debug)]
pub struct Reader {
    stream: OwnedReadHalf,
    link: Arc<Link>,
    /// The head of the message that is read.
    head: [u8; HEAD],
    /// How much of the head was passed on.
    given: usize,
    /// What of the message follows its head.
    left: u64,
}

#[async_trait]
impl ReadHalf for Reader {
    async fn recvmsg(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Vec<std::os::fd::OwnedFd>)> {
        while self.given == HEAD && self.left == 0 {
            self.next().await?;
        }
        if self.given < HEAD {
            let size = buffer.len().min(HEAD - self.given);
            buffer[..size].copy_from_slice(&self.head[self.given..self.given + size]);
            self.given += size;
            return Ok((size, Vec::new()));
        }
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.read(&mut buffer[..room]).await?;
        self.left -= read as u64;
        Ok((read, Vec::new()))
    }
}

impl Reader {
    /// Reads the head of the next message; one that is too long and answers
    /// nothing is passed over.
    async fn next(&mut self) -> io::Result<()> {
        let mut head = [0; HEAD];
        let mut have = 0;
        while have < HEAD {
            have += self.read(&mut head[have..]).await?;
        }
        let head_says = Head::of(head).ok_or_else(|| io::Error::other(Malformed))?;
        if head_says.is_answer && head_says.rest > MAX_ANSWER {
            return Err(io::Error::other(TooLarge));
        }
        if !head_says.is_answer && head_says.rest > MAX_SIGNAL {
            self.link.losses().add(Loss::Event, 1);
            return self.skip(head_says.rest).await;
        }
        (self.head, self.given, self.left) = (head, 0, head_says.rest);
        Ok(())
    }

    async fn skip(&mut self, mut rest: u64) -> io::Result<()> {
        let mut part = vec![0; 8 << 10];
        while rest > 0 {
            let room = usize::try_from(rest).unwrap_or(usize::MAX).min(part.len());
            rest -= self.read(&mut part[..room]).await? as u64;
        }
        Ok(())
    }

    /// At least one byte.
    async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.stream.readable().await?;
            match self.stream.try_read(buffer) {
                Ok(0) if !buffer.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
        }
    }
}

/// What the head of a message says (D-Bus specification, message format).
#[derive(Debug, PartialEq, Eq)]
struct Head {
    /// It is a return or an error.
    is_answer: bool,
    /// The bytes that follow.
    rest: u64,
}

impl Head {
    fn of(head: [u8; HEAD]) -> Option<Self> {
        let number = |at: usize| {
            let bytes = [head[at], head[at + 1], head[at + 2], head[at + 3]];
            match head[0] {
                b'l' => Some(u64::from(u32::from_le_bytes(bytes))),
                b'B' => Some(u64::from(u32::from_be_bytes(bytes))),
                _ => None,
            }
        };
        let (body, fields) = (number(4)?, number(12)?);
        let is_answer = match head[1] {
            1 | 4 => false,
            2 | 3 => true,
            _ => return None,
        };
        Some(Self { is_answer, rest: fields.next_multiple_of(8) + body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_tells_what_follows() {
        let mut head = [0; HEAD];
        (head[0], head[1], head[4], head[12]) = (b'l', 4, 5, 9);
        assert_eq!(Head::of(head), Some(Head { is_answer: false, rest: 16 + 5 }));
        (head[0], head[1]) = (b'B', 3);
        assert_eq!(Head::of(head), Some(Head { is_answer: true, rest: (9 << 24) + (5 << 24) }));
        head[4..8].fill(0xff);
        head[12..].fill(0xff);
        assert_eq!(Head::of(head).map(|head| head.rest), Some((1 << 32) + u64::from(u32::MAX)));
        head[1] = 5;
        assert_eq!(Head::of(head), None);
        assert_eq!(Head::of(*b"HTTP/1.1 200 OK\r"), None);
    }
}
