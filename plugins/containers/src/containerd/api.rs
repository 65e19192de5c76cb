//! The messages of containerd's own API (`containerd.services.*.v1` and
//! `containerd.types`) with the fields that are used; the rest of an answer is
//! passed over where it is read.

use prost::Message;
use std::collections::BTreeMap;

/// A request, or an answer, of which nothing is used.
#[derive(Clone, PartialEq, Message)]
pub struct Empty {}

/// Of `Namespaces/List`.
#[derive(Clone, PartialEq, Message)]
pub struct Namespaces {
    /// All of them.
    #[prost(message, repeated, tag = "1")]
    pub namespaces: Vec<Namespace>,
}

/// A namespace.
#[derive(Clone, PartialEq, Message)]
pub struct Namespace {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
}

/// Seconds and nanoseconds since the epoch (`google.protobuf.Timestamp`).
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Timestamp {
    /// Seconds.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// Of the next one.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

/// A part of `Containers/ListStream`.
#[derive(Clone, PartialEq, Message)]
pub struct Listed {
    /// One container.
    #[prost(message, optional, tag = "1")]
    pub container: Option<Row>,
}

/// A listed container. Of ten thousand no more is kept than tells whether it
/// is another one than before.
#[derive(Clone, PartialEq, Message)]
pub struct Row {
    /// Its id.
    #[prost(string, tag = "1")]
    pub id: String,
    /// When it was changed last: its labels, its image, its specification.
    #[prost(message, optional, tag = "9")]
    pub updated_at: Option<Timestamp>,
}

/// `Containers/Get`.
#[derive(Clone, PartialEq, Message)]
pub struct GetContainer {
    /// Of which one.
    #[prost(string, tag = "1")]
    pub id: String,
}

/// Of `Containers/Get`.
#[derive(Clone, PartialEq, Message)]
pub struct GotContainer {
    /// The container.
    #[prost(message, optional, tag = "1")]
    pub container: Option<Container>,
}

/// A container.
#[derive(Clone, PartialEq, Message)]
pub struct Container {
    /// Its id.
    #[prost(string, tag = "1")]
    pub id: String,
    /// What its client keeps there.
    #[prost(btree_map = "string, string", tag = "2")]
    pub labels: BTreeMap<String, String>,
    /// As it was asked for.
    #[prost(string, tag = "3")]
    pub image: String,
    /// OCI's `config.json`.
    #[prost(message, optional, tag = "5")]
    pub spec: Option<Any>,
}

/// Something whose type a text names (`google.protobuf.Any`).
#[derive(Clone, PartialEq, Message)]
pub struct Any {
    /// The type.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// What it is.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// `Tasks/Get`.
#[derive(Clone, PartialEq, Message)]
pub struct GetTask {
    /// Of which container.
    #[prost(string, tag = "1")]
    pub container_id: String,
}

/// Of `Tasks/Get`.
#[derive(Clone, PartialEq, Message)]
pub struct GotTask {
    /// The first process.
    #[prost(message, optional, tag = "1")]
    pub process: Option<Process>,
}

/// A container's first process.
#[derive(Clone, PartialEq, Message)]
pub struct Process {
    /// As the node numbers it.
    #[prost(uint32, tag = "3")]
    pub pid: u32,
    /// See [`STOPPED`].
    #[prost(int32, tag = "4")]
    pub status: i32,
}

/// `STOPPED` of `containerd.v1.types.Status`: the pid may be another's.
pub const STOPPED: i32 = 3;

/// `Events/Subscribe`.
#[derive(Clone, PartialEq, Message)]
pub struct Subscribe {
    /// Events that one of them matches.
    #[prost(string, repeated, tag = "1")]
    pub filters: Vec<String>,
}

/// Of `Events/Subscribe`.
#[derive(Clone, PartialEq, Message)]
pub struct Envelope {
    /// In which namespace it happened.
    #[prost(string, tag = "2")]
    pub namespace: String,
    /// What: `/tasks/start`
    #[prost(string, tag = "3")]
    pub topic: String,
    /// See [`OfContainer`].
    #[prost(message, optional, tag = "4")]
    pub event: Option<Any>,
}

/// What all events of containers and of tasks begin with.
#[derive(Clone, PartialEq, Message)]
pub struct OfContainer {
    /// Which container.
    #[prost(string, tag = "1")]
    pub id: String,
}
