//! Something that looks like Docker at a socket: it has the containers that a
//! test gives it, and good and bad moods. Speaks HTTP/1.1, one request a
//! connection, a thread each.

mod answer;
mod libpod;
mod query;

use answer::Answer;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Request {
    /// `/version`
    Version,
    /// `/events`
    Events,
    /// `/containers/json`
    List,
    /// `/containers/ID/json`
    Inspect,
    /// `/libpod/containers/ID/json` and `/libpod/pods/ID/json`, of a Podman alone
    Libpod,
}

/// How requests of one kind are answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mood {
    /// As Docker does.
    Good,
    /// Never.
    Hang,
    /// With the head of an answer, and never with the rest.
    HangInBody,
    /// With bytes that are no HTTP.
    Garbage,
    /// With this, in place of JSON.
    Body(Vec<u8>),
    /// With an error of this status.
    Status(u16),
    /// With half of the body that its head announces; then the connection ends.
    Half,
    /// With a body that has no end.
    Endless,
    /// Not at all: the connection ends.
    Close,
}

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A Docker that is none. With the value it is gone, and its socket too.
#[derive(Debug)]
pub struct Fake {
    socket: PathBuf,
    shared: Arc<Shared>,
    /// The same socket as the thread's, to end its waiting.
    listener: UnixListener,
    listening: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// By id; Docker lists the newest first, which here are the greatest ids.
    containers: BTreeMap<String, Value>,
    /// What a Podman says besides, of containers and pods.
    libpod: BTreeMap<String, Value>,
    /// Of a Podman's own API: all, of which it speaks the last.
    podman: Option<String>,
    /// In which versions that was asked.
    libpod_asked: BTreeSet<String>,
    /// Of Docker's own API.
    versions: Versions,
    /// In which of them it was asked, as paths begin with it.
    asked_in: BTreeSet<String>,
    moods: HashMap<Request, Mood>,
    /// By container.
    moods_of: HashMap<String, Mood>,
    asked: HashMap<Request, u64>,
    inspected: Vec<String>,
    /// Who listens to events.
    listeners: Vec<UnixStream>,
    /// All connections, by number, to be ended.
    open: HashMap<u64, UnixStream>,
    accepted: u64,
    ending: bool,
}

/// The newest version of its API that a Docker speaks, and the oldest, which
/// those before 1.25 do not say.
#[derive(Debug, Clone)]
struct Versions {
    newest: String,
    oldest: Option<String>,
}

impl Default for Versions {
    fn default() -> Self {
        Self { newest: "1.44".to_owned(), oldest: Some("1.24".to_owned()) }
    }
}

/// The id of the container with this number.
pub fn id(number: usize) -> String {
    format!("{number:064x}")
}

/// What Docker says of a running container.
pub fn container(number: usize, name: &str) -> Value {
    json!({
        "Id": id(number),
        "Created": "2026-11-23T05:57:03.5Z",
        "Name": format!("/{name}"),
        "Image": format!("sha256:{}", id(7)),
        "LogPath": format!("/var/lib/docker/containers/{0}/{0}-json.log", id(number)),
        "State": { "Status": "running", "Running": true, "Pid": 0, "StartedAt": "2026-11-23T05:57:04.123456789Z" },
        "Config": { "Image": "nginx:1.27", "Labels": {}, "Env": ["PATH=/bin"] },
        "HostConfig": { "NetworkMode": "bridge", "LogConfig": { "Type": "json-file", "Config": {} } },
        "Mounts": [],
        "NetworkSettings": { "Ports": {}, "Networks": { "bridge": {} } },
    })
}

