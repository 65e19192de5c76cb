//! What a look-up costs, measured where a benchmark of its own cannot reach:
//! `cargo test --release -p gantry-host identity::cost -- --ignored --nocapture`.

use super::Identity;
use super::path::{Place, UserSlices, classify};
use super::state::{Directory, Environment, Hierarchy, Look, Placement, Seen};
use crate::config::{IdentityConfig, Paths};
use crate::metrics::HostLabels;
use crate::node::{Facts, NodeIds};
use gantry_exposition::{Arena, Registry, Table};
use gantry_plugin_api::abi::heap::CountedHeap;
use gantry_plugin_api::description::{FamilyInfo, Kind, Merge};
use gantry_plugin_api::identity::{Container, Metadata};
use std::hint::black_box;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

/// Of all tests of the host's binary.
#[global_allocator]
static HEAP: CountedHeap = CountedHeap::new();

const LOOKUPS: u32 = 1_000_000;

#[test]
#[ignore = "a measurement, and no test"]
#[allow(clippy::print_stdout, reason = "a measurement prints")]
fn of_a_process_that_is_known() {
    let [proc, sys, cgroup, root] = ["/proc", "/sys", "/sys/fs/cgroup", "/"].map(PathBuf::from);
    let identity = Identity::new(&Paths { proc, sys, cgroup, root }, &IdentityConfig::default());
    let pids = [1, std::process::id()];
    for pid in pids {
        black_box(identity.of_pid(pid, 0));
    }
    let begin = Instant::now();
    for at in 0..LOOKUPS {
        black_box(identity.of_pid(pids[at as usize % 2], 0));
    }
    let each = begin.elapsed() / LOOKUPS;
    println!("a look-up by pid: {each:?}, of {LOOKUPS} among all processes of this machine");
}

const CONTAINERS: u32 = 10_000;

/// Of the families of the `containers` plugin, a container without limits has some twenty.
const SERIES: u32 = 21;

/// How many hierarchies a machine has by the versions of its cgroups, and what
/// one more container may cost the host there: its record, its labels and its
/// series. With what the `containers` plugin keeps of one
/// (`plugins/containers/tests/memory.rs`) it is 4 KiB with version 2 alone.
const MACHINES: [(&str, u32, u64); 2] = [("version 2", 1, 2096), ("both versions", 10, 2240)];

/// In how many of the hierarchies somebody asks for cgroups.
const INDEXED: u32 = 4;

/// What its runtime's description takes besides: with a dozen labels and
/// variables it is 0.9 KiB of text.
const MOST_DESCRIBED: u64 = 1280;

fn placement(number: u32, hierarchies: &[Arc<Hierarchy>]) -> Placement {
    let path = format!("/docker/{number:064x}");
    let Place::Container(found) = classify(&path, UserSlices::Hidden) else { panic!("{path} is one") };
    let path: Arc<str> = path.into();
    let cgroups = hierarchies.iter().map(|hierarchy| Directory {
        hierarchy: hierarchy.clone(),
        path: path.clone(),
        id: u64::from(number) + 1_000_000,
    });
    Placement { found: Some(Arc::new(found)), cgroups: cgroups.collect() }
}

/// As Docker tells it of a container with a dozen labels and variables.
fn description(number: u32) -> Metadata {
    let mut container = Container::default();
    let runtime_id = format!("{number:064x}");
    container.names.insert("name".to_owned(), format!("web-{number}"));
    container.image = "registry.example.org/shop/web:1.27.3".to_owned();
    container.log_driver = "json-file".to_owned();
    container.log_path = format!("/var/lib/docker/containers/{runtime_id}/{runtime_id}-json.log");
    for at in 0..12 {
        container.labels.insert(format!("org.example.label-{at}"), format!("value number {at}"));
        container.environment.insert(format!("VARIABLE_{at}"), format!("value number {at}"));
    }
    Metadata { runtime_id, container, removed: false }
}

/// Many containers of one process each, and the series that a plugin has of them.
#[test]
#[ignore = "a measurement: the count is of the whole process; the test below runs it alone"]
fn of_a_further_container() {
    for (name, hierarchies, most) in MACHINES {
        let (all, described) = measured(name, hierarchies);
        assert!(all <= most, "{name}: {all} bytes a container");
        assert!(described <= MOST_DESCRIBED, "{name}: {described} bytes a description");
    }
}

