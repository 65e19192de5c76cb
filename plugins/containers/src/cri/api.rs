//! The messages of Kubernetes' CRI (`runtime.v1`, api.proto) with the fields
//! that are used; the rest of an answer is passed over where it is read.

use crate::grpc::rows::Rows;
use prost::Message;
use std::collections::BTreeMap;

/// A request that says nothing.
#[derive(Clone, PartialEq, Message)]
pub struct Empty {}

/// Of `Version`.
#[derive(Clone, PartialEq, Message)]
pub struct VersionResponse {
    /// Who answers.
    #[prost(string, tag = "2")]
    pub runtime_name: String,
    /// Its version.
    #[prost(string, tag = "3")]
    pub runtime_version: String,
}

/// `NODE` of the enumeration `NamespaceMode`: the node's own namespace.
pub const NODE: i32 = 2;

/// Ready, or running: in lists, which containers they are about.
#[derive(Clone, PartialEq, Message)]
pub struct StateValue {
    /// Of `PodSandboxState` or `ContainerState`.
    #[prost(int32, tag = "1")]
    pub state: i32,
}

/// `SANDBOX_READY`
pub const READY: i32 = 0;
/// `CONTAINER_RUNNING`
pub const RUNNING: i32 = 1;

/// Which sandboxes, or containers, a list is about.
#[derive(Clone, PartialEq, Message)]
pub struct Filter {
    /// This one.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Those in a state.
    #[prost(message, optional, tag = "2")]
    pub state: Option<StateValue>,
}

/// `ListPodSandbox` and `ListContainers`.
#[derive(Clone, PartialEq, Message)]
pub struct ListRequest {
    /// Without it, all.
    #[prost(message, optional, tag = "1")]
    pub filter: Option<Filter>,
}

/// A row of `ListPodSandbox`. Of ten thousand no more is kept than tells
/// whether it is another one than before.
#[derive(Clone, PartialEq, Message)]
pub struct SandboxRow {
    /// Its id.
    #[prost(string, tag = "1")]
    pub id: String,
    /// `PodSandboxState`.
    #[prost(int32, tag = "3")]
    pub state: i32,
}

/// A row of `ListContainers`.
#[derive(Clone, PartialEq, Message)]
pub struct ContainerRow {
    /// Its id.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Its pod's sandbox.
    #[prost(string, tag = "2")]
    pub sandbox: String,
    /// `ContainerState`.
    #[prost(int32, tag = "6")]
    pub state: i32,
}

/// Of `ListPodSandbox`.
pub type SandboxList = Rows<SandboxRow>;
/// Of `ListContainers`.
pub type ContainerList = Rows<ContainerRow>;

/// `PodSandboxStatus` and `ContainerStatus`.
#[derive(Clone, PartialEq, Message)]
pub struct StatusRequest {
    /// Of which one.
    #[prost(string, tag = "1")]
    pub id: String,
    /// With what the runtime knows besides, as JSON.
    #[prost(bool, tag = "2")]
    pub verbose: bool,
}

/// Of `PodSandboxStatus`.
#[derive(Clone, PartialEq, Message)]
pub struct SandboxStatusResponse {
    /// The sandbox.
    #[prost(message, optional, tag = "1")]
    pub status: Option<SandboxStatus>,
    /// JSON under names of the runtime's choice.
    #[prost(btree_map = "string, string", tag = "2")]
    pub info: BTreeMap<String, String>,
}

/// A pod's sandbox.
#[derive(Clone, PartialEq, Message)]
pub struct SandboxStatus {
    /// Its id.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Which pod.
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<SandboxMetadata>,
    /// Nanoseconds since the epoch.
    #[prost(int64, tag = "4")]
    pub created_at: i64,
    /// Its namespaces.
    #[prost(message, optional, tag = "6")]
    pub linux: Option<LinuxSandboxStatus>,
    /// The pod's labels, and the kubelet's.
    #[prost(btree_map = "string, string", tag = "7")]
    pub labels: BTreeMap<String, String>,
}

