//! Something that looks like systemd at a socket, of a bus or its own: it has
//! the units that a test gives it, and good and bad moods. All connections are
//! served by one thread.

#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "what each does is what D-Bus and systemd call it")]

mod on_bus;
mod serve;

pub use on_bus::OnBus;

use std::collections::{BTreeMap, HashMap};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use zbus::Connection;
use zbus::export::serde::Serialize;
use zbus::zvariant::{DynamicType, OwnedObjectPath, OwnedValue, Value};

/// What may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Request {
    Auth,
    Hello,
    AddMatch,
    Owner,
    Subscribe,
    Version,
    List,
    Unit,
    Property,
}

/// How it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mood {
    Good,
    Hang,
    Close,
    /// With bytes that are no message.
    Garbage,
    /// With the error of this name.
    Error(&'static str),
    /// With the head of an answer that is longer than anybody reads.
    Huge,
    /// With a value of another type.
    Wrong,
}

/// No property is known to it.
pub const NO_PROPERTY: Mood = Mood::Error("org.freedesktop.DBus.Error.UnknownProperty");
pub const DENIED: Mood = Mood::Error("org.freedesktop.DBus.Error.AccessDenied");

/// systemd's connection to the bus.
pub const OWNER: &str = ":1.0";
const BUS: &str = "org.freedesktop.DBus";
const PATIENCE: Duration = Duration::from_secs(20);

/// With the value it is gone, and its socket too.
#[derive(Debug)]
pub struct Fake {
    socket: PathBuf,
    shared: Arc<Shared>,
    runtime: tokio::runtime::Handle,
    end: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
pub struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
pub struct State {
    units: BTreeMap<String, Vec<(&'static str, OwnedValue)>>,
    /// Units by their objects.
    objects: HashMap<String, String>,
    moods: HashMap<Request, Mood>,
    moods_of: HashMap<String, Mood>,
    asked: HashMap<Request, u64>,
    looked_at: Vec<String>,
    /// All connections, and whether they are to hear signals.
    open: Vec<(Connection, UnixStream)>,
    /// It is itself, and no bus on which systemd may be.
    is_peer: bool,
    /// systemd is not on the bus.
    is_away: bool,
    /// Before systemd 230.
    is_old: bool,
}

/// What systemd says of a service that runs.
pub fn service(kind: &str, triggers: &[&str]) -> Vec<(&'static str, OwnedValue)> {
    let triggers: Vec<String> = triggers.iter().map(|&one| one.to_owned()).collect();
    vec![
        ("Type", value(kind)),
        ("TriggeredBy", value(triggers)),
        ("MainPID", value(std::process::id())),
        ("ExecMainStartTimestamp", value(1_795_413_424_123_456_u64)),
        // When it said that it is ready, or was done.
        ("ActiveEnterTimestamp", value(1_795_413_499_000_000_u64)),
        ("Slice", value("system.slice")),
    ]
}

pub fn value<'a>(value: impl Into<Value<'a>>) -> OwnedValue {
    value.into().try_into().expect("no descriptor")
}

/// The object of a unit; the escapes are systemd's.
pub fn path(unit: &str) -> OwnedObjectPath {
    let part = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        other => format!("_{other:02x}"),
    };
    let name: String = unit.bytes().map(part).collect();
    OwnedObjectPath::try_from(format!("/org/freedesktop/systemd1/unit/{name}")).expect("a path")
}

impl Fake {
    pub fn start(socket: &Path) -> Self {
        let listener = UnixListener::bind(socket).expect("a socket");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (end, ending) = tokio::sync::oneshot::channel();
        let shared = Arc::new(Shared::default());
        let (own, handle) = (Arc::clone(&shared), runtime.handle().clone());
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = ending => {}
                    () = serve::accept(own, listener) => {}
                }
            });
        });
        Self { socket: socket.to_owned(), shared, runtime: handle, end: Some(end), thread: Some(thread) }
    }

    /// What answers may be given elsewhere too.
    pub fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    pub fn put(&self, unit: &str, properties: Vec<(&'static str, OwnedValue)>) {
        let mut state = self.shared.lock();
        state.objects.insert(path(unit).to_string(), unit.to_owned());
        state.units.insert(unit.to_owned(), properties);
    }

    pub fn remove(&self, unit: &str) {
        self.shared.lock().units.remove(unit);
    }

    pub fn mood(&self, request: Request, mood: Mood) {
        self.shared.lock().moods.insert(request, mood);
    }

    /// Of requests for a unit, or for a property of any.
    pub fn mood_of(&self, name: &str, mood: Mood) {
        self.shared.lock().moods_of.insert(name.to_owned(), mood);
    }

    pub fn be_peer(&self) {
        self.shared.lock().is_peer = true;
    }

    pub fn be_old(&self) {
        self.shared.lock().is_old = true;
    }

    /// systemd comes to the bus, or goes.
    pub fn away(&self, away: bool) {
        self.shared.lock().is_away = away;
        let (old, new) = if away { (OWNER, "") } else { ("", OWNER) };
        let names = (serve::NAME, old, new);
        self.signal(BUS, ("/org/freedesktop/DBus", BUS, "NameOwnerChanged"), &names);
    }

    pub fn job_removed(&self, unit: &str) {
        self.job_removed_by(OWNER, unit);
    }

    pub fn job_removed_by(&self, sender: &str, unit: &str) {
        self.manager(sender, "JobRemoved", &(7_u32, path("job"), unit, "done"));
    }

    pub fn unit_removed(&self, unit: &str) {
        self.manager(OWNER, "UnitRemoved", &(unit, path(unit)));
    }

    pub fn manager(&self, sender: &str, member: &str, body: &(impl Serialize + DynamicType)) {
        self.signal(sender, (serve::PATH, serve::MANAGER, member), body);
    }

    fn signal(
        &self,
        sender: &str,
        (path, interface, member): (&str, &str, &str),
        body: &(impl Serialize + DynamicType),
    ) {
        let signal = zbus::Message::signal(path, interface, member).expect("good names");
        // systemd itself has no name.
        let named = if self.shared.lock().is_peer { Ok(signal) } else { signal.sender(sender) };
        let signal = named.expect("a name").build(body).expect("a body");
        let connections: Vec<_> = self.shared.lock().open.iter().map(|(open, _)| open.clone()).collect();
        let (sent, done) = mpsc::channel();
        drop(self.runtime.spawn(async move {
            for connection in connections {
                // It may have ended.
                let _ = connection.send(&signal).await;
            }
            let _ = sent.send(());
        }));
        done.recv_timeout(PATIENCE).expect("it is sent");
    }

    /// Sends all connections these bytes.
    pub fn raw(&self, bytes: &[u8]) {
        self.shared.lock().open.iter().for_each(|(_, stream)| serve::write(stream, bytes));
    }

    pub fn hang_up(&self) {
        for (_, stream) in self.shared.lock().open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub fn asked(&self, request: Request) -> u64 {
        self.shared.lock().asked.get(&request).copied().unwrap_or(0)
    }

    /// The units that were asked for, in order.
    pub fn looked_at(&self) -> Vec<String> {
        self.shared.lock().looked_at.clone()
    }

    #[track_caller]
    pub fn wait_asked(&self, request: Request, times: u64) {
        let less = |state: &mut State| state.asked.get(&request).is_none_or(|asked| *asked < times);
        let waited = self.shared.changed.wait_timeout_while(self.shared.lock(), PATIENCE, less);
        let (state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!waited.timed_out(), "{request:?} was not asked {times} times: {:?}", state.asked);
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        drop(self.end.take());
        self.hang_up();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.socket);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
