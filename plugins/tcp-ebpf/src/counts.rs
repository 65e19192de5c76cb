//! What is counted: by cgroup and destination.
//!
//! A group is a cgroup, since that is what the kernel tells of a socket's
//! owner; which container it is of may be known later. Series that nothing
//! refers to are forgotten after a while, and their number is bounded: what is
//! over it goes to [`Destination::Other`].

use crate::destination::Destination;
use crate::reason::{REASONS, Reason};
use crate::record::Owner;
use ahash::RandomState;
use gantry_plugin_api::ContainerRef;
use hashbrown::HashMap;

/// Cgroups that are known at the same time: more than a machine has containers.
const MAX_GROUPS: usize = 16_384;

/// By what a cgroup is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cgroups {
    /// Of version 2.
    pub cgroup2: u64,
    /// Of version 1, in `hierarchy`.
    pub cgroup1: u64,
    /// The number of that hierarchy.
    pub hierarchy: u32,
}

impl From<&Owner> for Cgroups {
    fn from(owner: &Owner) -> Self {
        Self { cgroup2: owner.cgroup2, cgroup1: owner.cgroup1, hierarchy: owner.hierarchy }
    }
}

/// The numbers of a series.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Numbers {
    /// Handshakes that were completed.
    pub connects: u64,
    /// How long they took, in nanoseconds.
    pub connect_time: u64,
    /// Connects that failed, by reason.
    pub failures: [u64; REASONS],
    /// Bytes that were sent.
    pub sent: u64,
    /// Bytes that were received.
    pub received: u64,
    /// Segments that were sent again.
    pub retransmits: u64,
}

impl Numbers {
    /// Adds what another counted.
    pub fn add(&mut self, other: &Self) {
        self.connects += other.connects;
        self.connect_time += other.connect_time;
        self.failures.iter_mut().zip(other.failures).for_each(|(own, other)| *own += other);
        self.sent += other.sent;
        self.received += other.received;
        self.retransmits += other.retransmits;
    }

    /// Connects that failed, as coroot-node-agent counts them: with those that
    /// the application gave up, or without.
    pub fn failed(&self, with_aborted: bool) -> u64 {
        let all: u64 = self.failures.iter().sum();
        if with_aborted { all } else { all - self.failures[Reason::Aborted as usize] }
    }
}

/// A series: what one group does with one destination.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Series {
    /// Whose it is.
    pub group: u32,
    /// To where.
    pub to: Destination,
    /// What was counted.
    pub numbers: Numbers,
    /// Connections that are open, as of the last scan.
    pub active: u32,
    /// The sum of their round trip times, in microseconds.
    pub rtt: u64,
    /// Connections of the table that refer to it.
    pub held: u32,
    /// When something happened, in nanoseconds.
    pub used: u64,
    /// Connects at the last look, and how many a second there were before it.
    pub rate: Rate,
}

/// How often something happens.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rate {
    before: u64,
    /// A second.
    pub rate: f64,
}

/// A group, and what is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// By what the kernel knows it.
    pub cgroups: Cgroups,
    /// A process that was in it, when it was first seen.
    pub first: Owner,
    /// Whose it is.
    pub container: Option<ContainerRef>,
    /// When it was first seen, and when something happened last.
    pub since: u64,
    /// When something happened last.
    pub used: u64,
    /// It is nobody's: nothing is counted but connects.
    pub is_nobody_s: bool,
    /// Series that it has.
    series: u32,
}

/// What was counted, of all groups.
#[derive(Debug)]
pub struct Counts {
    groups: Vec<Option<Group>>,
    by_cgroups: HashMap<Cgroups, u32, RandomState>,
    series: Vec<Option<Series>>,
    free: Vec<u32>,
    by_destination: HashMap<(u32, Destination), u32, RandomState>,
    /// Connects of nobody's processes.
    pub unattributed: u64,
    /// Connects that went to `~other`, since there were too many destinations.
    pub folded: u64,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            groups: Vec::new(),
            by_cgroups: HashMap::with_hasher(RandomState::new()),
            series: Vec::new(),
            free: Vec::new(),
            by_destination: HashMap::with_hasher(RandomState::new()),
            unattributed: 0,
            folded: 0,
        }
    }
}

