//! gRPC over one Unix socket: what the runtimes that speak it have in common.
//!
//! # Layout
//! * [`client`]: requests, each under the deadline, bounded and counted, over
//!   [`connection`]; [`rows`]: lists of which there may be many rows.
//! * [`listening`]: what changes.

pub mod client;
pub mod connection;
pub mod listening;
pub mod rows;
