//! Which series were shown, told from one process to the next: a counter that
//! goes on where it was must not be shown as 0 first, and one that was never
//! shown must.

use crate::groups::is_counted_here;
use crate::series::{Flag, Text};
use crate::table::Table;
use std::collections::HashMap;

/// What another process showed, until its series are here or do not come.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    known: HashMap<u64, f64>,
    /// In seconds since the epoch; set by the first collection.
    until: Option<f64>,
}

/// A series that is not back after so long (its container waits for a name, at
/// most for seconds) is taken for a new one.
const KEPT_FOR: f64 = 600.0;

/// FNV-1a: the same in each build and on each machine. Whoever chooses labels
/// so that two collide has one of his own counters begin without a 0.
fn hash(family: &str, text: Text<'_>) -> u64 {
    let parts = [family.as_bytes(), b"{", text.own, b"{", text.constant[0], text.constant[1]];
    parts
        .into_iter()
        .flatten()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Table {
    /// The series that are counted by the owner and were shown, each with the
    /// second since which it counts. What is remembered and has not come yet
    /// is among them.
    pub fn marks(&self) -> Vec<(u64, f64)> {
        let mut marks: Vec<(u64, f64)> =
            self.marks.known.iter().map(|(mark, since)| (*mark, *since)).collect();
        for (place, family) in self.families.iter().enumerate() {
            if family.refused.is_some() || !is_counted_here(family) {
                continue;
            }
            let was_seen = |place| !self.store.get(place).is(Flag::Newborn) || self.is_written();
            let shown = self.shown(place).filter(|(place, _)| was_seen(*place));
            marks.extend(
                shown.map(|(place, text)| (hash(&family.info.name, text), self.store.created(place))),
            );
        }
        marks
    }

    /// Takes over what another process's table gave as [`Table::marks`]: such
    /// a series goes on where it was.
    pub fn remember(&mut self, marks: &[(u64, f64)]) {
        self.marks = Marks { known: marks.iter().copied().collect(), until: None };
    }

    /// The names of families of which something is shown.
    pub fn families_shown(&self) -> impl Iterator<Item = &str> {
        let shown = |place: &usize| self.families[*place].refused.is_none() && !self.is_empty(*place);
        (0..self.families.len()).filter(shown).map(|place| self.families[place].info.name.as_str())
    }

    /// The names of all families that may be shown.
    pub fn families_declared(&self) -> impl Iterator<Item = &str> {
        self.families.iter().filter(|family| family.refused.is_none()).map(|family| family.info.name.as_str())
    }

    /// At the end of a collection: what was shown before is not new.
    pub(crate) fn recall(&mut self, now: f64) {
        if self.marks.known.is_empty() {
            return;
        }
        let until = *self.marks.until.get_or_insert(now + KEPT_FOR);
        let mut back = Vec::new();
        for (family, rows) in self.families.iter().zip(&self.rows) {
            if !is_counted_here(family) {
                continue;
            }
            for &place in &rows.places {
                let series = self.store.get(place);
                if !series.is(Flag::Newborn) || !self.subjects.is_shown(series.subject) {
                    continue;
                }
                let own =
                    if family.info.labels.is_empty() { family.own_text() } else { self.store.text(series) };
                let text = Text { own, constant: self.subjects.constant(series.subject) };
                if let Some(since) = self.marks.known.remove(&hash(&family.info.name, text)) {
                    back.push((place, since));
                }
            }
        }
        for (place, since) in back {
            self.store.get_mut(place).set(Flag::Newborn, false);
            if !since.is_nan() {
                self.store.set_created(place, since);
            }
        }
        if now >= until {
            self.marks.known = HashMap::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Arena, Constant, Format, Group, Labels, Member, Registry, Table, encode};
    use gantry_plugin_api::description::{FamilyInfo, Kind, Merge};

    struct Node;

    impl Labels for Node {
        fn node(&self) -> Constant<'_> {
            Constant::new("machine_id=\"m\"", 0)
        }
        fn container(&self, _: u64) -> Option<Member<'_>> {
            None
        }
        fn group(&self, _: u64) -> Option<Group<'_>> {
            None
        }
    }

    fn table() -> Table {
        let info = |name: &str, labels: &[&str]| FamilyInfo {
            name: name.to_owned(),
            help: String::new(),
            kind: Kind::Counter,
            unit: String::new(),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            per_container: false,
            counted_here: true,
            merge: Merge::Sum,
        };
        let families = [info("all_total", &[]), info("by_total", &["kind"])];
        Table::new(Registry::new().register("x", &[], &families).families, 100)
    }

    fn collection(all: f64, by: &[(&str, f64)]) -> Arena {
        let mut arena = Arena::with_limit(100);
        arena.sample(0, 0, std::iter::empty(), all);
        by.iter().for_each(|(kind, value)| arena.sample(1, 0, [kind.as_bytes()].into_iter(), *value));
        arena
    }

    fn text(table: &Table, format: Format) -> String {
        let mut out = Vec::new();
        encode(&[table], format, &mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn what_was_shown_goes_on_and_what_was_not_begins_at_zero() {
        let mut first = table();
        first.take(&collection(3.0, &[("a", 1.0)]), &Node, 1000.0, true);
        assert!(first.marks().is_empty(), "nobody has seen them");
        assert!(text(&first, Format::Text).contains("all_total{machine_id=\"m\"} 0\n"));
        // Shown as 0 once: what comes next is an increase.
        let marks = first.marks();
        assert_eq!(marks.len(), 2);
        let mut second = table();
        second.remember(&marks);
        second.take(&collection(5.0, &[("a", 2.0), ("b", 7.0)]), &Node, 2000.0, true);
        let shown = text(&second, Format::OpenMetrics);
        for line in [
            "all_total{machine_id=\"m\"} 5.0\n",
            "all_created{machine_id=\"m\"} 1000.0\n",
            "by_total{kind=\"a\",machine_id=\"m\"} 2.0\n",
            "by_total{kind=\"b\",machine_id=\"m\"} 0.0\n",
            "by_created{kind=\"b\",machine_id=\"m\"} 2000.0\n",
        ] {
            assert!(shown.contains(line) || shown.contains(&line.replace(".0\n", "\n")), "{line}{shown}");
        }
        second.take(&collection(5.0, &[("a", 2.0), ("b", 7.0)]), &Node, 2001.0, true);
        assert!(text(&second, Format::Text).contains("by_total{kind=\"b\",machine_id=\"m\"} 7\n"));
        let mut third = second.marks();
        third.sort_by_key(|(mark, _)| *mark);
        assert_eq!(third.len(), 3);
    }

    #[test]
    fn what_does_not_come_back_is_forgotten() {
        let mut first = table();
        first.take(&collection(3.0, &[("a", 1.0)]), &Node, 1000.0, true);
        text(&first, Format::Text);
        let mut second = table();
        second.remember(&first.marks());
        second.take(&collection(4.0, &[]), &Node, 2000.0, true);
        assert_eq!(second.marks().len(), 2, "it may still come");
        second.take(&collection(4.0, &[]), &Node, 2000.0 + super::KEPT_FOR, true);
        assert_eq!(second.marks().len(), 1);
    }
}
