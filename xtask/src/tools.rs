//! Programs of the system that tests talk to: a real Prometheus, a real
//! node_exporter, Python's strict parser, valgrind, namespaces, a C compiler,
//! a real Docker, a real message bus.

use crate::shell::{self, Error, Result};
use std::process::{Command, Stdio};

/// A program, the package that brings it, and a command that succeeds where it works.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tool {
    /// How a test names it.
    pub program: &'static str,
    package: &'static str,
    works: &'static [&'static str],
    shows: &'static str,
}

impl Tool {
    /// One of a task's own.
    pub const fn new(
        program: &'static str,
        package: &'static str,
        works: &'static [&'static str],
        shows: &'static str,
    ) -> Self {
        Self { program, package, works, shows }
    }
}

/// For the tests.
pub const OF_TESTS: &[Tool] = &[
    Tool {
        program: "prometheus",
        package: "prometheus",
        works: &["prometheus", "--version"],
        shows: "a real Prometheus scrapes the agent",
    },
    Tool {
        program: "promtool",
        package: "prometheus",
        works: &["promtool", "--version"],
        shows: "names and types pass Prometheus' own linter",
    },
    Tool {
        program: "prometheus-node-exporter",
        package: "prometheus-node-exporter",
        works: &["prometheus-node-exporter", "--version"],
        shows: "node's values equal node_exporter's",
    },
    // The system's own Python: another that comes first in PATH does not see the system's packages.
    Tool {
        program: "python3-prometheus-client",
        package: "python3-prometheus-client",
        works: &["/usr/bin/python3", "-c", "import prometheus_client.openmetrics.parser"],
        shows: "a strict OpenMetrics parser accepts the exposition",
    },
    Tool {
        program: "valgrind",
        package: "valgrind",
        works: &["valgrind", "--version"],
        shows: "the boundary reads and frees nothing it should not",
    },
    Tool {
        program: "ip",
        package: "iproute2",
        works: &["ip", "-V"],
        shows: "interfaces in namespaces are counted",
    },
    // The package `systemd` makes it no init: `systemd-sysv` would.
    Tool {
        program: "systemd-analyze",
        package: "systemd",
        works: &["systemd-analyze", "--version"],
        shows: "the service's unit is good",
    },
    Tool {
        program: "tmux",
        package: "tmux",
        works: &["tmux", "-V"],
        shows: "commands look as they should in a real terminal",
    },
    // With containerd and runc. The tests start daemons of their own.
    Tool {
        program: "dockerd",
        package: "docker.io",
        works: &["dockerd", "--version"],
        shows: "containers of a real Docker have their names",
    },
    Tool {
        program: "docker",
        package: "docker.io",
        works: &["docker", "--version"],
        shows: "containers of a real Docker have their names",
    },
    Tool {
        program: "podman",
        package: "podman",
        works: &["podman", "--version"],
        shows: "containers of a real Podman have their names",
    },
    // With runc, as all runtimes of the tests.
    Tool {
        program: "conmon",
        package: "conmon",
        works: &["conmon", "--version"],
        shows: "containers of a real Podman have their names",
    },
    Tool {
        program: "busybox",
        package: "busybox-static",
        works: &["busybox", "true"],
        shows: "what the containers of a real Docker run",
    },
    Tool {
        program: "lxc-start",
        package: "lxc",
        works: &["lxc-start", "--version"],
        shows: "containers of a real LXC have their names",
    },
    Tool {
        program: "iptables",
        package: "iptables",
        works: &["iptables", "--version"],
        shows: "ports that a real Docker publishes are known, and where translated connections go",
    },
    Tool {
        program: "nft",
        package: "nftables",
        works: &["nft", "--version"],
        shows: "where connections go that nftables translates",
    },
    // Not the package `dbus`, which would start the system's.
    Tool {
        program: "dbus-daemon",
        package: "dbus-daemon",
        works: &["dbus-daemon", "--version"],
        shows: "what systemd says comes over a real message bus",
    },
    Tool {
        program: "gcc",
        package: "gcc",
        works: &["gcc", "--version"],
        shows: "libraries that crash in their constructor do no harm",
    },
];

