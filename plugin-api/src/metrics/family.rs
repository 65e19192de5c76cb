//! Declarations of metric families.

use crate::description::{FamilyInfo, Kind, Merge};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The most labels a family may declare.
pub const MAX_LABELS: usize = 16;

/// A metric family: declared once, as a static, usually by [`crate::families!`].
#[derive(Debug)]
pub struct Family {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    unit: Unit,
    labels: &'static [&'static str],
    per_container: bool,
    counted_here: bool,
    merge: Merge,
    pub(crate) bounds: &'static [f64],
    /// Its place in the plugin's list, or [`UNLISTED`].
    index: AtomicU32,
}

pub(crate) const UNLISTED: u32 = u32::MAX;

/// The unit of a family, a base unit of the Prometheus conventions. A family
/// with a unit has it in its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unit {
    /// A plain number.
    None,
    /// `seconds`
    Seconds,
    /// `bytes`
    Bytes,
    /// `ratio`, 0 to 1
    Ratio,
    /// `cores`
    Cores,
    /// `celsius`
    Celsius,
}

impl Unit {
    /// The word that OpenMetrics uses; empty for a plain number.
    pub const fn as_str(self) -> &'static str {
        match self {
            Unit::None => "",
            Unit::Seconds => "seconds",
            Unit::Bytes => "bytes",
            Unit::Ratio => "ratio",
            Unit::Cores => "cores",
            Unit::Celsius => "celsius",
        }
    }
}

impl Family {
    /// A counter that this plugin counts. Its name ends in `_total`. It is
    /// shown as 0 the first time, so that `increase()` sees its first event.
    pub const fn counter(name: &'static str, help: &'static str) -> Self {
        let mut family = Self::of(Kind::Counter, name, help);
        family.counted_here = true;
        family
    }

    /// A counter that the kernel (or another program) has kept before this
    /// plugin came: its first value is shown as it is.
    pub const fn counter_read(name: &'static str, help: &'static str) -> Self {
        Self::of(Kind::Counter, name, help)
    }

    /// A value that goes up and down. For what is not to be summed over
    /// containers that are shown as one see [`Family::info_gauge`] and [`Family::largest`].
    pub const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self::of(Kind::Gauge, name, help)
    }

    /// A gauge that is always 1 and says something by its labels; its name ends in `_info`.
    pub const fn info_gauge(name: &'static str, help: &'static str) -> Self {
        Self::of(Kind::Gauge, name, help).largest()
    }

    /// A histogram over buckets with these upper bounds, in rising order and
    /// without +Inf, which is always there.
    pub const fn histogram(name: &'static str, help: &'static str, bounds: &'static [f64]) -> Self {
        let mut at = 1;
        while at < bounds.len() {
            assert!(bounds[at - 1] < bounds[at], "the bounds of a histogram rise");
            at += 1;
        }
        let mut family = Self::of(Kind::Histogram, name, help);
        family.counted_here = true;
        family.bounds = bounds;
        family
    }

    /// The labels that each sample gives values for, besides those that the
    /// host adds (`machine_id`, `system_uuid`, `container_id`, `app_id`, `az`, `region`).
    pub const fn labels(mut self, names: &'static [&'static str]) -> Self {
        assert!(names.len() <= MAX_LABELS, "a family has at most 16 labels");
        self.labels = names;
        self
    }

    /// Each sample belongs to a container.
    pub const fn per_container(mut self) -> Self {
        self.per_container = true;
        self
    }

    /// Where containers are shown as one (two cgroups of one id, the runs of a
    /// cron job), a gauge is their largest value and not their sum: right for
    /// what is always 1, for states, ages and limits that all of them share.
    /// Counters and histograms are always summed.
    pub const fn largest(mut self) -> Self {
        self.merge = Merge::Largest;
        self
    }

    /// Its unit.
    pub const fn unit(mut self, unit: Unit) -> Self {
        self.unit = unit;
        self
    }

    const fn of(kind: Kind, name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help,
            kind,
            unit: Unit::None,
            labels: &[],
            per_container: false,
            counted_here: false,
            merge: Merge::Sum,
            bounds: &[],
            index: AtomicU32::new(UNLISTED),
        }
    }

    /// Its full name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Its type.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Its label names.
    pub const fn label_names(&self) -> &'static [&'static str] {
        self.labels
    }

    pub(crate) fn index(&self) -> u32 {
        self.index.load(Relaxed)
    }

    /// As it crosses.
    pub fn info(&self) -> FamilyInfo {
        FamilyInfo {
            name: self.name.to_owned(),
            help: self.help.to_owned(),
            kind: self.kind,
            unit: self.unit.as_str().to_owned(),
            labels: self.labels.iter().map(|&name| name.to_owned()).collect(),
            per_container: self.per_container,
            counted_here: self.counted_here,
            merge: self.merge,
        }
    }
}

/// Gives each family its place. Called once a library, before any sample; a
/// second call gives the same places.
pub fn number(families: &[&'static Family]) {
    for (index, family) in (0..).zip(families) {
        family.index.store(index, Relaxed);
    }
}

/// Declares families as statics, and a list of them all that
/// [`crate::Plugin::families`] returns.
///
/// ```
/// use gantry_plugin_api::{Family, Unit, families};
/// families! { ALL:
///     UPTIME = Family::gauge("demo_uptime_seconds", "Seconds since boot.").unit(Unit::Seconds);
///     READS = Family::counter_read("demo_reads_total", "Completed reads.").labels(&["device"]);
/// }
/// assert_eq!(ALL[1].name(), READS.name());
/// # let _ = &UPTIME;
/// ```
#[macro_export]
macro_rules! families {
    ($(#[$list_doc:meta])* $list:ident : $($(#[$doc:meta])* $name:ident = $family:expr;)*) => {
        $(
            $(#[$doc])*
            /// A metric family; its help says what it shows.
            pub static $name: $crate::Family = $family;
        )*
        $(#[$list_doc])*
        /// Every family of this list, in the order of declaration.
        pub static $list: &[&$crate::Family] = &[$(&$name),*];
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_gauges_are_not_summed() {
        assert_eq!(Family::gauge("a", "").info().merge, Merge::Sum);
        assert_eq!(Family::gauge("a", "").largest().info().merge, Merge::Largest);
        assert_eq!(Family::info_gauge("a_info", "").per_container().info().merge, Merge::Largest);
    }
}
