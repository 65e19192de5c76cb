//! What a collection costs by either way, without what the agent does with the
//! samples. `cargo test --release -p gantry-host isolation::cost -- --ignored --nocapture`

use super::{Rights, launch};
use crate::config::{HostConfig, IdentityConfig, Isolation};
use crate::identity::Identity;
use crate::loader::{Bytes, Loaded, Place, Probed, Verified};
use crate::supervisor::{ArenaSink, Services};
use gantry_exposition::Arena;
use gantry_pluginfile::{Instance, Library};
use std::sync::Arc;
use std::time::Instant;

const ROUNDS: usize = 41;

#[test]
#[ignore = "a measurement: the fixture must be built, and nothing is compared"]
fn of_a_hundred_thousand_series() {
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("libgantry_hostile.so");
    let library = Library::open(&path).unwrap();
    let description = library.describe().unwrap();
    let manifest = description.manifest.clone();
    let paths = HostConfig::default().paths;
    let services = Services {
        identity: Arc::new(Identity::new(&paths, &IdentityConfig::default())),
        paths,
        facts: Arc::default(),
        reports: Arc::default(),
        state_dir: std::env::temp_dir(),
    };
    let loaded = Loaded {
        verified: Verified {
            source: path.clone(),
            manifest: manifest.clone(),
            bytes: Bytes { content: Vec::new(), digest: String::new(), roots_own: false },
            vendor: true,
            isolation: Isolation::Process,
            rights: Rights { capabilities: 0, memory: super::DEFAULT_MEMORY },
            passed_over: Vec::new(),
        },
        place: Place::AsItLies(path),
        probed: Probed { description, violations: Vec::new() },
    };
    let mut near = library.create(services.for_plugin(&manifest), 2).unwrap();
    let launched = launch(&loaded, 2, services.for_plugin(&manifest)).unwrap();
    let process = launched.process.clone();
    let (mut far, _) = launched.create().unwrap();
    let mut arena = Arena::with_limit(400_000);
    let mut took = |instance: &mut Instance| {
        arena.clear();
        let begin = Instant::now();
        instance.collect(ArenaSink(&mut arena).crossing()).unwrap();
        // With the two good ones and a counter that it keeps.
        assert_eq!(arena.samples(), 100_003);
        begin.elapsed().as_secs_f64() * 1e3
    };
    for instance in [&mut near, &mut far] {
        instance.start("{\"emit\": \"wide\", \"count\": 100000}").unwrap();
        // The first ones make room.
        for _ in 0..3 {
            took(instance);
        }
    }
    let pairs: Vec<(f64, f64)> = (0..ROUNDS).map(|_| (took(&mut near), took(&mut far))).collect();
    let median = |of: &dyn Fn(&(f64, f64)) -> f64| {
        let mut all: Vec<f64> = pairs.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    println!(
        "in process {:.2} ms, isolated {:.2} ms, {:.2} times; CPU of the child {:?}",
        median(&|pair| pair.0),
        median(&|pair| pair.1),
        median(&|pair| pair.1 / pair.0),
        process.cpu()
    );
}
