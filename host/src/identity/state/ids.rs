//! Who has which id, and who is one with whom in what is shown.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;

/// All ids that are shown.
#[derive(Debug, Default)]
pub struct Ids {
    by_text: HashMap<Arc<str>, Id>,
    groups: HashMap<u64, Group>,
    /// The number of the last group.
    last: Option<NonZeroU64>,
}

#[derive(Debug, Default)]
struct Id {
    members: Box<[u64]>,
    group: Option<NonZeroU64>,
}

/// Several containers that are one in what is shown: their figures are summed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub id: Arc<str>,
    pub app_id: Arc<str>,
}

/// What came of giving an id to a container.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Joined {
    /// The id, one text for all that have it.
    pub id: Arc<str>,
    /// The group of all that have the id now.
    pub group: Option<u64>,
    /// Those that had the id and make room: the same name, another container.
    pub replaced: Vec<u64>,
    /// Those that had the id and are in the group now.
    pub regrouped: Vec<u64>,
}

impl Ids {
    #[cfg(test)]
    pub fn group(&self, number: u64) -> Option<&Group> {
        self.groups.get(&number)
    }

    /// Whether somebody has this id.
    pub fn has(&self, id: &str) -> bool {
        self.by_text.contains_key(id)
    }

    pub fn groups(&self) -> impl Iterator<Item = (u64, &Group)> {
        self.groups.iter().map(|(number, group)| (*number, group))
    }

    /// Gives an id to a container. `shared`: all that ever have it are one, as
    /// the runs of a cron job. Else those that live at the same time are one,
    /// and where all of them are gone (`is_gone`) the newcomer replaces them.
    pub fn join(
        &mut self,
        id: &Arc<str>,
        app_id: &Arc<str>,
        handle: u64,
        shared: bool,
        is_gone: impl Fn(u64) -> bool,
    ) -> Joined {
        let known = self.by_text.get_key_value(id).map(|(text, _)| text.clone());
        let text = known.unwrap_or_else(|| id.clone());
        let entry = self.by_text.entry(text.clone()).or_default();
        entry.remove(handle);
        let mut joined = Joined { id: text.clone(), ..Joined::default() };
        if !shared && entry.members.iter().all(|member| is_gone(*member)) {
            joined.replaced = std::mem::take(&mut entry.members).into_vec();
            if let Some(group) = entry.group.take() {
                self.groups.remove(&group.get());
            }
        }
        if shared || !entry.members.is_empty() {
            if entry.group.is_none() {
                joined.regrouped = entry.members.to_vec();
            }
            let group = *entry.group.get_or_insert_with(|| {
                let next = self.last.map_or(NonZeroU64::MIN, |last| last.saturating_add(1));
                self.last = Some(next);
                next
            });
            self.groups.entry(group.get()).or_insert_with(|| Group { id: text, app_id: app_id.clone() });
            joined.group = Some(group.get());
        }
        entry.members = entry.members.iter().copied().chain([handle]).collect();
        joined
    }

    /// A container is forgotten. An id that nobody has is free again.
    pub fn leave(&mut self, id: &str, handle: u64) {
        let Some(entry) = self.by_text.get_mut(id) else { return };
        entry.remove(handle);
        if entry.members.is_empty()
            && let Some(Id { group: Some(group), .. }) = self.by_text.remove(id)
        {
            self.groups.remove(&group.get());
        }
    }
}

impl Id {
    fn remove(&mut self, handle: u64) {
        if self.members.contains(&handle) {
            self.members = self.members.iter().copied().filter(|member| *member != handle).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_alone_is_no_group_and_two_are() {
        let mut ids = Ids::default();
        let living = |_| false;
        let id: Arc<str> = "/docker/a".into();
        let alone = Joined { id, ..Joined::default() };
        assert_eq!(ids.join(&"/docker/a".into(), &"".into(), 1, false, living), alone);
        let joined = ids.join(&"/docker/a".into(), &"".into(), 2, false, living);
        let group = joined.group.expect("a group");
        assert_eq!((joined.replaced, joined.regrouped), (vec![], vec![1]));
        let third = ids.join(&"/docker/a".into(), &"".into(), 3, false, |handle| handle == 1);
        assert_eq!(third, Joined { group: Some(group), ..alone });
        assert_eq!(ids.group(group).map(|group| &*group.id), Some("/docker/a"));
        for handle in [1, 2, 3] {
            assert!(ids.group(group).is_some());
            ids.leave("/docker/a", handle);
        }
        assert!(ids.group(group).is_none() && ids.by_text.is_empty());
    }

    #[test]
    fn a_newcomer_replaces_those_that_are_gone() {
        let mut ids = Ids::default();
        ids.join(&"/docker/a".into(), &"".into(), 1, false, |_| false);
        let joined = ids.join(&"/docker/a".into(), &"".into(), 2, false, |_| true);
        assert_eq!(joined.replaced, [1]);
        let group = ids.join(&"/docker/a".into(), &"".into(), 3, false, |_| false).group.expect("a group");
        let joined = ids.join(&"/docker/a".into(), &"".into(), 4, false, |_| true);
        assert_eq!(joined.replaced, [2, 3]);
        assert!(ids.group(group).is_none());
    }

    #[test]
    fn runs_of_a_cron_job_are_one_for_ever() {
        let mut ids = Ids::default();
        let first = ids.join(&"/k8s-cronjob/ns/job/main".into(), &"app".into(), 1, true, |_| true);
        let second = ids.join(&"/k8s-cronjob/ns/job/main".into(), &"app".into(), 2, true, |_| true);
        assert!(first.group.is_some());
        assert_eq!((second.group, second.replaced, second.regrouped), (first.group, vec![], vec![]));
    }
}
