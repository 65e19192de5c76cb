//! The service as a whole, where its beginning is in question.

use super::*;
use std::path::{Path, PathBuf};

fn identity(proc: &str) -> Identity {
    let [proc, sys, cgroup, root] = [proc, "/sys", "/sys/fs/cgroup", "/"].map(PathBuf::from);
    Identity::new(&Paths { proc, sys, cgroup, root }, &IdentityConfig::default())
}

#[test]
fn what_is_set_while_it_begins_is_known() {
    for _ in 0..20 {
        let identity = identity("/proc");
        identity.set_provider("before", &[]);
        std::thread::scope(|scope| {
            scope.spawn(|| identity.of_pid(std::process::id(), 0));
            for number in 0..50 {
                identity.set_provider(&format!("meanwhile-{number}"), &[]);
                std::thread::yield_now();
            }
            identity.set_rules(&IdentityConfig { deny: vec!["^/".to_owned()], ..IdentityConfig::default() });
            identity.providers_are_known();
        });
        let running = identity.begun().expect("it was asked");
        assert_eq!(running.shared.read(|state| state.providers().len()), 51);
        assert!(identity.containers().is_empty(), "all are denied");
        assert!(!running.shared.read(State::awaits_names));
    }
}

#[test]
fn one_that_cannot_begin_says_so_and_is_tried_again_later() {
    let identity = identity("/nowhere");
    assert!(identity.figures().is_none(), "nobody asked");
    for _ in 0..3 {
        assert_eq!((identity.of_pid(1, 0), identity.containers().len()), (0, 0));
        let figures = identity.figures().expect("somebody asked");
        assert_eq!(figures.lost.get("begin"), Some(&1), "not with each question");
    }
    lock(&identity.begins).next = Some(Instant::now());
    identity.of_pid(1, 0);
    assert_eq!(identity.figures().expect("figures").lost.get("begin"), Some(&2));
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < until, "never: {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

#[test]
fn a_panic_of_the_loop_costs_one_look_at_everything() {
    let identity = identity("/proc");
    let own = identity.of_pid(std::process::id(), 0);
    let shared = identity.begun().expect("it was asked").shared.clone();
    let lost = || identity.figures().expect("figures").lost.get("panics").copied();
    assert_eq!((lost(), shared.looks()), (None, 1));
    shared.trips.store(2, Relaxed);
    until("both panics are counted", || lost() == Some(2));
    until("all is looked at again", || shared.looks() >= 2);
    assert_eq!(identity.of_pid(std::process::id(), 0), own);
    assert!(!identity.stands_still());
    let mut child = std::process::Command::new("sleep").arg("1000").spawn().expect("sleep");
    until("it watches again, or looks", || {
        shared.read(|state| state.processes().living(child.id()).is_some())
    });
    child.kill().and_then(|()| child.wait()).expect("it is ours");
}

/// A `/proc` of the test's own, over this machine's cgroups.
fn proc_without_processes() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a directory");
    for file in ["cgroups", "self/mountinfo", "self/cgroup", "1/cgroup"] {
        let to = root.path().join(file);
        std::fs::create_dir_all(to.parent().expect("below the root")).expect("a directory");
        std::fs::copy(Path::new("/proc").join(file), to).expect("a file of /proc");
    }
    root
}

/// Which containers two namespaces are of, where pid 1's cannot be read: the one
/// that this process is in, and another. And the two containers.
fn owners_of_namespaces(own_cgroup: &str) -> ([u64; 2], [u64; 2]) {
    let root = proc_without_processes();
    let own = clock::own_network_namespace().expect("this process has one");
    let memberships = std::fs::read_to_string("/proc/self/cgroup").expect("/proc");
    let placed = |path: &str| -> String {
        let head = |line: &str| line.rsplit_once(':').map(|(head, _)| format!("{head}:{path}\n"));
        memberships.lines().filter_map(head).collect()
    };
    std::fs::write(root.path().join("self/cgroup"), placed(own_cgroup)).expect("a file");
    // Beyond the pids that the kernel gives: no event is about them.
    let make = |pid: u32, namespace: u64| {
        let directory = root.path().join(pid.to_string());
        std::fs::create_dir_all(directory.join("ns")).expect("a directory");
        let stat = format!("{pid} (a) S 1 7 7 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 100 1\n");
        let cgroup = placed(&format!("/docker/{pid:064x}"));
        for (name, text) in [("stat", stat), ("cgroup", cgroup), ("environ", "A=b\0".to_owned())] {
            std::fs::write(directory.join(name), text).expect("a file");
        }
        std::os::unix::fs::symlink(format!("net:[{namespace}]"), directory.join("ns/net")).expect("a link");
    };
    make(4_300_001, own);
    make(4_300_002, own + 1);
    let identity = identity(root.path().to_str().expect("a path"));
    let containers = [4_300_001, 4_300_002].map(|pid| identity.of_pid(pid, 100));
    assert!(!containers.contains(&0) && containers[0] != containers[1]);
    ([own, own + 1].map(|namespace| identity.of_network_namespace(namespace)), containers)
}

#[test]
fn where_the_first_process_s_namespaces_cannot_be_read_the_agent_s_own_is_the_machine_s() {
    let (owners, [_, other]) = owners_of_namespaces("/system.slice/gantry.service");
    assert_eq!(owners, [0, other], "the machine's own is no container's");
}

