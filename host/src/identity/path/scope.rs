//! The cgroups that container runtimes make: by the shape of one part of a
//! path, and by what it lies in.

use super::{Found, Place, Runtime, is_digest};

/// What one part of a path says by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape<'a> {
    /// The runtime's name for itself, and the id.
    Named(Runtime, &'a str),
    /// 64 hexadecimal digits and nothing else.
    Bare(&'a str),
    /// The process that watches a container for its runtime.
    Monitor,
}

/// A runtime's scope is `PREFIX-ID.scope` with systemd, `PREFIX-ID` or `ID`
/// without; and `SLICE:PREFIX:ID` where systemd's notation came to a runtime
/// that makes its cgroups itself.
pub fn shape(part: &str) -> Option<Shape<'_>> {
    let scope = part.strip_suffix(".scope");
    let name = scope.unwrap_or(part);
    if is_digest(name) {
        return Some(Shape::Bare(name));
    }
    let at = name.rfind(['-', ':', '_'])?;
    let (prefix, id) = (&name[..at], &name[at + 1..]);
    let prefix =
        if name.as_bytes()[at] == b':' { prefix.rsplit(':').next().unwrap_or(prefix) } else { prefix };
    if !is_digest(id) {
        return (prefix == "docker" && scope.is_some() && is_step(id))
            .then_some(Shape::Named(Runtime::Buildkit, id));
    }
    if prefix == "conmon" || prefix.ends_with("-conmon") {
        return Some(Shape::Monitor);
    }
    let runtime = match prefix {
        "docker" => Runtime::Docker,
        "cri-containerd" | "containerd" | "nerdctl" => Runtime::Containerd,
        "crio" => Runtime::Crio,
        // libpod-payload: `podman run --cgroups=split`, as quadlets do.
        "libpod" | "libpod-payload" => Runtime::Podman,
        "kata" => Runtime::Kubernetes,
        _ if scope.is_some() => Runtime::Oci,
        _ => return None,
    };
    Some(Shape::Named(runtime, id))
}

/// The outermost container of a runtime in a path.
pub fn find(parts: &[&str], owner: Option<u32>) -> Option<Place> {
    (0..parts.len()).find_map(|at| one(parts, at, owner))
}

fn one(parts: &[&str], at: usize, owner: Option<u32>) -> Option<Place> {
    let parent = at.checked_sub(1).map_or("", |above| parts[above]);
    let (known, id) = match shape(parts[at]) {
        Some(Shape::Monitor) => return Some(Place::Nobody),
        Some(Shape::Named(runtime, id)) => (Some(runtime), id),
        Some(Shape::Bare(_)) if is_podman_s_pod(parts, at) => return None,
        Some(Shape::Bare(id)) => (of_parent(parent, at), id),
        None => by_directory(parts, at).map(|(runtime, id)| (Some(runtime), id))?,
    };
    let mut found = Found::new(known.unwrap_or(Runtime::Docker), id, owner);
    found.guessed = known.is_none();
    found.sandbox = parent == "kata_overhead" || parts[at].starts_with("kata_");
    Some(Place::Container(found))
}

/// Podman that makes its cgroups itself gives a pod a directory with its bare id,
/// in which its containers' have their prefix.
fn is_podman_s_pod(parts: &[&str], at: usize) -> bool {
    let parent = at.checked_sub(1).map_or("", |above| parts[above]);
    let holds =
        || matches!(parts.get(at + 1).and_then(|part| shape(part)), Some(Shape::Named(Runtime::Podman, _)));
    parent == "libpod_parent" || (of_parent(parent, at).is_none() && holds())
}

/// Whose bare digests lie in a directory. Docker's may lie in any, because of
/// `--cgroup-parent`; containerd's lie in one with its namespace's name, at
/// the root (`cgroupsPath` is `/NAMESPACE/ID`), which may be any too.
fn of_parent(parent: &str, at: usize) -> Option<Runtime> {
    match parent {
        "docker" => Some(Runtime::Docker),
        "default" | "k8s.io" if at == 1 => Some(Runtime::Containerd),
        "kata_overhead" => Some(Runtime::Kubernetes),
        "buildkit" => Some(Runtime::Buildkit),
        _ => None,
    }
}

/// Ids that are no digests, in directories that are known by their names.
fn by_directory<'a>(parts: &[&'a str], at: usize) -> Option<(Runtime, &'a str)> {
    let part = parts[at];
    let parent = at.checked_sub(1).map(|above| parts[above])?;
    let top = at == 1;
    match parent {
        "buildkit" | "buildx" if top || parts[0] == "docker" => Some((Runtime::Buildkit, part)),
        "docker" if top && is_step(part) => Some((Runtime::Buildkit, part)),
        "default" if top && !is_unit(part) => Some((Runtime::Containerd, part)),
        // The directory has the name of the program, which may carry a version.
        _ if top && parent.starts_with("firecracker") => Some((Runtime::Firecracker, part)),
        "mesos" if top => Some((Runtime::Mesos, part)),
        // Handles are guids; "good" and "bad" tell who has used up his share.
        "garden" | "good" | "bad" if is_handle(part) && parts[..at].contains(&"garden") => {
            Some((Runtime::Garden, part))
        }
        // Fargate: the task's id and a number.
        _ if parts[0] == "ecs" && is_fargate(part) => Some((Runtime::Containerd, part)),
        _ if parts[0] == "nomad.slice" || parts[0] == "nomad" => nomad(part).map(|id| (Runtime::Nomad, id)),
        _ => None,
    }
}

fn is_unit(part: &str) -> bool {
    [".slice", ".service", ".scope", ".socket", ".mount", ".swap"].iter().any(|suffix| part.ends_with(suffix))
}

/// BuildKit's ids: 25 digits of base 36 (`identity.NewID`).
fn is_step(id: &str) -> bool {
    id.len() == 25 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'z'))
}

fn is_handle(part: &str) -> bool {
    (20..=64).contains(&part.len())
        && part.contains('-')
        && part.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

fn is_fargate(part: &str) -> bool {
    part.split_once('-').is_some_and(|(task, number)| {
        task.len() == 32
            && task.bytes().all(|byte| byte.is_ascii_hexdigit())
            && (1..=20).contains(&number.len())
            && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// `ALLOC.TASK`, of `ALLOC.TASK.scope` with cgroup v2.
fn nomad(part: &str) -> Option<&str> {
    let id = part.strip_suffix(".scope").unwrap_or(part);
    let (alloc, task) = id.split_once('.')?;
    (alloc.len() == 36 && is_handle(alloc) && !task.is_empty()).then_some(id)
}
