//! File systems that do not answer are shown as such and not waited for.

mod support;

use gantry_mounts::statfs::{Ask, MAX_THREADS, Usage};
use gantry_node::config::{Config, Settings};
use gantry_node::filesystems::Filesystems;
use gantry_node::sources::{Out, Roots, Run, Sources};
use gantry_plugin_api::HumanDuration;
use gantry_plugin_testkit::{Collected, Kit, Tree};
use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use support::eventually;
use support::tree::whole;

/// File systems of which some hang, and who is in a call of them.
#[derive(Default)]
struct Disks {
    state: Mutex<(HashSet<String>, Vec<String>)>,
    changed: Condvar,
}

impl Disks {
    fn hang(&self, paths: &[&str]) {
        self.state.lock().expect("whole").0 = paths.iter().map(|&path| path.to_owned()).collect();
        self.changed.notify_all();
    }
    fn calls(&self) -> Vec<String> {
        self.state.lock().expect("whole").1.clone()
    }
    fn asker(self: &Arc<Self>) -> Arc<Ask> {
        let disks = Arc::clone(self);
        Arc::new(move |path: &Path| {
            let path = path.to_string_lossy().into_owned();
            let mut state = disks.state.lock().expect("whole");
            state.1.push(path.clone());
            while state.0.contains(&path) {
                state = disks.changed.wait(state).expect("whole");
            }
            state.1.retain(|other| *other != path);
            if path == "/broken" {
                return Err(io::Error::from_raw_os_error(5));
            }
            Ok(Usage { size: 1000, used: 400, reserved: 50, inodes: 10, inodes_used: 3 })
        })
    }
}

struct Rig {
    kit: Kit,
    tree: Tree,
    roots: Roots,
    sources: Sources,
    settings: Settings,
    filesystems: Filesystems,
    disks: Arc<Disks>,
}

const TIMEOUT: Duration = Duration::from_millis(250);

impl Rig {
    fn new(mounts: &[String]) -> Self {
        let tree = whole();
        let line = |(index, path): (usize, &String)| {
            format!("{index} 1 8:{index} / {path} rw - nfs4 nas:{path} rw\n")
        };
        tree.write("proc/1/mountinfo", mounts.iter().enumerate().map(line).collect::<String>());
        let roots = Roots { proc: tree.path("proc"), sys: tree.path("sys"), root: tree.root().to_owned() };
        let config = Config { filesystem_timeout: HumanDuration(TIMEOUT), ..Config::default() };
        let disks = Arc::new(Disks::default());
        Self {
            kit: Kit::of::<gantry_node::Node>(),
            sources: Sources::new(&roots),
            settings: Settings::of(&config).expect("valid"),
            filesystems: Filesystems::new(disks.asker()),
            tree,
            roots,
            disks,
        }
    }
    /// What the file systems alone give, and how long they took.
    fn collect(&mut self) -> (Collected, Duration) {
        let samples = self.kit.emitted(|sink| {
            let mut run = Run {
                roots: &self.roots,
                sources: &mut self.sources,
                out: Out::new(sink),
                buffer: &mut Vec::new(),
                at: Duration::from_secs(1),
            };
            self.filesystems.collect(&mut run, &self.settings);
        });
        let took = samples.took();
        (samples, took)
    }
}

