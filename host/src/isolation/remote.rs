//! The host, as the plugin sees it in the child: each question goes over the
//! second socket, from whatever thread it comes.
//!
//! There is no thread that reads the answers. Of the threads that wait for
//! one, one reads, and the others wait until it has read something; so a
//! question alone costs no change of threads here, and one that waits for
//! events holds up nobody.

use super::lock;
use super::protocol::{MAX_ANSWER, ask};
use super::wire::{self, Broken, Malformed, Message, Values};
use gantry_plugin_api::Error;
use gantry_plugin_api::abi::AbiHost;
use gantry_plugin_api::abi::abi_stable::std_types::{
    RErr, ROk, ROption, RResult, RSlice, RStr, RString, RVec,
};
use gantry_plugin_api::abi::types::{
    AbiError, AbiEvent, AbiEvents, AbiObservation, AbiProcess, CLOCK_BOOTTIME, CLOCK_MONOTONIC,
    CLOCK_REALTIME,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::{ClockId, clock_gettime};
use std::collections::HashMap;
use std::io::BufReader;
use std::os::unix::net::UnixStream;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub struct Remote {
    /// To write; frames are sent whole.
    socket: Mutex<UnixStream>,
    /// To read, by one thread at a time.
    reader: Mutex<BufReader<UnixStream>>,
    inbox: Mutex<Inbox>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Inbox {
    last: u32,
    answers: HashMap<u32, Vec<u8>>,
    /// How often the host said that there are events.
    wakes: u64,
    is_read: bool,
}

impl Remote {
    pub fn new(socket: UnixStream) -> std::io::Result<Self> {
        Ok(Self {
            reader: Mutex::new(BufReader::with_capacity(4096, socket.try_clone()?)),
            socket: Mutex::new(socket),
            inbox: Mutex::default(),
            arrived: Condvar::new(),
        })
    }

    /// Asks, and waits for the answer. Where the agent is gone there is none,
    /// and this process ends.
    fn ask<T>(
        &self,
        kind: u8,
        write: impl FnOnce(&mut Message),
        read: impl FnOnce(&mut Values<'_>) -> Result<T, Malformed>,
    ) -> T {
        let number = {
            let mut inbox = lock(&self.inbox);
            inbox.last = inbox.last.checked_add(1).unwrap_or(1);
            inbox.last
        };
        self.send(kind, number, write);
        let answer = self.wait(None, |inbox| inbox.answers.remove(&number));
        let mut values = Values(answer.as_deref().unwrap_or_default());
        // It answers with what the same binary reads.
        read(&mut values).unwrap_or_else(|_| ends(&Malformed.into()))
    }

    /// Tells something that is not answered.
    fn tell(&self, kind: u8, write: impl FnOnce(&mut Message)) {
        self.send(kind, 0, write);
    }

    fn send(&self, kind: u8, number: u32, write: impl FnOnce(&mut Message)) {
        let mut message = Message::new(kind);
        message.u32(number);
        write(&mut message);
        if let Err(error) = message.send(&*lock(&self.socket)) {
            ends(&error.into());
        }
    }

    /// Waits until something is in the inbox, at most until then.
    fn wait<T>(&self, until: Option<Instant>, mut wanted: impl FnMut(&mut Inbox) -> Option<T>) -> Option<T> {
        let mut inbox = lock(&self.inbox);
        loop {
            if let Some(found) = wanted(&mut inbox) {
                return Some(found);
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return None;
            }
            if inbox.is_read {
                // Woken by what arrives, and when the place of the reader is free.
                inbox = match left {
                    Some(left) => {
                        self.arrived.wait_timeout(inbox, left).map_or_else(|e| e.into_inner().0, |g| g.0)
                    }
                    None => self.arrived.wait(inbox).unwrap_or_else(PoisonError::into_inner),
                };
                continue;
            }
            inbox.is_read = true;
            drop(inbox);
            let arrived = self.read(left);
            inbox = lock(&self.inbox);
            inbox.is_read = false;
            match arrived {
                Some((ask::ANSWER, body)) => {
                    let mut values = Values(&body);
                    let number = values.u32().unwrap_or_else(|_| ends(&Malformed.into()));
                    inbox.answers.insert(number, values.0.to_vec());
                }
                Some((ask::WAKE, _)) => inbox.wakes += 1,
                Some(_) => ends(&Malformed.into()),
                None => {}
            }
            self.arrived.notify_all();
        }
    }

    /// A frame, where one begins within that time.
    fn read(&self, at_most: Option<Duration>) -> Option<(u8, Vec<u8>)> {
        let mut reader = lock(&self.reader);
        if reader.buffer().is_empty()
            && let Some(at_most) = at_most
        {
            let timeout = Timespec {
                tv_sec: i64::try_from(at_most.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: at_most.subsec_nanos().into(),
            };
            let ready = poll(&mut [PollFd::new(reader.get_ref(), PollFlags::IN)], Some(&timeout));
            // An interrupted wait is one more round.
            if !ready.is_ok_and(|ready| ready > 0) {
                return None;
            }
        }
        let mut body = Vec::new();
        let kind = wire::read(&mut *reader, MAX_ANSWER, &mut body).unwrap_or_else(|broken| ends(&broken));
        Some((kind, body))
    }
}

/// The agent is gone, or the plugin wrote into what is not its own: this
/// process has nothing left to do.
fn ends(why: &Broken) -> ! {
    use std::io::Write;
    // On the way out nobody may be there to read it.
    let _ = writeln!(std::io::stderr(), "gantry: the host cannot be asked any more: {why}");
    #[expect(clippy::exit, reason = "the process of one plugin, which cannot be stopped in order any more")]
    std::process::exit(70)
}

fn all(message: &mut Message, text: RStr<'_>) {
    message.bytes(text.as_str().as_bytes());
}

fn option(values: &mut Values<'_>) -> Result<ROption<RString>, Malformed> {
    Ok(ROption::from(values.option_text()?.map(RString::from)))
}

fn outcome(values: &mut Values<'_>) -> Result<RResult<(), AbiError>, Malformed> {
    if values.bool()? {
        return Ok(ROk(()));
    }
    Ok(RErr(AbiError { code: values.u32()?, message: values.text()?.into() }))
}

impl AbiHost for Remote {
    fn has(&self, feature: RStr<'_>) -> bool {
        self.ask(ask::HAS, |message| all(message, feature), |values| values.bool())
    }

    fn log(&self, level: u32, target: RStr<'_>, message: RStr<'_>) {
        let line = message.as_str();
        // The host cuts it to less than this.
        let line = &line[..line.floor_char_boundary(64 << 10)];
        self.tell(ask::LOG, |message| {
            message.u32(level);
            all(message, target);
            message.bytes(line.as_bytes());
        });
    }

    fn clock_ns(&self, clock: u32) -> u64 {
        let id = match clock {
            CLOCK_REALTIME => ClockId::Realtime,
            CLOCK_MONOTONIC => ClockId::Monotonic,
            CLOCK_BOOTTIME => ClockId::Boottime,
            _ => return 0,
        };
        let time = clock_gettime(id);
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or_default())
    }

    fn path(&self, which: RStr<'_>) -> ROption<RString> {
        self.ask(ask::PATH, |message| all(message, which), option)
    }

    fn node_fact(&self, name: RStr<'_>) -> ROption<RString> {
        self.ask(ask::NODE_FACT, |message| all(message, name), option)
    }

    fn set_node_fact(&self, name: RStr<'_>, value: ROption<RStr<'_>>) -> RResult<(), AbiError> {
        let write = |message: &mut Message| {
            all(message, name);
            message.option(value.into_option().map(|value| value.as_str().as_bytes()));
        };
        self.ask(ask::SET_NODE_FACT, write, outcome)
    }

    fn expect_node_fact(&self, name: RStr<'_>) -> RResult<(), AbiError> {
        self.ask(ask::EXPECT_NODE_FACT, |message| all(message, name), outcome)
    }

    fn container_of_pid(&self, pid: u32, start: u64) -> u64 {
        let write = |message: &mut Message| {
            message.u32(pid);
            message.u64(start);
        };
        self.ask(ask::OF_PID, write, |values| values.u64())
    }

    fn container_of_cgroup(&self, hierarchy: u32, id: u64) -> u64 {
        let write = |message: &mut Message| {
            message.u32(hierarchy);
            message.u64(id);
        };
        self.ask(ask::OF_CGROUP, write, |values| values.u64())
    }

    fn container_of_netns(&self, inode: u64) -> u64 {
        self.ask(ask::OF_NETNS, |message| message.u64(inode), |values| values.u64())
    }

    fn containers(&self) -> RVec<u64> {
        let read = |values: &mut Values<'_>| {
            let mut handles = Vec::new();
            values.u64s(values.0.len() / 8, &mut handles).map(|()| handles.into())
        };
        self.ask(ask::CONTAINERS, |_| {}, read)
    }

    fn container(&self, handle: u64) -> ROption<RString> {
        self.ask(ask::CONTAINER, |message| message.u64(handle), option)
    }

    fn processes(&self, handle: u64) -> RVec<AbiProcess> {
        let read = |values: &mut Values<'_>| {
            let mut processes = RVec::new();
            while !values.is_empty() {
                processes.push(AbiProcess { start: values.u64()?, pid: values.u32()? });
            }
            Ok(processes)
        };
        self.ask(ask::PROCESSES, |message| message.u64(handle), read)
    }

    fn open_files(&self, pid: u32, start: u64) -> ROption<RString> {
        let write = |message: &mut Message| {
            message.u32(pid);
            message.u64(start);
        };
        self.ask(ask::OPEN_FILES, write, option)
    }

    fn listening(&self, pid: u32, start: u64) -> ROption<RString> {
        let write = |message: &mut Message| {
            message.u32(pid);
            message.u64(start);
        };
        self.ask(ask::LISTENING, write, option)
    }

    fn events(&self, cursor: u64, max: u32) -> AbiEvents {
        let write = |message: &mut Message| {
            message.u64(cursor);
            message.u32(max);
        };
        let read = |values: &mut Values<'_>| {
            let (next, lost) = (values.u64()?, values.u64()?);
            let mut events = RVec::new();
            while !values.is_empty() {
                events.push(AbiEvent {
                    container: values.u64()?,
                    at: values.u64()?,
                    start: values.u64()?,
                    pid: values.u32()?,
                    kind: values.u32()?,
                });
            }
            Ok(AbiEvents { events, next, lost })
        };
        self.ask(ask::EVENTS, write, read)
    }

    fn wait_events(&self, cursor: u64, timeout_ms: u64) -> bool {
        let until = Instant::now().checked_add(Duration::from_millis(timeout_ms));
        loop {
            // Before it is asked: what comes between the two is seen then.
            let wakes = lock(&self.inbox).wakes;
            if self.ask(ask::AWAIT, |message| message.u64(cursor), |values| values.bool()) {
                return true;
            }
            let woken = self.wait(until, |inbox| (inbox.wakes != wakes).then_some(()));
            if woken.is_none() {
                return false;
            }
        }
    }

    fn provide(&self, runtime: RStr<'_>, metadata: RStr<'_>) -> RResult<(), AbiError> {
        let room = super::protocol::MAX_REQUEST / 2;
        if metadata.len() > room {
            let why = format!("{} bytes of metadata at once, where {room} are the most", metadata.len());
            return RErr(Error::new(why).into());
        }
        let write = |message: &mut Message| {
            all(message, runtime);
            all(message, metadata);
        };
        self.ask(ask::PROVIDE, write, outcome)
    }

    fn observe(&self, observations: RSlice<'_, AbiObservation>) {
        // 36 bytes each: far below what a request may have.
        for some in observations.as_slice().chunks(10_000) {
            self.tell(ask::OBSERVE, |message| {
                for one in some {
                    [one.start, one.cgroup, one.network_namespace]
                        .iter()
                        .for_each(|value| message.u64(*value));
                    [one.pid, one.hierarchy, one.kind].iter().for_each(|value| message.u32(*value));
                }
            });
        }
    }

    fn report(&self, resource: RStr<'_>, amount: f64) {
        self.tell(ask::REPORT, |message| {
            all(message, resource);
            message.f64(amount);
        });
    }
}
