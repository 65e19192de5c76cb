//! Names of units, and what systemd calls their cgroups: the host knows a unit
//! by the name of its cgroup's directory.

/// Units that can hold processes, as the host sees them.
const KINDS: [&str; 4] = [".service", ".socket", ".mount", ".swap"];

/// Of a unit's name (`UNIT_NAME_MAX` in systemd's `unit-name.h`, without the
/// zero); of a directory's name the same.
const MAX_NAME: usize = 255;

/// What a cgroup may not be called, as the kernel has files of these names; to
/// others of a controller's files there is a dot.
const FILES: [&str; 3] = ["notify_on_release", "release_agent", "tasks"];
const CONTROLLERS: [&str; 14] = [
    "cgroup",
    "cpu",
    "cpuacct",
    "cpuset",
    "io",
    "blkio",
    "memory",
    "devices",
    "pids",
    "bpf-firewall",
    "bpf-devices",
    "bpf-foreign",
    "bpf-socket-bind",
    "bpf-restrict-network-interfaces",
];

/// The unit whose cgroup is called so; `None` where it is that of no unit of
/// the node's own manager. `_memory.service` is that of `memory.service`.
pub fn unit(cgroup: &str) -> Option<&str> {
    let name = cgroup.strip_prefix('_').unwrap_or(cgroup);
    is_unit(name).then_some(name)
}

/// What the cgroup of a unit is called.
pub fn cgroup(unit: &str) -> String {
    let of_controller =
        |controller: &&str| unit.strip_prefix(*controller).is_some_and(|rest| rest.starts_with('.'));
    let taken = unit.starts_with(['_', '.']) || FILES.contains(&unit);
    if taken || CONTROLLERS.iter().any(of_controller) {
        return format!("_{unit}");
    }
    unit.to_owned()
}

/// Whether this is a name of a unit that can hold processes. Another text
/// would become part of a request.
pub fn is_unit(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    let kind = KINDS.iter().any(|kind| name.len() > kind.len() && name.ends_with(kind));
    kind && name.len() <= MAX_NAME && name.bytes().all(allowed)
}

/// What a unit's kind is called on the bus; each of these is in some slice.
pub fn interface(unit: &str) -> Option<&'static str> {
    let kinds = KINDS.into_iter().zip(["Service", "Socket", "Mount", "Swap"]);
    kinds.into_iter().find_map(|(kind, interface)| unit.ends_with(kind).then_some(interface))
}

/// Whether it is a service.
pub fn is_service(unit: &str) -> bool {
    unit.ends_with(".service")
}

/// The template and the instance of it: `getty@.service` and `tty1` of
/// `getty@tty1.service`. Escapes of the instance stay.
pub fn instance(unit: &str) -> Option<(String, &str)> {
    let (prefix, rest) = unit.split_once('@')?;
    let (instance, kind) = rest.rsplit_once('.')?;
    (!instance.is_empty()).then(|| (format!("{prefix}@.{kind}"), instance))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_told_from_other_texts() {
        let longest = format!("{}.service", "\\x2d".repeat(61));
        for good in [
            "ssh.service",
            "sshd.socket",
            "mnt-data.mount",
            r"dev-disk-by\x2duuid.swap",
            "postgresql@14-main.service",
            "a:b_c.service",
            &longest[..],
        ] {
            assert!(is_unit(good) && unit(good) == Some(good), "{good}");
        }
        let (longest, too_long) =
            (format!("{}.service", "x".repeat(247)), format!("{}.service", "x".repeat(248)));
        assert!(longest.len() == MAX_NAME && unit(&longest) == Some(&longest) && cgroup(&longest) == longest);
        assert_eq!(too_long.len(), MAX_NAME + 1);
        for bad in ["", ".service", "ssh", "kubelet", "run-1.scope", "system.slice", "/user.slice/a.service"]
            .into_iter()
            .chain(["a b.service", "a\0.service", "é.service", "../x.service", &too_long])
        {
            assert!(unit(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn cgroups_that_would_be_files_have_another_name() {
        for (name, expected) in [
            ("memory.service", "_memory.service"),
            ("cpu.service", "_cpu.service"),
            ("cgroup.mount", "_cgroup.mount"),
            ("_own.service", "__own.service"),
            ("cpu-burner.service", "cpu-burner.service"),
            ("iodine.service", "iodine.service"),
        ] {
            assert_eq!((cgroup(name).as_str(), unit(expected)), (expected, Some(name)));
        }
    }

    #[test]
    fn each_kind_has_an_interface() {
        let all = ["a.service", "a.socket", "a.mount", "a.swap"].map(interface);
        assert_eq!(all, [Some("Service"), Some("Socket"), Some("Mount"), Some("Swap")]);
        assert_eq!(interface("a.slice"), None);
    }

    #[test]
    fn instances_of_templates_are_known() {
        assert_eq!(instance("getty@tty1.service"), Some(("getty@.service".to_owned(), "tty1")));
        assert_eq!(instance(r"a@b\x2fc.d.socket"), Some(("a@.socket".to_owned(), r"b\x2fc.d")));
        assert_eq!(instance("a@b@c.service"), Some(("a@.service".to_owned(), "b@c")));
        assert_eq!(instance("getty@.service"), None);
        assert_eq!(instance("ssh.service"), None);
    }
}
