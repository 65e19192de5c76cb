//! Plugins and hosts of different versions of the boundary, really built and
//! really run: each host opens each plugin. And layouts that are no version of
//! it are refused with a reason.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod versions {
    pub mod build;
}

use std::sync::LazyLock;
use versions::build::{Patch, Variant};

/// As it is, and as version 1.1 might be: to each trait, and to the module, one
/// method more, behind all others and with a body of its own.
static NOW: LazyLock<Variant> = LazyLock::new(|| Variant::build("now", &[], true));
static NEWER: LazyLock<Variant> = LazyLock::new(|| Variant::build("newer", &MORE, true));

const MORE: [Patch; 12] = [
    ("Cargo.toml", "\nversion = \"1.0.0\"", "\nversion = \"1.1.0\""),
    ("src/lib.rs", "API_VERSION: &str = \"1.0\"", "API_VERSION: &str = \"1.1\""),
    (
        "src/abi/host.rs",
        "fn report(&self, resource: RStr<'_>, amount: f64);",
        "fn report(&self, resource: RStr<'_>, amount: f64);\n    fn newer(&self) -> u64 {\n        0\n    }",
    ),
    (
        "src/abi/plugin.rs",
        "fn heap_bytes(&self) -> u64;",
        "fn heap_bytes(&self) -> u64;\n    fn newer(&self) -> u64 {\n        0\n    }",
    ),
    (
        "src/abi/sink.rs",
        "fn skipped(&mut self, reason: RStr<'_>, count: u64);",
        "fn skipped(&mut self, reason: RStr<'_>, count: u64);\n    fn newer(&mut self, _: u64) -> u64 {\n        0\n    }",
    ),
    (
        "src/abi/sink.rs",
        "fn row(&mut self, cells: RSlice<'_, AbiCell<'_>>) -> bool;",
        "fn row(&mut self, cells: RSlice<'_, AbiCell<'_>>) -> bool;\n    fn newer(&mut self) -> u64 {\n        0\n    }",
    ),
    (
        "src/abi/module.rs",
        "pub create: extern \"C\" fn(HostBox, u32) -> RResult<PluginBox, AbiError>,",
        "pub create: extern \"C\" fn(HostBox, u32) -> RResult<PluginBox, AbiError>,\n    \
         #[sabi(missing_field(option))]\n    pub newer: extern \"C\" fn() -> u64,",
    ),
    (
        "src/export.rs",
        "describe, check_config, create }",
        "describe, check_config, create, newer: $crate::export::entry::newer }",
    ),
    (
        "src/guard.rs",
        "    fn heap_bytes(&self)",
        "    fn newer(&self) -> u64 {\n        22\n    }\n\n    fn heap_bytes(&self)",
    ),
    (
        "src/guard.rs",
        "let mut sink = Sink::new(sink);",
        "let mut sink = sink;\n            tracing::info!(\"newer host {} sink {}\", host.newer(), sink.newer(5));\n            \
         let mut sink = Sink::new(sink);",
    ),
    (
        "src/guard.rs",
        "    pub fn describe<P: Plugin>",
        "    pub extern \"C\" fn newer() -> u64 {\n        11\n    }\n\n    pub fn describe<P: Plugin>",
    ),
    (
        "src/host.rs",
        "    pub(crate) fn same_as",
        "    pub(crate) fn newer(&self) -> u64 {\n        self.abi.newer()\n    }\n\n    pub(crate) fn same_as",
    ),
];

/// What each meeting must show, whatever the versions are.
fn assert_ran(said: &str) {
    for line in [
        "log 3 ready to greet name=\"Ada\"",
        "sample hello_greeting_info[\"Ada\"] 1",
        "sample hello_greetings_total[] 1",
        "handed over true",
    ] {
        assert!(said.lines().any(|one| one == line), "{line:?} is not in\n{said}");
    }
}

#[test]
fn the_same_version() {
    for edition in ["2024", "2021"] {
        let said = NOW.run(&NOW.plugin(edition));
        assert_ran(&said);
        assert!(said.contains("opened forward hello api 1.0"), "{said}");
    }
}

