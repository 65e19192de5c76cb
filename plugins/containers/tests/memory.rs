//! What one more container takes of the plugin's heap, counted by its own
//! allocator: exact, and the same on each machine.

use gantry_cgroupfs::Mode;
use gantry_cgroupfs::fixture::Fixture;
use gantry_plugin_testkit::{Check, Kit, NewContainer, PATIENCE, Running};
use std::os::unix::fs::symlink;
use std::path::PathBuf;

/// No runtime is asked, as each has threads that allocate when they like.
const CONFIG: &str = "docker.enabled = false\npodman.enabled = false\ncri.enabled = false\n\
                      containerd.enabled = false\nsystemd.enabled = false";

/// Before them, so that what is there once is there, as the programs of so many are
/// looked at anew in each collection. Tables are five eighths full with them, as such
/// tables are on average.
const FIRST: u32 = 160;

/// Tables are as full with these.
const CONTAINERS: u32 = 1120;

/// What one more may cost by the versions of cgroups: with what the host keeps
/// of one (`host/src/identity/cost.rs`) 4 KiB, where all is of version 2.
const MOST: [(Mode, u64); 2] = [(Mode::V2, 1520), (Mode::Hybrid, 1680)];

fn built() -> PathBuf {
    // It is built for this test, beside it; what lies further up may be older.
    let test = std::env::current_exe().expect("own path");
    test.with_file_name("libgantry_containers.so")
}

struct Machine {
    kit: Kit,
    fixture: Fixture,
    next: u32,
}

impl Machine {
    fn new(mode: Mode) -> Self {
        let kit = Kit::library(built()).expect("it is built with this test");
        let kit = kit.deadline(PATIENCE).allow(Check::Skipped, "");
        let fixture = Fixture::new(kit.tree().root(), mode).expect("written");
        let kit = kit.with_path("proc", fixture.proc()).with_path("cgroup", fixture.cgroup());
        Self { kit, fixture, next: 0 }
    }

    /// As Docker's: an id of 64 digits, a name, an image, labels, variables, one process.
    fn containers(&mut self, count: u32) {
        for number in self.next..self.next + count {
            let pid = 1000 + number;
            let raw = format!("{number:064x}");
            let path = format!("/docker/{raw}");
            self.fixture.cgroup_of(&path, &self.fixture.figures(u64::from(number))).expect("written");
            self.fixture.process(&pid.to_string(), &path).expect("written");
            let dir = self.fixture.proc().join(pid.to_string());
            std::fs::create_dir(dir.join("ns")).expect("a directory");
            symlink(format!("mnt:[{pid}]"), dir.join("ns/mnt")).expect("a link");
            symlink("/bin/sleep", dir.join("exe")).expect("a link");
            std::fs::write(dir.join("mountinfo"), "1 0 0:50 / / rw - overlay overlay rw\n").expect("written");
            std::fs::write(dir.join("cmdline"), "redis-server\0*:6379\0").expect("written");
            let mut new = NewContainer::new(&format!("/docker/web-{number}"))
                .runtime("docker", &raw)
                .process(pid, 1)
                .with(|container| {
                    container.image = "nginx:1.27".to_owned();
                    container.log_driver = "json-file".to_owned();
                    container.log_path = format!("/var/lib/docker/containers/{raw}/{raw}-json.log");
                    container.names.insert("name".to_owned(), format!("web-{number}"));
                    for at in 0..12 {
                        container.labels.insert(format!("org.example.label-{at}"), format!("value {at}"));
                        container.environment.insert(format!("VARIABLE_{at}"), format!("value {at}"));
                    }
                });
            for line in self.fixture.membership(&path).lines() {
                let mut parts = line.splitn(3, ':');
                let mut next = || parts.next().expect("three parts");
                let hierarchy = next().parse().expect("a number");
                let controllers: Vec<&str> = next().split(',').filter(|name| !name.is_empty()).collect();
                new = new.cgroup_v1(hierarchy, &controllers, next(), u64::from(pid));
            }
            self.kit.identity().appear(new);
        }
        self.next += count;
    }

    /// The heap after some collections, as programs are looked at over several.
    fn heap(running: &mut Running) -> u64 {
        for _ in 0..3 {
            running.collect().expect("it collects");
        }
        // The other thread may just be looking whether something happened.
        (0..100).map(|_| running.heap_bytes().expect("it says so")).min().expect("some")
    }
}

#[test]
#[allow(clippy::print_stdout, reason = "a measurement prints")]
fn a_further_container_keeps_within_its_room() {
    for (mode, most) in MOST {
        let mut machine = Machine::new(mode);
        machine.kit.identity().remember(65_536);
        machine.containers(FIRST);
        let mut running = machine.kit.start(CONFIG).expect("it starts");
        let before = Machine::heap(&mut running);
        machine.containers(CONTAINERS);
        let each = (Machine::heap(&mut running) - before) / u64::from(CONTAINERS);
        println!("{mode:?}: a further container: {each} bytes of the plugin's heap");
        assert!(each <= most, "{mode:?}: {each} bytes a container");
    }
}