/// A place in a vector; there are fewer than 2^32 of anything here.
fn place(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

impl Counts {
    /// The group of an owner; made at the first time. `None`: there are too many.
    pub fn group(&mut self, owner: &Owner, now: u64) -> Option<u32> {
        let cgroups = Cgroups::from(owner);
        if let Some(known) = self.by_cgroups.get(&cgroups) {
            return Some(*known);
        }
        if self.by_cgroups.len() >= MAX_GROUPS {
            return None;
        }
        let group = Group {
            cgroups,
            first: *owner,
            container: None,
            since: now,
            used: now,
            is_nobody_s: false,
            series: 0,
        };
        let index = match self.groups.iter().position(Option::is_none) {
            Some(free) => {
                self.groups[free] = Some(group);
                free
            }
            None => {
                self.groups.push(Some(group));
                self.groups.len() - 1
            }
        };
        self.by_cgroups.insert(cgroups, place(index));
        Some(place(index))
    }

    /// The series of a group to a destination, which is held until
    /// [`Self::release`]. `None`: it is nobody's.
    pub fn hold(&mut self, group: u32, to: Destination, cap: u32, now: u64) -> Option<u32> {
        let known = self.groups.get_mut(group as usize)?.as_mut()?;
        known.used = now;
        if known.is_nobody_s {
            return None;
        }
        let (index, is_new) = match self.by_destination.get(&(group, to)) {
            Some(index) => (*index, false),
            None if known.series >= cap && to != Destination::Other => {
                self.folded += 1;
                return self.hold(group, Destination::Other, cap, now);
            }
            None => {
                known.series += 1;
                let series = Series {
                    group,
                    to,
                    numbers: Numbers::default(),
                    active: 0,
                    rtt: 0,
                    held: 0,
                    used: now,
                    rate: Rate::default(),
                };
                let index = self.free.pop().unwrap_or(place(self.series.len()));
                match self.series.get_mut(index as usize) {
                    Some(slot) => *slot = Some(series),
                    None => self.series.push(Some(series)),
                }
                (index, true)
            }
        };
        if is_new {
            self.by_destination.insert((group, to), index);
        }
        let series = self.series[index as usize].as_mut()?;
        series.held += 1;
        series.used = now;
        Some(index)
    }

    /// Adds what the generation before counted.
    pub fn restore(&mut self, group: u32, to: Destination, numbers: &Numbers, now: u64) {
        let Some(index) = self.hold(group, to, u32::MAX, now) else { return };
        if let Some(series) = self.series(index) {
            series.numbers.add(numbers);
            series.rate.before = series.numbers.connects;
        }
        self.release(index, now);
    }

    /// What was held.
    pub fn series(&mut self, index: u32) -> Option<&mut Series> {
        self.series.get_mut(index as usize)?.as_mut()
    }

    /// It is held no more.
    pub fn release(&mut self, index: u32, now: u64) {
        if let Some(series) = self.series(index) {
            series.held = series.held.saturating_sub(1);
            series.used = now;
        }
    }

    /// All series.
    pub fn all(&self) -> impl Iterator<Item = &Series> {
        self.series.iter().flatten()
    }

    /// All series, to be changed.
    pub fn all_mut(&mut self) -> impl Iterator<Item = &mut Series> {
        self.series.iter_mut().flatten()
    }

    /// A group.
    pub fn of(&self, group: u32) -> Option<&Group> {
        self.groups.get(group as usize)?.as_ref()
    }

    /// All groups, with their numbers.
    pub fn groups(&self) -> impl Iterator<Item = (u32, &Group)> {
        self.groups.iter().enumerate().filter_map(|(index, group)| Some((place(index), group.as_ref()?)))
    }

    /// Asks whose each group is. One that nobody owned within `patience`
    /// nanoseconds is nobody's, until its turn comes again; one whose container
    /// is forgotten is forgotten.
    pub fn attribute(
        &mut self,
        now: u64,
        patience: u64,
        mut whose: impl FnMut(&Group) -> Option<ContainerRef>,
    ) {
        let mut gone = Vec::new();
        for (index, group) in self.groups.iter_mut().enumerate() {
            let Some(known) = group else { continue };
            match whose(known) {
                Some(container) => {
                    known.container = Some(container);
                    known.is_nobody_s = false;
                }
                None if known.container.is_some() => gone.push(place(index)),
                None if now.saturating_sub(known.used) > 10 * patience => gone.push(place(index)),
                None if !known.is_nobody_s && now.saturating_sub(known.since) > patience => {
                    known.is_nobody_s = true;
                }
                None => {}
            }
        }
        let nobody_s = self.groups.iter().flatten().any(|group| group.is_nobody_s && group.series > 0);
        if gone.is_empty() && !nobody_s {
            return;
        }
        let forgets = |groups: &[Option<Group>], group: u32| {
            gone.contains(&group) || groups[group as usize].as_ref().is_none_or(|group| group.is_nobody_s)
        };
        for index in 0..self.series.len() {
            let Some(series) = &self.series[index] else { continue };
            // One that a connection holds goes with it.
            if series.held == 0 && forgets(&self.groups, series.group) {
                self.unattributed += series.numbers.connects;
                self.forget(place(index));
            }
        }
        for group in gone {
            let slot = &mut self.groups[group as usize];
            if let Some(known) = slot.take_if(|known| known.series == 0) {
                self.by_cgroups.remove(&known.cgroups);
            }
        }
    }

    /// Forgets series that nothing refers to and that nothing happened to for
    /// `idle` nanoseconds.
    pub fn forget_idle(&mut self, now: u64, idle: u64) {
        for index in 0..self.series.len() {
            let Some(series) = &self.series[index] else { continue };
            if series.held == 0 && now.saturating_sub(series.used) > idle {
                self.forget(place(index));
            }
        }
    }

    fn forget(&mut self, index: u32) {
        let Some(series) = self.series[index as usize].take() else { return };
        self.by_destination.remove(&(series.group, series.to));
        if let Some(Some(group)) = self.groups.get_mut(series.group as usize) {
            group.series = group.series.saturating_sub(1);
        }
        self.free.push(index);
    }

    /// How many a second there were since the last look, `seconds` ago.
    pub fn look_at_rates(&mut self, seconds: f64) {
        if seconds <= 0.0 {
            return;
        }
        for series in self.all_mut() {
            let now = series.numbers.connects;
            series.rate.rate = now.saturating_sub(series.rate.before) as f64 / seconds;
            series.rate.before = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::some;

    fn at(port: u16) -> Destination {
        Destination::At(([10, 0, 0, 1], port).into())
    }

    fn container(handle: u64) -> ContainerRef {
        ContainerRef::from_handle(handle).expect("not 0")
    }

    #[test]
    fn too_many_destinations_are_one() {
        let mut counts = Counts::default();
        let group = counts.group(&some().owner, 0).expect("room");
        let first = counts.hold(group, at(1), 2, 0).expect("a series");
        assert_eq!(counts.hold(group, at(1), 2, 0), Some(first));
        counts.hold(group, at(2), 2, 0).expect("a series");
        let other = counts.hold(group, at(3), 2, 0).expect("a series");
        assert_eq!(counts.hold(group, at(4), 2, 0), Some(other));
        assert_eq!(counts.series(other).map(|series| series.to), Some(Destination::Other));
        assert_eq!((counts.all().count(), counts.folded), (3, 2));
    }

    #[test]
    fn what_is_idle_goes_and_what_is_held_stays() {
        let mut counts = Counts::default();
        let group = counts.group(&some().owner, 0).expect("room");
        let held = counts.hold(group, at(1), 9, 0).expect("a series");
        let idle = counts.hold(group, at(2), 9, 0).expect("a series");
        counts.release(idle, 10);
        counts.forget_idle(20, 10);
        assert_eq!(counts.all().count(), 2, "not yet");
        counts.forget_idle(21, 10);
        assert_eq!(counts.all().map(|series| series.to).collect::<Vec<_>>(), [at(1)]);
        assert_eq!(counts.hold(group, at(3), 9, 30), Some(idle), "its place is used again");
        counts.release(held, 30);
        counts.forget_idle(41, 10);
        assert_eq!(counts.all().map(|series| series.to).collect::<Vec<_>>(), [at(3)]);
    }

    #[test]
    fn a_group_waits_for_its_container_a_while() {
        let mut counts = Counts::default();
        let group = counts.group(&some().owner, 0).expect("room");
        let index = counts.hold(group, at(1), 9, 0).expect("a series");
        counts.series(index).expect("there").numbers.connects = 5;
        counts.release(index, 0);
        counts.attribute(50, 100, |_| None);
        assert_eq!(counts.all().count(), 1, "it may come still");
        counts.attribute(100, 100, |_| Some(container(7)));
        assert_eq!(counts.of(group).and_then(|group| group.container), Some(container(7)));
        counts.attribute(200, 100, |_| None);
        assert_eq!((counts.all().count(), counts.unattributed), (0, 5), "the host forgot it");
        assert_eq!(counts.of(group), None);
    }

    #[test]
    fn nobody_s_are_not_counted_until_somebody_s() {
        let mut counts = Counts::default();
        let group = counts.group(&some().owner, 0).expect("room");
        counts.attribute(101, 100, |_| None);
        assert_eq!(counts.hold(group, at(1), 9, 101), None);
        counts.attribute(150, 100, |_| Some(container(7)));
        assert!(counts.hold(group, at(1), 9, 150).is_some());
        // One in which nothing happens any more is forgotten.
        let other = counts.group(&Owner { cgroup2: 9, ..some().owner }, 0).expect("room");
        counts.attribute(1001, 100, |group| group.container);
        assert_eq!(counts.of(other), None);
    }
}
