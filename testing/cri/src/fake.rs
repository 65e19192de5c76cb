//! Something that looks like containerd or CRI-O at a socket: it has the pods
//! and containers that a test gives it, and good and bad moods.

use super::api::{
    ContainerList, ContainerMetadata, ContainerRow, ContainerStatus, ContainerStatusResponse, Event,
    ImageSpec, LinuxSandboxStatus, ListRequest, NamespaceOptions, Namespaces, SandboxList, SandboxMetadata,
    SandboxRow, SandboxStatus, SandboxStatusResponse, StatusRequest, VersionResponse,
};
use super::grpc::{Answer, Mood, Serve, Server};
use prost::Message;
use prost::bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::mpsc;

#[derive(Debug, Clone)]
pub struct Pod {
    pub status: SandboxStatusResponse,
    pub state: i32,
}

#[derive(Debug, Clone)]
pub struct FakeContainer {
    pub status: ContainerStatusResponse,
    pub sandbox: String,
    pub state: i32,
}

#[derive(Debug, Default)]
struct State {
    version: (String, String),
    api: String,
    pods: BTreeMap<String, Pod>,
    containers: BTreeMap<String, FakeContainer>,
    moods: HashMap<String, Mood>,
    moods_of: HashMap<String, Mood>,
    asked: HashMap<String, u64>,
    /// Whether there is a stream of events.
    events: bool,
    listeners: Vec<mpsc::UnboundedSender<Bytes>>,
    /// What connections get in place of HTTP/2.
    raw: Option<Vec<u8>>,
}

/// With the value it is gone, and its socket too.
pub struct Fake {
    state: Shared,
    _server: Server,
}

#[derive(Clone)]
struct Shared(Arc<Mutex<State>>);

/// The id of the container with this number.
pub fn id(number: usize) -> String {
    format!("{number:064x}")
}

