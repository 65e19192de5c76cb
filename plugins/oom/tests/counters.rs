//! Without programs: the counters of cgroups, over trees of files in both versions, and
//! what is said where something is missing.

mod support;

use gantry_cgroupfs::fixture::Fixture;
use gantry_cgroupfs::{Mode, layout::Resource};
use gantry_oom::Oom;
use gantry_plugin_api::identity::Container;
use gantry_plugin_testkit::{Check, Kit, NewContainer, PATIENCE, Running};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use std::path::PathBuf;
use support::{kills, now, scopes};

const ONE: &str = "/docker/one";

struct Site {
    kit: Kit,
    fixture: Fixture,
    mode: Mode,
    _dir: tempfile::TempDir,
}

impl Site {
    fn new(mode: Mode) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let fixture = Fixture::new(dir.path(), mode).expect("written");
        let kit = Kit::of::<Oom>().with_path("proc", fixture.proc()).with_path("cgroup", fixture.cgroup());
        Self { kit: kit.deadline(PATIENCE).allow(Check::Skipped, ""), fixture, mode, _dir: dir }
    }

    fn file(&self, path: &str) -> PathBuf {
        let name = if self.mode == Mode::V2 { "memory.events" } else { "memory.oom_control" };
        self.fixture.directory(Resource::Memory, path).join(name)
    }

    fn says(&self, path: &str, kills: u64) {
        let file = self.file(path);
        std::fs::create_dir_all(file.parent().expect("a directory")).expect("made");
        let text = match self.mode {
            Mode::V2 => format!("low 0\nhigh 0\nmax 9\noom 7\noom_kill {kills}\noom_group_kill 0\n"),
            _ => format!("oom_kill_disable 0\nunder_oom 0\noom_kill {kills}\n"),
        };
        std::fs::write(file, text).expect("written");
    }

    fn container(&self, name: &str, path: &str, id: u64) -> NewContainer {
        let hierarchy = if self.mode == Mode::V2 { 0 } else { 3 };
        NewContainer::new(name).cgroup_v1(hierarchy, &["memory"], path, id)
    }

    fn start(&self) -> Running {
        self.kit.start("ebpf = false").expect("it starts")
    }
}

#[test]
fn what_comes_after_the_first_look_counts() {
    for mode in [Mode::V1, Mode::V2, Mode::Hybrid] {
        let site = Site::new(mode);
        site.says("/docker/one", 5);
        let one = site.kit.identity().declare(site.container(ONE, "/docker/one", 1));
        let mut running = site.start();
        assert_eq!(running.troubles().expect("has a health"), [""; 0], "{mode:?}");
        assert_eq!(now(&mut running, ONE), (0.0, [0.0; 4]), "{mode:?}");
        site.says("/docker/one", 7);
        assert_eq!(now(&mut running, ONE), (2.0, [0.0, 0.0, 0.0, 2.0]), "{mode:?}");
        // An id beyond those that were there: it began when somebody counted already.
        site.says("/docker/young", 1);
        site.kit.identity().appear(site.container("/docker/young", "/docker/young", u64::MAX));
        assert_eq!(now(&mut running, "/docker/young").0, 1.0, "{mode:?}");
        // Upgraded, and after a crash.
        let mut running = running.upgrade("ebpf = false").expect("it is upgraded");
        site.says("/docker/one", 8);
        assert_eq!(now(&mut running, ONE).0, 3.0, "{mode:?}");
        let mut running = running.crash_and_restore("ebpf = false").expect("it starts again");
        site.says("/docker/one", 10);
        assert_eq!(now(&mut running, ONE).0, 5.0, "{mode:?}");
        assert_eq!(now(&mut running, "/docker/young").0, 1.0, "{mode:?}");
        // Gone, and shown for a while; then it is known no more.
        site.kit.identity().vanish(one);
        std::fs::remove_file(site.file("/docker/one")).expect("it is there");
        assert_eq!(now(&mut running, ONE).0, 5.0, "{mode:?}");
        site.kit.identity().forget(one);
        let collected = running.collect().expect("it collects");
        assert_eq!(kills(&collected, ONE), None, "{mode:?}");
    }
}

#[test]
fn a_container_that_begins_anew_goes_on() {
    let site = Site::new(Mode::V2);
    site.says("/docker/one", 1);
    let one = site.kit.identity().declare(site.container(ONE, "/docker/one", 1));
    let mut running = site.start();
    site.says("/docker/one", 3);
    assert_eq!(now(&mut running, ONE).0, 2.0);
    // Another cgroup of its: with a number of its own.
    site.says("/docker/two", 4);
    site.kit.identity().change(one, |container: &mut Container| {
        (container.cgroups[0].path, container.cgroups[0].id) = ("/docker/two".into(), u64::MAX);
    });
    assert_eq!(now(&mut running, ONE).0, 6.0);
    // As one that is made anew at the same path has it.
    site.says("/docker/two", 0);
    assert_eq!(now(&mut running, ONE).0, 6.0);
}

