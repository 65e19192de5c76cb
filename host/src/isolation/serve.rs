//! What a child asks of the host, answered on a thread of its own. What a
//! plugin may do is decided where it is for every plugin, behind [`HostBox`].

use super::lock;
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
    plugin: String,
    /// Ends the child, with the reason.
    end: Box<dyn Fn(&str) + Send + Sync>,
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

/// Answers a plugin's child until its socket ends; `end` is called where it
/// must be ended, with the reason.
pub fn spawn(
    plugin: &str,
    end: impl Fn(&str) + Send + Sync + 'static,
    socket: UnixStream,
    host: HostBox,
) -> io::Result<()> {
    socket.set_write_timeout(Some(TAKES_WITHIN))?;
    let reader = socket.try_clone()?;
    let name = format!("s:{}", &plugin[..plugin.len().min(13)]);
    let served = Arc::new(Served {
        plugin: plugin.to_owned(),
        end: Box::new(end),
        host,
        socket,
        sending: Mutex::default(),
        waits: Mutex::default(),
    });
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
        Broken::Socket(error) if hung_up(&error) => {}
        Broken::Socket(error) => (served.end)(&format!("its requests cannot be answered: {error}")),
        Broken::Protocol(_) => (served.end)(&broken.to_string()),
    }
}

/// The other end is closed. Where the kernel closed it with questions in it that
/// were not read, or an answer was on its way, it is one of the other two.
fn hung_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe)
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
            let name = format!("w:{}", &self.plugin[..self.plugin.len().min(13)]);
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
                tracing::debug!("plugin {}: it could not be woken: {broken}", self.plugin);
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

#[cfg(test)]
mod tests {
    use super::super::remote::Remote;
    use super::*;
    use gantry_plugin_api::Error;
    use gantry_plugin_api::abi::abi_stable::sabi_trait::TD_Opaque;
    use gantry_plugin_api::abi::abi_stable::std_types::{RErr, ROk, RString, RVec};
    use gantry_plugin_api::abi::types::{AbiEvent, AbiEvents, AbiProcess};
    use gantry_plugin_api::abi::{AbiHost, AbiHost_TO};
    use std::io::{Read, Write};
    use std::sync::{Condvar, mpsc};
    use std::time::Instant;

    /// A host that says what it was asked, and has as many events as it is told.
    #[derive(Default)]
    struct Fake {
        told: Mutex<Vec<String>>,
        events: Mutex<u64>,
        more: Condvar,
    }

    impl Fake {
        fn tell(&self, what: String) {
            lock(&self.told).push(what);
        }
        fn happens(&self) {
            *lock(&self.events) += 1;
            self.more.notify_all();
        }
    }

    struct Asked(Arc<Fake>);

    impl AbiHost for Asked {
        fn has(&self, feature: RStr<'_>) -> bool {
            feature == "yes"
        }
        fn log(&self, level: u32, target: RStr<'_>, message: RStr<'_>) {
            self.0.tell(format!("log {level} {target} {message}"));
        }
        fn clock_ns(&self, _: u32) -> u64 {
            unreachable!("the child has clocks of its own")
        }
        fn path(&self, which: RStr<'_>) -> ROption<RString> {
            ROption::from((which == "proc").then(|| RString::from("/p")))
        }
        fn node_fact(&self, name: RStr<'_>) -> ROption<RString> {
            ROption::from((name == "region").then(|| RString::from("r\u{e9}")))
        }
        fn set_node_fact(&self, name: RStr<'_>, value: ROption<RStr<'_>>) -> RResult<(), AbiError> {
            if name == "bad" {
                return RErr(Error::unsupported("no").into());
            }
            self.0.tell(format!("{name} {value:?}"));
            ROk(())
        }
        fn expect_node_fact(&self, name: RStr<'_>) -> RResult<(), AbiError> {
            RErr(AbiError { code: 2, message: name.into() })
        }
        fn container_of_pid(&self, pid: u32, start: u64) -> u64 {
            u64::from(pid) + start
        }
        fn container_of_cgroup(&self, hierarchy: u32, id: u64) -> u64 {
            u64::from(hierarchy) + id
        }
        fn container_of_netns(&self, inode: u64) -> u64 {
            inode
        }
        fn containers(&self) -> RVec<u64> {
            (0..50_000).collect()
        }
        fn container(&self, handle: u64) -> ROption<RString> {
            ROption::from((handle == 1).then(|| "x".repeat(3 << 20).into()))
        }
        fn processes(&self, handle: u64) -> RVec<AbiProcess> {
            (0..handle).map(|start| AbiProcess { start, pid: 7 }).collect()
        }
        fn open_files(&self, pid: u32, start: u64) -> ROption<RString> {
            ROption::RSome(format!("files {pid} {start}").into())
        }
        fn listening(&self, pid: u32, start: u64) -> ROption<RString> {
            ROption::RSome(format!("listening {pid} {start}").into())
        }
        fn events(&self, cursor: u64, max: u32) -> AbiEvents {
            let event = |at| AbiEvent { container: 1, at, start: 2, pid: 3, kind: 4 };
            let events = (cursor..*lock(&self.0.events)).take(max as usize).map(event).collect();
            AbiEvents { events, next: cursor + 1, lost: 9 }
        }
        fn wait_events(&self, cursor: u64, timeout_ms: u64) -> bool {
            let nothing = |events: &mut u64| *events <= cursor;
            let timeout = Duration::from_millis(timeout_ms);
            let waited = self.0.more.wait_timeout_while(lock(&self.0.events), timeout, nothing);
            *waited.unwrap().0 > cursor
        }
        fn provide(&self, runtime: RStr<'_>, metadata: RStr<'_>) -> RResult<(), AbiError> {
            self.0.tell(format!("provide {runtime} {}", metadata.len()));
            ROk(())
        }
        fn observe(&self, observations: RSlice<'_, AbiObservation>) {
            self.0.tell(format!("observe {} {:?}", observations.len(), observations.first()));
        }
        fn report(&self, resource: RStr<'_>, amount: f64) {
            self.0.tell(format!("report {resource} {amount}"));
        }
    }

