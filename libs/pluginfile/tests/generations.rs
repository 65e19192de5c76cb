//! Several generations of one plugin, side by side in one process.

use gantry_plugin_testkit::{Kit, Running};
use std::path::{Path, PathBuf};

fn built() -> PathBuf {
    // target/release/deps/TEST -> target/release
    let test = std::env::current_exe().expect("own path");
    let target = test.parent().and_then(Path::parent).expect("tests lie in deps/");
    let library = target.join("libgantry_hostile.so");
    assert!(
        library.exists(),
        "{} is not built; run `cargo xtask test`, which builds it first",
        library.display()
    );
    library
}

/// What it counted, by its own hand-over and by the boundary's.
fn collections(running: &mut Running) -> f64 {
    let collected = running.collect_unchecked().expect("a good collection");
    collected.get("hostile_collections_total")
}

#[test]
fn two_generations_have_statics_of_their_own() {
    // Each kit opens a copy of the file.
    let kits = [(); 2].map(|()| Kit::library(built()).expect("it opens"));
    assert_eq!(kits[0].description().manifest.name, "hostile");
    let [mut idle, mut other] = kits.each_ref().map(|kit| kit.create().expect("an instance"));
    let before = (idle.heap_bytes().expect("told"), other.heap_bytes().expect("told"));
    let mut old = kits[0].start(r#"ballast = "16MiB""#).expect("it starts");
    let heaps = (idle.heap_bytes().expect("told"), other.heap_bytes().expect("told"));
    assert!(heaps.0 >= before.0 + (16 << 20), "its own ballast is counted");
    assert!(heaps.1 < before.1 + (1 << 20), "the other's is not");
    assert_eq!(collections(&mut old), 1.0);
    // The hand-over of one is what the other goes on with.
    let handover = old.stop().expect("it stops");
    let mut new = kits[1].start_from("", Some(&handover)).expect("it goes on");
    assert_eq!(collections(&mut new), 2.0);
}
