//! Processes as they start, execute and exit: the kernel's process events
//! connector (`drivers/connector/cn_proc.c`, `include/uapi/linux/cn_proc.h`).
//!
//! It speaks in the first network namespace alone, to a process of the first
//! user and pid namespaces with CAP_NET_ADMIN; elsewhere it refuses the
//! connection or is silent. [`ProcessEvents::open`] therefore waits until it
//! has heard the connector speak of a thread that it starts itself.

use crate::error::Error;
use crate::socket::Socket;
use netlink_sys::protocols::NETLINK_CONNECTOR;
use rustix::io::Errno;
use rustix::net::{RecvFlags, sockopt};
use rustix::process::{Pid, test_kill_process};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// Group and index of the connector's process events (`CN_IDX_PROC`, `CN_VAL_PROC`).
const CN_PROC: u32 = 1;

/// `PROC_CN_MCAST_LISTEN`
const LISTEN: u32 = 1;

/// `PROC_EVENT_*`; the others are not asked for.
const FORK: u32 = 0x0000_0001;
const EXEC: u32 = 0x0000_0002;
const EXIT: u32 = 0x8000_0000;

/// `struct nlmsghdr`, and `struct cn_msg` behind it: where the event begins.
const NETLINK_HEADER: usize = 16;
const CONNECTOR_HEADER: usize = 20;
const EVENT: usize = NETLINK_HEADER + CONNECTOR_HEADER;

/// Larger than any message that there is: 76 bytes in Linux 6.18.
const MESSAGE: usize = 512;

/// What happened to a process. Threads are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// It came to be, as a child of this process.
    Forked {
        /// The pid of its parent.
        parent: u32,
    },
    /// It replaced its program.
    Executed,
    /// Its first thread exited.
    Exited,
}

/// An event. Pids are those of the first pid namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessEvent {
    /// The process.
    pub pid: u32,
    /// What happened to it.
    pub what: What,
    /// When, in nanoseconds of `CLOCK_MONOTONIC`.
    pub at: u64,
}

/// A subscription to all process events of the machine.
#[derive(Debug)]
pub struct ProcessEvents {
    socket: Socket,
}

impl ProcessEvents {
    /// Subscribes. `buffer` is how many bytes the kernel may keep for this
    /// socket; an event takes about 1 KiB of it. Waits at most `timeout` for
    /// the first event.
    ///
    /// # Errors
    /// [`Error::Call`] where there is no connector (outside of the first
    /// network namespace: ECONNREFUSED) or CAP_NET_ADMIN is missing;
    /// [`Error::TimedOut`] where it is silent, as in a pid or user namespace.
    pub fn open(buffer: usize, timeout: Duration) -> Result<Self, Error> {
        let socket = Socket::open_group(NETLINK_CONNECTOR, CN_PROC, timeout)?;
        // Over `net.core.rmem_max` where the capability is there; less must do elsewhere.
        if sockopt::set_socket_recv_buffer_size_force(&socket, buffer).is_err() {
            let _ = sockopt::set_socket_recv_buffer_size(&socket, buffer);
        }
        let events = Self { socket };
        events.socket.send(&subscription(has_filter()))?;
        events.hear(timeout)?;
        Ok(events)
    }

    /// Reads what there is, without waiting, at most `most` events; whether
    /// there may be more.
    ///
    /// # Errors
    /// [`Error::Overrun`]: events were lost; what comes then is good again.
    pub fn read(&self, into: &mut Vec<ProcessEvent>, most: usize) -> Result<bool, Error> {
        let mut message = [0; MESSAGE];
        let before = into.len();
        while into.len() - before < most {
            match rustix::net::recv(&self.socket, &mut message[..], RecvFlags::DONTWAIT) {
                Ok((_, length)) => into.extend(parse(&message[..length.min(MESSAGE)])),
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => {}
                Err(Errno::NOBUFS) => return Err(Error::Overrun),
                Err(errno) => {
                    return Err(Error::Call { call: "recv(NETLINK_CONNECTOR)", source: errno.into() });
                }
            }
        }
        Ok(true)
    }

    /// Whether a process of which an event told is still there, be it as a zombie.
    /// A tenth of what it costs to find no file of it in `/proc`.
    pub fn is_there(&self, pid: u32) -> bool {
        // Pids are told to the first pid namespace alone, so they are this process's too.
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        pid.is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH))
    }

    /// Waits until the connector says that a thread was started here. Where the
    /// buffer runs over that may be lost, and another one is started.
    fn hear(&self, timeout: Duration) -> Result<(), Error> {
        let start = || {
            let started = std::thread::Builder::new().name("connector-test".to_owned()).spawn(|| ());
            started.map(drop).map_err(|source| Error::Call { call: "clone", source })
        };
        let until = Instant::now() + timeout;
        start()?;
        let mut message = [0; MESSAGE];
        while Instant::now() < until {
            let length = match self.socket.receive(&mut message) {
                Err(Error::TimedOut(_)) => break,
                Err(Error::Overrun) => {
                    start()?;
                    continue;
                }
                other => other?,
            };
            if let Some(Raw { what: FORK, ids: [.., pid], .. }) = raw(&message[..length])
                && pid == std::process::id()
            {
                return Ok(());
            }
        }
        Err(Error::TimedOut(timeout))
    }
}

