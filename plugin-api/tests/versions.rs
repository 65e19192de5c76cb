//! Plugins and hosts of different versions of the boundary, really built and
//! really run: each host opens each plugin. And layouts that are no version of
//! it are refused with a reason.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod versions {
    pub mod build;
    pub mod patches;
}

use std::sync::LazyLock;
use versions::build::Variant;
use versions::patches::{FIELD, MORE};

/// As it is, and as version 1.1 might be: to each trait, and to the module, one
/// method more, behind all others and with a body of its own.
static NOW: LazyLock<Variant> = LazyLock::new(|| Variant::build("now", &[], true));
static NEWER: LazyLock<Variant> = LazyLock::new(|| Variant::build("newer", &MORE, true));

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
    let field = Variant::build("field", &[FIELD], true);
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
