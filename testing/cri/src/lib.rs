//! A runtime of Kubernetes that is none: what it answers is what containerd and
//! CRI-O answer, and it can be told to misbehave.
//!
//! # Layout
//! * [`fake`]: the runtime at its socket. [`crio`]: what CRI-O says otherwise
//!   than containerd.
//! * [`api`]: the messages, written from the protocol and not from the plugin,
//!   so that a wrong number in either is seen.
//! * [`grpc`]: a server of gRPC in good and bad moods, for other APIs too.
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "what each is called says what it does")]

pub mod api;
pub mod crio;
pub mod fake;
pub mod grpc;

pub use fake::Fake;
pub use grpc::Mood;
