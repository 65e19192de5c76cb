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

/// All of one container, of its last lives too; the newest last.
#[derive(Debug, Default)]
pub struct Directories {
    all: Vec<Directory>,
    /// Which of them are there, a bit each.
    there: u64,
}

impl Directories {
    pub fn all(&self) -> &[Directory] {
        &self.all
    }

    /// Whether none of them is there.
    pub fn are_gone(&self) -> bool {
        self.there == 0
    }

    /// They are there, where their ids are known; whether one of them is new,
    /// or another directory by now.
    pub fn take(&mut self, those: &[Directory]) -> bool {
        let mut changed = false;
        for one in those {
            let same =
                |known: &Directory| known.hierarchy.number == one.hierarchy.number && known.path == one.path;
            let at = match self.all.iter().position(same) {
                Some(at) => {
                    if one.id != 0 && self.all[at].id != one.id {
                        self.all[at].id = one.id;
                        changed = true;
                    }
                    at
                }
                None => {
                    self.add(one, those.len());
                    changed = true;
                    self.all.len() - 1
                }
            };
            self.there |= u64::from(one.id != 0) << at;
        }
        changed
    }

    fn add(&mut self, one: &Directory, more: usize) {
        let path = self.all.iter().find(|known| known.path == one.path).map(|known| known.path.clone());
        let path = path.unwrap_or_else(|| one.path.clone());
        if self.all.len() >= MOST {
            self.all.remove(0);
            self.there >>= 1;
        }
        // Mostly these are all that there will ever be.
        if self.all.len() == self.all.capacity() {
            self.all.reserve_exact(more.min(MOST - self.all.len()).max(1));
        }
        self.all.push(Directory { path, ..one.clone() });
    }

    /// One is gone; whether it was there.
    pub fn went(&mut self, hierarchy: u32, id: u64) -> bool {
        let Some(at) = self.all.iter().position(|known| known.place() == Place::new(hierarchy, id)) else {
            return false;
        };
        let was_there = self.there >> at & 1 == 1;
        self.there &= !(1 << at);
        was_there
    }

    pub fn all_went(&mut self) {
        self.there = 0;
    }

    /// Forgets those that are gone.
    pub fn forget_gone(&mut self) {
        let (there, mut at) = (self.there, 0);
        self.all.retain(|_| {
            at += 1;
            there >> (at - 1) & 1 == 1
        });
        self.there = u64::MAX.checked_shr(64 - self.all.len() as u32).unwrap_or_default();
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
        let mut those = Directories::default();
        assert!(those.are_gone());
        assert!(those.take(&[directory(1, "/a", 0)]), "its id is not known");
        assert!(those.are_gone());
        assert!(those.take(&[directory(1, "/a", 7), directory(2, "/a", 8)]));
        assert!(!those.take(&[directory(1, "/a", 0), directory(2, "/a", 8)]), "nothing is new");
        assert_eq!(
            those.all().iter().map(Directory::place).collect::<Vec<_>>(),
            [Place::new(1, 7), Place::new(2, 8)]
        );
        assert!(!those.went(1, 9) && those.went(1, 7) && !those.went(1, 7) && !those.are_gone());
        assert!(those.take(&[directory(2, "/a", 18)]), "another one of the same path");
        assert!(!those.went(2, 8) && !those.are_gone(), "the one before");
        those.forget_gone();
        assert_eq!((those.all().len(), those.are_gone()), (1, false));
        those.all_went();
        those.forget_gone();
        assert!(those.all().is_empty() && those.are_gone());
        for id in 1..=200_u64 {
            assert!(those.take(&[directory(1, &format!("/{id}"), id)]));
        }
        assert_eq!((those.all().len(), those.all()[0].id), (MOST, 200 - MOST as u64 + 1));
        assert!(!those.went(1, 9) && those.went(1, 200));
        for id in 100..200 {
            those.went(1, id);
        }
        assert!(those.are_gone());
    }
}
