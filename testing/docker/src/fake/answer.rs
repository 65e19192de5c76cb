//! Answers as they are sent, and as they are spoiled.

use super::{Mood, wait_for_end};
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::net::UnixStream;

/// The head of an answer of unknown length.
pub(super) const CHUNKED: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";

/// An answer.
pub(super) enum Answer {
    Body(u16, Vec<u8>),
    Events,
}

impl Answer {
    pub(super) fn json(value: &Value) -> Self {
        Self::Body(200, value.to_string().into_bytes())
    }

    pub(super) fn error(status: u16, message: &str) -> Self {
        Self::Body(status, json!({ "message": message }).to_string().into_bytes())
    }

    pub(super) fn send(&self, stream: &mut UnixStream) -> std::io::Result<()> {
        match self {
            Self::Body(status, body) => {
                stream.write_all(&head(*status, body.len()))?;
                stream.write_all(body)
            }
            Self::Events => stream.write_all(CHUNKED),
        }
    }

    pub(super) fn spoiled(&self, mood: &Mood, stream: &mut UnixStream) -> std::io::Result<()> {
        let body = match self {
            Self::Body(_, body) => body.as_slice(),
            Self::Events => b"{\"Type\":\"container\"}",
        };
        match mood {
            Mood::Good => self.send(stream),
            Mood::Hang => wait_for_end(stream),
            Mood::HangInBody => {
                stream.write_all(&head(200, body.len()))?;
                stream.write_all(&body[..body.len() / 2])?;
                wait_for_end(stream)
            }
            Mood::Garbage => stream.write_all(b"\x00\xff\x1b[2J no HTTP at all\r\n\r\n"),
            Mood::Body(other) => Self::Body(200, other.clone()).send(stream),
            Mood::Status(status) => Self::error(*status, "something is wrong").send(stream),
            Mood::Half => {
                stream.write_all(&head(200, body.len()))?;
                stream.write_all(&body[..body.len() / 2])
            }
            Mood::Endless => {
                stream.write_all(CHUNKED)?;
                let blanks = [b' '; 4096];
                loop {
                    stream.write_all(b"1000\r\n")?;
                    stream.write_all(&blanks)?;
                    stream.write_all(b"\r\n")?;
                }
            }
            Mood::Close => Ok(()),
        }
    }
}

fn head(status: u16, length: usize) -> Vec<u8> {
    format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n")
        .into_bytes()
}
