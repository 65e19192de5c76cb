//! Services of the node itself: units of systemd, and Talos.
//!
//! A service's id is the outermost slice and the unit's name. Unit names are
//! unique in a manager, so the slices between tell nothing more; leaving them
//! out keeps the id of a template's instance
//! (`/system.slice/postgresql@14-main.service`) free of the slice that systemd
//! makes for it. Cgroups that a service makes for itself are its own.

use super::{Found, Place, Runtime, UserSlices, unescaped};

/// Slices whose direct children are services also where they are no units, as
/// the distributions of Kubernetes for appliances have them.
const KNOWN_SLICES: [&str; 6] =
    ["system.slice", "runtime.slice", "reserved.slice", "kube.slice", "azure.slice", "podruntime.slice"];

/// Units that can hold processes, scopes apart: a mount's or a swap's helper,
/// a socket's commands.
const UNITS: [&str; 4] = [".service", ".socket", ".mount", ".swap"];

/// Of a unit's name (`UNIT_NAME_MAX` in systemd's `unit-name.h`, without the
/// zero), and of a directory's.
const MAX_NAME: usize = 255;

/// The service that a path belongs to.
pub fn find(parts: &[&str], users: UserSlices) -> Place {
    match parts {
        ["init"] => talos("init", parts),
        ["system" | "podruntime", name, ..] => talos(name, &parts[..2]),
        ["init.scope" | "systemd", ..] => Place::Nobody,
        ["user.slice", ..] if users == UserSlices::Hidden => Place::Nobody,
        ["user.slice", rest @ ..] => user(parts, rest),
        _ => system(parts),
    }
}

fn talos(name: &str, cgroup: &[&str]) -> Place {
    let cgroup = format!("/{}", cgroup.join("/"));
    Place::Container(Found::service(Runtime::Talos, name, cgroup, format!("/talos/{name}")))
}

fn system(parts: &[&str]) -> Place {
    let first = parts[0];
    let unit = parts.iter().position(|part| is_unit(part) || part.ends_with(".scope"));
    let at = match unit {
        Some(at) if is_unit(parts[at]) && (at == 0 || first.ends_with(".slice")) => at,
        Some(_) => return Place::Nobody,
        None if parts.len() > 1 && KNOWN_SLICES.contains(&first) => 1,
        None => return Place::Nobody,
    };
    let name = parts[at];
    let id = if at == 0 { format!("/{}", unescaped(name)) } else { format!("/{first}/{}", unescaped(name)) };
    Place::Container(Found::service(Runtime::Systemd, name, cgroup(parts, at), id))
}

/// In a user's slice: his services by name, all else of his as one, so that
/// terminals and applications, whose scopes carry numbers, stay few.
fn user(parts: &[&str], rest: &[&str]) -> Place {
    let Some(slice) = rest.first().filter(|slice| super::user_of(slice).is_some()) else {
        return Place::Nobody;
    };
    let own = format!("/user.slice/{slice}");
    let manager = parts.iter().position(|part| part.starts_with("user@") && is_unit(part));
    let service = manager.and_then(|manager| {
        let at =
            (manager + 1..parts.len()).find(|at| is_unit(parts[*at]) || parts[*at].ends_with(".scope"))?;
        is_unit(parts[at]).then_some(at)
    });
    let (raw_id, cgroup) = match service {
        Some(at) => (format!("{own}/{}", parts[at]), cgroup(parts, at)),
        None => (own.clone(), own),
    };
    let mut found = Found::service(Runtime::Systemd, &raw_id, cgroup, unescaped(&raw_id));
    found.owner = super::owner(parts);
    Place::Container(found)
}

fn is_unit(part: &str) -> bool {
    let is_unit = UNITS.iter().any(|suffix| part.len() > suffix.len() && part.ends_with(suffix));
    is_unit && part.len() <= MAX_NAME
}

fn cgroup(parts: &[&str], at: usize) -> String {
    format!("/{}", parts[..=at].join("/"))
}
