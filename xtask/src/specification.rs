//! Holds `SPECIFICATION.md` to what is there: each promise names its tests, or
//! says that it has none, and each test that is named exists.

use crate::workspace::Workspace;

fn specification() -> (Workspace, String) {
    let workspace = Workspace::load().unwrap();
    let text = std::fs::read_to_string(workspace.root.join("SPECIFICATION.md")).unwrap();
    (workspace, text)
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
    let (workspace, text) = specification();
    let mut named = named(&text);
    assert!(named.len() > 20, "{named:?}");
    named.retain(|(path, name)| {
        let code = std::fs::read_to_string(workspace.root.join(path)).unwrap_or_default();
        !code.contains(&format!("fn {name}("))
    });
    assert!(named.is_empty(), "SPECIFICATION.md names tests that are not there: {named:#?}");
}

#[test]
fn a_promise_without_a_test_says_so() {
    let (_, text) = specification();
    let mut promises = promises(&text);
    assert!(promises.len() > 20, "{promises:?}");
    promises.retain(|promise| named(promise).is_empty() && !promise.contains("*(test pending)*"));
    assert!(promises.is_empty(), "neither a test nor *(test pending)*: {promises:#?}");
}
