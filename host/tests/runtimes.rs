//! Runtimes that nobody is asked about: what their containers' cgroups and
//! environment say is all there is.

mod support;

use gantry_test_docker::needs as programs;
use support::agent::Agent;
use support::cgroup::Cgroup;
use support::private_dir;
use support::series::{scrape_until, value};

use std::process::Command;
use tempfile::TempDir;

const CONTAINERS: &str = "[plugins.containers]\nenabled = true\n";

fn agent() -> Agent {
    Agent::start_in(private_dir(), "[host.identity]\nmin_container_age = \"0s\"", CONTAINERS)
}

/// A real container of LXC, in the network of the machine.
struct Lxc {
    name: String,
    directory: TempDir,
}

impl Lxc {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let name = format!("gantry-{}", std::process::id());
        let own = directory.path().join(&name);
        let root = own.join("rootfs");
        for part in ["bin", "dev", "proc", "sys"] {
            std::fs::create_dir_all(root.join(part)).expect("a directory");
        }
        let busybox = programs::find("busybox").expect("it was asked for");
        std::fs::copy(busybox, root.join("bin/busybox")).expect("a copy");
        std::fs::write(root.join("dev/null"), "").expect("a file");
        let config = format!(
            "lxc.uts.name = {name}\nlxc.rootfs.path = dir:{}\nlxc.net.0.type = none\n\
             lxc.apparmor.profile = unconfined\nlxc.cap.drop =\nlxc.autodev = 0\n\
             lxc.init.cmd = /bin/busybox sleep 1000\n",
            root.display()
        );
        std::fs::write(own.join("config"), config).expect("a file");
        Self { name, directory }
    }

    fn command(&self, program: &str, args: &[&str]) -> bool {
        let log = self.log();
        let mut command = Command::new(program);
        command.args(["-n", &self.name, "-P"]).arg(self.directory.path()).arg("-o").arg(log);
        command.args(args).status().expect("it was asked for").success()
    }

    fn log(&self) -> std::path::PathBuf {
        self.directory.path().join("log")
    }

    fn start(&self) {
        let log = || std::fs::read_to_string(self.log()).unwrap_or_default();
        assert!(self.command("lxc-start", &["-l", "INFO"]), "{}", log());
    }

    fn kill(&self) {
        assert!(self.command("lxc-stop", &["-k"]));
    }
}

impl Drop for Lxc {
    fn drop(&mut self) {
        // It may have ended, or never begun.
        self.command("lxc-stop", &["-k"]);
        // LXC moves itself there, and leaves it.
        for hierarchy in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let _ = std::fs::remove_dir(hierarchy.path().join("lxc.pivot"));
        }
    }
}

#[test]
fn a_container_of_lxc_has_its_name_and_is_the_same_when_it_is_started_again() {
    if !programs::root_and(&["lxc-start", "busybox"]) {
        return;
    }
    let agent = agent();
    let lxc = Lxc::new();
    let id = format!("/lxc/{}", lxc.name);
    let restarts = |text: &str| value(text, "container_restarts_total", &[("container_id", &id)]);
    for before in [0.0, 1.0] {
        lxc.start();
        let text = scrape_until(&agent, "it is shown", |text| restarts(text) == Some(before));
        let runtime = [("container_id", id.as_str()), ("runtime", "lxc")];
        assert_eq!(value(&text, "container_runtime_info", &runtime), Some(1.0), "{text}");
        assert!(!text.contains("lxc.monitor"), "what watches it is no container");
        lxc.kill();
    }
}

const ALLOCATION: &str = "5b1c7a52-1f3e-4d53-9f0e-2e6d0d3a8f11";

#[test]
fn a_task_of_nomad_is_named_by_its_environment() {
    if Cgroup::new().is_none() {
        return;
    }
    let cgroup = Cgroup::at(&format!("/nomad.slice/share.slice/{ALLOCATION}.web.scope"));
    let agent = agent();
    let member = cgroup.spawn_with(&["/bin/sleep", "1000"], |command| {
        for (name, value) in [
            ("NAMESPACE", "default"),
            ("JOB_NAME", "shop"),
            ("GROUP_NAME", "front"),
            ("ALLOC_ID", ALLOCATION),
            ("TASK_NAME", "web"),
        ] {
            command.env(format!("NOMAD_{name}"), value);
        }
    });
    let id = format!("/nomad/default/shop/front/{ALLOCATION}/web");
    scrape_until(&agent, "it has the names of its task", |text| {
        value(text, "container_restarts_total", &[("container_id", &id)]).is_some()
    });
    drop(member);
    drop(cgroup);
    for hierarchy in support::cgroup::hierarchies() {
        for directory in ["nomad.slice/share.slice", "nomad.slice"] {
            std::fs::remove_dir(hierarchy.join(directory)).expect("nobody else is in it");
        }
    }
}
