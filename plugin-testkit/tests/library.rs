//! A built library in the kit: the fixture that misbehaves on request.

#[path = "../../host/tests/fixtures/hostile/patch.rs"]
mod patch;

use gantry_plugin_testkit::{Check, Failure, Kit};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;

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

fn kit() -> Kit {
    Kit::library(built()).expect("the fixture is a plugin")
}

#[test]
fn a_built_library_lives_as_one_from_its_crate() {
    let kit = kit();
    assert_eq!(kit.description().manifest.name, "hostile");
    let mut running = kit.start("").unwrap();
    kit.log().wait_for(|line| line.message.starts_with("started") && line.level == 3).unwrap();
    let collected = running.collect_unchecked().unwrap();
    assert_eq!(collected.get("hostile_good{kind=\"last\"}"), 1.0);
    assert_eq!(collected.get("hostile_collections_total"), 1.0);
    assert!(running.heap_bytes().unwrap() > 0);
    assert_eq!(running.view("state").unwrap().text(0, "collections"), "1");
    let mut running = running.crash_and_restore("").unwrap();
    assert_eq!(running.collect_unchecked().unwrap().get("hostile_collections_total"), 2.0);
    assert!(running.reconfigure(json!({ "applies": true })).unwrap());
}

#[test]
fn its_faults_are_told() {
    let kit = kit();
    let mut running = kit.start(json!({ "fault": "panic", "after": 1 })).unwrap();
    let failure = running.collect().unwrap_err();
    assert!(matches!(failure, Failure::Panicked { call: "collect", .. }), "{failure}");
    let text = failure.to_string();
    assert!(
        text.contains("collect: panicked: a fault on request in Collect (") && text.contains("fault.rs"),
        "{text}"
    );
    let mut instance = kit.create().unwrap();
    instance.start(json!({ "fault": "hang", "at": "activate" })).unwrap();
    // From here on: the calls before have all the time they need.
    let _ = kit.deadline(Duration::from_millis(50));
    let failure = instance.activate(None).unwrap_err();
    assert!(matches!(failure, Failure::Deadline { call: "activate", .. }), "{failure}");
}

#[test]
fn its_bad_samples_are_told() {
    for (emit, checks) in [
        ("duplicates", &[Check::Duplicate][..]),
        ("utf8", &[Check::Utf8]),
        ("numbers", &[Check::Value, Check::Histogram]),
        ("labels", &[Check::Labels]),
        ("unknown_family", &[Check::UnknownFamily]),
        ("scope", &[Check::Scope, Check::UnknownContainer]),
        ("skipped", &[Check::Skipped]),
    ] {
        let mut running = kit().start(json!({ "emit": emit })).unwrap();
        let collected = running.collect_unchecked().unwrap();
        for check in checks {
            assert!(collected.found(*check), "{emit}: {}", collected.report());
        }
        assert_eq!(collected.get("hostile_good{kind=\"last\"}"), 1.0, "{emit}");
    }
}

#[test]
fn the_manifest_is_the_one_in_the_file() {
    let mut bytes = std::fs::read(built()).unwrap();
    patch::manifest(&mut bytes, "panic", "\"abort\"");
    patch::manifest(&mut bytes, "version", "\"1.2\"");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("libx.so");
    std::fs::write(&file, bytes).unwrap();
    let report = Kit::library(&file).unwrap().check_manifest();
    let told: Vec<String> = report.problems().iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "manifest: panic: the library was built with panic=abort; set panic = \"unwind\" in its profile",
            "manifest: version: \"1.2\" is not MAJOR.MINOR.PATCH; write it so",
        ]
    );
}

#[test]
fn what_is_no_plugin_is_said() {
    let refused = |path: &Path| Kit::library(path).unwrap_err().to_string();
    let missing = refused(Path::new("/nonexistent/libx.so"));
    assert!(
        missing.starts_with("/nonexistent/libx.so: ")
            && missing.ends_with("build the plugin first: cargo build")
    );
    let own = refused(&std::env::current_exe().unwrap());
    assert!(own.contains("crate-type = [\"cdylib\"]") || own.contains("export_plugin!"), "{own}");
}
