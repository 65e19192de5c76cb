//! The states of a plugin, and what is known of it.

use crate::config::Isolation;
use crate::loader::Loaded;
use gantry_plugin_api::description::ViewInfo;
use gantry_plugin_api::manifest::ManifestInfo;
use std::sync::Arc;
use std::time::SystemTime;

/// Where a plugin is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Disabled,
    Discovered,
    Verified,
    Probed,
    Created,
    Started,
    Ready,
    Running,
    Degraded,
    Unsupported,
    Failed,
    Hung,
    Quarantined,
    Stopping,
    Stopped,
}

impl State {
    pub const ALL: [Self; 15] = [
        Self::Disabled,
        Self::Discovered,
        Self::Verified,
        Self::Probed,
        Self::Created,
        Self::Started,
        Self::Ready,
        Self::Running,
        Self::Degraded,
        Self::Unsupported,
        Self::Failed,
        Self::Hung,
        Self::Quarantined,
        Self::Stopping,
        Self::Stopped,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Discovered => "discovered",
            Self::Verified => "verified",
            Self::Probed => "probed",
            Self::Created => "created",
            Self::Started => "started",
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Degraded => "degraded",
            Self::Unsupported => "unsupported",
            Self::Failed => "failed",
            Self::Hung => "hung",
            Self::Quarantined => "quarantined",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }

    /// It is asked at collections.
    pub fn collects(self) -> bool {
        matches!(self, Self::Running | Self::Degraded)
    }

    /// Its start is over, for better or worse.
    pub fn settled(self) -> bool {
        use State::{Degraded, Disabled, Failed, Hung, Quarantined, Running, Stopped, Unsupported};
        matches!(self, Running | Degraded | Unsupported | Failed | Hung | Quarantined | Disabled | Stopped)
    }

    /// Nothing of it runs, and nothing will by itself while the agent ends.
    pub fn ended(self) -> bool {
        matches!(self, Self::Stopped | Self::Disabled | Self::Hung)
    }
}

/// What is known of a plugin, for people and metrics.
#[derive(Debug, Clone)]
pub struct Status {
    pub state: State,
    pub since: SystemTime,
    /// Why it is degraded, unsupported or failed.
    pub reasons: Vec<String>,
    /// The last thing that went wrong, also after it went right again.
    pub last_error: Option<String>,
    /// What it runs, or will run at its next attempt; none where that is still
    /// to be looked for on the disk.
    pub loaded: Option<Arc<Loaded>>,
    /// Where the last one ran.
    pub ran_in: Option<Isolation>,
    pub heap_bytes: Option<u64>,
    /// Samples and series of the last good collection; none before the first.
    pub samples: usize,
    pub series: Option<usize>,
    /// Families that the host does not take.
    pub refused: usize,
    /// What is loaded stands in for a file that was rolled back from.
    pub stands_in: bool,
    /// What was found of its file when somebody last looked, if that is not
    /// what it runs.
    pub file_note: Option<&'static str>,
    /// Whether the last collection that was asked for came in time.
    pub up: bool,
    /// Failures in a row, and when it is tried again by itself.
    pub failures: u32,
    pub retry_at: Option<SystemTime>,
    /// Threads of it that hang and were left behind.
    pub left_behind: usize,
}

impl Status {
    pub fn new(state: State) -> Self {
        Self {
            state,
            since: SystemTime::now(),
            reasons: Vec::new(),
            last_error: None,
            loaded: None,
            ran_in: None,
            heap_bytes: None,
            samples: 0,
            series: None,
            refused: 0,
            stands_in: false,
            file_note: None,
            up: false,
            failures: 0,
            retry_at: None,
            left_behind: 0,
        }
    }

    /// Takes over a state. One that stays keeps its time.
    pub fn enter(&mut self, state: State, reasons: &[String]) {
        if self.state != state {
            (self.state, self.since) = (state, SystemTime::now());
        }
        if let Some(reason) = reasons.first() {
            self.last_error = Some(reason.clone());
        }
        self.up &= state.collects();
        self.reasons = reasons.to_vec();
    }

    /// What was known of its file and its instance is no longer so.
    pub fn forget_instance(&mut self) {
        self.ran_in = self.isolation().or(self.ran_in);
        (self.loaded, self.stands_in, self.file_note, self.refused) = (None, false, None, 0);
        (self.heap_bytes, self.samples, self.series) = (None, 0, None);
    }

    pub fn manifest(&self) -> Option<&ManifestInfo> {
        self.loaded.as_ref().map(|loaded| &loaded.verified.manifest)
    }

    /// Where it runs.
    pub fn isolation(&self) -> Option<Isolation> {
        self.loaded.as_ref().map(|loaded| loaded.verified.isolation)
    }

    /// Of the file that it runs.
    pub fn digest(&self) -> Option<&str> {
        self.loaded.as_ref().map(|loaded| loaded.verified.bytes.digest.as_str())
    }

    pub fn views(&self) -> &[ViewInfo] {
        self.loaded.as_ref().map_or(&[], |loaded| &loaded.probed.description.views)
    }
}