    struct Pair {
        fake: Arc<Fake>,
        theirs: UnixStream,
        ended: mpsc::Receiver<String>,
    }

    fn pair() -> Pair {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (end, ended) = mpsc::channel();
        let fake = Arc::new(Fake::default());
        let host = AbiHost_TO::from_value(Asked(fake.clone()), TD_Opaque);
        // Whoever looked may have looked enough.
        spawn("fake", move |why| drop(end.send(why.to_owned())), ours, host).unwrap();
        Pair { fake, theirs, ended }
    }

    #[test]
    fn every_service_is_answered_as_in_the_agent() {
        let Pair { fake, theirs, .. } = pair();
        let remote = Remote::new(theirs).unwrap();
        let here = Asked(fake.clone());
        assert!(remote.has("yes".into()) && !remote.has("no".into()));
        for which in ["proc", "sys"] {
            assert_eq!(remote.path(which.into()), here.path(which.into()));
            assert_eq!(remote.node_fact("region".into()), here.node_fact("region".into()));
        }
        assert!(remote.set_node_fact("region".into(), ROption::RSome("x".into())).is_ok());
        let refused = remote.set_node_fact("bad".into(), ROption::RNone).into_result().unwrap_err();
        assert_eq!((refused.code, &*refused.message), (3, "no"));
        let refused = remote.expect_node_fact("why".into()).into_result().unwrap_err();
        assert_eq!((refused.code, &*refused.message), (2, "why"));
        assert_eq!(remote.container_of_pid(3, 4), 7);
        assert_eq!(remote.container_of_cgroup(1, u64::MAX - 1), u64::MAX);
        assert_eq!(remote.container_of_netns(5), 5);
        assert_eq!(remote.containers(), here.containers());
        assert_eq!(remote.container(1), here.container(1));
        assert_eq!(remote.container(2), ROption::RNone);
        assert_eq!(remote.processes(3).len(), 3);
        assert_eq!(remote.open_files(1, 2), here.open_files(1, 2));
        assert_eq!(remote.listening(1, 2), here.listening(1, 2));
        (0..3).for_each(|_| fake.happens());
        let events = remote.events(1, 10);
        assert_eq!((events.next, events.lost, events.events.len()), (2, 9, 2));
        let first = events.events[0];
        assert_eq!((first.container, first.at, first.start, first.pid, first.kind), (1, 1, 2, 3, 4));
        assert!(remote.wait_events(0, 0) && !remote.wait_events(3, 1));
        assert!(remote.provide("docker".into(), "x".repeat(2 << 20).as_str().into()).is_ok());
        assert!(remote.provide("docker".into(), "x".repeat(9 << 20).as_str().into()).is_err());
        let seen =
            AbiObservation { start: 1, cgroup: 2, network_namespace: 3, pid: 4, hierarchy: 5, kind: 6 };
        remote.observe(RSlice::from_slice(&vec![seen; 10_001]));
        remote.report("bpf_map_bytes".into(), 1.5);
        remote.log(3, "module".into(), "line".into());
        // What is not answered was taken in order when something after it is.
        assert!(remote.has("yes".into()));
        let told = lock(&fake.told).clone();
        assert_eq!(told[0], "region RSome(\"x\")");
        assert_eq!(told[1], format!("provide docker {}", 2 << 20));
        assert!(
            told[2].starts_with("observe 10000 Some") && told[3].starts_with("observe 1 Some"),
            "{told:?}"
        );
        assert_eq!(told[4..], ["report bpf_map_bytes 1.5", "log 3 module line"]);
        let now = gantry_plugin_api::abi::types::CLOCK_MONOTONIC;
        assert!(remote.clock_ns(now) > 0 && remote.clock_ns(99) == 0);
    }

