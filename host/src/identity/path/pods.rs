//! Containers of Kubernetes: everything below the kubelet's `kubepods`.

use super::is_digest;
use super::scope::{Shape, shape};
use super::{Found, Key, Place, Runtime};

/// The container, or the pod's sandbox, in a path that the kubelet made.
pub fn find(parts: &[&str], owner: Option<u32>) -> Option<Place> {
    let root = parts.iter().position(|part| part.contains("kubepods"))?;
    let below = &parts[root..];
    let uid = below.iter().enumerate().find_map(|(at, part)| pod_uid(part).map(|uid| (at, uid)));
    let shaped = below.iter().enumerate().find_map(|(at, part)| shape(part).map(|shape| (at, shape)));
    let mut found = match shaped {
        Some((_, Shape::Monitor)) => return Some(Place::Nobody),
        Some((_, Shape::Named(runtime, id))) => Found::new(runtime, id, owner),
        Some((_, Shape::Bare(id))) => Found::new(Runtime::Kubernetes, id, owner),
        // A sandbox in the pod's own cgroup.
        None => {
            let (at, _) = uid.as_ref()?;
            let cgroup = format!("/{}", parts[..=root + at].join("/"));
            let mut found = Found::new(Runtime::Kubernetes, "", owner);
            found.key = Key::Cgroup(cgroup.into());
            found
        }
    };
    found.pod_uid = uid.map(|(_, uid)| uid.into());
    found.sandbox = found.raw_id.is_empty()
        || parts[..root].contains(&"kata_overhead")
        || shaped.is_some_and(|(at, _)| below[at].starts_with("kata_"));
    Some(Place::Container(found))
}

/// `podUID`, or `…-podUID.slice` with underscores for dashes.
fn pod_uid(part: &str) -> Option<String> {
    let slice = part.split(':').next().unwrap_or(part).strip_suffix(".slice");
    let uid = match slice {
        Some(slice) => slice.rsplit_once("-pod")?.1,
        None => part.strip_prefix("pod")?,
    };
    // A static pod's is a digest of 32 digits, all others are 36 long.
    let good = (32..=36).contains(&uid.len())
        && uid.bytes().all(|byte| matches!(byte, b'-' | b'_') || byte.is_ascii_hexdigit());
    good.then(|| uid.replace('_', "-"))
}

/// The sandbox's id that the arguments of gVisor's own process end with.
pub fn sandbox_of_command<'a>(mut arguments: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let program = arguments.next()?.rsplit('/').next()?;
    if !matches!(program, "runsc" | "runsc-sandbox") {
        return None;
    }
    arguments.last()?.split(|c: char| !c.is_ascii_hexdigit()).find(|run| is_digest(run))
}
