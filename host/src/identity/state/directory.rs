//! Directories of a container's cgroup, as the service keeps them: what many
//! have is there once.

use gantry_plugin_api::identity::Cgroup;
use std::sync::Arc;

/// Directories of one container that are kept: one in each hierarchy, and some
/// of its last lives. As many as a word has bits.
const MOST: usize = 64;

/// A hierarchy, one for all of its directories.
#[derive(Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// 0 for version 2.
    pub number: u32,
    pub controllers: Vec<String>,
}

/// A container has one in each hierarchy: ten on a machine of both versions,
/// mostly of the same path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    pub hierarchy: Arc<Hierarchy>,
    /// From the hierarchy's root.
    pub path: Arc<str>,
    /// 0 where it is not known.
    pub id: u64,
}

impl Directory {
    /// By what it is found.
    pub fn place(&self) -> Place {
        Place::new(self.hierarchy.number, self.id)
    }

    /// As plugins see it.
    pub fn cgroup(&self) -> Cgroup {
        let mut cgroup = Cgroup::default();
        cgroup.hierarchy = self.hierarchy.number;
        cgroup.controllers.clone_from(&self.hierarchy.controllers);
        cgroup.path = self.path.to_string();
        cgroup.id = self.id;
        cgroup
    }
}

/// A directory, by its hierarchy and its id there. Packed: there are a dozen for
/// each container, and the number alone would be aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C, packed(4))]
pub struct Place {
    hierarchy: u32,
    id: u64,
}

impl Place {
    pub fn new(hierarchy: u32, id: u64) -> Self {
        Self { hierarchy, id }
    }
}

/// The hierarchies of the containers' directories: nearly all have the same, and
/// each list is there once.
#[derive(Debug, Default)]
pub struct Lists(Vec<List>);

type List = Arc<[Arc<Hierarchy>]>;

/// Of so many lists those are forgotten that no container has. There are more
/// only while directories are told of one by one.
const MAX_LISTS: usize = 32;

impl Lists {
    fn of(&mut self, those: Vec<Arc<Hierarchy>>) -> List {
        if let Some(known) = self.0.iter().find(|known| known[..] == those[..]) {
            return known.clone();
        }
        if self.0.len() >= MAX_LISTS {
            self.0.retain(|known| Arc::strong_count(known) > 1);
        }
        let list = List::from(those);
        if self.0.len() < MAX_LISTS {
            self.0.push(list.clone());
        }
        list
    }
}

/// All of one container, of its last lives too; the newest last. Mostly it has
/// the same path in all hierarchies.
#[derive(Debug, Default)]
pub struct Directories(Vec<OfPath>);

/// Those of one path.
#[derive(Debug)]
struct OfPath {
    path: Arc<str>,
    hierarchies: List,
    /// In the order of the hierarchies; 0 where it is not known.
    ids: Box<[u64]>,
    /// Which of them are there, a bit each.
    there: u64,
}

impl Directories {
    /// Each of them: its hierarchy, its path and its id.
    pub fn each(&self) -> impl Iterator<Item = (&Arc<Hierarchy>, &Arc<str>, u64)> {
        self.0.iter().flat_map(OfPath::each)
    }

    pub fn all(&self) -> Vec<Directory> {
        let those = self.each().map(|(hierarchy, path, id)| Directory {
            hierarchy: hierarchy.clone(),
            path: path.clone(),
            id,
        });
        those.collect()
    }

    /// Whether one of them is this.
    pub fn has(&self, hierarchy: u32, id: u64) -> bool {
        self.each().any(|(at, _, known)| at.number == hierarchy && known == id)
    }

    /// The ids in a hierarchy that are known.
    pub fn ids_in(&self, hierarchy: u32) -> impl Iterator<Item = u64> {
        let those = self.each().filter(move |(at, _, id)| at.number == hierarchy && *id != 0);
        those.map(|(_, _, id)| id)
    }

    /// Whether none of them is there.
    pub fn are_gone(&self) -> bool {
        self.0.iter().all(|one| one.there == 0)
    }

    /// They are there, where their ids are known; whether one of them is new,
    /// or another directory by now.
    pub fn take(&mut self, those: &[Directory], lists: &mut Lists) -> bool {
        let mut changed = false;
        for those in those.chunk_by(|one, two| one.path == two.path) {
            let Some(path) = those.first().map(|one| &one.path) else { continue };
            let at = self.0.iter().position(|known| known.path == *path);
            let known = at.and_then(|at| self.0.get_mut(at));
            let mut new: Vec<&Directory> = Vec::new();
            match known {
                Some(known) => new.extend(those.iter().filter(|one| !known.sees(one, &mut changed))),
                None => new.extend(those),
            }
            if !new.is_empty() {
                changed = true;
                self.add(&new, lists);
            }
        }
        changed
    }

