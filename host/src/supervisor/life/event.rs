//! What happens to a plugin, and what is to be done about it.

use std::time::Duration;

/// Something that happened, or is wished for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It shall run.
    Enable,
    /// It shall not run.
    Disable,
    /// It shall be made anew, with a clean record.
    Restart,
    /// Another generation, which is at hand, shall take its place; `exclusive`:
    /// the two must never run at the same time.
    Swap { exclusive: bool },
    /// It took more of something than it may, for too long.
    Breach(String),
    /// The agent ends; so long may its stop take.
    End { within: Duration },
    /// Of the attempt with that number: its loading or its thread says so.
    Of(u64, Progress),
    /// A scrape got its collection in time.
    InTime,
    /// A scrape did not get its collection in time.
    Late,
    /// Time went by.
    Time,
}

/// What an attempt to run a plugin says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    Verified,
    Probed,
    Created,
    Started,
    Ready,
    /// It counts from now on; empty, or what is missing.
    Activated(Vec<String>),
    /// It was asked and has not answered yet.
    Began(Call),
    /// It answered.
    Ended,
    /// A good collection, with what the plugin says is missing.
    Collected(Vec<String>),
    /// It is over: the thread has let go of the instance and ends.
    Failed(Failure),
    /// It ended as it was asked to; a text where not all went well.
    Stopped(Option<String>),
}

/// People read these: what is longer is cut.
const MAX_WORDS: usize = 4 * 1024;

/// More reasons than these say nothing new.
const MAX_REASONS: usize = 32;

/// A plugin's own words, cut to what is kept, shown and logged of them.
pub fn cut(words: &str) -> String {
    if words.len() <= MAX_WORDS {
        return words.to_owned();
    }
    format!("{}…", &words[..words.floor_char_boundary(MAX_WORDS)])
}

impl Progress {
    /// With a plugin's words cut.
    pub(super) fn bounded(self) -> Self {
        let all = |reasons: Vec<String>| -> Vec<String> {
            let more = reasons.len().saturating_sub(MAX_REASONS);
            let cut = reasons.iter().take(MAX_REASONS).map(|reason| cut(reason));
            cut.chain((more > 0).then(|| format!("and {more} more reasons"))).collect()
        };
        match self {
            Self::Activated(missing) => Self::Activated(all(missing)),
            Self::Collected(unwell) => Self::Collected(all(unwell)),
            Self::Failed(Failure::Fault(why)) => Self::Failed(Failure::Fault(cut(&why))),
            Self::Failed(Failure::Unsupported(why)) => Self::Failed(Failure::Unsupported(cut(&why))),
            Self::Stopped(problem) => Self::Stopped(problem.as_deref().map(cut)),
            other => other,
        }
    }
}

/// A call that may not come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Load,
    Create,
    Probe,
    Start,
    Activate,
    Collect,
    Health,
    Snapshot,
    View,
    Reconfigure,
    LogLevel,
    Stop,
}

impl Call {
    const ALL: [Self; 12] = [
        Self::Load,
        Self::Create,
        Self::Probe,
        Self::Start,
        Self::Activate,
        Self::Collect,
        Self::Health,
        Self::Snapshot,
        Self::View,
        Self::Reconfigure,
        Self::LogLevel,
        Self::Stop,
    ];

    /// For what is stamped: never 0.
    pub fn number(self) -> u32 {
        self as u32 + 1
    }

    pub fn of_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|call| call.number() == number)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Create => "create",
            Self::Probe => "probe",
            Self::Start => "start",
            Self::Activate => "activate",
            Self::Collect => "collect",
            Self::Health => "health",
            Self::Snapshot => "snapshot",
            Self::View => "view",
            Self::Reconfigure => "reconfigure",
            Self::LogLevel => "set_log_level",
            Self::Stop => "stop",
        }
    }
}

/// Why an attempt is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// This node lacks something: no fault, and not better in a second.
    Unsupported(String),
    /// A panic, an error, a file that cannot be loaded.
    Fault(String),
}

/// What the caller has to do, in this order. Each names its attempt: one that
/// is no longer the present one when it is done has nothing left to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Do {
    /// Load it where it is not, start its thread.
    Launch { attempt: u64 },
    /// Ask its thread to end.
    Stop { attempt: u64, within: Duration },
    /// Let go of a thread that does not come back.
    Abandon { attempt: u64 },
    /// Start the thread of the generation that is at hand, by this number.
    Try { attempt: u64 },
    /// Ask the thread that serves to end, and give what is asked from now on to
    /// the next one.
    Part { attempt: u64, next: u64, within: Duration },
    /// Let the other generation begin to count.
    Activate { attempt: u64 },
    /// Let go of the other generation.
    Drop { attempt: u64 },
    /// Make the generation that served before anew.
    Restore { attempt: u64 },
    /// The swap is over; an error says why the old generation stays.
    Swapped(Result<(), String>),
}
