//! A machine whose cgroups are files of the test's.
#![allow(dead_code, reason = "each test file uses a part")]

use gantry_cgroupfs::fixture::Fixture;
use gantry_cgroupfs::{Mode, Usage};
use gantry_containers::Containers;
use gantry_plugin_api::ContainerRef;
use gantry_plugin_testkit::{Check, Kit, NewContainer, PATIENCE, Running};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// No Docker: figures are of cgroups alone.
pub const CONFIG: &str = "[docker]\nenabled = false";

pub struct Machine {
    pub kit: Kit,
    pub fixture: Fixture,
}

impl Machine {
    pub fn new(mode: Mode) -> Self {
        let kit = Kit::of::<Containers>().deadline(PATIENCE).allow(Check::Skipped, "");
        let fixture = Fixture::new(kit.tree().root(), mode).expect("written");
        let kit = kit.with_path("proc", fixture.proc()).with_path("cgroup", fixture.cgroup());
        Self { kit, fixture }
    }

    pub fn container(&self, id: &str, paths: &[&str]) -> ContainerRef {
        self.kit.identity().declare(self.new_container(id, paths))
    }

    /// With the cgroups that the kernel would name for a process of it.
    pub fn new_container(&self, id: &str, paths: &[&str]) -> NewContainer {
        static NEXT: AtomicU64 = AtomicU64::new(100);
        let mut new = NewContainer::new(id);
        for path in paths {
            let cgroup = NEXT.fetch_add(1, Relaxed);
            for line in self.fixture.membership(path).lines() {
                let mut parts = line.splitn(3, ':');
                let mut next = || parts.next().expect("three parts");
                let number: u32 = next().parse().expect("a number");
                let controllers: Vec<&str> = next().split(',').filter(|name| !name.is_empty()).collect();
                new = new.cgroup_v1(number, &controllers, next(), cgroup);
            }
        }
        new
    }

    pub fn write(&self, path: &str, usage: &Usage) {
        self.fixture.cgroup_of(path, usage).expect("written");
    }

    pub fn start(&self) -> Running {
        self.kit.start(CONFIG).expect("it starts")
    }
}

pub fn series(family: &str, id: &str, kind: &str) -> String {
    let kind = if kind.is_empty() { String::new() } else { format!(",kind=\"{kind}\"") };
    format!("container_resources_{family}{{container_id=\"{id}\"{kind}}}")
}
