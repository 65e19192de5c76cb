//! What is counted: by container and destination.
//!
//! The kernel tells a socket's cgroup; which container that is of may be known
//! later. So a group is a cgroup, and counts on an account. Once a group's
//! container is known by its cgroup, the account is the container's, together
//! with all other groups of it, and stays when the group goes: a container that
//! restarts in another cgroup counts on. Where only a process tells whose a
//! group is, it keeps an account of its own, since the cgroup may know better.
//!
//! Series that nothing refers to are forgotten after a while. Their number is
//! bounded by account and in all: what is over it goes to [`Destination::Other`].

mod numbers;
mod owners;
mod places;

pub use numbers::{Numbers, Rate, Series};

use crate::destination::Destination;
use crate::record::Owner;
use ahash::RandomState;
use gantry_plugin_api::ContainerRef;
use hashbrown::HashMap;
use places::Places;

/// Cgroups that are known at the same time: more than a machine has containers.
const MAX_GROUPS: usize = 16_384;

/// With those of containers of which no cgroup is known at the moment.
const MAX_ACCOUNTS: usize = 2 * MAX_GROUPS;

/// How many series there may be, besides one for all others of each account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of one container.
    pub each: u32,
    /// In all.
    pub all: u32,
}

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

/// Whose a group is, and by what that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// By its cgroup: that is sure.
    Cgroup(ContainerRef),
    /// By a process of it, for as long as its cgroup is not known.
    Process(ContainerRef),
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
    /// That is known by its cgroup, and not by a process alone.
    pub is_sure: bool,
    /// When it was first seen.
    pub since: u64,
    /// When something happened last.
    pub used: u64,
    /// It is nobody's: nothing is counted but connects.
    pub is_nobody_s: bool,
    /// Where it counts.
    account: u32,
}

/// What groups count on.
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    /// Whose it is.
    pub container: Option<ContainerRef>,
    /// A process of the group that came to it last: by it the next generation
    /// finds whose it is.
    pub last: Owner,
    /// That is known by a cgroup, and holds.
    is_sure: bool,
    groups: u32,
    series: u32,
    /// Connections of the table that refer to its series.
    pub(crate) held: u32,
}

/// What was counted, of all groups.
#[derive(Debug)]
pub struct Counts {
    groups: Places<Group>,
    by_cgroups: HashMap<Cgroups, u32, RandomState>,
    accounts: Places<Account>,
    by_container: HashMap<ContainerRef, u32, RandomState>,
    series: Places<Series>,
    by_destination: HashMap<(u32, Destination), u32, RandomState>,
    /// Connects of nobody's processes.
    pub unattributed: u64,
    /// Connects that went to `~other`, since there were too many destinations.
    pub folded: u64,
    /// Events of cgroups for which there was no room.
    pub refused: u64,
}

/// Series that are in another one now.
pub type Moved = HashMap<u32, u32, RandomState>;

impl Default for Counts {
    fn default() -> Self {
        Self {
            groups: Places::default(),
            by_cgroups: HashMap::with_hasher(RandomState::new()),
            accounts: Places::default(),
            by_container: HashMap::with_hasher(RandomState::new()),
            series: Places::default(),
            by_destination: HashMap::with_hasher(RandomState::new()),
            unattributed: 0,
            folded: 0,
            refused: 0,
        }
    }
}

impl Counts {
    /// The group of an owner; made at the first time. `None`: there are too many.
    pub fn group(&mut self, owner: &Owner, now: u64) -> Option<u32> {
        let cgroups = Cgroups::from(owner);
        if let Some(known) = self.by_cgroups.get(&cgroups) {
            return Some(*known);
        }
        if self.groups.len() >= MAX_GROUPS || self.accounts.len() >= MAX_ACCOUNTS {
            return None;
        }
        let account =
            Account { container: None, last: *owner, is_sure: false, groups: 1, series: 0, held: 0 };
        let group = Group {
            cgroups,
            first: *owner,
            container: None,
            is_sure: false,
            since: now,
            used: now,
            is_nobody_s: false,
            account: self.accounts.put(account),
        };
        let index = self.groups.put(group);
        self.by_cgroups.insert(cgroups, index);
        Some(index)
    }

    /// The series of a group to a destination, which is held until
    /// [`Self::release`]. `None`: it is nobody's.
    pub fn hold(&mut self, group: u32, to: Destination, limits: Limits, now: u64) -> Option<u32> {
        let known = self.groups.get_mut(group)?;
        known.used = now;
        if known.is_nobody_s {
            return None;
        }
        let account = known.account;
        let index = self.find(account, to, limits, 1, now)?;
        let series = self.series.get_mut(index)?;
        series.held += 1;
        series.used = now;
        if let Some(account) = self.accounts.get_mut(series.account) {
            account.held += 1;
        }
        Some(index)
    }

