//! What was counted of one container: by events, and by what the kernel counts in
//! its cgroups, without counting anything twice.
//!
//! The kernel numbers the kills of each cgroup, and an event says which number its
//! kill has. So an event that comes twice is known, one that was lost is too, by the
//! next one's number, and so is a mark of somebody who was not killed: it has the
//! number of the kill before. The cgroup's file has the last number; what it is ahead
//! of the events for a whole collection was lost on the way.

use crate::record::Mark;
use crate::scope::Scope;
use gantry_plugin_api::serde::{Deserialize, Serialize};

/// Cgroups of one container whose numbers are remembered: beyond, events count by
/// themselves, and what is lost stays so.
const MAX_CGROUPS: usize = 256;

/// A cgroup: its hierarchy (0 is version 2), and its id.
pub type Place = (u32, u64);

/// What was counted of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(crate = "gantry_plugin_api::serde")]
pub struct Counted {
    kills: u64,
    by_scope: [u64; Scope::ALL.len()],
    numbers: Vec<(Place, Numbers)>,
}

/// The numbers of one cgroup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(crate = "gantry_plugin_api::serde")]
struct Numbers {
    /// Kills up to this one are counted, or were before anybody looked.
    until: u64,
    /// The last event's.
    event: Option<u64>,
    /// The file's, when it was read last.
    file: u64,
    /// It is no use any more: there was a group, and the kernel does not count these.
    blind: bool,
}

/// What an event was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// A kill, and so many before it were lost.
    Kill {
        /// Of which the cgroup's counter alone tells.
        missed: u64,
    },
    /// One that is counted, or of a process that was not killed.
    Known,
}

/// What a file's number is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// There are no events.
    Counts,
    /// There are; what is ahead of them at two looks was lost.
    Checks,
}

impl Counted {
    /// Kills.
    pub fn kills(&self) -> u64 {
        self.kills
    }

    /// The same by whose limit was reached.
    pub fn of(&self, scope: Scope) -> u64 {
        self.by_scope[scope as usize]
    }

    fn add(&mut self, scope: Scope, count: u64) {
        self.kills += count;
        self.by_scope[scope as usize] += count;
    }

    fn numbers(&mut self, place: Place) -> Option<&mut Numbers> {
        self.numbers.iter_mut().find(|(at, _)| *at == place).map(|(_, numbers)| numbers)
    }

    fn begin(&mut self, place: Place, numbers: Numbers) {
        if self.numbers.len() < MAX_CGROUPS {
            self.numbers.push((place, numbers));
        }
    }

    /// Somebody in it was marked.
    pub fn mark(&mut self, mark: &Mark, scope: Scope) -> Told {
        let place = (mark.hierarchy, mark.cgroup);
        let mut missed = 0;
        match (mark.number(), self.numbers(place)) {
            (None, _) => {}
            (Some(_), Some(known)) if mark.in_group => {
                known.until += 1;
                known.event = None;
                known.blind |= mark.groups.is_none();
            }
            (Some(number), None) => {
                let event = (!mark.in_group).then_some(number);
                let blind = mark.in_group && mark.groups.is_none();
                self.begin(place, Numbers { until: number, event, file: 0, blind });
            }
            (Some(number), Some(known)) => {
                if known.event.is_some_and(|last| number <= last) {
                    return Told::Known;
                }
                // The file may have been read first after this kill: that says nothing of it.
                if !known.blind {
                    missed = number.saturating_sub(1).saturating_sub(known.until);
                }
                *known = Numbers { until: known.until.max(number), event: Some(number), ..*known };
            }
        }
        self.add(scope, 1);
        self.add(Scope::Unknown, missed);
        Told::Kill { missed }
    }

    /// The file of a cgroup has this number; how many kills that makes known. One that
    /// is `young` came when somebody counted already: it began at 0.
    pub fn look(&mut self, place: Place, number: u64, young: bool, is_for: Use) -> u64 {
        let Some(known) = self.numbers(place) else {
            let before = if young { 0 } else { number };
            let (until, found) = match is_for {
                Use::Counts => (number, number - before),
                Use::Checks => (before, 0),
            };
            self.begin(place, Numbers { until, file: number, ..Numbers::default() });
            self.add(Scope::Unknown, found);
            return found;
        };
        let reached = match is_for {
            Use::Counts => number,
            // An event of one that is in the file may be on its way.
            Use::Checks => number.min(known.file),
        };
        known.file = number;
        if known.blind {
            return 0;
        }
        let found = reached.saturating_sub(known.until);
        if found > 0 {
            // Its event, should it come after all, is of one that is counted.
            *known = Numbers { until: reached, event: Some(reached), ..*known };
        }
        self.add(Scope::Unknown, found);
        found
    }

    /// The cgroup was made anew under its path: it counts from 0 again.
    pub fn forget(&mut self, place: Place) {
        self.numbers.retain(|(at, _)| *at != place);
    }