impl AsFd for ProcessEvents {
    /// Readable when there are events.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Whether the kernel leaves out events that are not asked for: Linux 6.6 and
/// later. It spares the wake-ups of each change of a name or an owner.
fn has_filter() -> bool {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let mut numbers = release.split(|character: char| !character.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (6, 6),
        _ => false,
    }
}

/// The request: `struct nlmsghdr`, `struct cn_msg`, and `struct proc_input` or,
/// without a filter, its first field alone.
fn subscription(filter: bool) -> Vec<u8> {
    let body: &[u32] = if filter { &[LISTEN, FORK | EXEC | EXIT] } else { &[LISTEN] };
    let body: Vec<u8> = body.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let length = |of: usize| u32::try_from(of).expect("a request of 44 bytes at most");
    /// `NLMSG_DONE`, no flags.
    const KIND: u32 = 3;
    let header = [length(EVENT + body.len()), KIND, 0, 0];
    // Index, value, sequence and acknowledgement; length and flags share a word.
    let size = u16::try_from(body.len()).expect("8 bytes at most");
    let connector = [CN_PROC, CN_PROC, 0, 0];
    let words = header.iter().chain(&connector).flat_map(|word| word.to_ne_bytes());
    words.chain(size.to_ne_bytes()).chain([0, 0]).chain(body).collect()
}

/// `struct proc_event`, as far as the events that are read need it.
struct Raw {
    what: u32,
    at: u64,
    ids: [u32; 4],
}

fn raw(message: &[u8]) -> Option<Raw> {
    let event = message.get(EVENT..)?;
    let word =
        |at: usize| event.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_ne_bytes);
    // Message type and connector are the kernel's own; another's messages do not reach this socket.
    let at = event.get(8..16).and_then(|bytes| bytes.try_into().ok()).map(u64::from_ne_bytes)?;
    Some(Raw { what: word(0)?, at, ids: [word(16)?, word(20)?, word(24)?, word(28)?] })
}

/// One of a process; `None` for threads, acknowledgements and others.
fn parse(message: &[u8]) -> Option<ProcessEvent> {
    let Raw { what, at, ids } = raw(message)?;
    let (thread, pid, what) = match what {
        // The parent's thread and process come first.
        FORK => (ids[2], ids[3], What::Forked { parent: ids[1] }),
        EXEC => (ids[0], ids[1], What::Executed),
        EXIT => (ids[0], ids[1], What::Exited),
        _ => return None,
    };
    (thread == pid && pid != 0).then_some(ProcessEvent { pid, what, at })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(what: u32, ids: [u32; 4]) -> Vec<u8> {
        let mut message = vec![0; EVENT];
        message.extend(what.to_ne_bytes());
        message.extend(7_u32.to_ne_bytes());
        message.extend(99_u64.to_ne_bytes());
        message.extend(ids.iter().flat_map(|id| id.to_ne_bytes()));
        message.resize(76, 0);
        message
    }

    #[test]
    fn events_of_processes_alone() {
        let event = |pid, what| Some(ProcessEvent { pid, what, at: 99 });
        assert_eq!(parse(&message(FORK, [2, 1, 5, 5])), event(5, What::Forked { parent: 1 }));
        assert_eq!(parse(&message(FORK, [1, 1, 6, 1])), None, "a thread");
        assert_eq!(parse(&message(EXEC, [5, 5, 0, 0])), event(5, What::Executed));
        assert_eq!(parse(&message(EXIT, [5, 5, 0, 17])), event(5, What::Exited));
        assert_eq!(parse(&message(EXIT, [6, 5, 0, 17])), None, "a thread");
        assert_eq!(parse(&message(0, [0, 0, 0, 0])), None, "an acknowledgement");
        let whole = message(EXIT, [5, 5, 0, 17]);
        for length in 0..EVENT + 32 {
            assert_eq!(parse(&whole[..length]), None, "{length} bytes");
        }
    }

    #[test]
    fn requests_have_the_lengths_that_the_kernel_checks() {
        assert_eq!(subscription(false).len(), 40);
        assert_eq!(subscription(true).len(), 44);
        assert_eq!(subscription(true)[..4], 44_u32.to_ne_bytes());
        assert_eq!(subscription(true)[32..34], 8_u16.to_ne_bytes());
    }
}