    /// The series of an account, made where there is none and room for it; else
    /// that of all others, to which so many connects go.
    fn find(
        &mut self,
        account: u32,
        to: Destination,
        limits: Limits,
        connects: u64,
        now: u64,
    ) -> Option<u32> {
        if let Some(index) = self.by_destination.get(&(account, to)) {
            return Some(*index);
        }
        let is_full = self.by_destination.len() >= limits.all as usize;
        let known = self.accounts.get_mut(account)?;
        if to != Destination::Other && (is_full || known.series >= limits.each) {
            self.folded += connects;
            return self.find(account, Destination::Other, limits, connects, now);
        }
        if to != Destination::Other {
            known.series += 1;
        }
        let index = self.series.put(Series::new(account, to, now));
        self.by_destination.insert((account, to), index);
        Some(index)
    }

    /// Adds what the generation before counted.
    pub fn restore(&mut self, group: u32, to: Destination, numbers: &Numbers, limits: Limits, now: u64) {
        let Some(index) = self.hold(group, to, limits, now) else {
            self.refused += 1;
            return;
        };
        if let Some(series) = self.series(index) {
            series.numbers.add(numbers);
            series.rate.before = series.numbers.connects;
        }
        self.release(index, now);
    }

    /// What was held.
    pub fn series(&mut self, index: u32) -> Option<&mut Series> {
        self.series.get_mut(index)
    }

    /// It is held no more.
    pub fn release(&mut self, index: u32, now: u64) {
        let Some(series) = self.series.get_mut(index) else { return };
        series.held = series.held.saturating_sub(1);
        series.used = now;
        if let Some(account) = self.accounts.get_mut(series.account) {
            account.held = account.held.saturating_sub(1);
        }
    }

    /// Connections of the table that are of the same container as a series.
    pub fn held_beside(&self, series: u32) -> u32 {
        let account = self.series.get(series).and_then(|series| self.accounts.get(series.account));
        account.map_or(0, |account| account.held)
    }

    /// All series.
    pub fn all(&self) -> impl Iterator<Item = &Series> {
        self.series.iter().map(|(_, series)| series)
    }

    /// All series, to be changed.
    pub fn all_mut(&mut self) -> impl Iterator<Item = &mut Series> {
        self.series.iter_mut().map(|(_, series)| series)
    }

    /// A group.
    pub fn of(&self, group: u32) -> Option<&Group> {
        self.groups.get(group)
    }

    /// All groups.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().map(|(_, group)| group)
    }

    /// The containers of all accounts.
    pub fn containers(&self) -> impl Iterator<Item = ContainerRef> {
        self.accounts.iter().filter_map(|(_, account)| account.container)
    }

    /// An account.
    pub fn account(&self, account: u32) -> Option<&Account> {
        self.accounts.get(account)
    }

    /// A process by which the next generation finds whose an account is. `None`: its
    /// cgroup counts on another one by now, which would take these for its own.
    pub fn found_by(&self, account: u32) -> Option<Owner> {
        let last = self.accounts.get(account)?.last;
        let group = self.by_cgroups.get(&Cgroups::from(&last)).and_then(|group| self.groups.get(*group));
        group.is_none_or(|group| group.account == account).then_some(last)
    }

    /// Forgets series that nothing refers to and that nothing happened to for
    /// `idle` nanoseconds.
    pub fn forget_idle(&mut self, now: u64, idle: u64) {
        self.forget_those(|series, _| now.saturating_sub(series.used) > idle);
    }

    /// Forgets series that no connection holds: one that a connection holds goes with it.
    fn forget_those(&mut self, mut is_one: impl FnMut(&Series, &Account) -> bool) {
        let (series, accounts) = (&self.series, &self.accounts);
        let of = series.iter().filter(|(_, series)| {
            series.held == 0 && accounts.get(series.account).is_none_or(|account| is_one(series, account))
        });
        let gone: Vec<u32> = of.map(|(index, _)| index).collect();
        for index in gone {
            self.remove(index);
        }
    }

    fn remove(&mut self, index: u32) -> Option<Series> {
        let series = self.series.take(index)?;
        self.by_destination.remove(&(series.account, series.to));
        if let Some(account) = self.accounts.get_mut(series.account) {
            account.held = account.held.saturating_sub(series.held);
            if series.to != Destination::Other {
                account.series = account.series.saturating_sub(1);
            }
        }
        Some(series)
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
mod tests;
