//! Something that looks like containerd's own API at a socket: it has the
//! namespaces and containers that a test gives it, and good and bad moods.

use super::grpc::{Answer, Mood, Serve, Server};
use gantry_containers::containerd::api::{
    Any, Container, Envelope, GetContainer, GetTask, GotContainer, GotTask, Listed, Namespace, Namespaces,
    OfContainer, Process, Row, Subscribe, Timestamp,
};
use prost::Message;
use prost::bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::mpsc;

/// A container with what its task is.
#[derive(Debug, Clone)]
pub struct Plain {
    pub container: Container,
    pub updated: i64,
    pub process: Option<Process>,
}

#[derive(Debug, Default)]
struct State {
    /// By namespace and id.
    all: BTreeMap<(String, String), Plain>,
    namespaces: Vec<String>,
    moods: HashMap<String, Mood>,
    moods_of: HashMap<String, Mood>,
    asked: HashMap<String, u64>,
    filters: Vec<String>,
    listeners: Vec<mpsc::UnboundedSender<Bytes>>,
    raw: Option<Vec<u8>>,
    /// What it says of itself.
    version: Version,
}

/// Of `containerd.services.version.v1`, `VersionResponse`.
#[derive(Clone, PartialEq, Message)]
struct Version {
    #[prost(string, tag = "1")]
    version: String,
    #[prost(string, tag = "2")]
    revision: String,
}

#[derive(Clone)]
struct Shared(Arc<Mutex<State>>);

/// With the value it is gone, and its socket too.
pub struct Fake {
    state: Shared,
    _server: Server,
}

/// The id of the container with this number, as nerdctl makes them.
pub fn id(number: usize) -> String {
    format!("{number:064x}")
}

/// A container as `ctr run` makes it.
pub fn plain(id: &str) -> Plain {
    let spec = r#"{"process":{"env":["PATH=/bin","A=b"]},"mounts":[{"destination":"/proc","type":"proc"},
        {"destination":"/etc/hosts","type":"bind","source":"/x","options":["bind"]},
        {"destination":"/data","type":"bind","source":"/srv/data","options":["rbind","rw"]}],
        "linux":{"namespaces":[{"type":"pid"},{"type":"network"}]}}"#;
    let container = Container {
        id: id.to_owned(),
        labels: BTreeMap::from([("team".to_owned(), "shop".to_owned())]),
        image: "docker.io/library/redis:7".to_owned(),
        spec: Some(Any {
            type_url: "types.containerd.io/opencontainers/runtime-spec/1/Spec".to_owned(),
            value: spec.as_bytes().to_vec(),
        }),
    };
    Plain { container, updated: 1, process: Some(Process { pid: 0, status: 2 }) }
}