    #[test]
    fn whoever_waits_for_events_holds_up_nobody() {
        let Pair { fake, theirs, .. } = pair();
        let remote = Remote::new(theirs).unwrap();
        std::thread::scope(|scope| {
            let waits: Vec<_> = [0, 0, 1, 2]
                .map(|cursor| {
                    let remote = &remote;
                    scope.spawn(move || remote.wait_events(cursor, 60_000))
                })
                .into();
            let asks: Vec<_> = (0..4)
                .map(|at| {
                    let remote = &remote;
                    scope.spawn(move || {
                        (0..500).all(|pid| remote.container_of_pid(pid, at) == u64::from(pid) + at)
                    })
                })
                .collect();
            assert!(asks.into_iter().all(|thread| thread.join().unwrap()));
            assert!(waits.iter().all(|thread| !thread.is_finished()));
            (0..3).for_each(|_| fake.happens());
            assert!(waits.into_iter().all(|thread| thread.join().unwrap()));
        });
        let begin = Instant::now();
        assert!(!remote.wait_events(3, 20) && begin.elapsed() >= Duration::from_millis(20));
    }

    #[test]
    fn what_is_no_request_ends_the_child_with_the_reason() {
        let frame = |kind: u8, body: &[u8]| {
            let (mut message, mut bytes) = (Message::new(kind), Vec::new());
            message.raw(body);
            message.send(&mut bytes).unwrap();
            bytes
        };
        let mut endless = frame(ask::HAS, b"");
        endless[..4].copy_from_slice(&u32::MAX.to_ne_bytes());
        let cases = [
            (frame(99, &[0; 4]), "a request of the unknown kind 99"),
            (frame(ask::HAS, b""), "do not fit"),
            (frame(ask::HAS, b"\x01\0\0\0\xff\xff\xff\x7f"), "do not fit"),
            (frame(ask::PATH, b"\x01\0\0\0\x01\0\0\0\xff"), "do not fit"),
            (frame(ask::CONTAINER, &[1; 13]), "do not fit"),
            (frame(ask::OBSERVE, &[0; 39]), "do not fit"),
            (endless, "a frame of 4294967295 bytes"),
            (b"HTTP/1.1 200 OK\r\n".to_vec(), "a frame of"),
        ];
        for (bytes, why) in cases {
            let Pair { mut theirs, ended, .. } = pair();
            theirs.write_all(&bytes).unwrap();
            let said = ended.recv_timeout(Duration::from_secs(20)).unwrap();
            assert!(said.contains("broke the protocol") && said.contains(why), "{said}");
        }
        let Pair { theirs, ended, .. } = pair();
        theirs.shutdown(std::net::Shutdown::Both).unwrap();
        assert!(ended.recv_timeout(Duration::from_secs(20)).is_err(), "an end is no fault");
    }

    #[test]
    fn too_many_waits_and_unread_answers_are_noticed() {
        let Pair { mut theirs, ended, .. } = pair();
        for cursor in 0..=MOST_WAITS as u64 {
            let mut message = Message::new(ask::AWAIT);
            message.u32(1);
            message.u64(100 + cursor);
            message.send(&mut theirs).unwrap();
        }
        let said = ended.recv_timeout(Duration::from_secs(20)).unwrap();
        assert!(said.contains("more than 64 places"), "{said}");
        let mut rest = Vec::new();
        theirs.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let _ = theirs.read_to_end(&mut rest);
        assert!(!rest.is_empty(), "those before were answered");
    }
}
