//! Whose a name is: all families of all owners.

use crate::declared::{Declared, difference};
use crate::names::{self, HOST, MAX_NAME};
use crate::reason::Reason;
use gantry_plugin_api::description::FamilyInfo;
use gantry_plugin_api::metrics::MAX_LABELS;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// The longest help text, in bytes; a longer one is cut. It is written at each scrape.
const MAX_HELP: usize = 4096;

/// The longest message of a refusal, in bytes: two names of families, their
/// owners, and some labels. What a plugin may declare at most is far longer.
const MAX_MESSAGE: usize = 1000;

/// All families that may be shown, and the prefixes that owners claim. Who
/// comes first has the name; owners may share a family of the same type, unit,
/// scope and labels, and of gauges the same merge.
#[derive(Debug, Default)]
pub struct Registry {
    /// By name.
    families: BTreeMap<String, Entry>,
    /// Each name that a family's lines have in either format, and the family's name.
    taken: HashMap<String, String>,
    /// Prefix and owner.
    claims: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Entry {
    /// As the first owner declared it.
    info: FamilyInfo,
    help: Arc<str>,
    /// The first first; never empty.
    owners: Vec<String>,
}

/// What came of a registration.
#[derive(Debug, Clone)]
pub struct Registered {
    /// As many as were declared, in the same order.
    pub families: Arc<[Declared]>,
    /// What was refused; one for each refused family or claim.
    pub refusals: Vec<Refusal>,
}

/// A family or a claim that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The family's name, or the claimed prefix.
    pub family: String,
    /// Why.
    pub reason: Reason,
    /// For people, in one line: what is wrong, with whom, and what helps.
    pub message: String,
}

/// Why something is refused, before it is known of what.
type Refused = (Reason, String);

impl Registry {
    /// One that knows no owner.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers all that an owner has, in place of all that it had. `claims`
    /// are name prefixes (ending in `_`) that are the owner's alone; where
    /// another owner has families or a claim there already, the claim is
    /// refused and the families stay. What is refused costs itself alone.
    pub fn register(&mut self, owner: &str, claims: &[String], families: &[FamilyInfo]) -> Registered {
        self.release(owner);
        let mut refusals = Vec::new();
        let mut refuse = |family: &str, (reason, what): Refused| {
            let message = one_line(&format!("{owner}: {what}"));
            refusals.push(Refusal { family: family.to_owned(), reason, message });
            reason
        };
        for claim in claims {
            match self.check_claim(owner, claim) {
                Ok(()) => drop(self.claims.insert(claim.clone(), owner.to_owned())),
                Err(refused) => drop(refuse(claim, refused)),
            }
        }
        let mut seen = HashSet::new();
        let families = families
            .iter()
            .map(|info| {
                let checked = if seen.insert(info.name.as_str()) {
                    self.check_family(owner, info)
                } else {
                    let what = format!("family {:?} is declared twice; declare it once", info.name);
                    Err((Reason::Clash, what))
                };
                match checked {
                    Ok(()) => Declared::new(info.clone(), self.add(owner, info), None),
                    Err(refused) => Declared::new(info.clone(), "".into(), Some(refuse(&info.name, refused))),
                }
            })
            .collect();
        Registered { families, refusals }
    }

    /// Forgets an owner: its claims, and its families that no other owner has.
    pub fn release(&mut self, owner: &str) {
        self.claims.retain(|_, other| other != owner);
        self.families.retain(|_, entry| {
            entry.owners.retain(|other| other != owner);
            !entry.owners.is_empty()
        });
        let families = &self.families;
        self.taken.retain(|_, family| families.contains_key(family));
    }

    fn add(&mut self, owner: &str, info: &FamilyInfo) -> Arc<str> {
        for name in names::names_of(info) {
            self.taken.insert(name, info.name.clone());
        }
        let entry = self.families.entry(info.name.clone()).or_insert_with(|| Entry {
            info: info.clone(),
            help: info.help[..info.help.floor_char_boundary(MAX_HELP)].into(),
            owners: Vec::new(),
        });
        entry.owners.push(owner.to_owned());
        Arc::clone(&entry.help)
    }