#[test]
fn a_file_that_makes_no_sense_is_named_and_costs_no_other() {
    let site = Site::new(Mode::V2);
    for (path, id) in [("/docker/one", 1), ("/docker/two", 2)] {
        site.says(path, 0);
        site.kit.identity().declare(site.container(path, path, id));
    }
    let mut running = site.start();
    std::fs::write(site.file("/docker/one"), "oom_kill many\n").expect("written");
    site.says("/docker/two", 1);
    assert_eq!(now(&mut running, "/docker/two").0, 1.0);
    let troubles = running.troubles().expect("has a health");
    assert!(troubles.len() == 1 && troubles[0].contains("docker/one/memory.events"), "{troubles:?}");
    site.says("/docker/one", 2);
    assert_eq!(now(&mut running, ONE).0, 2.0);
    assert_eq!(running.troubles().expect("has a health"), [""; 0]);
}

#[test]
fn who_left_itself_out_is_not_shown() {
    let site = Site::new(Mode::V2);
    site.says("/docker/one", 0);
    let asks = |container: &mut Container| container.opted_out.push("oom".to_owned());
    let one = site.kit.identity().declare(site.container(ONE, "/docker/one", 1).with(asks));
    let mut running = site.start();
    let collected = running.collect().expect("it collects");
    assert_eq!((kills(&collected, ONE), scopes(&collected, ONE)), (None, [0.0; 4]));
    site.kit.identity().change(one, |container| container.opted_out.clear());
    assert_eq!(now(&mut running, ONE).0, 0.0);
}

#[test]
fn what_is_missing_is_said() {
    let site = Site::new(Mode::V2);
    // No types of the kernel's, and no program.
    let mut running = site.kit.start("").expect("it starts");
    let troubles = running.troubles().expect("has a health");
    assert!(troubles.len() == 1 && troubles[0].contains("kernel/btf/vmlinux"), "{troubles:?}");
    assert!(troubles[0].contains("container_oom_events_total"), "{troubles:?}");
    let refused = running.view("kills").expect_err("nothing is known of victims").to_string();
    assert!(refused.contains("kernel/btf/vmlinux"), "{refused}");
    assert_eq!(running.view("programs").expect("has the view").rows().len(), 1);
    let probe = site.kit.probe("").expect("it answers");
    assert!(probe.unsupported.is_empty() && probe.degraded[0].contains("kernel/btf/vmlinux"), "{probe:?}");
    // Nor cgroups.
    let nothing = Kit::of::<Oom>();
    assert_eq!(nothing.probe("ebpf = false").expect("it answers").unsupported.len(), 1);
    assert_eq!(nothing.probe("").expect("it answers").degraded.len(), 2);
}

#[test]
fn a_hand_over_that_makes_no_sense_is_passed_over() {
    let site = Site::new(Mode::V2);
    site.says("/docker/one", 1);
    site.kit.identity().declare(site.container(ONE, "/docker/one", 1));
    let before = Some(&b"not one of ours, but long enough"[..]);
    let mut running = site.kit.start_from("ebpf = false", before).expect("it starts");
    assert_eq!(now(&mut running, ONE).0, 0.0);
}

const DROPS: &str = "GANTRY_TEST_DROPS";

/// Not a test: what the one below starts.
#[test]
#[ignore = "is started by another test"]
fn without_a_capability() {
    let Ok(drops) = std::env::var(DROPS) else { return };
    // Who may do anything may do this as well.
    let dropped = CapabilitySet::SYS_ADMIN
        | match drops.as_str() {
            "CAP_BPF" => CapabilitySet::BPF,
            "CAP_PERFMON" => CapabilitySet::PERFMON,
            other => panic!("{other}"),
        };
    let mut sets = capabilities(None).expect("our own");
    sets.effective -= dropped;
    sets.permitted -= dropped;
    set_capabilities(None, sets).expect("anybody may have fewer");
    let cgroup = support::Cgroup::new("without").limited();
    let kit = support::kit();
    kit.identity().declare(cgroup.container(ONE));
    let mut running = kit.start("").expect("it starts");
    let troubles = running.troubles().expect("has a health");
    assert!(troubles.len() == 1 && troubles[0].contains(&drops), "{troubles:?}");
    cgroup.kill();
    assert_eq!(now(&mut running, ONE), (1.0, [0.0, 0.0, 0.0, 1.0]));
}

/// What that one starts.
#[test]
#[ignore = "is started by other tests"]
fn hog() {
    support::hog();
}

#[test]
fn without_a_capability_it_is_named_and_the_counters_tell() {
    if support::skip() {
        return;
    }
    for drops in ["CAP_BPF", "CAP_PERFMON"] {
        let output = std::process::Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "without_a_capability", "--ignored", "--test-threads=1"])
            .env(DROPS, drops)
            .output()
            .expect("it starts");
        let said = String::from_utf8_lossy(&output.stdout);
        let is_good = output.status.success() && said.contains("1 passed");
        assert!(is_good, "{drops}: {said}{}", String::from_utf8_lossy(&output.stderr));
    }
}