/// A pod's name.
#[derive(Clone, PartialEq, Message)]
pub struct SandboxMetadata {
    /// The pod.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its uid; of a static pod a digest.
    #[prost(string, tag = "2")]
    pub uid: String,
    /// Its namespace.
    #[prost(string, tag = "3")]
    pub namespace: String,
}

/// What Linux gives a sandbox.
#[derive(Clone, PartialEq, Message)]
pub struct LinuxSandboxStatus {
    /// Its namespaces.
    #[prost(message, optional, tag = "1")]
    pub namespaces: Option<Namespaces>,
}

/// A sandbox's namespaces.
#[derive(Clone, PartialEq, Message)]
pub struct Namespaces {
    /// Whose they are.
    #[prost(message, optional, tag = "2")]
    pub options: Option<NamespaceOptions>,
}

/// Whose namespaces they are.
#[derive(Clone, PartialEq, Message)]
pub struct NamespaceOptions {
    /// Of the network; see [`NODE`].
    #[prost(int32, tag = "1")]
    pub network: i32,
}

/// Of `ContainerStatus`.
#[derive(Clone, PartialEq, Message)]
pub struct ContainerStatusResponse {
    /// The container.
    #[prost(message, optional, tag = "1")]
    pub status: Option<ContainerStatus>,
    /// JSON under names of the runtime's choice.
    #[prost(btree_map = "string, string", tag = "2")]
    pub info: BTreeMap<String, String>,
}

/// A container.
#[derive(Clone, PartialEq, Message)]
pub struct ContainerStatus {
    /// Its id.
    #[prost(string, tag = "1")]
    pub id: String,
    /// What its pod calls it.
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<ContainerMetadata>,
    /// Nanoseconds since the epoch; 0 before it was started.
    #[prost(int64, tag = "5")]
    pub started_at: i64,
    /// Its image.
    #[prost(message, optional, tag = "8")]
    pub image: Option<ImageSpec>,
    /// Its image's digest.
    #[prost(string, tag = "9")]
    pub image_ref: String,
    /// The kubelet's labels.
    #[prost(btree_map = "string, string", tag = "12")]
    pub labels: BTreeMap<String, String>,
    /// What is mounted in it.
    #[prost(message, repeated, tag = "14")]
    pub mounts: Vec<Mount>,
    /// The file of its output.
    #[prost(string, tag = "15")]
    pub log_path: String,
}

/// A container's name.
#[derive(Clone, PartialEq, Message)]
pub struct ContainerMetadata {
    /// In its pod.
    #[prost(string, tag = "1")]
    pub name: String,
}

/// An image.
#[derive(Clone, PartialEq, Message)]
pub struct ImageSpec {
    /// A name or a digest.
    #[prost(string, tag = "1")]
    pub image: String,
    /// As the pod asked for it.
    #[prost(string, tag = "18")]
    pub user_specified_image: String,
}

/// Something of the node, or of an image, that a container sees.
#[derive(Clone, PartialEq, Message)]
pub struct Mount {
    /// Where the container sees it.
    #[prost(string, tag = "1")]
    pub container_path: String,
    /// Where it lies; empty where it is an image's.
    #[prost(string, tag = "2")]
    pub host_path: String,
    /// It cannot be written to.
    #[prost(bool, tag = "3")]
    pub readonly: bool,
    /// The image that is mounted.
    #[prost(message, optional, tag = "9")]
    pub image: Option<ImageSpec>,
}

/// Of `GetContainerEvents`.
#[derive(Clone, PartialEq, Message)]
pub struct Event {
    /// Of a container, or of a sandbox.
    #[prost(string, tag = "1")]
    pub id: String,
    /// `ContainerEventType`; see [`DELETED`].
    #[prost(int32, tag = "2")]
    pub kind: i32,
}

/// `CONTAINER_DELETED_EVENT`
pub const DELETED: i32 = 3;
