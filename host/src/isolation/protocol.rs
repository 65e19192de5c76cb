//! What the frames mean, and how large they may be.

use super::rights::Rights;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What the child is told first, as JSON.
#[derive(Debug, Serialize, Deserialize)]
pub struct Setup {
    pub plugin: String,
    pub library: PathBuf,
    /// The file is a memory file of the agent's, which a process without the
    /// agent's rights cannot open by its path.
    pub sealed: bool,
    pub level: u32,
    pub rights: Rights,
}

/// From the agent, on the first socket: one call at a time.
pub mod call {
    pub const SETUP: u8 = 1;
    pub const CREATE: u8 = 2;
    pub const PROBE: u8 = 3;
    pub const START: u8 = 4;
    pub const ACTIVATE: u8 = 5;
    pub const COLLECT: u8 = 6;
    pub const VIEW: u8 = 7;
    pub const RECONFIGURE: u8 = 8;
    pub const HEALTH: u8 = 9;
    pub const STOP: u8 = 10;
    pub const SNAPSHOT: u8 = 11;
    pub const LOG_LEVEL: u8 = 12;
}

/// From the child, on the first socket: any number of chunks, then a reply.
pub mod answer {
    pub const SAMPLES: u8 = 20;
    pub const ROWS: u8 = 21;
    /// Live bytes of the plugin's heap (u64), 1 and the value, or 0, the code
    /// of an error (u32) and its message.
    pub const REPLY: u8 = 22;
}

/// From the child, on the second socket, each with the number of the request
/// (0 where no answer is wanted); and the answers, with the same number.
pub mod ask {
    pub const HAS: u8 = 40;
    pub const LOG: u8 = 41;
    pub const PATH: u8 = 42;
    pub const NODE_FACT: u8 = 43;
    pub const SET_NODE_FACT: u8 = 44;
    pub const EXPECT_NODE_FACT: u8 = 45;
    pub const OF_PID: u8 = 46;
    pub const OF_CGROUP: u8 = 47;
    pub const OF_NETNS: u8 = 48;
    pub const CONTAINERS: u8 = 49;
    pub const CONTAINER: u8 = 50;
    pub const PROCESSES: u8 = 51;
    pub const OPEN_FILES: u8 = 52;
    pub const LISTENING: u8 = 53;
    pub const EVENTS: u8 = 54;
    /// Answered at once: whether there is an event after a cursor. If not, a
    /// [`WAKE`] comes as soon as there is one.
    pub const AWAIT: u8 = 55;
    pub const PROVIDE: u8 = 56;
    pub const OBSERVE: u8 = 57;
    pub const REPORT: u8 = 58;

    pub const ANSWER: u8 = 70;
    /// There is an event after a cursor that was asked for.
    pub const WAKE: u8 = 71;
}

/// A record within [`answer::SAMPLES`].
pub mod record {
    pub const SAMPLE: u8 = 1;
    pub const HISTOGRAM: u8 = 2;
    pub const CREATED: u8 = 3;
    pub const NOT_CREATED: u8 = 4;
    pub const SKIPPED: u8 = 5;
}

/// In place of a label's length: it is that of the sample before in the same
/// chunk, at the same place.
pub const SAME: u32 = u32::MAX;

/// A chunk is sent when it is as long as this: one read of the socket's whole
/// buffer (208 KiB as the kernel comes) is no faster.
pub const CHUNK: usize = 64 << 10;

/// What is kept of labels, buckets and reasons is what the arena keeps at most:
/// one more than may be, so that too many and too long are seen as that.
pub const MAX_LABELS: usize = gantry_plugin_api::metrics::MAX_LABELS + 1;
pub const MAX_LABEL: usize = gantry_exposition::MAX_LABEL_BYTES + 1;
pub const MAX_BOUNDS: usize = gantry_exposition::MAX_BOUNDS + 2;
pub const MAX_REASON: usize = 64;

/// A chunk, and the largest sample behind it.
pub const MAX_CHUNK: usize = CHUNK + 64 + MAX_LABELS * (MAX_LABEL + 4) + MAX_BOUNDS * 16;

/// The child stops a view here, a little above where the host does: it is the
/// host that says that there was more.
pub const MAX_ROWS: usize = 10_001;
pub const MAX_TEXT: usize = (8 << 20) + 1;
/// More cells than columns have no name.
pub const MAX_CELLS: usize = 256;

/// Rows are sent when they are as long as this, each with its texts cut.
pub const MAX_ROW_CHUNK: usize = CHUNK + MAX_TEXT + MAX_CELLS * 32;

/// A hand-over may be as large as the host keeps one; errors are cut.
pub const MAX_KEPT: usize = crate::supervisor::MAX_HANDOVER;
pub const MAX_MESSAGE: usize = 16 << 10;
pub const MAX_REPLY: usize = MAX_KEPT + MAX_MESSAGE + 64;

/// What a call brings is the host's own: a hand-over or a configuration.
pub const MAX_CALL: usize = MAX_REPLY;

/// The largest request is the metadata of all containers at once: 10,000 of
/// them with 1.5 KiB each.
pub const MAX_REQUEST: usize = 16 << 20;
/// Answers are the host's own.
pub const MAX_ANSWER: usize = 256 << 20;
