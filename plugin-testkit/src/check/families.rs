//! Checks of what a plugin declares. What the host refuses is found by the
//! host's own registry; the conventions of names stand here.

use super::names;
use super::{Check, Problem};
use gantry_exposition::{Reason, Registered};
use gantry_plugin_api::description::{FamilyInfo, Kind};

/// All that is wrong with the declared families and claims.
pub(crate) fn declared(registered: &Registered) -> Vec<Problem> {
    let mut found: Vec<Problem> = registered
        .refusals
        .iter()
        .map(|refusal| {
            // The owner stands in front, for people who see several.
            let message = refusal.message.split_once(": ").map_or(&*refusal.message, |(_, what)| what);
            let check = if refusal.reason == Reason::Labels { Check::Labels } else { Check::Refused };
            Problem::new(check, &refusal.family, message)
        })
        .collect();
    for family in registered.families.iter().filter(|family| family.refused.is_none()) {
        conventions(&family.info, &mut found);
    }
    found
}

fn conventions(info: &FamilyInfo, found: &mut Vec<Problem>) {
    let name = info.name.as_str();
    let mut wrong = |check, message: String| found.push(Problem::new(check, name, message));
    if info.help.trim().is_empty() {
        wrong(Check::Help, "has no help text; say in one sentence what it shows".to_owned());
    }
    if !names::is_snake_case(name) {
        wrong(Check::Convention, format!("is not in snake_case; name it {}", name.to_lowercase()));
    }
    if info.kind == Kind::Counter && !name.ends_with("_total") {
        wrong(Check::Convention, format!("is a counter without _total at its end; name it {name}_total"));
    }
    if info.kind != Kind::Counter && name.ends_with("_total") {
        let kind = info.kind.as_str();
        wrong(
            Check::Convention,
            format!("is a {kind} that ends in _total; name it {}, or declare a counter", names::stem(name)),
        );
    }
    let line = names::LINES.iter().find(|suffix| name.ends_with(**suffix));
    if let Some(suffix) = line {
        wrong(
            Check::Convention,
            format!("ends in {suffix}, as the lines of a histogram or counter do; choose another last word"),
        );
    }
    if let Some(word) = name.split('_').find(|word| names::TYPES.contains(word)) {
        wrong(
            Check::Convention,
            format!("says {word} in its name; leave the word out: the type line says it"),
        );
    }
    if name.ends_with("_info") && info.kind != Kind::Gauge {
        wrong(
            Check::Convention,
            "ends in _info and is no gauge; declare a gauge that is always 1".to_owned(),
        );
    }
    for label in info.labels.iter().filter(|label| !names::is_snake_case(label)) {
        wrong(Check::Convention, format!("has a label {label:?}, not in snake_case; write it so"));
    }
    units(info, wrong);
}

fn units(info: &FamilyInfo, mut wrong: impl FnMut(Check, String)) {
    let (name, unit) = (info.name.as_str(), info.unit.as_str());
    let stem = names::stem(name);
    if let Some((other, base)) = names::other_unit(name) {
        wrong(Check::Unit, format!("has the unit {other} in its name; give it in {base}, and name it so"));
    } else if !unit.is_empty() && !stem.ends_with(&format!("_{unit}")) {
        let total = if name.len() > stem.len() { "_total" } else { "" };
        wrong(
            Check::Unit,
            format!(
                "is declared in {unit} and does not say so; name it {stem}_{unit}{total}, or declare no unit"
            ),
        );
    } else if let Some(base) = names::base_unit(name).filter(|_| unit.is_empty()) {
        let variant = format!("{}{}", base[..1].to_uppercase(), &base[1..]);
        wrong(Check::Unit, format!("ends in {base} and declares no unit; add .unit(Unit::{variant})"));
    }
}