impl Fake {
    /// At this socket.
    ///
    /// # Panics
    /// Where it cannot be made.
    pub fn start(socket: &Path) -> Self {
        let listener =
            UnixListener::bind(socket).unwrap_or_else(|error| panic!("{}: {error}", socket.display()));
        let ours = listener.try_clone().expect("a descriptor");
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        let listening = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let own = Arc::clone(&own);
                let Some(number) = own.accepted(&stream) else { return };
                // Each ends with its connection.
                drop(std::thread::spawn(move || {
                    own.serve(stream);
                    own.lock().open.remove(&number);
                }));
            }
        });
        Self { socket: socket.to_owned(), shared, listener: ours, listening: Some(listening) }
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// A container is there, or is another now. Nobody is told.
    ///
    /// # Panics
    /// Where it has no id.
    pub fn put(&self, container: Value) {
        let id = container["Id"].as_str().expect("a container has an id").to_owned();
        self.shared.lock().containers.insert(id, container);
    }

    /// From now on it is a Podman, whose own API has this version.
    pub fn podman(&self, version: &str) {
        self.shared.lock().podman = Some(version.to_owned());
    }

    /// What a Podman's own API says of a container beside what it says to
    /// Docker's clients, or of a pod. Of others that knows nothing.
    pub fn libpod(&self, id: &str, says: Value) {
        self.shared.lock().libpod.insert(id.to_owned(), says);
    }

    /// From now on it speaks these versions of its API: the newest, and the
    /// oldest where it says it.
    pub fn speaks(&self, newest: &str, oldest: Option<&str>) {
        let (newest, oldest) = (newest.to_owned(), oldest.map(str::to_owned));
        self.shared.lock().versions = Versions { newest, oldest };
    }

    /// In which versions of its API it was asked for events, lists and containers.
    pub fn asked_in(&self) -> Vec<String> {
        self.shared.lock().asked_in.iter().cloned().collect()
    }

    /// In which versions its own API was asked.
    pub fn libpod_asked(&self) -> Vec<String> {
        self.shared.lock().libpod_asked.iter().cloned().collect()
    }

    /// A container is no more. Nobody is told.
    pub fn remove(&self, id: &str) {
        self.shared.lock().containers.remove(id);
    }

    /// How requests of a kind are answered from now on.
    pub fn mood(&self, request: Request, mood: Mood) {
        self.shared.lock().moods.insert(request, mood);
    }

    /// How requests about one container are answered from now on.
    pub fn mood_of(&self, id: &str, mood: Mood) {
        self.shared.lock().moods_of.insert(id.to_owned(), mood);
    }

    /// Tells all who listen of an event of a container.
    pub fn event(&self, action: &str, id: &str) {
        let event = json!({
            "status": action, "id": id, "Type": "container", "Action": action,
            "Actor": { "ID": id, "Attributes": { "image": "nginx" } },
            "scope": "local", "time": 1, "timeNano": 1,
        });
        self.raw_event(format!("{event}\n").as_bytes());
    }

    /// Sends all who listen these bytes, as one chunk.
    pub fn raw_event(&self, bytes: &[u8]) {
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend_from_slice(bytes);
        chunk.extend_from_slice(b"\r\n");
        self.shared.lock().listeners.retain(|mut stream| stream.write_all(&chunk).is_ok());
    }

    /// Ends the connections of all who listen.
    pub fn hang_up(&self) {
        for stream in self.shared.lock().listeners.drain(..) {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// How often something was asked.
    pub fn asked(&self, request: Request) -> u64 {
        self.shared.lock().asked.get(&request).copied().unwrap_or(0)
    }

    /// The containers that were asked for, in order.
    pub fn inspected(&self) -> Vec<String> {
        self.shared.lock().inspected.clone()
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.shared.lock().open.len()
    }

    /// Waits until something was asked so often.
    ///
    /// # Panics
    /// Where it was not within 20 s.
    #[track_caller]
    pub fn wait_asked(&self, request: Request, times: u64) {
        let less = |state: &mut State| state.asked.get(&request).is_none_or(|asked| *asked < times);
        let waited = self.shared.changed.wait_timeout_while(self.shared.lock(), PATIENCE, less);
        let (state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!waited.timed_out(), "{request:?} was not asked {times} times: {:?}", state.asked);
    }

    /// Waits until so many listen to events.
    ///
    /// # Panics
    /// Where they do not within 20 s.
    #[track_caller]
    pub fn wait_listeners(&self, count: usize) {
        let less = |state: &mut State| state.listeners.len() < count;
        let waited = self.shared.changed.wait_timeout_while(self.shared.lock(), PATIENCE, less);
        let timed_out = waited.map_or(true, |(_state, waited)| waited.timed_out());
        assert!(!timed_out, "nobody listens to events");
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        {
            let mut state = self.shared.lock();
            state.ending = true;
            for (_, stream) in state.open.drain() {
                let _ = stream.shutdown(Shutdown::Both);
            }
            state.listeners.clear();
        }
        // Wakes the one that accepts, also where the socket's directory is gone.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        if let Some(listening) = self.listening.take() {
            let _ = listening.join();
        }
        let _ = std::fs::remove_file(&self.socket);
    }
}

