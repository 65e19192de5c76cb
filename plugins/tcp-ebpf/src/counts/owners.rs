//! Whose each group is, and what becomes of accounts by it.

use super::{Counts, Group, Limits, Moved, Whose};
use ahash::RandomState;
use gantry_plugin_api::ContainerRef;
use hashbrown::{HashMap, HashSet};

/// Accounts that are in another one now.
type Joins = HashMap<u32, u32, RandomState>;

impl Counts {
    /// Asks whose each group is. One that nobody owned within `patience`
    /// nanoseconds is nobody's, until its turn comes again; one whose container
    /// is forgotten is forgotten. The account of a container stays as long as
    /// the container is known, whatever became of its groups.
    ///
    /// Whoever holds a series that was moved holds the other one now.
    pub fn attribute(
        &mut self,
        now: u64,
        patience: u64,
        limits: Limits,
        mut whose: impl FnMut(&Group) -> Option<Whose>,
        is_known: impl Fn(ContainerRef) -> bool,
    ) -> Moved {
        let (mut gone, mut joins) = (Vec::new(), Joins::with_hasher(RandomState::new()));
        for (index, group) in self.groups.iter_mut() {
            match whose(group) {
                Some(Whose::Cgroup(container)) => {
                    (group.container, group.is_nobody_s) = (Some(container), false);
                    group.is_sure = true;
                    let Some(own) = self.accounts.get_mut(group.account) else { continue };
                    if own.is_sure && own.container == Some(container) {
                        continue;
                    }
                    let known = self.by_container.get(&container).copied();
                    let from = group.account;
                    if let Some(known) = known {
                        // What one container counted stays its own.
                        if !own.is_sure {
                            joins.insert(from, known);
                        }
                        own.groups -= 1;
                        group.account = known;
                    } else if own.is_sure {
                        own.groups -= 1;
                        let mut fresh = own.clone();
                        (fresh.groups, fresh.series, fresh.held) = (0, 0, 0);
                        fresh.container = Some(container);
                        group.account = self.accounts.put(fresh);
                        self.by_container.insert(container, group.account);
                    } else {
                        (own.container, own.is_sure) = (Some(container), true);
                        own.groups -= 1;
                        self.by_container.insert(container, from);
                    }
                    if let Some(account) = self.accounts.get_mut(group.account) {
                        account.groups += 1;
                        account.last = group.first;
                    }
                }
                Some(Whose::Process(container)) => {
                    (group.container, group.is_nobody_s) = (Some(container), false);
                    if let Some(own) = self.accounts.get_mut(group.account).filter(|own| !own.is_sure) {
                        own.container = Some(container);
                    }
                }
                None if group.container.is_some() => gone.push(index),
                None if now.saturating_sub(group.used) > 10 * patience => gone.push(index),
                None if !group.is_nobody_s && now.saturating_sub(group.since) > patience => {
                    group.is_nobody_s = true;
                }
                None => {}
            }
        }
        let moved = self.join(&joins, limits, now);
        for index in gone {
            let Some(group) = self.groups.take(index) else { continue };
            self.by_cgroups.remove(&group.cgroups);
            if let Some(account) = self.accounts.get_mut(group.account) {
                account.groups -= 1;
            }
        }
        self.forget_nobody_s(is_known);
        moved
    }

    /// Puts the series of accounts into others.
    fn join(&mut self, joins: &Joins, limits: Limits, now: u64) -> Moved {
        let mut moved = Moved::with_hasher(RandomState::new());
        if joins.is_empty() {
            return moved;
        }
        let those =
            self.series.iter().filter_map(|(index, series)| Some((index, *joins.get(&series.account)?)));
        let those: Vec<(u32, u32)> = those.collect();
        for (index, into) in those {
            let Some(series) = self.remove(index) else { continue };
            let Some(found) = self.find(into, series.to, limits, series.numbers.connects, now) else {
                continue;
            };
            if let Some(other) = self.series.get_mut(found) {
                other.join(&series);
            }
            if let Some(account) = self.accounts.get_mut(into) {
                account.held += series.held;
            }
            moved.insert(index, found);
        }
        moved
    }

    /// Forgets what is nobody's, and what is of containers that nobody knows any
    /// more. Connects that were somebody's once are not those of nobody.
    fn forget_nobody_s(&mut self, is_known: impl Fn(ContainerRef) -> bool) {
        let nobody_s: HashSet<u32, RandomState> = self
            .groups
            .iter()
            .filter(|(_, group)| group.is_nobody_s)
            .map(|(_, group)| group.account)
            .collect();
        let mut over: HashSet<u32, RandomState> = HashSet::with_hasher(RandomState::new());
        for (index, account) in self.accounts.iter() {
            let is_over = match account.container {
                Some(container) => account.groups == 0 && !(account.is_sure && is_known(container)),
                None => account.groups == 0 || nobody_s.contains(&index),
            };
            if is_over {
                over.insert(index);
            }
        }
        if over.is_empty() {
            return;
        }
        let mut unattributed = 0;
        self.forget_those(|series, account| {
            let is_over = over.contains(&series.account);
            if is_over && account.container.is_none() {
                unattributed += series.numbers.connects;
            }
            is_over
        });
        self.unattributed += unattributed;
        let held: HashSet<u32, RandomState> = self.series.iter().map(|(_, series)| series.account).collect();
        for index in over {
            let is_free = self.accounts.get(index).is_some_and(|account| account.groups == 0);
            if !is_free || held.contains(&index) {
                continue;
            }
            let account = self.accounts.take(index);
            if let Some(container) = account.and_then(|account| account.container)
                && self.by_container.get(&container) == Some(&index)
            {
                self.by_container.remove(&container);
            }
        }
    }
}
