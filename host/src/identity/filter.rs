//! Which containers are shown: by the operator's lists, and which units of
//! systemd are noise.

use regex::{RegexSet, RegexSetBuilder};

/// More expressions are better written as one.
pub const MAX_PATTERNS: usize = 256;

/// Bound of all expressions of a list, compiled.
const MAX_COMPILED: usize = 4 << 20;

/// Bound of what matching keeps; an id is matched once in a container's life.
const MAX_CACHE: usize = 256 << 10;

/// Regular expressions over container ids; not anchored, unless they are
/// written so.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    allow: RegexSet,
    deny: RegexSet,
}

impl Filter {
    /// From expressions that [`compile`] accepts.
    pub fn new(allow: &[String], deny: &[String]) -> Result<Self, regex::Error> {
        Ok(Self { allow: compile(allow)?, deny: compile(deny)? })
    }

    /// Why a container with this id is not shown. What is denied is not, even
    /// if it is allowed too; an empty list allows all.
    pub fn refuses(&self, id: &str) -> Option<&'static str> {
        if self.deny.is_match(id) {
            return Some("denied");
        }
        (!self.allow.is_empty() && !self.allow.is_match(id)).then_some("not allowed")
    }
}

/// A list of expressions, as one.
pub fn compile<S: AsRef<str>>(patterns: &[S]) -> Result<RegexSet, regex::Error> {
    RegexSetBuilder::new(patterns).size_limit(MAX_COMPILED).dfa_size_limit(MAX_CACHE).build()
}

/// Units that are skipped unless the operator says otherwise: parts of the
/// system that every node has and nobody watches.
const NOISY: [&str; 14] = [
    "systemd-",
    "dbus",
    "getty",
    "system-serial",
    "system-getty",
    "serial-getty",
    "snapd",
    "packagekit",
    "unattended-upgrades",
    "multipathd",
    "qemu-guest-agent",
    "irqbalance",
    "networkd-dispatcher",
    "rpcbind",
];

/// Which units of systemd are not shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SkipUnits {
    /// The noisy ones, and what runs once, on a timer or on the bus's request.
    #[default]
    Noisy,
    /// Those whose names begin with one of these, and no others.
    Named(Vec<String>),
}

/// What systemd knows of a unit; empty where nobody asked it yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UnitFacts<'a> {
    /// `Type=`: `simple`, `notify`, `oneshot`, …
    pub systemd_type: &'a str,
    /// `TriggeredBy=`: the first of them.
    pub systemd_triggered_by: &'a str,
}

impl SkipUnits {
    /// Whether a unit (`ssh.service`) is not shown.
    pub fn skips(&self, unit: &str, facts: UnitFacts<'_>) -> bool {
        match self {
            Self::Noisy => {
                NOISY.iter().any(|prefix| unit.starts_with(prefix))
                    || matches!(facts.systemd_type, "oneshot" | "dbus")
                    || facts.systemd_triggered_by.ends_with(".timer")
            }
            Self::Named(prefixes) => prefixes.iter().any(|prefix| unit.starts_with(prefix.as_str())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(allow: &[&str], deny: &[&str]) -> Filter {
        let owned = |list: &[&str]| list.iter().map(|&one| one.to_owned()).collect::<Vec<_>>();
        Filter::new(&owned(allow), &owned(deny)).expect("good expressions")
    }

    #[test]
    fn what_is_denied_is_not_shown_even_if_allowed() {
        let filter = filter(&["^/docker/", "web"], &["secret", "/web-2$"]);
        assert_eq!(filter.refuses("/docker/db"), None);
        assert_eq!(filter.refuses("/k8s/default/web-0/nginx"), None, "not anchored");
        assert_eq!(filter.refuses("/docker/web-2"), Some("denied"));
        assert_eq!(filter.refuses("/docker/my-secret-1"), Some("denied"));
        assert_eq!(filter.refuses("/system.slice/ssh.service"), Some("not allowed"), "in no list");
    }

    #[test]
    fn empty_lists_permit_all() {
        assert_eq!(filter(&[], &[]).refuses("/docker/db"), None);
        assert_eq!(filter(&[], &["db"]).refuses("/docker/db"), Some("denied"));
    }

    #[test]
    fn noisy_units_are_skipped_by_name_type_and_trigger() {
        let skip = SkipUnits::default();
        let none = UnitFacts::default();
        for unit in ["systemd-journald.service", "dbus-broker.service", "getty@tty1.service", "snapd.socket"]
        {
            assert!(skip.skips(unit, none), "{unit}");
        }
        for unit in ["ssh.service", "postgresql@14-main.service", "my-systemd-.service", ""] {
            assert!(!skip.skips(unit, none), "{unit}");
        }
        assert!(skip.skips("backup.service", UnitFacts { systemd_type: "oneshot", ..none }));
        assert!(skip.skips("upower.service", UnitFacts { systemd_type: "dbus", ..none }));
        assert!(skip.skips("backup.service", UnitFacts { systemd_triggered_by: "backup.timer", ..none }));
        assert!(!skip.skips("sshd.service", UnitFacts { systemd_triggered_by: "ssh.socket", ..none }));
    }

    #[test]
    fn a_list_of_ones_own_replaces_the_noisy_ones() {
        let skip = SkipUnits::Named(vec!["acme-".to_owned()]);
        let once = UnitFacts { systemd_type: "oneshot", ..UnitFacts::default() };
        assert!(skip.skips("acme-sync.service", UnitFacts::default()));
        assert!(!skip.skips("systemd-journald.service", once));
        assert!(!SkipUnits::Named(Vec::new()).skips("dbus.service", once));
    }
}
