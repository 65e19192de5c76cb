//! The plugin in the test kit, before a runtime.
#![allow(dead_code, reason = "each test file uses its own part of it")]

pub mod containerd;
pub mod moods;

use gantry_containers::Containers;
use gantry_plugin_api::Container;
use gantry_plugin_api::identity::Metadata;
use gantry_plugin_testkit::{Check, Collected, Kit, PATIENCE, Running, eventually};
use gantry_test_docker::Fake;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;

pub mod systemd;

/// The runtime that speaks CRI.
pub mod cri {
    #[allow(unused_imports, reason = "each test file uses its own part of it")]
    pub use gantry_test_cri::{Mood, api, crio, fake::*};
}

#[allow(unused_imports, reason = "each test file uses its own part of it")]
pub use gantry_test_cri::grpc;

/// A running plugin and what stands around it.
pub struct Rig {
    pub kit: Kit,
    pub running: Running,
    /// The runtime that it stands before.
    pub runtime: &'static str,
    /// What was skipped in all collections, by reason.
    skipped: BTreeMap<String, u64>,
}

/// The kit: a machine with cgroups of the second version, and a directory for the socket.
pub fn kit() -> Kit {
    let kit = Kit::of::<Containers>().deadline(PATIENCE).allow(Check::Skipped, "");
    kit.tree().dir("run");
    kit.tree().write("proc/self/cgroup", "0::/\n");
    kit.tree().write("sys/fs/cgroup/cgroup.controllers", "cpu io memory pids\n");
    kit
}

/// Where the plugin looks for Docker by default.
pub fn socket(kit: &Kit) -> PathBuf {
    kit.tree().path("run/docker.sock")
}

/// Docker comes while the plugin looks for it, with what `fill` gives it: that is
/// there before anybody can list it.
pub fn comes(kit: &Kit, fill: impl FnOnce(&Fake)) -> Fake {
    let elsewhere = kit.tree().path("run/elsewhere.sock");
    let fake = Fake::start(&elsewhere);
    fill(&fake);
    std::fs::rename(elsewhere, socket(kit)).expect("it is there");
    fake
}

/// A machine under load takes its time.
pub const CONFIG: &str = "[docker]\ndeadline = \"20s\"";

/// For tests that wait for the deadline. What is missed for another reason is
/// tried again.
pub const HASTY: &str = "[docker]\ndeadline = \"500ms\"";

impl Rig {
    /// Before a fake Docker that has what `fill` gives it.
    pub fn before(fill: impl FnOnce(&Fake)) -> (Self, Fake) {
        Self::before_with(CONFIG, fill)
    }

    pub fn before_with(config: &str, fill: impl FnOnce(&Fake)) -> (Self, Fake) {
        let kit = kit();
        let fake = Fake::start(&socket(&kit));
        fill(&fake);
        (Self::start(kit, config), fake)
    }

    pub fn start(kit: Kit, config: &str) -> Self {
        Self::start_of("docker", kit, config)
    }

    /// Before a runtime of this kind.
    pub fn start_of(runtime: &'static str, kit: Kit, config: &str) -> Self {
        let running = kit.start(config).expect("it starts, whatever the runtime does");
        Self { kit, running, runtime, skipped: BTreeMap::new() }
    }

    /// What the host was told of a container, when it was told this.
    #[track_caller]
    pub fn told(&self, id: &str, is: impl Fn(&Container) -> bool) -> Container {
        self.metadata(id, |told| !told.removed && is(&told.container)).container
    }

    /// Waits until the host was told that a container is no more.
    #[track_caller]
    pub fn removed(&self, id: &str) {
        self.metadata(id, |told| told.removed);
    }

    #[track_caller]
    fn metadata(&self, id: &str, is: impl Fn(&Metadata) -> bool) -> Metadata {
        let of = |told: &&Metadata| told.runtime_id == id && is(told);
        let provided =
            self.kit.provided().wait_for(|provided| provided.metadata.iter().any(|told| of(&told)));
        let provided = provided.unwrap_or_else(|failure| panic!("{id}: {failure}"));
        let told = provided.metadata.iter().rfind(of).expect("it was found just above").clone();
        assert!(told.removed || provided.runtime == told.container.runtime, "{provided:?}");
        told
    }

    /// Of how many containers the host was told in all.
    fn told_of(&self) -> usize {
        let count = Cell::new(0);
        // Nothing is copied, as there may be thousands.
        self.kit.provided().any(|provided| {
            let of_containers = provided.metadata.iter().filter(|told| !told.runtime_id.is_empty());
            count.set(count.get() + of_containers.count());
            false
        });
        count.get()
    }