    fn check_claim(&self, owner: &str, claim: &str) -> Result<(), Refused> {
        if !names::is_metric_name(claim) || !claim.ends_with('_') || claim.bytes().all(|byte| byte == b'_') {
            let what =
                format!("claim {claim:?} is no prefix of names; use letters, digits and a `_` at the end");
            return Err((Reason::Name, what));
        }
        if owner != HOST && names::covers_host_names(claim) {
            let what = format!("claim {claim:?} covers names of the host ({HOST}); claim a longer prefix");
            return Err((Reason::Reserved, what));
        }
        let overlaps = |other: &str| other.starts_with(claim) || claim.starts_with(other);
        if let Some((other, whose)) =
            self.claims.iter().find(|(other, whose)| *whose != owner && overlaps(other))
        {
            let what = format!(
                "claim {claim:?} overlaps claim {other:?} of {whose}; claim another prefix or disable {whose}"
            );
            return Err((Reason::Reserved, what));
        }
        let within = self.families.range(claim.to_owned()..).take_while(|(name, _)| name.starts_with(claim));
        for (name, entry) in within {
            if let Some(whose) = entry.owners.iter().find(|whose| *whose != owner) {
                let what = format!(
                    "claim {claim:?} covers family {name:?} of {whose}; claim another prefix or disable {whose}"
                );
                return Err((Reason::Clash, what));
            }
        }
        Ok(())
    }

    fn check_family(&self, owner: &str, info: &FamilyInfo) -> Result<(), Refused> {
        let name = &info.name;
        if !names::is_metric_name(name) {
            let shown = &name[..name.floor_char_boundary(MAX_NAME)];
            let what = format!(
                "family name {shown:?} is not valid; use at most {MAX_NAME} letters, digits and `_`, no digit first"
            );
            return Err((Reason::Name, what));
        }
        if owner != HOST && names::is_host_name(name) {
            return Err((
                Reason::Reserved,
                format!("family name {name:?} belongs to the host ({HOST}); rename it"),
            ));
        }
        let claim =
            self.claims.iter().find(|(claim, whose)| *whose != owner && name.starts_with(claim.as_str()));
        if let Some((claim, whose)) = claim {
            let what = format!(
                "family name {name:?} lies under claim {claim:?} of {whose}; rename it or disable {whose}"
            );
            return Err((Reason::Reserved, what));
        }
        check_labels(info)?;
        self.check_clash(info)
    }

    fn check_clash(&self, info: &FamilyInfo) -> Result<(), Refused> {
        let name = &info.name;
        if let Some(entry) = self.families.get(name) {
            let Some((what, mine, theirs)) = difference(info, &entry.info) else { return Ok(()) };
            let whose = entry.owners.join(", ");
            let what = format!(
                "family {name:?} has {what} {mine}, but {theirs} with {whose}; rename it, make both alike, or disable one"
            );
            return Err((Reason::Clash, what));
        }
        for line in names::names_of(info) {
            if let Some(other) = self.taken.get(&line) {
                let whose =
                    self.families.get(other).map_or_else(String::new, |entry| entry.owners.join(", "));
                let what = format!(
                    "family {name:?} would use the name {line:?}, which family {other:?} of {whose} uses; rename one"
                );
                return Err((Reason::Clash, what));
            }
        }
        Ok(())
    }
}

fn check_labels(info: &FamilyInfo) -> Result<(), Refused> {
    let name = &info.name;
    if info.labels.len() > MAX_LABELS {
        let what = format!("family {name:?} has {} labels; declare at most {MAX_LABELS}", info.labels.len());
        return Err((Reason::Labels, what));
    }
    let mut seen = HashSet::new();
    for label in &info.labels {
        let shown = &label[..label.floor_char_boundary(MAX_NAME)];
        if !names::is_label_name(label) {
            let what = format!(
                "label {shown:?} of family {name:?} is no valid name; use letters, digits and `_`, no `__` first"
            );
            return Err((Reason::Labels, what));
        }
        if names::is_host_label(label, info.per_container) {
            let what =
                format!("label {shown:?} of family {name:?} is written by the host ({HOST}); rename it");
            return Err((Reason::Reserved, what));
        }
        if !seen.insert(label) {
            let what = format!("label {shown:?} of family {name:?} is declared twice; declare it once");
            return Err((Reason::Labels, what));
        }
    }
    Ok(())
}