impl State {
    fn version(&self) -> Answer {
        let Some(own) = &self.podman else {
            let Versions { newest, oldest } = &self.versions;
            let mut says = json!({ "Version": "28.0.0", "ApiVersion": newest });
            if let Some(oldest) = oldest {
                says["MinAPIVersion"] = json!(oldest);
            }
            return Answer::json(&says);
        };
        Answer::json(&json!({
            "Version": own, "ApiVersion": "1.41", "MinAPIVersion": "1.24",
            "Components": [
                { "Name": "Podman Engine", "Version": own, "Details": { "APIVersion": own } },
                { "Name": "Conmon", "Version": "2.1.6", "Details": { "Package": "conmon" } },
            ],
        }))
    }
}

impl Shared {
    /// The number of a new connection; `None` where all comes to its end.
    fn accepted(&self, stream: &UnixStream) -> Option<u64> {
        let mut state = self.lock();
        if state.ending {
            return None;
        }
        state.accepted += 1;
        let number = state.accepted;
        if let Ok(clone) = stream.try_clone() {
            state.open.insert(number, clone);
        }
        Some(number)
    }

    fn serve(&self, mut stream: UnixStream) {
        let Some(target) = head(&mut stream) else { return };
        let Some((request, container)) = kind(&target) else {
            let _ = Answer::error(404, "page not found").send(&mut stream);
            return;
        };
        let mood = {
            let mut state = self.lock();
            *state.asked.entry(request).or_default() += 1;
            if !matches!(request, Request::Version | Request::Libpod) {
                state.asked_in.extend(target.split('/').nth(1).map(str::to_owned));
            }
            state.inspected.extend(container.clone().filter(|_| request == Request::Inspect));
            let of_container = container.as_ref().filter(|_| request != Request::Libpod);
            let of_container = of_container.and_then(|id| state.moods_of.get(id)).cloned();
            of_container.or_else(|| state.moods.get(&request).cloned()).unwrap_or(Mood::Good)
        };
        self.changed.notify_all();
        // Whoever asked may have gone away.
        let _ = self.answer(request, &target, container.as_deref(), mood, &mut stream);
        let _ = stream.shutdown(Shutdown::Both);
    }

    fn answer(
        &self,
        request: Request,
        target: &str,
        container: Option<&str>,
        mood: Mood,
        stream: &mut UnixStream,
    ) -> std::io::Result<()> {
        let body = match (request, container) {
            (Request::Events, _) => Answer::Events,
            (Request::Version, _) => self.lock().version(),
            (Request::Libpod, id) => {
                let mut state = self.lock();
                state.libpod_asked.extend(target.split('/').nth(1).map(str::to_owned));
                let id = id.unwrap_or_default();
                match state.libpod.get(id) {
                    Some(besides) => Answer::json(&libpod::says(state.containers.get(id), besides)),
                    None => Answer::error(404, "no such container"),
                }
            }
            (Request::List, _) => query::list(&self.lock().containers, target),
            (Request::Inspect, id) => match self.lock().containers.get(id.unwrap_or_default()) {
                Some(known) => Answer::json(known),
                None => Answer::error(404, "No such container"),
            },
        };
        match mood {
            Mood::Good if request == Request::Events => {
                let mut state = self.lock();
                stream.write_all(answer::CHUNKED)?;
                state.listeners.extend(stream.try_clone());
                drop(state);
                self.changed.notify_all();
                wait_for_end(stream)
            }
            Mood::Good => body.send(stream),
            mood => body.spoiled(&mood, stream),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The target of a request, when its head is whole.
fn head(stream: &mut UnixStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 || head.len() > 64 << 10 {
            return None;
        }
        head.push(byte[0]);
    }
    Some(String::from_utf8_lossy(&head).split(' ').nth(1)?.to_owned())
}

/// What is asked, and of which container.
fn kind(target: &str) -> Option<(Request, Option<String>)> {
    let path = target.split('?').next()?;
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let parts = match parts.as_slice() {
        [version, rest @ ..] if version.starts_with("v1.") => rest,
        all => all,
    };
    match parts {
        ["version"] => Some((Request::Version, None)),
        ["events"] => Some((Request::Events, None)),
        ["containers", "json"] => Some((Request::List, None)),
        ["containers", id, "json"] => Some((Request::Inspect, Some((*id).to_owned()))),
        [_, "libpod", "containers" | "pods", id, "json"] => Some((Request::Libpod, Some((*id).to_owned()))),
        _ => None,
    }
}

/// Until the other side goes away, or this one ends.
fn wait_for_end(stream: &mut UnixStream) -> std::io::Result<()> {
    let mut byte = [0];
    while stream.read(&mut byte)? > 0 {}
    Ok(())
}
