//! What a container is allowed, where it has several cgroups.
//!
//! A cgroup that lingers after its last process allows nobody anything: only
//! those with processes count, and the last one where none has any. Several
//! with processes may use what they are allowed in all; where one of them has no
//! limit of its own, neither has the whole. Of limits from above it is not known
//! whether they are of one cgroup or of one each. The largest stands for the
//! whole then: exact where it is one, and no more than the whole may have
//! where it is not.

use crate::metrics::*;
use gantry_cgroupfs::Usage;
use gantry_cgroupfs::usage::Limit;
use gantry_plugin_api::{ContainerRef, Family, Sink};
use std::ops::Add;

/// The limits of a container.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Limits {
    /// Of how many cgroups with processes they are.
    with_processes: usize,
    cores: Bound<f64>,
    memory: Bound<u64>,
    swap: Bound<u64>,
}

/// One of them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Bound<T> {
    own: Option<T>,
    binding: Option<T>,
    /// What binds one of the cgroups is not its own.
    is_from_above: bool,
}

impl Limits {
    /// Adds those of one of its cgroups.
    pub(super) fn add(&mut self, usage: &Usage, has_processes: bool) {
        let one = Self {
            with_processes: 1,
            cores: Bound::of(usage.cpu.limit),
            memory: Bound::of(usage.memory.limit),
            swap: Bound::of(usage.memory.swap_limit),
        };
        match (self.with_processes, has_processes) {
            (0, true) => *self = one,
            (0, false) => *self = Self { with_processes: 0, ..one },
            (_, false) => {}
            (before, true) => {
                *self = Self {
                    with_processes: before + 1,
                    cores: self.cores.and(one.cores),
                    memory: self.memory.and(one.memory),
                    swap: self.swap.and(one.swap),
                };
            }
        }
    }

    pub(super) fn emit(&self, container: ContainerRef, sink: &mut Sink<'_>) {
        let bytes: [(&Family, Option<u64>); 3] = [
            (&MEMORY_LIMIT, self.memory.own),
            (&MEMORY_BINDING_LIMIT, self.memory.binding),
            (&SWAP_LIMIT, self.swap.own),
        ];
        for (family, value) in bytes.into_iter().filter_map(|(family, value)| Some((family, value?))) {
            sink.container(family, container, &[], value);
        }
        let cores: [(&Family, Option<f64>); 2] =
            [(&CPU_LIMIT, self.cores.own), (&CPU_BINDING_LIMIT, self.cores.binding)];
        for (family, value) in cores.into_iter().filter_map(|(family, value)| Some((family, value?))) {
            sink.container(family, container, &[], value);
        }
    }
}

impl<T: Add<Output = T> + PartialOrd + Copy> Bound<T> {
    fn of(limit: Limit<T>) -> Self {
        Self { own: limit.own, binding: limit.binding, is_from_above: limit.binding != limit.own }
    }

    fn and(self, other: Self) -> Self {
        let is_from_above = self.is_from_above || other.is_from_above;
        let binding = self.binding.zip(other.binding).map(|(one, other)| match is_from_above {
            true if one < other => other,
            true => one,
            false => one + other,
        });
        let own = self.own.zip(other.own).map(|(one, other)| one + other);
        Self { own, binding, is_from_above }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(all: &[(Option<u64>, Option<u64>, bool)]) -> (Option<u64>, Option<u64>) {
        let mut limits = Limits::default();
        for (own, binding, has_processes) in all {
            let mut usage = Usage::default();
            usage.memory.limit = Limit { own: *own, binding: *binding };
            limits.add(&usage, *has_processes);
        }
        (limits.memory.own, limits.memory.binding)
    }

    #[test]
    fn only_those_with_processes_count_or_the_last() {
        let (old, new) = ((Some(7), Some(7)), (Some(5), Some(4)));
        assert_eq!(limits(&[(old.0, old.1, false), (new.0, new.1, true)]), new);
        assert_eq!(limits(&[(new.0, new.1, true), (old.0, old.1, false)]), new);
        assert_eq!(limits(&[(old.0, old.1, false), (new.0, new.1, false)]), new);
        assert_eq!(limits(&[(old.0, old.1, false), (None, None, true)]), (None, None));
        assert_eq!(limits(&[]), (None, None));
    }

    #[test]
    fn what_one_is_not_denied_the_whole_is_not() {
        assert_eq!(limits(&[(Some(7), Some(7), true), (Some(5), Some(5), true)]), (Some(12), Some(12)));
        assert_eq!(limits(&[(Some(7), Some(7), true), (None, None, true)]), (None, None));
        assert_eq!(limits(&[(None, None, true), (Some(7), Some(7), true)]), (None, None));
    }

    #[test]
    fn one_limit_above_both_is_there_once() {
        assert_eq!(limits(&[(Some(7), Some(6), true), (Some(9), Some(6), true)]), (Some(16), Some(6)));
        assert_eq!(limits(&[(None, Some(6), true), (None, Some(6), true)]), (None, Some(6)));
        assert_eq!(limits(&[(Some(3), Some(3), true), (None, Some(6), true)]), (None, Some(6)));
    }
}
