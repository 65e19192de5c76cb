//! Holds `SPECIFICATION.md` to what is there: each promise names its tests, or
//! says that it has none, and each test that is named exists.

use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate lies in the repository's root")
}

fn specification() -> String {
    std::fs::read_to_string(root().join("SPECIFICATION.md")).expect("the repository has its specification")
}

/// What stands between backticks and has the form `path.rs::name`.
fn named(text: &str) -> Vec<(&str, &str)> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter_map(|quoted| quoted.split_once("::")).filter(|(path, _)| path.ends_with(".rs")).collect()
}

/// The numbered paragraphs.
fn promises(text: &str) -> Vec<String> {
    let mut promises: Vec<String> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        let begins = line.split_once(". ").is_some_and(|(number, _)| number.parse::<u32>().is_ok());
        if begins {
            promises.push(String::new());
        }
        inside = begins || (inside && line.starts_with("  "));
        if inside && let Some(promise) = promises.last_mut() {
            promise.push_str(line);
        }
    }
    promises
}

#[test]
fn each_named_test_is_there() {
    let text = specification();
    let mut named = named(&text);
    assert!(named.len() > 20, "{named:?}");
    named.retain(|(path, name)| {
        let code = std::fs::read_to_string(root().join(path)).unwrap_or_default();
        !code.contains(&format!("fn {name}("))
    });
    assert!(named.is_empty(), "SPECIFICATION.md names tests that are not there: {named:#?}");
}

#[test]
fn a_promise_without_a_test_says_so() {
    let text = specification();
    let mut promises = promises(&text);
    assert!(promises.len() > 20, "{promises:?}");
    promises.retain(|promise| named(promise).is_empty() && !promise.contains("*(test pending)*"));
    assert!(promises.is_empty(), "neither a test nor *(test pending)*: {promises:#?}");
}
