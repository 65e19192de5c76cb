//! What a child asks of the host, answered on a thread of its own. What a
//! plugin may do is decided where it is for every plugin, behind [`HostBox`].

use super::lock;
use super::process::Process;
use super::protocol::{MAX_REQUEST, ask};
use super::wire::{self, Broken, Malformed, Message, Values};
use gantry_plugin_api::abi::HostBox;
use gantry_plugin_api::abi::abi_stable::std_types::{ROption, RResult, RSlice, RStr};
use gantry_plugin_api::abi::types::{AbiError, AbiObservation};
use std::io::{self, BufReader};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A child that takes no answers for so long is broken: they are for its own
/// threads, which wait for them.
const TAKES_WITHIN: Duration = Duration::from_secs(10);

/// A thread that waits for events looks so often whether its child is still
/// there, and whether another place is waited for.
const LOOK: Duration = Duration::from_millis(250);

/// Cursors that are waited for: a plugin has a thread or two that do.
const MOST_WAITS: usize = 64;

struct Served {
    process: Arc<Process>,
    host: HostBox,
    socket: UnixStream,
    /// Frames are sent whole.
    sending: Mutex<()>,
    waits: Mutex<Waits>,
}

#[derive(Debug, Default)]
struct Waits {
    cursors: Vec<u64>,
    /// There is a thread that waits.
    is_served: bool,
    ended: bool,
}

/// Answers until the child or its socket ends.
pub fn spawn(process: Arc<Process>, socket: UnixStream, host: HostBox) -> io::Result<()> {
    socket.set_write_timeout(Some(TAKES_WITHIN))?;
    let reader = socket.try_clone()?;
    let plugin = process.plugin();
    let name = format!("s:{}", &plugin[..plugin.len().min(13)]);
    let served =
        Arc::new(Served { process, host, socket, sending: Mutex::default(), waits: Mutex::default() });
    std::thread::Builder::new().name(name).spawn(move || serve(&served, reader)).map(drop)
}