#[test]
fn a_newer_plugin_on_an_older_host() {
    let said = NOW.run(&NEWER.plugin("2024"));
    assert_ran(&said);
    assert!(said.contains("opened forward hello api 1.1"), "{said}");
    // What the host does not have answers with its default body.
    assert!(said.contains("newer host 0 sink 0"), "{said}");
}

#[test]
fn an_older_plugin_on_a_newer_host() {
    for edition in ["2024", "2021"] {
        let said = NEWER.run(&NOW.plugin(edition));
        assert_ran(&said);
        // The checker alone would refuse it.
        assert!(said.contains("opened reverse hello api 1.0"), "{said}");
        assert!(said.contains("newer module None plugin 0"), "{said}");
    }
}

#[test]
fn both_newer() {
    let said = NEWER.run(&NEWER.plugin("2024"));
    assert_ran(&said);
    assert!(said.contains("opened forward hello api 1.1"), "{said}");
    assert!(said.contains("newer host 33 sink 38"), "{said}");
    assert!(said.contains("newer module Some(11) plugin 22"), "{said}");
}

/// Lines of a layout's dump that another does not have.
fn added(of: &str, other: &str) -> Vec<String> {
    other.lines().filter(|line| !of.lines().any(|known| known == *line)).map(str::to_owned).collect()
}

#[test]
fn the_dump_of_the_layout_shows_what_was_appended() {
    // The variants are built without optimisation, this test with it or without.
    assert_eq!(NOW.layout(), include_str!("abi.layout.txt"));
    let added = added(&NOW.layout(), &NEWER.layout());
    for (what, signature) in [
        ("the module", "fn() -> u64"),
        ("host or plugin", "fn(RRef<()>) -> u64"),
        ("sink", "fn(RMut<()>, u64) -> u64"),
        ("view", "fn(RMut<()>) -> u64"),
    ] {
        assert!(
            added.iter().any(|line| line.contains("newer:") && line.contains(signature)),
            "{what}: {added:?}"
        );
    }
    let of_traits = NEWER.layout().lines().filter(|line| line.trim_start().starts_with("newer:")).count();
    assert_eq!(of_traits, 5, "{added:?}");
}

/// Both hosts refuse it, in one line that names what differs.
fn assert_refused(variant: &Variant, names: &[&str]) {
    for host in [&*NOW, &*NEWER] {
        let said = host.run(&variant.plugin("2024"));
        let reason = said.strip_prefix("refused ").unwrap_or_else(|| panic!("it was opened: {said}"));
        assert!(reason.trim_end().lines().count() == 1 && reason.len() < 400, "{reason}");
        assert!(names.iter().any(|name| reason.contains(name)), "{reason}");
    }
}

#[test]
fn a_value_with_a_field_more_is_refused() {
    let patch =
        ("src/abi/types.rs", "pub struct AbiProcess {", "pub struct AbiProcess {\n    pub more: u64,");
    let field = Variant::build("field", &[patch], true);
    assert_refused(&field, &["size", "field"]);
    let added = added(&NOW.layout(), &field.layout());
    assert!(added.iter().any(|line| line.trim() == "more: u64"), "{added:?}");
}

#[test]
fn a_method_with_another_parameter_is_refused() {
    let patches = [
        (
            "src/abi/host.rs",
            "fn report(&self, resource: RStr<'_>, amount: f64);",
            "fn report(&self, resource: RStr<'_>, amount: u64);",
        ),
        (
            "src/host.rs",
            "self.abi.report(resource.into(), amount);",
            "self.abi.report(resource.into(), amount as u64);",
        ),
    ];
    assert_refused(&Variant::build("parameter", &patches, false), &["u64", "f64", "type"]);
}

#[test]
fn another_major_version_is_refused() {
    let patch = ("Cargo.toml", "\nversion = \"1.0.0\"", "\nversion = \"2.0.0\"");
    assert_refused(&Variant::build("major", &[patch], false), &["2.0.0", "version"]);
}
