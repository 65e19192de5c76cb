//! Runtimes that nobody is asked about: what their containers' cgroups and
//! environment say is all there is.

mod support;

use gantry_test_docker::needs as programs;
use gantry_test_systemd::{Fake, service};
use support::agent::Agent;
use support::cgroup::Cgroup;
use support::private_dir;
use support::series::{scrape_until, value};

use std::process::Command;
use tempfile::TempDir;

const CONTAINERS: &str = "[plugins.containers]\nenabled = true\n";

/// Nobody names any container here, so none is waited for.
fn agent() -> Agent {
    Agent::start_in(
        private_dir(),
        "[host.identity]\nmin_container_age = \"0s\"\nmetadata_wait = \"0s\"",
        CONTAINERS,
    )
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

/// A unit's cgroup, as systemd makes it, and what runs in it.
fn unit(path: &str) -> (support::cgroup::Member, Cgroup) {
    let cgroup = Cgroup::at(path);
    (cgroup.spawn(&["/bin/sleep", "1000"]), cgroup)
}

/// Takes away what is not a unit's own, from within.
fn remove_slices(all: &[&str]) {
    for hierarchy in support::cgroup::hierarchies() {
        for directory in all {
            // Another test's may be in it.
            let _ = std::fs::remove_dir(hierarchy.join(directory));
        }
    }
}

#[test]
fn units_have_their_names_wherever_systemd_puts_them() {
    if Cgroup::new().is_none() {
        return;
    }
    let own = format!("gantry{}", std::process::id());
    let nested = format!("{own}.slice/{own}-web.slice/{own}-web-front.slice");
    let longest = format!("{own}{}.service", "x".repeat(255 - own.len() - ".service".len()));
    let units = [
        (format!("/system.slice/{own}.service"), Some(format!("/system.slice/{own}.service"))),
        (
            format!("/system.slice/system-{own}.slice/{own}@tty1.service"),
            Some(format!("/system.slice/{own}@tty1.service")),
        ),
        (format!("/{nested}/{own}-deep.service"), Some(format!("/{own}.slice/{own}-deep.service"))),
        (format!("/system.slice/{own}\\x2dmnt.mount"), Some(format!("/system.slice/{own}-mnt.mount"))),
        // What it makes for itself is its own.
        (
            format!("/system.slice/{own}-delegate.service/worker"),
            Some(format!("/system.slice/{own}-delegate.service")),
        ),
        (format!("/system.slice/{longest}"), None),
        (format!("/system.slice/run-{own}.scope"), None),
        (format!("/user.slice/user-0.slice/{own}-3.scope"), None),
    ];
    let agent = agent();
    let running: Vec<_> = units.iter().map(|(path, _)| unit(path)).collect();
    let shown: Vec<&String> = units.iter().filter_map(|(_, id)| id.as_ref()).collect();
    let text = scrape_until(&agent, "all units are shown", |text| {
        let is_shown = |id: &str| value(text, "container_restarts_total", &[("container_id", id)]).is_some();
        // Longer than a part of an id may be, by its slice: it ends in a digest.
        shown.iter().all(|id| is_shown(id))
            && text.contains(&format!("container_id=\"/system.slice/{own}xxxx"))
    });
    assert!(!text.contains(".scope\""), "a bare scope is no unit: {text}");
    let runtime = [("container_id", shown[0].as_str()), ("runtime", "systemd")];
    assert_eq!(value(&text, "container_runtime_info", &runtime), Some(1.0), "{text}");
    drop(running);
    let delegate = format!("system.slice/{own}-delegate.service");
    let inner = nested.rsplit_once('/').expect("it is nested").0.to_owned();
    let of_template = format!("system.slice/system-{own}.slice");
    let slice = format!("{own}.slice");
    remove_slices(&[
        &delegate,
        &of_template,
        &nested,
        &inner,
        &slice,
        "system.slice",
        "user.slice/user-0.slice",
        "user.slice",
    ]);
}

#[test]
fn systemd_says_which_units_run_on_a_timer() {
    if Cgroup::new().is_none() {
        return;
    }
    let own = format!("gantryd{}", std::process::id());
    let bus = private_dir();
    let systemd = Fake::start(&bus.path().join("bus"));
    let unit_name = |kind: &str| format!("{own}-{kind}.service");
    systemd.put(&unit_name("web"), service("notify", &[]));
    systemd.put(&unit_name("backup"), service("oneshot", &[&format!("{own}-backup.timer")]));
    systemd.put(&unit_name("job"), service("simple", &[&format!("{own}-job.timer")]));
    systemd.put(&unit_name("named"), service("dbus", &[]));
    let plugins = format!(
        "[plugins.containers]\nenabled = true\n\
         config.docker.enabled = false\nconfig.podman.enabled = false\nconfig.cri.enabled = false\n\
         config.containerd.enabled = false\n\
         config.systemd = {{ socket = {:?}, deadline = \"20s\" }}\n",
        bus.path().join("bus")
    );
    let host = "[host.identity]\nmin_container_age = \"0s\"\nmetadata_wait = \"30s\"";
    let agent = Agent::start_in(private_dir(), host, &plugins);
    let path = |kind: &str| format!("/system.slice/{}", unit_name(kind));
    let running: Vec<_> = ["web", "backup", "job", "named"].map(|kind| unit(&path(kind))).into();
    let text = scrape_until(&agent, "the service is shown, with what systemd says of it", |text| {
        let info = [("container_id", path("web")), ("systemd_type", "notify".to_owned())];
        let info = info.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>();
        value(text, "container_info", &info) == Some(1.0)
    });
    // All have their kinds by now, or wait for them.
    for hidden in ["backup", "job", "named"] {
        assert!(!text.contains(&path(hidden)), "{hidden}: {text}");
    }
    let skipped = |agent: &Agent, kind: &str| {
        let rows = agent.table(&["containers", "--where", "runtime=systemd"]);
        let row = rows.into_iter().find(|row| row["id"].as_str() == Some(&path(kind)));
        row.and_then(|row| row["shown"].as_str().map(str::to_owned)).unwrap_or_default()
    };
    let until = std::time::Instant::now() + support::http::PATIENCE;
    while ["backup", "job", "named"].iter().any(|kind| skipped(&agent, kind) != "no: a unit that is skipped")
    {
        assert!(std::time::Instant::now() < until, "{:?}", skipped(&agent, "backup"));
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
    drop(running);
    remove_slices(&["system.slice"]);
}