fn serve(served: &Arc<Served>, reader: UnixStream) {
    let mut reader = BufReader::new(reader);
    let mut buffer = Vec::new();
    let broken = loop {
        let answered =
            wire::read(&mut reader, MAX_REQUEST, &mut buffer).and_then(|kind| served.answer(kind, &buffer));
        if let Err(broken) = answered {
            break broken;
        }
        wire::shrink(&mut buffer);
    };
    lock(&served.waits).ended = true;
    match broken {
        // It ends, and says so elsewhere; or it hangs up alone.
        Broken::Socket(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
        Broken::Socket(error) => served.process.kill(&format!("its requests cannot be answered: {error}")),
        Broken::Protocol(_) => served.process.kill(&broken.to_string()),
    }
}

impl Served {
    fn answer(self: &Arc<Self>, kind: u8, body: &[u8]) -> Result<(), Broken> {
        let host = &self.host;
        let mut values = Values(body);
        let number = values.u32()?;
        let mut answer = Message::new(ask::ANSWER);
        answer.u32(number);
        match kind {
            ask::LOG => host.log(values.u32()?, text(&mut values)?, text(&mut values)?),
            ask::HAS => answer.u8(host.has(text(&mut values)?).into()),
            ask::PATH => answer.option(bytes(host.path(text(&mut values)?)).as_deref()),
            ask::NODE_FACT => answer.option(bytes(host.node_fact(text(&mut values)?)).as_deref()),
            ask::SET_NODE_FACT => {
                let name = text(&mut values)?;
                let value = values.option_text()?.map(RStr::from);
                outcome(&mut answer, host.set_node_fact(name, ROption::from(value)));
            }
            ask::EXPECT_NODE_FACT => outcome(&mut answer, host.expect_node_fact(text(&mut values)?)),
            ask::OF_PID => answer.u64(host.container_of_pid(values.u32()?, values.u64()?)),
            ask::OF_CGROUP => answer.u64(host.container_of_cgroup(values.u32()?, values.u64()?)),
            ask::OF_NETNS => answer.u64(host.container_of_netns(values.u64()?)),
            ask::CONTAINERS => answer.u64s(&host.containers()),
            ask::CONTAINER => answer.option(bytes(host.container(values.u64()?)).as_deref()),
            ask::PROCESSES => host.processes(values.u64()?).iter().for_each(|process| {
                answer.u64(process.start);
                answer.u32(process.pid);
            }),
            ask::OPEN_FILES => answer.option(bytes(host.open_files(values.u32()?, values.u64()?)).as_deref()),
            ask::LISTENING => answer.option(bytes(host.listening(values.u32()?, values.u64()?)).as_deref()),
            ask::EVENTS => {
                let batch = host.events(values.u64()?, values.u32()?);
                answer.u64(batch.next);
                answer.u64(batch.lost);
                for event in &batch.events {
                    [event.container, event.at, event.start].iter().for_each(|value| answer.u64(*value));
                    answer.u32(event.pid);
                    answer.u32(event.kind);
                }
            }
            ask::AWAIT => answer.u8(self.await_event(values.u64()?)?.into()),
            ask::PROVIDE => outcome(&mut answer, host.provide(text(&mut values)?, text(&mut values)?)),
            ask::OBSERVE => observe(host, &mut values)?,
            ask::REPORT => host.report(text(&mut values)?, values.f64()?),
            other => return Err(Broken::Protocol(format!("a request of the unknown kind {other}"))),
        }
        values.end()?;
        // 0: no answer is wanted.
        if number != 0 { self.send(&mut answer) } else { Ok(()) }
    }

    fn send(&self, message: &mut Message) -> Result<(), Broken> {
        let _whole = lock(&self.sending);
        Ok(message.send(&self.socket)?)
    }

    /// Whether there is an event already; if not, the child is woken when
    /// there is.
    fn await_event(self: &Arc<Self>, cursor: u64) -> Result<bool, Broken> {
        if self.host.wait_events(cursor, 0) {
            return Ok(true);
        }
        let mut waits = lock(&self.waits);
        if !waits.cursors.contains(&cursor) {
            if waits.cursors.len() >= MOST_WAITS {
                return Err(Broken::Protocol(format!(
                    "it waits for events from more than {MOST_WAITS} places"
                )));
            }
            waits.cursors.push(cursor);
        }
        if !waits.is_served {
            let plugin = self.process.plugin();
            let name = format!("w:{}", &plugin[..plugin.len().min(13)]);
            let served = self.clone();
            std::thread::Builder::new().name(name).spawn(move || served.wait())?;
            waits.is_served = true;
        }
        Ok(false)
    }

    /// Waits as long as there is something to wait for; the next request
    /// begins anew otherwise.
    fn wait(&self) {
        loop {
            let first = {
                let mut waits = lock(&self.waits);
                let first = waits.cursors.iter().min().copied().filter(|_| !waits.ended);
                waits.is_served = first.is_some();
                first
            };
            let Some(first) = first else { return };
            if !self.host.wait_events(first, LOOK.as_millis() as u64) {
                continue;
            }
            // Those that wait for a later place go on.
            let cursors = std::mem::take(&mut lock(&self.waits).cursors);
            let (_, later): (Vec<u64>, Vec<u64>) =
                cursors.into_iter().partition(|cursor| self.host.wait_events(*cursor, 0));
            lock(&self.waits).cursors.extend(later);
            if let Err(broken) = self.send(&mut Message::new(ask::WAKE)) {
                // Its answers find out as well, and say so.
                tracing::debug!("plugin {}: it could not be woken: {broken}", self.process.plugin());
                lock(&self.waits).is_served = false;
                return;
            }
        }
    }
}

fn text<'a>(values: &mut Values<'a>) -> Result<RStr<'a>, Malformed> {
    values.text().map(RStr::from)
}

fn bytes(text: ROption<gantry_plugin_api::abi::abi_stable::std_types::RString>) -> Option<Vec<u8>> {
    text.into_option().map(|text| text.into_string().into_bytes())
}

/// 1, or 0, the code of an error and its message.
fn outcome(answer: &mut Message, result: RResult<(), AbiError>) {
    match result.into_result() {
        Ok(()) => answer.u8(1),
        Err(error) => {
            answer.u8(0);
            answer.u32(error.code);
            answer.bytes(error.message.as_bytes());
        }
    }
}

fn observe(host: &HostBox, values: &mut Values<'_>) -> Result<(), Malformed> {
    let mut observations = Vec::new();
    while !values.is_empty() {
        observations.push(AbiObservation {
            start: values.u64()?,
            cgroup: values.u64()?,
            network_namespace: values.u64()?,
            pid: values.u32()?,
            hierarchy: values.u32()?,
            kind: values.u32()?,
        });
    }
    host.observe(RSlice::from_slice(&observations));
    Ok(())
}