/// For the tests in other kernels.
pub const OF_KERNELS: &[Tool] = &[
    // Ubuntu has it as a package.
    Tool {
        program: "debian-archive-keyring",
        package: "debian-archive-keyring",
        works: &["test", "-r", "/usr/share/keyrings/debian-archive-keyring.gpg"],
        shows: "the agent works in older kernels",
    },
    Tool {
        program: "qemu-system-x86_64",
        package: "qemu-system-x86",
        works: &["qemu-system-x86_64", "--version"],
        shows: "the agent works in older kernels",
    },
    Tool {
        program: "busybox",
        package: "busybox-static",
        works: &["busybox", "true"],
        shows: "the agent works in older kernels",
    },
    Tool {
        program: "mke2fs",
        package: "e2fsprogs",
        works: &["/sbin/mke2fs", "-V"],
        shows: "the agent works in older kernels",
    },
    Tool {
        program: "unshare",
        package: "util-linux",
        works: &["unshare", "--version"],
        shows: "the agent works in older kernels",
    },
    Tool {
        program: "xz",
        package: "xz-utils",
        works: &["xz", "--version"],
        shows: "the agent works in older kernels",
    },
    Tool {
        program: "dpkg-deb",
        package: "dpkg",
        works: &["dpkg-deb", "--version"],
        shows: "the agent works in older kernels",
    },
];

/// Packages of servers would start them. The policy file is how Debian is told
/// not to; the trap takes it away again also after an interrupt.
const INSTALL: &str = r#"
set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT
    trap 'exit 130' INT TERM HUP
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
fi
apt-get update -qq
apt-get install -y -qq --no-install-recommends "$@"
"#;

/// Installs what is missing where that is possible, and gives what is missing still.
pub fn provide(tools: &[Tool]) -> Result<Vec<Tool>> {
    let missing = find_missing(tools);
    if missing.is_empty() {
        return Ok(missing);
    }
    let mut packages: Vec<_> = missing.iter().map(|tool| tool.package).collect();
    packages.dedup();
    if works(&["apt-get", "--version"]) && is_root()? {
        let mut command = Command::new("sh");
        command.args(["-c", INSTALL, "apt-get"]).args(&packages).env("DEBIAN_FRONTEND", "noninteractive");
        eprintln!("$ apt-get install {}", packages.join(" "));
        let status = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .map_err(|error| shell::not_started(&command, &error))?;
        if !status.success() {
            eprintln!("apt-get: {status}");
        }
    }
    let missing = find_missing(tools);
    // Skipping is for people at their desk; a check that skips is none. The tests hold to the same.
    if !missing.is_empty() && std::env::var("CI").is_ok_and(|ci| ci == "true") {
        let names: Vec<_> = missing.iter().map(|tool| tool.program).collect();
        return Err(Error::failed(format!(
            "these are missing, and with CI=true nothing is skipped: {}; install the packages {}",
            names.join(", "),
            packages.join(" ")
        )));
    }
    say_skipped(&missing);
    Ok(missing)
}

/// Says what cannot be shown here, and the remedy.
pub fn say_skipped(missing: &[Tool]) {
    if missing.is_empty() {
        return;
    }
    eprintln!("\nSKIPPED for want of programs:");
    for tool in missing {
        eprintln!("  {:<26} {}", tool.program, tool.shows);
    }
    let mut packages: Vec<_> = missing.iter().map(|tool| tool.package).collect();
    packages.dedup();
    eprintln!("On Debian or Ubuntu: sudo apt-get install {}\n", packages.join(" "));
}

fn find_missing(tools: &[Tool]) -> Vec<Tool> {
    tools.iter().copied().filter(|tool| !works(tool.works)).collect()
}

fn works(command: &[&str]) -> bool {
    Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn is_root() -> Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let own =
        std::fs::metadata("/proc/self").map_err(|error| Error::failed(format!("/proc/self: {error}")))?;
    Ok(own.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_told_from_what_is() {
        assert!(works(&["sh", "-c", "exit 0"]));
        assert!(!works(&["sh", "-c", "exit 1"]));
        assert!(!works(&["gantry-no-such-program"]));
    }

    #[test]
    fn tools_of_one_package_stand_together() {
        let mut packages: Vec<_> = OF_TESTS.iter().map(|tool| tool.package).collect();
        packages.dedup();
        let apart = packages.iter().collect::<std::collections::BTreeSet<_>>().len();
        assert_eq!(apart, packages.len(), "dedup names a package twice");
    }
}