/// One that nerdctl made.
pub fn nerdctl(id: &str, name: &str) -> Plain {
    let mut plain = plain(id);
    plain.container.labels.extend([
        ("nerdctl/name".to_owned(), name.to_owned()),
        (
            "nerdctl/mounts".to_owned(),
            r#"[{"Type":"volume","Name":"data","Destination":"/data"}]"#.to_owned(),
        ),
        ("nerdctl/networks".to_owned(), r#"["bridge"]"#.to_owned()),
        ("nerdctl/state-dir".to_owned(), format!("/var/lib/nerdctl/1935db59/containers/shop/{id}")),
        ("nerdctl/log-config".to_owned(), r#"{"driver":"json-file"}"#.to_owned()),
    ]);
    plain
}

impl Fake {
    pub fn start(socket: &Path) -> Self {
        let state = Shared(Arc::default());
        state.lock().namespaces = ["default", "moby", "k8s.io"].map(str::to_owned).to_vec();
        state.lock().version = Version { version: "1.7.27".to_owned(), revision: "05044ec".to_owned() };
        Self { _server: Server::start(socket, state.clone()), state }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// It is another one from now on.
    pub fn version(&self, version: &str) {
        self.lock().version.version = version.to_owned();
    }

    pub fn namespace(&self, name: &str) {
        self.lock().namespaces.push(name.to_owned());
    }

    pub fn put(&self, namespace: &str, plain: Plain) {
        self.lock().all.insert((namespace.to_owned(), plain.container.id.clone()), plain);
    }

    /// One whose answers are about another id.
    pub fn put_as(&self, namespace: &str, id: &str, plain: Plain) {
        self.lock().all.insert((namespace.to_owned(), id.to_owned()), plain);
    }

    pub fn remove(&self, namespace: &str, id: &str) {
        self.lock().all.remove(&(namespace.to_owned(), id.to_owned()));
    }

    pub fn raw(&self, bytes: Option<&[u8]>) {
        self.lock().raw = bytes.map(<[u8]>::to_vec);
    }

    /// How a method is answered from now on, as `Tasks/Get`.
    pub fn mood(&self, method: &str, mood: Mood) {
        self.lock().moods.insert(method.to_owned(), mood);
    }

    /// How a method is answered about one container.
    pub fn mood_of(&self, method: &str, id: &str, mood: Mood) {
        self.lock().moods_of.insert(format!("{method} {id}"), mood);
    }

    pub fn asked(&self, method: &str) -> u64 {
        self.lock().asked.get(method).copied().unwrap_or(0)
    }

    /// What who listens wants to hear.
    pub fn filters(&self) -> Vec<String> {
        self.lock().filters.clone()
    }

    /// How many listen.
    pub fn listeners(&self) -> usize {
        self.lock().listeners.len()
    }

    /// Tells all who listen.
    pub fn event(&self, namespace: &str, topic: &str, id: &str) {
        let value = OfContainer { id: id.to_owned() }.encode_to_vec();
        let event = Some(Any { type_url: "containerd.events.X".to_owned(), value });
        let envelope = Envelope { namespace: namespace.to_owned(), topic: topic.to_owned(), event };
        self.raw_event(&envelope.encode_to_vec());
    }

    pub fn raw_event(&self, message: &[u8]) {
        let message = Bytes::copy_from_slice(message);
        self.lock().listeners.retain(|listener| listener.send(message.clone()).is_ok());
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics with it")
    }
}

impl Serve for Shared {
    fn raw(&self) -> Option<Vec<u8>> {
        self.lock().raw.clone()
    }

    fn serve(&self, path: &str, namespace: &str, question: &[u8]) -> Answer {
        let method = path.trim_start_matches("/containerd.services.");
        let method = method.split_once(".v1.").map_or(method, |(_, method)| method);
        let mut state = self.lock();
        *state.asked.entry(method.to_owned()).or_default() += 1;
        let id = GetContainer::decode(question).map(|request| request.id).unwrap_or_default();
        let of_one = state.moods_of.get(&format!("{method} {id}")).cloned();
        let mood = of_one.or_else(|| state.moods.get(method).cloned()).unwrap_or(Mood::Good);
        if mood == Mood::Good && method == "Events/Subscribe" {
            let (listener, heard) = mpsc::unbounded_channel();
            state.filters = Subscribe::decode(question).unwrap_or_default().filters;
            state.listeners.push(listener);
            return Answer::Stream(heard);
        }
        if mood == Mood::Good && method == "Containers/ListStream" {
            let rows = state.all.iter().filter(|((of, _), _)| of == namespace);
            let row = |((_, id), plain): (&(String, String), &Plain)| {
                let updated_at = Some(Timestamp { seconds: plain.updated, nanos: 0 });
                Listed { container: Some(Row { id: id.clone(), updated_at }) }.encode_to_vec()
            };
            return Answer::All(rows.map(row).collect());
        }
        let plain = state.all.get(&(namespace.to_owned(), id)).cloned();
        let answer = match method {
            "Version/Version" => Ok(state.version.encode_to_vec()),
            "Namespaces/List" => {
                let name = |name: &String| Namespace { name: name.clone() };
                Ok(Namespaces { namespaces: state.namespaces.iter().map(name).collect() }.encode_to_vec())
            }
            "Containers/Get" => {
                plain.map(|plain| GotContainer { container: Some(plain.container) }.encode_to_vec()).ok_or(5)
            }
            "Tasks/Get" => {
                assert!(GetTask::decode(question).is_ok());
                let process = plain.and_then(|plain| plain.process);
                process.map(|process| GotTask { process: Some(process) }.encode_to_vec()).ok_or(5)
            }
            "Containers/ListStream" => Ok(Listed::default().encode_to_vec()),
            _ => Err(12),
        };
        Answer::One(mood, answer)
    }
}