    /// These, of one path, are not known.
    fn add(&mut self, new: &[&Directory], lists: &mut Lists) {
        let Some(newest) = new.len().checked_sub(MOST).map_or(Some(new), |over| new.get(over..)) else {
            return;
        };
        while self.0.iter().map(|one| one.ids.len()).sum::<usize>() + newest.len() > MOST {
            self.forget_oldest();
        }
        let Some(path) = newest.first().map(|one| &one.path) else { return };
        let at = self.0.iter().position(|known| known.path == *path).unwrap_or_else(|| {
            let hierarchies = lists.of(Vec::new());
            self.0.reserve_exact(1);
            self.0.push(OfPath { path: path.clone(), hierarchies, ids: Box::default(), there: 0 });
            self.0.len() - 1
        });
        let known = &mut self.0[at];
        for (at, one) in newest.iter().enumerate() {
            known.there |= u64::from(one.id != 0) << (known.ids.len() + at);
        }
        let hierarchies = known.hierarchies.iter().chain(newest.iter().map(|one| &one.hierarchy));
        known.hierarchies = lists.of(hierarchies.cloned().collect());
        known.ids = known.ids.iter().copied().chain(newest.iter().map(|one| one.id)).collect();
    }

    fn forget_oldest(&mut self) {
        let Some(oldest) = self.0.first_mut() else { return };
        oldest.keep(u64::MAX - 1);
        if oldest.ids.is_empty() {
            self.0.remove(0);
        }
    }

    /// One is gone; whether it was there.
    pub fn went(&mut self, hierarchy: u32, id: u64) -> bool {
        for one in &mut self.0 {
            let mut all = one.hierarchies.iter().zip(&one.ids);
            if let Some(at) = all.position(|(at, known)| at.number == hierarchy && *known == id) {
                let was_there = one.there >> at & 1 == 1;
                one.there &= !(1 << at);
                return was_there;
            }
        }
        false
    }

    pub fn all_went(&mut self) {
        self.0.iter_mut().for_each(|one| one.there = 0);
    }

    /// Forgets those that are gone.
    pub fn forget_gone(&mut self) {
        self.0.iter_mut().for_each(|one| one.keep(one.there));
        self.0.retain(|one| !one.ids.is_empty());
    }
}

impl OfPath {
    fn each(&self) -> impl Iterator<Item = (&Arc<Hierarchy>, &Arc<str>, u64)> {
        self.hierarchies.iter().zip(&self.ids).map(|(hierarchy, id)| (hierarchy, &self.path, *id))
    }

    /// Whether it has one of the same hierarchy, whose id is this one from now on.
    fn sees(&mut self, one: &Directory, changed: &mut bool) -> bool {
        let same = |known: &Arc<Hierarchy>| known.number == one.hierarchy.number;
        let Some(at) = self.hierarchies.iter().position(same) else { return false };
        if one.id != 0 && self.ids[at] != one.id {
            self.ids[at] = one.id;
            *changed = true;
        }
        self.there |= u64::from(one.id != 0) << at;
        true
    }

    /// Keeps those of these bits.
    fn keep(&mut self, bits: u64) {
        let kept = |at: &usize| bits >> at & 1 == 1;
        let all: Vec<usize> = (0..self.ids.len()).filter(kept).collect();
        if all.len() == self.ids.len() {
            return;
        }
        // Mostly all of a path go together.
        self.hierarchies = all.iter().map(|at| self.hierarchies[*at].clone()).collect();
        let there = all.iter().enumerate().map(|(to, from)| (self.there >> from & 1) << to);
        self.there = there.fold(0, |all, bit| all | bit);
        self.ids = all.iter().map(|at| self.ids[*at]).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(number: u32, path: &str, id: u64) -> Directory {
        Directory {
            hierarchy: Arc::new(Hierarchy { number, controllers: Vec::new() }),
            path: path.into(),
            id,
        }
    }

    #[test]
    fn they_come_and_go_and_the_newest_are_kept() {
        let (mut those, mut lists) = (Directories::default(), Lists::default());
        let lists = &mut lists;
        assert!(those.are_gone());
        assert!(those.take(&[directory(1, "/a", 0)], lists), "its id is not known");
        assert!(those.are_gone());
        assert!(those.take(&[directory(1, "/a", 7), directory(2, "/a", 8)], lists));
        assert!(!those.take(&[directory(1, "/a", 0), directory(2, "/a", 8)], lists), "nothing is new");
        assert_eq!(
            those.all().iter().map(Directory::place).collect::<Vec<_>>(),
            [Place::new(1, 7), Place::new(2, 8)]
        );
        assert!(!those.went(1, 9) && those.went(1, 7) && !those.went(1, 7) && !those.are_gone());
        assert!(those.take(&[directory(2, "/a", 18)], lists), "another one of the same path");
        assert!(!those.went(2, 8) && !those.are_gone(), "the one before");
        those.forget_gone();
        assert_eq!((those.each().count(), those.are_gone()), (1, false));
        those.all_went();
        those.forget_gone();
        assert!(those.all().is_empty() && those.are_gone());
        for id in 1..=200_u64 {
            assert!(those.take(&[directory(1, &format!("/{id}"), id)], lists));
        }
        assert_eq!((those.each().count(), those.all()[0].id), (MOST, 200 - MOST as u64 + 1));
        assert!(!those.went(1, 9) && those.went(1, 200));
        for id in 100..200 {
            those.went(1, id);
        }
        assert!(those.are_gone());
    }
}
