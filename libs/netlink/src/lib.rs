//! What the kernel says over netlink, for several plugins.
//!
//! # Layout
//! * [`socket`]: a socket with time-outs, in this or another network namespace.
//! * [`dump`]: asking for a whole table, with bounds.
//! * [`link`], [`address`]: the tables of rtnetlink that are read.
//! * [`route`]: both of them over one socket.
//! * [`sockets`]: TCP sockets of a namespace.
//! * [`conntrack`]: where connections really go.
//! * [`generic`]: families of generic netlink, and asking one of them.
//! * [`taskstats`]: how long processes waited, and for what; [`exits`]: told when they end.
//! * [`process`]: the connector of process events.
//! * [`namespace`]: doing something in another namespace of the kernel.
#![forbid(unsafe_code)]

pub mod address;
pub mod conntrack;
pub mod dump;
mod error;
pub mod exits;
pub mod generic;
pub mod link;
pub mod namespace;
pub mod process;
pub mod route;
pub mod socket;
pub mod sockets;
pub mod taskstats;

pub use address::Address;
pub use dump::{Bounds, Outcome};
pub use error::Error;
pub use exits::{Exit, Exits};
pub use link::{Link, LinkCounters};
pub use process::{ProcessEvent, ProcessEvents, What};
pub use route::RouteSocket;
pub use socket::Socket;
pub use sockets::{TcpSocket, tcp_sockets};
pub use taskstats::{Delays, Kind, Taskstats};