#[allow(clippy::print_stdout, reason = "a measurement prints")]
fn measured(name: &str, hierarchies: u32) -> (u64, u64) {
    let [proc, sys, cgroup, root] = ["/proc", "/sys", "/sys/fs/cgroup", "/"].map(PathBuf::from);
    let paths = Paths { proc, sys, cgroup, root };
    let config = IdentityConfig { min_container_age: std::time::Duration::ZERO, ..IdentityConfig::default() };
    let identity = Arc::new(Identity::new(&paths, &config));
    let running = identity.make().expect("the machine is known");
    assert!(identity.running.set(running).is_ok(), "nobody began it");
    identity.providers_are_known();
    let labels = HostLabels::new(&NodeIds::read(&paths), identity.clone(), Arc::new(Facts::default()));
    let families: Vec<FamilyInfo> = (0..SERIES)
        .map(|at| FamilyInfo {
            name: format!("container_resources_of_some_kind_{at}_total"),
            help: String::new(),
            kind: Kind::Counter,
            unit: String::new(),
            labels: Vec::new(),
            per_container: true,
            counted_here: false,
            merge: Merge::Sum,
        })
        .collect();
    let mut table = Table::new(Registry::new().register("demo", &[], &families).families, 1_000_000);
    let hierarchy =
        |number| Arc::new(Hierarchy { number, controllers: vec![format!("controller-{number}")] });
    let hierarchies: Vec<Arc<Hierarchy>> = (0..hierarchies).map(hierarchy).collect();
    let shared = identity.begun().expect("just set").shared.clone();
    // In those that are watched, and the one in which plugins ask.
    (0..INDEXED).for_each(|hierarchy| shared.write(|state| state.index(hierarchy)));

    // What remembers events is of one size: it is filled by others.
    shared.write(|state| {
        let now = super::clock::boot();
        for _ in 0..20_000 {
            state.process_is(1, now / super::clock::TICK, &Placement::default(), now);
            state.process_exited(1, now + super::clock::TICK);
        }
    });

    let each = |before: u64| (HEAP.live() - before) / u64::from(CONTAINERS);
    let before = HEAP.live();
    // As the cache of what the files of processes say keeps them.
    let mut known = Vec::with_capacity(CONTAINERS as usize);
    for number in 1..=CONTAINERS {
        let placement = placement(number, &hierarchies);
        known.push(placement.found.clone());
        let now = super::clock::boot();
        let start = now / super::clock::TICK;
        shared.write(|state| {
            let handle = state.process_is(number, start, &placement, now);
            let environment = Some(Environment::default());
            let seen = Seen { namespace: u64::from(number), environment, sandbox: None };
            state.looked(Look { handle, pid: number }, seen, &placement, now);
            state.take_looks();
            state.advance(now + 60_000_000_000);
        });
    }
    let record = each(before);
    let before = HEAP.live();
    let now = labels.now();
    let rendered = each(before);
    let before = HEAP.live();
    let mut arena = Arena::with_limit(1_000_000);
    for container in identity.begun().expect("set").shared.read(super::State::living) {
        (0..SERIES).for_each(|family| arena.sample(family, container, std::iter::empty(), 1.0));
    }
    let samples = each(before);
    let before = HEAP.live();
    assert_eq!(table.take(&arena, &*now, 1.0, true).samples, (CONTAINERS * SERIES) as usize);
    let series = each(before);
    let all = record + rendered + series;
    let before = HEAP.live();
    let told = (1..=CONTAINERS).map(description);
    for told in told {
        shared.write(|state| state.provided("containers", vec![told], 0));
    }
    let described = each(before);
    println!(
        "{name}: a further container: {all} bytes of the host's heap: {record} of its record, {rendered} of its \
         labels, {series} of {SERIES} series; {samples} more of the samples of a collection, {described} of its \
         runtime's description"
    );
    (all, described)
}

#[test]
fn a_further_container_keeps_within_its_room() {
    let own = std::env::current_exe().expect("this test");
    let arguments = ["--ignored", "--exact", "--nocapture", "identity::cost::of_a_further_container"];
    let output = Command::new(own).args(arguments).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("a further container: "), "{said}");
}