#[test]
fn in_a_container_the_agent_s_own_namespace_is_not_the_machine_s() {
    let (owners, containers) = owners_of_namespaces(&format!("/docker/{:064x}", 4_300_003));
    assert_eq!(owners, containers);
}

#[test]
fn a_loop_that_hangs_stands_still_until_it_goes_on() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let root = proc_without_processes();
    let identity = identity(root.path().to_str().expect("a path"));
    assert_eq!(identity.of_pid(8, 0), 0, "nobody is there");
    assert!(!identity.stands_still());
    // Whoever opens a pipe that nobody writes to waits, as for a file system that hangs.
    std::fs::create_dir(root.path().join("8")).expect("a directory");
    let stat = root.path().join("8/stat");
    mknodat(CWD, &stat, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a pipe");
    identity.set_rules(&IdentityConfig { user_slices: true, ..IdentityConfig::default() });
    until("its loop stands still", || identity.stands_still());
    let figures = identity.figures().expect("figures");
    assert!(!figures.is_watched && !figures.is_cgroups_watched, "nobody hears what the kernel tells");
    let mut writer = std::fs::OpenOptions::new().write(true).open(&stat).expect("it waits for that");
    std::io::Write::write_all(&mut writer, b"8 (a)").expect("a pipe");
    // Before it can come round and wait again.
    std::fs::remove_file(&stat).expect("a file");
    drop(writer);
    until("it goes on", || !identity.stands_still());
}

#[test]
fn what_plugins_saw_beyond_what_is_read_of_at_once_is_counted() {
    let root = proc_without_processes();
    let identity = identity(root.path().to_str().expect("a path"));
    let seen = |pid: u32| Observation {
        kind: EventKind::ProcessExecuted,
        process: Process { pid, start: 100 },
        hierarchy: 0,
        cgroup: 1,
        network_namespace: 0,
    };
    let all: Vec<Observation> = (4_300_001..).take(READS + 7).map(seen).collect();
    identity.observe(&all);
    assert_eq!(identity.figures().expect("figures").lost.get("observed"), Some(&7));
    identity.observe(&all[..READS]);
    assert_eq!(identity.figures().expect("figures").lost.get("observed"), Some(&7), "those are read of");
}

/// A directory in each hierarchy that is watched, and its number.
fn cgroup_of_a_container() -> Vec<(PathBuf, u32)> {
    let id = format!("{:032x}{:032x}", std::process::id(), 0x1d);
    let places = Places::read(&identity("/proc").paths, UserSlices::Hidden);
    let roots = places.map(|places| places.roots()).unwrap_or_default();
    let made = roots.into_iter().filter_map(|root| {
        let directory = root.directory.join("docker").join(&id);
        std::fs::create_dir_all(&directory).ok()?;
        if std::fs::metadata(directory.join("cgroup.procs")).is_ok() {
            return Some((directory, root.hierarchy));
        }
        let _ = std::fs::remove_dir(&directory);
        None
    });
    made.collect()
}

#[test]
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn cgroups_and_namespaces_of_this_machine_are_looked_up_also_after_the_end() {
    use std::os::unix::fs::MetadataExt;
    let directories = cgroup_of_a_container();
    if directories.is_empty() {
        assert!(std::env::var("CI").is_err(), "CI forbids to skip: no writable cgroup tree");
        return eprintln!("\n*** SKIPPED: this test needs root and a writable cgroup tree ***\n");
    }
    let identity = identity("/proc");
    identity.providers_are_known();
    let id = |directory: &Path| std::fs::metadata(directory).expect("just made").ino();
    let cgroups: Vec<(u32, u64)> =
        directories.iter().map(|(directory, hierarchy)| (*hierarchy, id(directory))).collect();
    let moves =
        directories.iter().map(|(directory, _)| format!("echo $$ > {}/cgroup.procs; ", directory.display()));
    let script = format!("{}exec unshare -n sleep 1000", moves.collect::<String>());
    let mut child = std::process::Command::new("/bin/sh").args(["-c", &script]).spawn().expect("a shell");
    let pid = child.id();
    until("it runs in its own namespace", || {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "sleep")
    });
    let link = std::fs::read_link(format!("/proc/{pid}/ns/net")).expect("it runs");
    let inode = read::namespace(link.to_str().expect("text")).expect("an inode");
    let handle = identity.of_pid(pid, 0);
    assert_ne!(handle, 0);
    until("its cgroup and its namespace are known", || {
        let of = |(hierarchy, id): &(u32, u64)| identity.of_cgroup(*hierarchy, *id);
        cgroups.iter().all(|cgroup| of(cgroup) == handle) && identity.of_network_namespace(inode) == handle
    });
    for (hierarchy, id) in &cgroups {
        assert_eq!(identity.of_cgroup(*hierarchy, id + 1_000_000), 0, "nobody's");
    }
    child.kill().and_then(|()| child.wait()).expect("it is ours");
    for (directory, _) in &directories {
        until("its cgroup is empty", || std::fs::remove_dir(directory).is_ok());
    }
    until("its end is seen", || identity.container(handle).is_none_or(|container| container.gone));
    for (hierarchy, id) in cgroups {
        assert_eq!(identity.of_cgroup(hierarchy, id), handle, "for a while after its end");
    }
    assert_eq!((identity.of_network_namespace(inode), identity.of_pid(pid, 0)), (handle, handle));
}
