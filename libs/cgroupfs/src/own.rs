//! Whether the reader itself runs on the node, or in a container of it.

use crate::membership;
use std::path::Path;

/// The initial cgroup namespace's number (`CGROUP_NS_INIT_INO`, which newer
/// kernels have in `include/uapi/linux/nsfs.h`): the same on every machine.
const INITIAL: &str = "cgroup:[4026531835]";

/// What runtimes call the cgroups of containers, or what stands above them.
const RUNTIMES: [&str; 12] = [
    "docker",
    "kubepods",
    "libpod",
    "crio-",
    "cri-containerd",
    "containerd-",
    "nerdctl",
    "lxc",
    "machine.slice",
    "nspawn",
    "podruntime",
    "ecs",
];

/// Whether the reader has the node's own namespaces, as far as its cgroups
/// tell: none of them is a container's, and all of them are seen. A container
/// that hides its cgroups' names behind a cgroup namespace is none of these; one
/// that its runtime gave a name of no known form is mistaken for the node.
///
/// It says nothing of whoever was given some namespaces of its own and no
/// cgroup.
pub fn is_on_node(proc: &Path) -> bool {
    let mut text = Vec::new();
    if membership::read(proc, "self", &mut text).is_err() || text.is_empty() {
        return false;
    }
    let sees_all = match std::fs::read_link(proc.join("self/ns/cgroup")) {
        Ok(namespace) => namespace == Path::new(INITIAL),
        // Before Linux 4.6 there were none.
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    let mut entries = membership::entries(&text);
    sees_all && entries.all(|entry| entry.is_ok_and(|entry| !is_containers(&entry.path.to_string_lossy())))
}

fn is_containers(path: &str) -> bool {
    let is_named = |part: &str| RUNTIMES.iter().any(|runtime| part.starts_with(runtime));
    let is_id = |part: &str| part.len() >= 64 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    path.split('/').any(|part| is_named(part) || part.split(['-', '.', ':']).any(is_id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn on_node(cgroups: &str, namespace: Option<&str>) -> bool {
        let proc = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(proc.path().join("self/ns")).expect("a directory");
        std::fs::write(proc.path().join("self/cgroup"), cgroups).expect("written");
        if let Some(namespace) = namespace {
            symlink(namespace, proc.path().join("self/ns/cgroup")).expect("a link");
        }
        is_on_node(proc.path())
    }

    #[test]
    fn a_service_is_on_the_node_and_a_container_is_not() {
        let id = "0123456789abcdef".repeat(4);
        for cgroups in ["0::/\n", "0::/system.slice/gantry.service\n", "4:memory:/agents/7\n0::/\n"] {
            assert!(on_node(cgroups, Some(INITIAL)), "{cgroups}");
            assert!(on_node(cgroups, None), "{cgroups}");
            assert!(!on_node(cgroups, Some("cgroup:[4026532301]")), "{cgroups}");
        }
        for path in [
            format!("/docker/{id}"),
            format!("/system.slice/docker-{id}.scope"),
            format!("/kubepods.slice/kubepods-burstable.slice/x.slice/cri-containerd-{id}.scope"),
            format!("/default/{id}"),
            format!("/machine.slice/libpod-{id}.scope/container"),
            "/lxc.payload.web".to_owned(),
        ] {
            assert!(!on_node(&format!("0::{path}\n"), Some(INITIAL)), "{path}");
            assert!(!on_node(&format!("4:memory:{path}\n0::/\n"), Some(INITIAL)), "{path}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_no_sign() {
        assert!(!is_on_node(Path::new("/nowhere")));
        for cgroups in ["", "garbage\n"] {
            assert!(!on_node(cgroups, None), "{cgroups:?}");
        }
    }
}