/// The id of a sandbox.
pub fn pod_id(number: usize) -> String {
    format!("{:064x}", 0xf000_0000 + number)
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A pod as the kubelet has it made.
pub fn pod(number: usize, name: &str) -> Pod {
    let status = SandboxStatus {
        id: pod_id(number),
        metadata: Some(SandboxMetadata {
            name: name.to_owned(),
            uid: format!("uid-{number}"),
            namespace: "shop".to_owned(),
            attempt: 0,
        }),
        created_at: 1_795_413_423_000_000_000,
        linux: Some(LinuxSandboxStatus {
            namespaces: Some(Namespaces { options: Some(NamespaceOptions::default()) }),
        }),
        labels: labels(&[
            ("app", "web"),
            ("io.kubernetes.pod.name", name),
            ("io.kubernetes.pod.namespace", "shop"),
            ("io.kubernetes.pod.uid", "uid"),
        ]),
        ..SandboxStatus::default()
    };
    Pod {
        status: SandboxStatusResponse { status: Some(status), info: labels(&[("info", "{\"pid\":0}")]) },
        state: 0,
    }
}

/// A running container of a pod.
pub fn container(number: usize, pod: usize, name: &str) -> FakeContainer {
    let status = ContainerStatus {
        id: id(number),
        metadata: Some(ContainerMetadata { name: name.to_owned(), attempt: 0 }),
        state: 1,
        started_at: 1_795_413_424_123_456_789,
        image: Some(ImageSpec { image: "docker.io/library/nginx:1.27".to_owned(), ..ImageSpec::default() }),
        image_ref: "sha256:1".to_owned(),
        labels: labels(&[
            ("io.kubernetes.container.name", name),
            ("io.kubernetes.pod.name", &format!("web-{pod}")),
            ("io.kubernetes.pod.namespace", "shop"),
        ]),
        log_path: format!("/var/log/pods/shop_web-{pod}_uid-{pod}/{name}/0.log"),
        ..ContainerStatus::default()
    };
    let info = format!(
        r#"{{"sandboxID":"{}","pid":0,"runtimeSpec":{{"process":{{"env":["PATH=/bin"]}}}}}}"#,
        pod_id(pod)
    );
    FakeContainer {
        status: ContainerStatusResponse { status: Some(status), info: labels(&[("info", &info)]) },
        sandbox: pod_id(pod),
        state: 1,
    }
}

impl Pod {
    fn row(&self) -> SandboxRow {
        let status = self.status.status.clone().unwrap_or_default();
        SandboxRow {
            id: status.id,
            metadata: status.metadata,
            state: self.state,
            created_at: status.created_at,
            labels: status.labels,
            annotations: status.annotations,
            runtime_handler: status.runtime_handler,
        }
    }
}

impl FakeContainer {
    fn row(&self, id: &str) -> ContainerRow {
        let status = self.status.status.clone().unwrap_or_default();
        ContainerRow {
            id: id.to_owned(),
            sandbox: self.sandbox.clone(),
            metadata: status.metadata,
            image: status.image,
            image_ref: status.image_ref,
            state: self.state,
            created_at: status.created_at,
            labels: status.labels,
            annotations: status.annotations,
            image_id: status.image_id,
        }
    }
}

impl Fake {
    /// A containerd of a version in which nobody else may listen to events.
    pub fn containerd(socket: &Path) -> Self {
        Self::start(socket, "containerd", "1.7.27", false)
    }

    /// A CRI-O that sends events (`enable_pod_events`); one that does not ends the
    /// stream of them at once. See [`crate::crio`] for what it says.
    pub fn crio(socket: &Path) -> Self {
        Self::start(socket, "cri-o", "1.31.0", true)
    }

    pub fn start(socket: &Path, name: &str, version: &str, events: bool) -> Self {
        let state = State {
            version: (name.to_owned(), version.to_owned()),
            api: "runtime.v1".to_owned(),
            events,
            ..State::default()
        };
        let state = Shared(Arc::new(Mutex::new(state)));
        Self { _server: Server::start(socket, state.clone()), state }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The package that it knows; another one is not implemented.
    pub fn api(&self, package: &str) {
        self.lock().api = package.to_owned();
    }

    pub fn raw(&self, bytes: Option<&[u8]>) {
        self.lock().raw = bytes.map(<[u8]>::to_vec);
    }

    pub fn put_pod(&self, pod: Pod) {
        let id = pod.status.status.as_ref().expect("a status").id.clone();
        self.lock().pods.insert(id, pod);
    }

    pub fn put(&self, container: FakeContainer) {
        let id = container.status.status.as_ref().expect("a status").id.clone();
        self.lock().containers.insert(id, container);
    }

    /// One whose answers are about another id.
    pub fn put_as(&self, id: &str, container: FakeContainer) {
        self.lock().containers.insert(id.to_owned(), container);
    }

    pub fn remove(&self, id: &str) {
        let mut state = self.lock();
        state.containers.remove(id);
        state.pods.remove(id);
    }

    /// How a method is answered from now on.
    pub fn mood(&self, method: &str, mood: Mood) {
        self.lock().moods.insert(method.to_owned(), mood);
    }

    /// How statuses of one container are answered from now on.
    pub fn mood_of(&self, id: &str, mood: Mood) {
        self.lock().moods_of.insert(id.to_owned(), mood);
    }

    /// How often a method was asked.
    pub fn asked(&self, method: &str) -> u64 {
        self.lock().asked.get(method).copied().unwrap_or(0)
    }

    /// Tells all who listen.
    pub fn event(&self, kind: i32, id: &str) {
        self.raw_event(&Event { id: id.to_owned(), kind, ..Event::default() }.encode_to_vec());
    }

    pub fn raw_event(&self, message: &[u8]) {
        let message = Bytes::copy_from_slice(message);
        self.lock().listeners.retain(|listener| listener.send(message.clone()).is_ok());
    }

    /// How many listen.
    pub fn listeners(&self) -> usize {
        self.lock().listeners.len()
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

    fn serve(&self, path: &str, _namespace: &str, question: &[u8]) -> Answer {
        let (service, method) = path.trim_start_matches('/').split_once('/').unwrap_or_default();
        let mut state = self.lock();
        *state.asked.entry(method.to_owned()).or_default() += 1;
        if service != format!("{}.RuntimeService", state.api) {
            return Answer::One(Mood::Code(12), Ok(Vec::new()));
        }
        let id = StatusRequest::decode(question).map(|request| request.id).unwrap_or_default();
        let of_one = state.moods_of.get(&id).filter(|_| method.ends_with("Status")).cloned();
        let mood = of_one.or_else(|| state.moods.get(method).cloned()).unwrap_or(Mood::Good);
        if method == "GetContainerEvents" && mood == Mood::Good {
            let (listener, heard) = mpsc::unbounded_channel();
            if state.events {
                state.listeners.push(listener);
            }
            return Answer::Stream(heard);
        }
        Answer::One(mood, state.answer(method, question))
    }
}

impl State {
    fn answer(&self, method: &str, question: &[u8]) -> Result<Vec<u8>, u16> {
        let StatusRequest { id, verbose } = StatusRequest::decode(question).unwrap_or_default();
        let filter =
            ListRequest::decode(question).ok().and_then(|request| request.filter).unwrap_or_default();
        let state = filter.state.map(|state| state.state);
        let listed = |id: &str, its: i32| {
            (filter.id.is_empty() || filter.id == id) && state.is_none_or(|state| state == its)
        };
        match method {
            "Version" => Ok(VersionResponse {
                version: "0.1.0".to_owned(),
                runtime_name: self.version.0.clone(),
                runtime_version: self.version.1.clone(),
                runtime_api_version: "v1".to_owned(),
            }
            .encode_to_vec()),
            "ListPodSandbox" => {
                let rows = self.pods.iter().filter(|(id, pod)| listed(id, pod.state));
                Ok(SandboxList { rows: rows.map(|(_, pod)| pod.row()).collect() }.encode_to_vec())
            }
            "ListContainers" => {
                let rows = self.containers.iter().filter(|(id, one)| listed(id, one.state));
                Ok(ContainerList { rows: rows.map(|(id, one)| one.row(id)).collect() }.encode_to_vec())
            }
            "PodSandboxStatus" => {
                let mut pod = self.pods.get(&id).cloned().ok_or(5_u16)?;
                pod.status.info.retain(|_, _| verbose);
                Ok(pod.status.encode_to_vec())
            }
            "ContainerStatus" => {
                let mut one = self.containers.get(&id).cloned().ok_or(5_u16)?;
                one.status.info.retain(|_, _| verbose);
                Ok(one.status.encode_to_vec())
            }
            _ => Err(12),
        }
    }
}