/// Names that come from a plugin are quoted with their escapes; owners' names
/// are the host's, which has checked them. This holds whatever they are.
fn one_line(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_MESSAGE)].replace(|character: char| character.is_control(), " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_plugin_api::description::{Kind, Merge};

    fn family(name: &str, kind: Kind, labels: &[&str]) -> FamilyInfo {
        FamilyInfo {
            name: name.to_owned(),
            help: format!("Help of {name}."),
            kind,
            unit: String::new(),
            labels: labels.iter().map(|&label| label.to_owned()).collect(),
            per_container: false,
            counted_here: false,
            merge: Merge::Sum,
        }
    }

    /// The reason that one more family is refused for, after those of `first`.
    fn second(first: &[FamilyInfo], claims: &[&str], then: FamilyInfo) -> Option<Reason> {
        let mut registry = Registry::new();
        let claims: Vec<String> = claims.iter().map(|&claim| claim.to_owned()).collect();
        assert_eq!(registry.register("one", &claims, first).refusals, []);
        let registered = registry.register("two", &[], &[then]);
        assert_eq!(registered.families.len(), 1);
        if let [refusal] = &registered.refusals[..] {
            assert!(refusal.message.contains("two"), "{}", refusal.message);
            assert!(!refusal.message.contains('\n'));
        }
        assert_eq!(registered.families[0].refused, registered.refusals.first().map(|refusal| refusal.reason));
        registered.families[0].refused
    }

    #[test]
    fn bad_names_and_labels() {
        let gauge = |name: &str, labels: &[&str]| second(&[], &[], family(name, Kind::Gauge, labels));
        assert_eq!(gauge("fine", &["a", "b"]), None);
        for name in ["", "9", "a:b", "a\nb", &"x".repeat(5000)] {
            assert_eq!(gauge(name, &[]), Some(Reason::Name));
        }
        for name in ["gantry_x", "gantry_", "node_agent_info"] {
            assert_eq!(gauge(name, &[]), Some(Reason::Reserved));
        }
        for labels in [&["a", "a"][..], &["__a"], &["a b"], &[""], &["x"; 17]] {
            assert_eq!(gauge("m", labels), Some(Reason::Labels));
        }
        for label in ["machine_id", "system_uuid", "container_id", "app_id", "le", "quantile"] {
            assert_eq!(gauge("m", &[label]), Some(Reason::Reserved));
        }
        assert_eq!(gauge("node_cloud_info", &["region", "az"]), None);
        let region = FamilyInfo { per_container: true, ..family("m", Kind::Gauge, &["region"]) };
        assert_eq!(second(&[], &[], region), Some(Reason::Reserved));
    }

    #[test]
    fn the_host_has_its_names() {
        let mut registry = Registry::new();
        let own = [
            family("gantry_plugin_up", Kind::Gauge, &["plugin"]),
            family("node_agent_info", Kind::Gauge, &["version"]),
        ];
        assert_eq!(registry.register(HOST, &["gantry_".to_owned()], &own).refusals, []);
    }

    #[test]
    fn same_shape_is_shared_and_others_clash() {
        let first = family("m_seconds_total", Kind::Counter, &["a"]);
        let check = |then| second(std::slice::from_ref(&first), &[], then);
        assert_eq!(
            check(FamilyInfo { help: "Other.".to_owned(), counted_here: true, ..first.clone() }),
            None
        );
        for other in [
            FamilyInfo { kind: Kind::Gauge, ..first.clone() },
            FamilyInfo { unit: "seconds".to_owned(), ..first.clone() },
            FamilyInfo { per_container: true, ..first.clone() },
            FamilyInfo { labels: vec!["b".to_owned()], ..first.clone() },
        ] {
            assert_eq!(check(other), Some(Reason::Clash));
        }
        let largest = FamilyInfo { merge: Merge::Largest, ..first.clone() };
        assert_eq!(check(largest), None, "counters are summed whatever they say");
        let (sum, largest) = (
            family("m", Kind::Gauge, &[]),
            FamilyInfo { merge: Merge::Largest, ..family("m", Kind::Gauge, &[]) },
        );
        assert_eq!(second(&[sum], &[], largest), Some(Reason::Clash));
    }

    #[test]
    fn names_of_lines_clash() {
        use Kind::{Counter, Gauge, Histogram};
        for (first, kind, then, other, clash) in [
            ("x", Histogram, "x_count", Gauge, true),
            ("x", Histogram, "x_sum", Gauge, true),
            ("x", Histogram, "x_bucket", Gauge, true),
            ("x", Histogram, "x_created", Gauge, true),
            ("x_count", Gauge, "x", Histogram, true),
            ("x_total", Counter, "x", Gauge, true),
            ("x_total", Counter, "x_created", Gauge, true),
            ("x", Gauge, "x_total", Counter, true),
            ("x_total", Counter, "x", Histogram, true),
            ("x_total", Histogram, "x_total", Counter, true),
            ("x_duration_total", Histogram, "x_total", Counter, false),
            ("x", Gauge, "x_count", Gauge, false),
            ("x", Counter, "x_created", Gauge, false),
        ] {
            let refused = second(&[family(first, kind, &[])], &[], family(then, other, &[]));
            assert_eq!(refused, clash.then_some(Reason::Clash), "{first} {then}");
        }
    }

    #[test]
    fn claims() {
        let first = [family("acme_gpu_x", Kind::Gauge, &[])];
        assert_eq!(
            second(&first, &["acme_gpu_"], family("acme_gpu_y", Kind::Gauge, &[])),
            Some(Reason::Reserved)
        );
        assert_eq!(second(&first, &["acme_gpu_"], family("acme_net_y", Kind::Gauge, &[])), None);
        let mut registry = Registry::new();
        registry.register("one", &["acme_gpu_".to_owned()], &first);
        for (claim, reason) in [
            ("acme_", Some(Reason::Reserved)),
            ("acme_gpu_x_", Some(Reason::Reserved)),
            ("gantry_", Some(Reason::Reserved)),
            ("node_", Some(Reason::Reserved)),
            ("acme", Some(Reason::Name)),
            ("_", Some(Reason::Name)),
            ("acme_net_", None),
        ] {
            let refusals = registry.register("two", &[claim.to_owned()], &[]).refusals;
            assert_eq!(refusals.first().map(|refusal| refusal.reason), reason, "{claim}");
        }
        registry.register("one", &[], &first);
        let refusals = registry.register("two", &["acme_".to_owned()], &[]).refusals;
        assert_eq!(refusals[0].reason, Reason::Clash);
        assert!(refusals[0].message.contains("one") && refusals[0].message.contains("acme_gpu_x"));
    }

    #[test]
    fn what_is_released_is_free() {
        let mut registry = Registry::new();
        let gauge = [family("x_sum", Kind::Gauge, &[])];
        let histogram = [family("x", Kind::Histogram, &[])];
        registry.register("one", &["y_".to_owned()], &gauge);
        registry.register("shares", &[], &gauge);
        registry.release("one");
        assert_eq!(registry.register("two", &[], &histogram).refusals[0].reason, Reason::Clash);
        registry.release("shares");
        assert_eq!(registry.register("two", &["y_".to_owned()], &histogram).refusals, []);
        assert_eq!(registry.register("two", &[], &gauge).refusals, [], "an owner replaces what it had");
        let twice = [gauge, [family("x_sum", Kind::Gauge, &[])]].concat();
        assert_eq!(registry.register("two", &[], &twice).refusals[0].reason, Reason::Clash);
    }

    #[test]
    fn the_first_help_is_written() {
        let mut registry = Registry::new();
        registry.register("one", &[], &[family("m", Kind::Gauge, &[])]);
        let then = FamilyInfo { help: "Other.".to_owned(), ..family("m", Kind::Gauge, &[]) };
        assert_eq!(&*registry.register("two", &[], &[then]).families[0].help, "Help of m.");
    }
}
