//! What systemd is told of the agent: sd_notify(3), as datagrams to the socket
//! that the environment names. Without one, nothing is sent.
//!
//! The environment is left as it is, since changing it would race with every
//! other thread; children get it without [`ENVIRONMENT`], see [`withhold`].

use crate::logging::printable;
use rustix::time::{ClockId, clock_gettime};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// What an init system says to this process alone. A child that inherited it
/// could speak for the agent, or feed its watchdog.
pub const ENVIRONMENT: [&str; 6] =
    ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"];

/// Starts the child without what is said to the agent alone.
pub fn withhold(command: &mut Command) -> &mut Command {
    ENVIRONMENT.iter().fold(command, |command, name| command.env_remove(name))
}

/// The one who tells systemd; without a socket, nobody.
#[derive(Debug)]
pub struct Notifier {
    socket: Option<Socket>,
    watchdog: Option<Duration>,
    /// A failure was logged.
    failed: AtomicBool,
}

#[derive(Debug)]
struct Socket {
    datagrams: UnixDatagram,
    /// Not connected: a manager that was started anew has the name again.
    manager: SocketAddr,
}

/// A manager that takes no more is waited for so long; it may be stopped, and
/// the agent serves without it.
const SEND_WAIT: Duration = Duration::from_millis(200);

/// A longer status is cut: it is one line of `systemctl status`, and systemd
/// takes no message above 4 KiB.
const MAX_STATUS: usize = 512;

impl Notifier {
    /// As the environment says.
    pub fn from_environment() -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let watchdog = watchdog(variable("WATCHDOG_USEC"), variable("WATCHDOG_PID"), std::process::id());
        Self::new(variable("NOTIFY_SOCKET").as_deref(), watchdog)
    }

    /// For a socket, by its path or as `@name`, and the time within which its
    /// manager wants to hear that the agent is alive.
    pub fn new(socket: Option<&OsStr>, watchdog: Option<Duration>) -> Self {
        let mut notifier = Self { socket: None, watchdog, failed: AtomicBool::new(false) };
        if let Some(name) = socket {
            match Socket::new(name) {
                Ok(socket) => notifier.socket = Some(socket),
                Err(error) => notifier.complain(&error),
            }
        }
        notifier
    }

    /// The start, or a reload, is over.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}", line(status)));
    }

    /// A reload begins; [`Self::ready`] ends it. The time tells systemd that
    /// this is the answer to its signal and not to one before.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec / 1000);
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// A line for `systemctl status`.
    pub fn status(&self, status: &str) {
        self.send(&format!("STATUS={}", line(status)));
    }

    /// The end begins.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// The agent's loops turn; to be said once an interval.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    /// How often [`Self::alive`] must be said: twice as often as systemd asks,
    /// as it recommends. `None` if it does not ask.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog.map(|watchdog| watchdog / 2)
    }

    fn send(&self, message: &str) {
        let Some(socket) = &self.socket else { return };
        let sent = socket.datagrams.send_to_addr(message.as_bytes(), &socket.manager);
        if let Err(error) = sent {
            self.complain(&error);
        }
    }

    /// Once: it goes on for as long as the cause does, and harms nobody here.
    fn complain(&self, error: &io::Error) {
        if !self.failed.swap(true, Relaxed) {
            tracing::warn!(
                "the init system could not be told of the agent's state: {error}; it may take the agent for dead; \
                 check what NOTIFY_SOCKET names (further failures are not logged)"
            );
        }
    }
}

impl Socket {
    fn new(name: &OsStr) -> io::Result<Self> {
        let manager = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => return Err(io::Error::other("its socket is neither a path nor @ and a name")),
        };
        let datagrams = UnixDatagram::unbound()?;
        datagrams.set_write_timeout(Some(SEND_WAIT))?;
        Ok(Self { datagrams, manager })
    }
}

/// The watchdog's time, if it is this process that is watched.
fn watchdog(micros: Option<OsString>, pid: Option<OsString>, own: u32) -> Option<Duration> {
    let micros: u64 = micros?.to_str()?.parse().ok()?;
    let own_turn = pid.is_none_or(|pid| pid.to_str().and_then(|pid| pid.parse().ok()) == Some(own));
    (micros > 0 && own_turn).then(|| Duration::from_micros(micros))
}

/// One line: a line break would begin another message.
fn line(status: &str) -> String {
    let cut = |text: &str| text[..text.floor_char_boundary(MAX_STATUS)].to_owned();
    let line = cut(&printable(&cut(status)));
    if line.len() < status.len() { format!("{line}…") } else { line }
}

#[cfg(test)]
mod tests;
