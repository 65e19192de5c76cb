//! The Prometheus rules that come with the agent, by Prometheus' own tool.

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::needs;

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus")
}

/// The files of one kind, each with its text.
fn files(ending: &str) -> Vec<(PathBuf, String)> {
    let all = std::fs::read_dir(deploy()).expect("it is there").map(|entry| entry.expect("an entry").path());
    let those = all.filter(|path| path.to_string_lossy().ends_with(ending));
    those.map(|path| (path.clone(), std::fs::read_to_string(path).expect("text"))).collect()
}

#[test]
fn they_say_what_they_promise() {
    if !needs::program("promtool") {
        return;
    }
    let all = files(".test.yml");
    assert!(!all.is_empty());
    for (path, _) in all {
        let output =
            Command::new("promtool").args(["test", "rules"]).arg(&path).output().expect("promtool starts");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{}: {said}{}",
            path.display(),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// A series that is renamed leaves no rule without a word.
#[test]
fn all_series_that_they_use_are_shown_by_a_plugin() {
    let shown = std::fs::read_to_string(deploy().join("../../docs/metrics.md")).expect("it is there");
    let mut used = BTreeSet::new();
    for (_, text) in files(".yml") {
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        used.extend(words.filter(|word| is_series(word)).map(str::to_owned));
    }
    assert!(used.len() > 5, "{used:?}");
    for name in used {
        assert!(shown.contains(&format!("`{name}`")), "no plugin shows {name}");
    }
}

fn is_series(word: &str) -> bool {
    (word.starts_with("container_") || word.starts_with("node_")) && word.matches('_').count() > 1
}
