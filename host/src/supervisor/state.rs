//! The states of a plugin, and what is known of it.

use gantry_plugin_api::manifest::ManifestInfo;
use std::path::PathBuf;
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

    /// Its start is over, for better or worse: `/-/ready` no longer waits for it.
    pub fn settled(self) -> bool {
        use State::{Degraded, Disabled, Failed, Hung, Quarantined, Running, Stopped, Unsupported};
        matches!(self, Running | Degraded | Unsupported | Failed | Hung | Quarantined | Disabled | Stopped)
    }
}

/// Reasons are a plugin's own words: a longer one is cut, and more are left out.
const MAX_REASON: usize = 1024;
const MAX_REASONS: usize = 32;

/// What is known of a plugin, for people and metrics.
#[derive(Debug, Clone)]
pub struct Status {
    pub state: State,
    pub since: SystemTime,
    /// Why it is degraded, unsupported or failed; newest first.
    pub reasons: Vec<String>,
    /// The last thing that went wrong, also after it went right again.
    pub last_error: Option<String>,
    pub manifest: Option<ManifestInfo>,
    pub digest: Option<String>,
    pub source: Option<PathBuf>,
    pub heap_bytes: Option<u64>,
    /// Samples and series of the last good collection.
    pub samples: usize,
    pub series: usize,
    /// Whether the last collection that was asked for came in time.
    pub up: bool,
}

impl Status {
    pub fn new(state: State) -> Self {
        Self {
            state,
            since: SystemTime::now(),
            reasons: Vec::new(),
            last_error: None,
            manifest: None,
            digest: None,
            source: None,
            heap_bytes: None,
            samples: 0,
            series: 0,
            up: false,
        }
    }

    /// Changes the state, and says whether anything changed. A state that
    /// stays keeps its time.
    pub fn enter(&mut self, state: State, mut reasons: Vec<String>) -> bool {
        reasons.truncate(MAX_REASONS);
        reasons.iter_mut().for_each(|reason| reason.truncate(reason.floor_char_boundary(MAX_REASON)));
        if self.state == state && self.reasons == reasons {
            return false;
        }
        if self.state != state {
            self.state = state;
            self.since = SystemTime::now();
        }
        if let Some(reason) = reasons.first() {
            self.last_error = Some(reason.clone());
        }
        self.reasons = reasons;
        true
    }
}
