//! What the kernel's connection tracking knows of TCP connections (ctnetlink,
//! `include/uapi/linux/netfilter/nfnetlink_conntrack.h`): above all, where one really
//! goes whose destination is translated.
//!
//! All of it is of one network namespace: that of the socket.
//!
//! # Layout
//! * [`entry`]: what is told of a connection, as bytes. `filter`: which of it the
//!   kernel hands over. [`events`]: connections as they begin. [`table`]: asking for one, or all.

pub mod entry;
pub mod events;
mod filter;
pub mod table;

pub use entry::{Entry, Tuple};
pub use events::Events;
pub use table::Table;

/// `NFNL_SUBSYS_CTNETLINK`, in the upper byte of a message's type.
const CTNETLINK: u16 = 1 << 8;
/// `IPCTNL_MSG_CT_NEW`: an entry.
const NEW: u16 = CTNETLINK;
/// `IPCTNL_MSG_CT_GET`: a question.
const GET: u16 = CTNETLINK | 1;
/// `IPCTNL_MSG_CT_GET_STATS`: how many there are.
const GET_STATS: u16 = CTNETLINK | 5;

/// `IPS_DST_NAT`: the destination is translated.
pub(crate) const DST_NAT: u32 = 1 << 5;

/// The length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// The length of `struct nfgenmsg`.
const GENERIC: usize = 4;