    /// Waits until the host was told of so many, as long as they become more.
    #[track_caller]
    pub fn told_all(&self, count: usize) {
        let mut last = 0;
        while last < count {
            let more = eventually(|| {
                let now = self.told_of();
                (now > last).then_some(now).ok_or_else(|| format!("the host was told of {now} of {count}"))
            });
            last = more.unwrap_or_else(|failure| panic!("{failure}"));
        }
    }

    /// The names of all containers that the host knows now, by what it was told.
    pub fn names(&self) -> Vec<String> {
        let mut all = BTreeMap::new();
        for told in self.kit.provided().all().into_iter().flat_map(|provided| provided.metadata) {
            match told.removed {
                true => all.remove(&told.runtime_id),
                false => all.insert(told.runtime_id, told.container.names.get("name").cloned()),
            };
        }
        all.into_values().flatten().collect()
    }

    /// A collection.
    #[track_caller]
    pub fn collect(&mut self) -> Collected {
        let collected = self.running.collect().expect("it collects, whatever the runtime does");
        for (reason, count) in collected.skipped() {
            *self.skipped.entry(reason.clone()).or_default() += count;
        }
        collected
    }

    /// Waits until a node's series has such a value.
    #[track_caller]
    pub fn shows(&mut self, series: &str, is: impl Fn(f64) -> bool) {
        eventually(|| {
            let value = self.collect().find(series);
            value.filter(|value| is(*value)).map(drop).ok_or_else(|| format!("{series} is {value:?}"))
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
    }

    /// Waits until the runtime is up, or not.
    #[track_caller]
    pub fn up(&mut self, up: bool) {
        let series = format!("container_runtime_up{{runtime=\"{0}\",api=\"{0}\"}}", self.runtime);
        self.shows(&series, |value| value == f64::from(u8::from(up)));
    }

    /// Waits until so many requests of a kind to Docker had this result.
    #[track_caller]
    pub fn counted(&mut self, request: &str, result: &str, least: f64) {
        let series = self.requests(request, result);
        eventually(|| {
            let collected = self.collect();
            let enough = collected.find(&series).is_some_and(|value| value >= least);
            enough.then_some(()).ok_or_else(|| {
                // What it had instead says what went wrong.
                let others = collected.series().filter(|(_, value)| *value > 0.0);
                format!("{series} is below {least}: {:?}", others.collect::<Vec<_>>())
            })
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
    }

    /// The series of a kind of requests and their result.
    pub fn requests(&self, request: &str, result: &str) -> String {
        let runtime = self.runtime;
        format!(
            "container_runtime_requests_total{{runtime=\"{runtime}\",api=\"{runtime}\",request=\"{request}\",result=\"{result}\"}}"
        )
    }

    /// Waits until the health names a trouble with all these words.
    #[track_caller]
    pub fn troubled(&mut self, words: &[&str]) {
        eventually(|| {
            let troubles = self.running.troubles().map_err(|failure| failure.to_string())?;
            let said = troubles.iter().any(|trouble| words.iter().all(|word| trouble.contains(word)));
            said.then_some(()).ok_or_else(|| format!("{troubles:?}"))
        })
        .unwrap_or_else(|failure| panic!("{words:?}: {failure}"));
    }

    /// Waits until it is logged, and no trouble, that the runtime is there for others.
    #[track_caller]
    pub fn unused(&mut self, why: &str) {
        let said = self.kit.log().wait_for(|line| line.message.contains(why));
        assert_eq!(said.map(|line| line.level).unwrap_or_else(|failure| panic!("{why}: {failure}")), 3);
        assert!(self.running.troubles().expect("it has a health").is_empty());
    }

    /// Waits until so much was skipped for a reason.
    #[track_caller]
    pub fn skipped(&mut self, reason: &str, least: u64) {
        eventually(|| {
            self.collect();
            let sum = self.skipped.get(reason).copied().unwrap_or(0);
            if sum >= least { Ok(()) } else { Err(format!("{reason}: {sum} of {least}")) }
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
    }
}

/// A machine with a Podman that plays one, root's or a user's, at its usual place.
pub fn before_podman(config: &str, user: Option<u32>, fill: impl FnOnce(&Fake)) -> (Rig, Fake) {
    let kit = kit();
    let directory = user.map_or("run/podman".to_owned(), |uid| format!("run/user/{uid}/podman"));
    kit.tree().dir(&directory);
    let fake = Fake::start(&kit.tree().path(format!("{directory}/podman.sock")));
    fake.podman("4.3.1");
    fill(&fake);
    (Rig::start_of("podman", kit, config), fake)
}
