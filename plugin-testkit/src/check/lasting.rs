//! Series of containers that are gone, whose last values the host still shows.

use crate::host::Labelled;
use crate::record::Raw;

/// The samples of containers that were taken last.
#[derive(Debug, Default)]
pub(crate) struct Lasting(Vec<Raw>);

impl Lasting {
    /// What was taken, from one collection to the next; `taken` comes first,
    /// for what was emitted again.
    pub(super) fn of<'a>(taken: impl Iterator<Item = &'a Raw>, before: Vec<Raw>) -> Self {
        let mut all: Vec<Raw> = taken.filter(|raw| raw.container != 0).cloned().collect();
        all.extend(before);
        Self(all)
    }

    /// Those of containers that are gone by now, without the series that were
    /// emitted nevertheless.
    pub(super) fn stay(&self, emitted: &[Raw], labelled: &Labelled) -> Vec<Raw> {
        let is_same = |one: &Raw, two: &Raw| {
            one.container == two.container && one.family == two.family && one.labels == two.labels
        };
        let of_gone = self.0.iter().filter(|raw| labelled.is_gone(raw.container));
        let silent = of_gone.filter(|raw| !emitted.iter().any(|other| is_same(raw, other)));
        silent.cloned().collect()
    }
}
