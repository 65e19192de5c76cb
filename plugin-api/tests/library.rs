//! A plugin's file, as a host meets it before it is opened.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod versions {
    pub mod build;
}

use gantry_plugin_api::manifest::{ManifestInfo, SECTION};
use object::{Object, ObjectSection, ObjectSymbol};
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;
use versions::build::Variant;

static NOW: LazyLock<Variant> = LazyLock::new(|| Variant::build("now", &[], true));

fn manifest(file: &[u8]) -> ManifestInfo {
    let file = object::File::parse(file).unwrap();
    let section = file.section_by_name(SECTION).expect("the section is there");
    gantry_plugin_api::serde_json::from_slice(section.data().unwrap()).unwrap()
}

fn assert_is_hello(manifest: &ManifestInfo) {
    assert_eq!(manifest.name, "hello");
    assert_eq!(manifest.version, "0.1.0");
    assert_eq!(manifest.api, gantry_plugin_api::API_VERSION);
    assert_eq!(manifest.panic, "unwind");
    assert_eq!(manifest.claims, ["hello_"]);
}

#[test]
fn the_manifest_is_read_without_opening_the_library() {
    for edition in ["2024", "2021"] {
        assert_is_hello(&manifest(&std::fs::read(NOW.plugin(edition)).unwrap()));
    }
}

#[test]
fn the_manifest_survives_strip_and_the_plugin_too() {
    let dir = tempfile::tempdir().unwrap();
    let stripped = dir.path().join("stripped.so");
    let strip = Command::new("strip").arg("-o").arg(&stripped).arg(NOW.plugin("2024")).output();
    let Some(strip) = tool(strip, "strip (of binutils)") else { return };
    assert!(strip.status.success(), "{}", String::from_utf8_lossy(&strip.stderr));
    let file = std::fs::read(&stripped).unwrap();
    assert!(object::File::parse(&*file).unwrap().symbols().next().is_none(), "it was stripped");
    assert_is_hello(&manifest(&file));
    assert!(NOW.run(&stripped).contains("sample hello_greetings_total[] 1"));
}

/// A tool that is missing is said, and is an error where everything must be there.
fn tool<T>(ran: std::io::Result<T>, name: &str) -> Option<T> {
    match ran {
        Ok(ran) => Some(ran),
        Err(error) => {
            assert!(std::env::var("CI").is_err(), "{name} is missing: {error}");
            eprintln!("SKIPPED: {name} is missing: {error}");
            None
        }
    }
}

#[test]
fn one_symbol_is_exported() {
    let file = std::fs::read(NOW.plugin("2024")).unwrap();
    let file = object::File::parse(&*file).unwrap();
    let exported: Vec<_> = file.dynamic_symbols().filter(ObjectSymbol::is_definition).collect();
    let names: Vec<_> = exported.iter().map(|symbol| symbol.name().unwrap()).collect();
    assert_eq!(names, ["_1as_0lib_1header_0root_bmodule_bloader"]);
}

#[test]
fn the_author_s_crate_forbids_unsafe_code() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/hello-plugin/src/lib.rs");
    let text = std::fs::read_to_string(example).unwrap();
    assert!(text.contains("#![forbid(unsafe_code)]"));
    assert!(text.lines().count() < 60, "the smallest useful plugin is small");
}
