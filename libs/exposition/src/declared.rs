//! A family as the registry let it pass.

use crate::names;
use crate::reason::Reason;
use gantry_plugin_api::description::{FamilyInfo, Kind};
use std::sync::Arc;

/// A family that an owner declared, and what became of it. Made by
/// [`crate::Registry::register`].
#[derive(Debug, Clone)]
pub struct Declared {
    /// As it was declared.
    pub info: FamilyInfo,
    /// Why no sample of it is shown.
    pub refused: Option<Reason>,
    /// What is written as its help: that of the first owner of the name.
    pub(crate) help: Arc<str>,
    /// What stands around the label values in a line up to the constant
    /// labels; one piece more than there are labels.
    pub(crate) glue: Vec<Box<[u8]>>,
}

impl Declared {
    pub(crate) fn new(info: FamilyInfo, help: Arc<str>, refused: Option<Reason>) -> Self {
        let glue = glue(&info);
        Self { info, refused, help, glue }
    }

    /// Whether the two are one family for readers of the text.
    pub(crate) fn same_shape(&self, other: &FamilyInfo) -> bool {
        difference(&self.info, other).is_none()
    }

    /// Whether series of this family are those of the other under its next
    /// generation; the unit is in the name where it matters.
    pub(crate) fn same_series(&self, other: &FamilyInfo) -> bool {
        let info = &self.info;
        info.name == other.name
            && info.kind == other.kind
            && info.labels == other.labels
            && info.per_container == other.per_container
    }

    /// What a series without labels of its own has of a line, as [`crate::series::Series`] has it.
    pub(crate) fn own_text(&self) -> &[u8] {
        self.glue.first().map_or(&[], |glue| glue)
    }

    /// Its unit, where OpenMetrics may show it: the name must end in it.
    pub(crate) fn unit(&self) -> Option<&str> {
        let before = names::openmetrics_name(&self.info).strip_suffix(self.info.unit.as_str())?;
        (!self.info.unit.is_empty() && before.len() > 1 && before.ends_with('_')).then_some(&self.info.unit)
    }

    /// Whether its values are counts since some time, which `_created` may say.
    pub(crate) fn has_created(&self) -> bool {
        names::is_openmetrics_counter(&self.info) || self.info.kind == Kind::Histogram
    }

    pub(crate) fn is_histogram(&self) -> bool {
        self.info.kind == Kind::Histogram
    }
}

/// Where two families of one name are not the same: what, and how each has it.
pub(crate) fn difference(one: &FamilyInfo, two: &FamilyInfo) -> Option<(&'static str, String, String)> {
    let scope = |info: &FamilyInfo| if info.per_container { "container" } else { "node" }.to_owned();
    let labels = |info: &FamilyInfo| format!("[{}]", info.labels.join(", "));
    if one.kind != two.kind {
        Some(("type", one.kind.as_str().to_owned(), two.kind.as_str().to_owned()))
    } else if one.unit != two.unit {
        Some(("unit", format!("{:?}", one.unit), format!("{:?}", two.unit)))
    } else if one.per_container != two.per_container {
        Some(("scope", scope(one), scope(two)))
    } else if one.labels != two.labels {
        Some(("labels", labels(one), labels(two)))
    } else if one.kind == Kind::Gauge && one.merge != two.merge {
        Some(("merge", one.merge.as_str().to_owned(), two.merge.as_str().to_owned()))
    } else {
        None
    }
}

/// A number's line begins with the name; a histogram has several names, so its
/// text is the labels alone.
fn glue(info: &FamilyInfo) -> Vec<Box<[u8]>> {
    let start = match info.kind {
        Kind::Histogram => String::new(),
        _ if info.labels.is_empty() => info.name.clone(),
        _ => format!("{}{{", info.name),
    };
    let mut pieces = Vec::with_capacity(info.labels.len() + 1);
    let mut before = start;
    for label in &info.labels {
        pieces.push(format!("{before}{label}=\"").into_bytes().into());
        before = "\",".to_owned();
    }
    if !info.labels.is_empty() {
        before = "\"".to_owned();
    }
    pieces.push(before.into_bytes().into());
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_plugin_api::description::Merge;

    fn declared(name: &str, kind: Kind, unit: &str, labels: &[&str]) -> Declared {
        let info = FamilyInfo {
            name: name.to_owned(),
            help: String::new(),
            kind,
            unit: unit.to_owned(),
            labels: labels.iter().map(|&label| label.to_owned()).collect(),
            per_container: false,
            counted_here: false,
            merge: Merge::Sum,
        };
        Declared::new(info, "".into(), None)
    }

    #[test]
    fn units_that_openmetrics_may_show() {
        for (name, kind, unit, shown) in [
            ("wait_seconds", Kind::Gauge, "seconds", true),
            ("wait_seconds_total", Kind::Counter, "seconds", true),
            ("wait_seconds_total", Kind::Histogram, "seconds", false),
            ("wait_seconds", Kind::Counter, "seconds", true),
            ("seconds", Kind::Gauge, "seconds", false),
            ("_seconds", Kind::Gauge, "seconds", false),
            ("waitseconds", Kind::Gauge, "seconds", false),
            ("wait", Kind::Gauge, "seconds", false),
            ("wait_", Kind::Gauge, "", false),
        ] {
            assert_eq!(declared(name, kind, unit, &[]).unit().is_some(), shown, "{name} {kind:?}");
        }
    }

    #[test]
    fn glue_of_each_shape() {
        let text = |kind, labels: &[&str]| {
            let pieces = declared("m", kind, "", labels).glue;
            pieces.iter().map(|piece| String::from_utf8(piece.to_vec()).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(text(Kind::Gauge, &[]), ["m"]);
        assert_eq!(text(Kind::Gauge, &["a", "b"]), ["m{a=\"", "\",b=\"", "\""]);
        assert_eq!(text(Kind::Histogram, &[]), [""]);
        assert_eq!(text(Kind::Histogram, &["a"]), ["a=\"", "\""]);
    }
}
