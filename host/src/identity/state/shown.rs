//! What the exposition needs of the containers.

use super::{Phase, Record, State};
use std::collections::{HashMap, HashSet};
use std::num::NonZeroU64;
use std::sync::Arc;

/// One container's place in what is shown.
#[derive(Debug, Clone)]
pub struct Shown {
    pub id: Arc<str>,
    pub app_id: Arc<str>,
    /// It is counted and not shown.
    pub held: bool,
    /// Its last values stay.
    pub gone: bool,
    pub group: Option<u64>,
}

/// Several containers that are one in what is shown.
#[derive(Debug, Clone)]
pub struct ShownGroup {
    pub id: Arc<str>,
    pub app_id: Arc<str>,
    /// All of them are gone, and the last values of their gauges stay. Never so
    /// where they were folded: what those used when they died says nothing.
    pub gone: bool,
    /// They died young: all that they counted began under the service's eyes.
    pub folded: bool,
}

/// All of them at one time.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub version: u64,
    pub containers: HashMap<u64, Shown>,
    pub groups: HashMap<u64, ShownGroup>,
}

impl State {
    /// Changes whenever a snapshot would.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether a container is shown in metrics, for people: `yes`, or why not.
    pub fn shown_as(&self, record: &Record, now: u64) -> String {
        match record.phase {
            Phase::Shown => match self.opted_out(record) {
                none if none.is_empty() => "yes".to_owned(),
                names => format!("yes, but not by {names}"),
            },
            Phase::Hidden => format!("no: {}", self.leaves_out(record, now).unwrap_or("left out")),
            Phase::Held if !self.times.is_old(record, now) && !self.remembered.has(record.handle) => {
                "not yet: young".to_owned()
            }
            Phase::Held if self.waits_for_name(record, now) => "not yet: no name".to_owned(),
            Phase::Held if self.may_opt_out(record, now) => "not yet: may opt out".to_owned(),
            // It will be at the next scrape.
            Phase::Held => "yes".to_owned(),
            Phase::Folded | Phase::Merged | Phase::Replaced => "no: another has its id".to_owned(),
        }
    }

    /// The collectors that a container asks to leave it alone.
    fn opted_out(&self, record: &Record) -> String {
        record.container().opted_out.join(", ")
    }

    pub fn snapshot(&self) -> Snapshot {
        let shown = self.records.values().filter(|record| record.phase != Phase::Replaced).map(|record| {
            let shown = Shown {
                id: record.named.id.clone(),
                app_id: record.named.app_id.clone(),
                held: match record.phase {
                    Phase::Held | Phase::Hidden => true,
                    Phase::Merged => record.group.is_none(),
                    Phase::Shown | Phase::Folded | Phase::Replaced => false,
                },
                gone: record.gone.is_some(),
                group: record.group.map(NonZeroU64::get),
            };
            (record.handle, shown)
        });
        let containers: HashMap<u64, Shown> = shown.collect();
        let living: HashSet<u64> =
            containers.values().filter(|shown| !shown.gone).filter_map(|shown| shown.group).collect();
        let groups = self.ids.groups().map(|(number, group)| {
            let folded = self.folds.contains(&number);
            let gone = !living.contains(&number) && !folded;
            (number, ShownGroup { id: group.id.clone(), app_id: group.app_id.clone(), gone, folded })
        });
        Snapshot { version: self.version, groups: groups.collect(), containers }
    }
}