fn paths(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

const SIZE: &str = "node_resources_filesystem_size_bytes";
const UNRESPONSIVE: &str = "node_resources_filesystem_unresponsive";

/// Whether each mount is unresponsive, in the order of their names.
fn unresponsive(samples: &Collected) -> Vec<f64> {
    samples.of_family(UNRESPONSIVE).map(|sample| sample.number()).collect()
}

#[test]
fn a_hung_mount_is_shown_and_the_others_are_served() {
    let mut rig = Rig::new(&paths(&["/a", "/b", "/b/inner", "/c"]));
    let (samples, _) = rig.collect();
    assert_eq!(unresponsive(&samples), [0.0; 4]);
    rig.disks.hang(&["/b"]);
    for round in 0..5 {
        let (samples, took) = rig.collect();
        // A machine under load may be late, but nobody waits for the mount.
        assert!(took < TIMEOUT * 8, "round {round} took {took:?}");
        assert_eq!(samples.label_values(SIZE, "mount_point")[..1], ["/a"]);
        assert_eq!(samples.label_values(SIZE, "mount_point").last().map(String::as_str), Some("/c"));
        assert_eq!(unresponsive(&samples)[1], 1.0);
        assert!(samples.skipped()["filesystem_unresponsive"] >= 1);
        assert!(rig.sources.troubles()[0].contains("/b does not answer"), "{:?}", rig.sources.troubles());
    }
    // One thread, and none for what lies beneath it.
    assert_eq!(rig.disks.calls(), ["/b"]);
    rig.disks.hang(&[]);
    eventually(|| {
        let (samples, _) = rig.collect();
        (unresponsive(&samples) == [0.0; 4]).then_some(()).ok_or(format!("{samples:?}"))
    });
    assert!(rig.sources.troubles().is_empty());
    assert_eq!(rig.filesystems.stop(Duration::from_secs(5)), 0);
}

/// As where the machine is overloaded for a moment, or the agent was stopped.
#[test]
fn what_there_was_no_time_for_is_as_it_was_for_two_collections() {
    let mut rig = Rig::new(&paths(&["/a", "/b"]));
    let shown = |samples: &Collected| samples.label_values(SIZE, "mount_point");
    assert_eq!(shown(&rig.collect().0), ["/a", "/b"]);
    rig.settings.filesystem_timeout = Duration::ZERO;
    for _ in 0..2 {
        let (samples, _) = rig.collect();
        assert_eq!((shown(&samples).len(), samples.skipped()["filesystem_late"]), (2, 2));
        assert!(rig.sources.troubles().is_empty(), "{:?}", rig.sources.troubles());
    }
    let (samples, _) = rig.collect();
    assert_eq!((shown(&samples).len(), samples.skipped()["filesystem_not_asked"]), (0, 2));
    assert!(rig.sources.troubles()[0].contains("/a was not asked: time was up"));
    rig.settings.filesystem_timeout = TIMEOUT;
    eventually(|| {
        let (samples, _) = rig.collect();
        let is_good = shown(&samples).len() == 2 && rig.sources.troubles().is_empty();
        is_good.then_some(()).ok_or(format!("{samples:?}"))
    });
}

#[test]
fn a_stuck_mount_costs_time_only_once() {
    let mut rig = Rig::new(&paths(&["/a", "/b"]));
    rig.disks.hang(&["/b"]);
    let (_, first) = rig.collect();
    assert!(first >= TIMEOUT, "{first:?}");
    let quickest = (0..20).map(|_| rig.collect().1).min().expect("some");
    assert!(quickest < TIMEOUT / 2, "{quickest:?}");
    rig.disks.hang(&[]);
}

#[test]
fn threads_are_bounded_and_said_to_be() {
    let many: Vec<String> = (0..MAX_THREADS + 5).map(|index| format!("/m{index}")).collect();
    let mut rig = Rig::new(&many);
    let names: Vec<&str> = many.iter().map(String::as_str).collect();
    rig.disks.hang(&names);
    eventually(|| {
        let (samples, _) = rig.collect();
        let (busy, not_asked) =
            (rig.disks.calls().len(), samples.skipped().get("filesystem_not_asked").copied());
        assert!(busy <= MAX_THREADS);
        if (busy, not_asked) == (MAX_THREADS, Some(5)) {
            Ok(())
        } else {
            Err(format!("{busy} {not_asked:?}"))
        }
    });
    assert!(rig.sources.troubles()[0].contains("was not asked"));
    // Left behind, within the deadline.
    let begun = Instant::now();
    assert_eq!(rig.filesystems.stop(Duration::from_millis(500)), MAX_THREADS);
    assert!(begun.elapsed() < Duration::from_secs(5));
    rig.disks.hang(&[]);
}

#[test]
fn an_error_of_one_mount_is_its_own() {
    let mut rig = Rig::new(&paths(&["/a", "/broken"]));
    let (samples, _) = rig.collect();
    assert_eq!(samples.label_values(SIZE, "mount_point"), ["/a"]);
    assert_eq!(samples.label_values(UNRESPONSIVE, "mount_point"), ["/a"]);
    assert_eq!(samples.skipped()["filesystem_error"], 1);
    assert!(rig.sources.troubles()[0].contains("/broken cannot be asked"));
}

#[test]
fn threads_that_are_not_stuck_are_joined() {
    let mut rig = Rig::new(&paths(&["/a", "/b"]));
    rig.collect();
    assert_eq!(rig.filesystems.stop(Duration::from_secs(5)), 0);
    // The threads hold the function; here only this test and the asker do.
    let Rig { filesystems, disks, .. } = rig;
    drop(filesystems);
    assert_eq!(Arc::strong_count(&disks), 1);
}

#[test]
fn mounts_that_come_and_go_are_followed() {
    let mut rig = Rig::new(&paths(&["/a", "/b"]));
    rig.collect();
    rig.tree.write("proc/1/mountinfo", "1 1 8:1 / /a rw - nfs4 nas:/a rw\n");
    assert_eq!(rig.collect().0.label_values(SIZE, "mount_point"), ["/a"]);
}
