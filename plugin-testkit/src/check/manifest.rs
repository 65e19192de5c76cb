//! Checks of the manifest.

use super::Check::Manifest;
use super::Problem;
use gantry_exposition::HOST;
use gantry_plugin_api::API_VERSION;
use gantry_plugin_api::description::Description;
use gantry_plugin_api::manifest::{ManifestInfo, NeedInfo};
use std::collections::HashSet;

/// Prefixes that are shared by convention: whoever shows the node or its
/// containers names the families so.
const SHARED: [&str; 2] = ["node_", "container_"];

/// What is wrong, and what is only to be noted.
pub(crate) fn manifest(description: &Description) -> (Vec<Problem>, Vec<Problem>) {
    let info = &description.manifest;
    let mut found = Vec::new();
    let mut wrong = |subject: &str, message: String| {
        found.push(Problem::new(Manifest, format!("manifest: {subject}"), message));
    };
    if info.name == HOST {
        wrong("name", format!("{HOST:?} is the host's own; choose another name"));
    }
    if info.description.trim().is_empty() {
        wrong("description", "is empty; say in one line what the plugin shows".to_owned());
    }
    if info.description.contains('\n') {
        wrong("description", "has several lines; tables show one".to_owned());
    }
    if info.panic != "unwind" {
        wrong(
            "panic",
            format!("the library was built with panic={}; set panic = \"unwind\" in its profile", info.panic),
        );
    }
    versions(info, &mut wrong);
    info.needs.iter().for_each(|need| check_need(need, &mut wrong));
    let mut seen = HashSet::new();
    for need in info.needs.iter().filter(|need| !seen.insert((&need.kind, &need.what))) {
        wrong("needs", format!("{} {:?} is named twice; name it once", need.kind, need.what));
    }
    for claim in info.claims.iter().filter(|claim| !claim.ends_with('_')) {
        wrong("claims", format!("{claim:?} does not end in _; claim {:?}", format!("{claim}_")));
    }
    found.extend(outside(description));
    (found, notes(description))
}

/// Families that lie elsewhere than the plugin says that its names do.
fn outside(description: &Description) -> Vec<Problem> {
    let claims = &description.manifest.claims;
    let Some(first) = claims.iter().find(|claim| claim.ends_with('_')) else { return Vec::new() };
    let names = description.families.iter().map(|family| family.name.as_str());
    // The host's names, and what is no name, are refused already, whatever is claimed.
    let is_name = |name: &str| {
        !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':')
    };
    let refused = |name: &str| !is_name(name) || name.starts_with(&format!("{HOST}_"));
    let outside = names.filter(|name| !is_covered(claims, name) && !refused(name));
    let problem = |name: &str| {
        let message = format!(
            "lies under none of the claims {}; name it {first}{name}, or claim its prefix too: another plugin may \
             claim it, and the family is refused then",
            claims.join(", ")
        );
        Problem::new(Manifest, name, message)
    };
    outside.map(problem).collect()
}

/// Whether it is the plugin's own, or shared by convention.
fn is_covered(claims: &[String], name: &str) -> bool {
    claims.iter().map(String::as_str).chain(SHARED).any(|prefix| name.starts_with(prefix))
}

fn versions(info: &ManifestInfo, wrong: &mut impl FnMut(&str, String)) {
    let parse = |text: &str| {
        let (major, minor) = text.split_once('.')?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    };
    let (built, oldest, here) = (parse(&info.api), parse(&info.min_host_api), parse(API_VERSION));
    if built.map(|(major, _)| major) != here.map(|(major, _)| major) {
        wrong("api", format!("{} is of another major than {API_VERSION}; rebuild it", info.api));
    }
    if oldest.is_none() || oldest > built {
        wrong(
            "min_host_api",
            format!("{} is newer than the {} it was built with; lower it", info.min_host_api, info.api),
        );
    }
    let numbers = info.version.split(['-', '+']).next().unwrap_or_default().split('.');
    if numbers.clone().count() != 3 || numbers.into_iter().any(|number| number.parse::<u64>().is_err()) {
        wrong("version", format!("{:?} is not MAJOR.MINOR.PATCH; write it so", info.version));
    }
}

fn check_need(need: &NeedInfo, wrong: &mut impl FnMut(&str, String)) {
    let NeedInfo { kind, what, why, .. } = need;
    if why.trim().is_empty() {
        wrong("needs", format!("{kind} {what:?} has no reason; say what it is for: an operator reads it"));
    }
    let (good, form) = match kind.as_str() {
        "capability" => (what.starts_with("CAP_") && what.to_uppercase() == *what, "CAP_NAME"),
        "path" => (what.starts_with('/'), "an absolute path"),
        _ => (!what.is_empty(), "what is needed"),
    };
    if !good {
        wrong("needs", format!("{kind} {what:?} is none; write {form}"));
    }
}

/// Nothing here is wrong, all of it is worth a look.
fn notes(description: &Description) -> Vec<Problem> {
    let claims = &description.manifest.claims;
    let mut notes = Vec::new();
    for family in description.families.iter().filter(|_| claims.is_empty()) {
        let name = family.name.as_str();
        if !is_covered(claims, name) {
            let message =
                "is under no claim, as the manifest has none: another plugin may claim or share its name";
            notes.push(Problem::new(Manifest, name, message));
        }
    }
    for claim in claims {
        if !description.families.iter().any(|family| family.name.starts_with(claim.as_str())) {
            let message = format!("{claim:?} covers no declared family");
            notes.push(Problem::new(Manifest, "manifest: claims", message));
        }
    }
    notes
}