    /// Files of another kind are read from now on: their numbers are others.
    pub fn forget_numbers(&mut self) {
        self.numbers.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::some;

    const PLACE: Place = (4, 77);

    fn mark(number: u64) -> Mark {
        Mark { kills: Some(number), ..some() }
    }

    fn kill(counted: &mut Counted, number: u64) -> Told {
        counted.mark(&mark(number), Scope::Container)
    }

    #[test]
    fn each_number_counts_once() {
        let mut counted = Counted::default();
        assert_eq!(kill(&mut counted, 1), Told::Kill { missed: 0 });
        assert_eq!(kill(&mut counted, 1), Told::Known, "marked, and killed by nobody");
        assert_eq!(kill(&mut counted, 2), Told::Kill { missed: 0 });
        assert_eq!(kill(&mut counted, 5), Told::Kill { missed: 2 });
        assert_eq!(kill(&mut counted, 3), Told::Known, "late");
        assert_eq!((counted.kills(), counted.of(Scope::Container), counted.of(Scope::Unknown)), (5, 3, 2));
    }

    #[test]
    fn what_was_before_does_not_count() {
        let mut counted = Counted::default();
        assert_eq!(kill(&mut counted, 40), Told::Kill { missed: 0 });
        let mut counted = Counted::default();
        assert_eq!(counted.look(PLACE, 40, false, Use::Checks), 0);
        assert_eq!(kill(&mut counted, 41), Told::Kill { missed: 0 });
        assert_eq!(kill(&mut counted, 43), Told::Kill { missed: 1 });
        assert_eq!(counted.kills(), 3);
    }

    #[test]
    fn a_first_look_after_a_kill_does_not_swallow_its_event() {
        let mut counted = Counted::default();
        assert_eq!(counted.look(PLACE, 41, false, Use::Checks), 0);
        assert_eq!(kill(&mut counted, 41), Told::Kill { missed: 0 });
        assert_eq!(counted.look(PLACE, 41, false, Use::Checks), 0);
        assert_eq!(counted.kills(), 1);
    }

    #[test]
    fn a_file_waits_for_events_and_then_counts_what_never_came() {
        let mut counted = Counted::default();
        assert_eq!(counted.look(PLACE, 0, false, Use::Checks), 0);
        assert_eq!(counted.look(PLACE, 2, false, Use::Checks), 0, "they may be on their way");
        assert_eq!(kill(&mut counted, 1), Told::Kill { missed: 0 });
        assert_eq!(counted.look(PLACE, 3, false, Use::Checks), 1, "the second is not");
        assert_eq!(kill(&mut counted, 2), Told::Known, "it was");
        assert_eq!(kill(&mut counted, 3), Told::Kill { missed: 0 });
        assert_eq!(counted.look(PLACE, 3, false, Use::Checks), 0);
        assert_eq!((counted.kills(), counted.of(Scope::Unknown)), (3, 1));
    }

    #[test]
    fn a_young_cgroup_began_at_nothing() {
        let mut counted = Counted::default();
        assert_eq!(counted.look(PLACE, 2, true, Use::Checks), 0);
        assert_eq!(counted.look(PLACE, 2, true, Use::Checks), 2);
        let mut counted = Counted::default();
        assert_eq!(counted.look(PLACE, 2, true, Use::Counts), 2);
        assert_eq!(counted.look(PLACE, 2, true, Use::Counts), 0);
        let mut counted = Counted::default();
        assert_eq!(counted.look(PLACE, 2, false, Use::Counts), 0);
        assert_eq!(counted.look(PLACE, 5, false, Use::Counts), 3);
        assert_eq!(counted.look(PLACE, 1, false, Use::Counts), 0, "it never goes back");
        assert_eq!(counted.kills(), 3);
    }

    #[test]
    fn without_a_number_each_event_counts() {
        let mut counted = Counted::default();
        let bare = Mark { kills: None, ..some() };
        for _ in 0..2 {
            assert_eq!(counted.mark(&bare, Scope::Node), Told::Kill { missed: 0 });
        }
        assert_eq!((counted.kills(), counted.of(Scope::Node)), (2, 2));
    }

    /// The kernel counts the one that it chose twice: before the others, or after them.
    #[test]
    fn of_a_group_each_counts_once() {
        let group =
            |kills, groups| Mark { kills: Some(kills), groups: Some(groups), in_group: true, ..some() };
        for others in [[2, 3], [3, 4]] {
            let mut counted = Counted::default();
            assert_eq!(counted.look(PLACE, 0, true, Use::Checks), 0);
            for (kills, groups) in [(1, 0), (others[0], 1), (others[1], 1)] {
                assert_eq!(counted.mark(&group(kills, groups), Scope::Container), Told::Kill { missed: 0 });
            }
            // Four, less one.
            for _ in 0..3 {
                assert_eq!(counted.look(PLACE, 3, true, Use::Checks), 0);
            }
            // One whose events were lost, and one by itself.
            assert_eq!(counted.look(PLACE, 5, true, Use::Checks), 0);
            assert_eq!(counted.look(PLACE, 5, true, Use::Checks), 2);
            let alone = Mark { in_group: false, ..group(8, 2) };
            assert_eq!(counted.mark(&alone, Scope::Container), Told::Kill { missed: 0 });
            assert_eq!(counted.mark(&alone, Scope::Container), Told::Known);
            assert_eq!(counted.kills(), 6);
        }
    }

    #[test]
    fn where_groups_are_not_counted_their_numbers_are_no_use() {
        let mut counted = Counted::default();
        assert_eq!(counted.look(PLACE, 0, true, Use::Checks), 0);
        assert_eq!(
            counted.mark(&Mark { in_group: true, ..mark(1) }, Scope::Container),
            Told::Kill { missed: 0 }
        );
        for _ in 0..2 {
            assert_eq!(counted.look(PLACE, 2, true, Use::Checks), 0, "the same once more");
        }
        assert_eq!(kill(&mut counted, 5), Told::Kill { missed: 0 });
        assert_eq!(counted.kills(), 2);
    }

    #[test]
    fn cgroups_are_remembered_up_to_a_bound() {
        let mut counted = Counted::default();
        for cgroup in 0..1000 {
            assert_eq!(counted.mark(&Mark { cgroup, ..mark(1) }, Scope::Container), Told::Kill { missed: 0 });
        }
        assert_eq!((counted.kills(), counted.numbers.len()), (1000, MAX_CGROUPS));
    }
}
