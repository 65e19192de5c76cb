//! The plugin in the test kit, over fixture trees or the machine's own files.
#![allow(dead_code, reason = "each test file uses its own part of it")]

pub mod tree;

use gantry_node::Node;
use gantry_plugin_api::Error;
use gantry_plugin_testkit::{Check, Collected, Failure, Kit, PATIENCE, Running, Tree};
use std::path::Path;

/// Over the files beneath `root`, which stay the caller's. What cannot be read
/// is skipped, and some tests are about that. Machines under load are slow.
pub fn kit(root: &Path) -> Kit {
    Kit::of::<Node>().with_tree(Tree::at(root)).deadline(PATIENCE).allow(Check::Skipped, "")
}

/// A running plugin.
pub struct Rig {
    running: Running,
}

impl Rig {
    /// Over the files beneath `root`; `config` is JSON.
    pub fn try_start(root: &Path, config: &str) -> Result<Self, Error> {
        Self::of(&kit(root), config)
    }
    pub fn start(root: &Path) -> Self {
        Self::of(&kit(root), "{}").expect("it starts")
    }
    /// For files whose counters go back: ones that are spoiled, or set by hand.
    pub fn start_to_spoil(root: &Path, config: &str) -> Self {
        Self::of(&kit(root).allow(Check::WentBack, ""), config).expect("it starts")
    }
    fn of(kit: &Kit, config: &str) -> Result<Self, Error> {
        let config: serde_json::Value = serde_json::from_str(config).expect("the test's own JSON");
        match kit.start(config) {
            Ok(running) => Ok(Self { running }),
            Err(failure) => Err(failure.error().cloned().unwrap_or_else(|| panic!("{failure}"))),
        }
    }
    pub fn collect(&mut self) -> Collected {
        let collected = self.running.collect().expect("a collection never fails as a whole");
        for (series, value) in collected.series() {
            assert!(value.is_finite() && value >= 0.0, "{series} is {value}");
        }
        collected
    }
    pub fn reconfigure(&mut self, config: &str) -> Result<bool, Failure> {
        let config: serde_json::Value = serde_json::from_str(config).expect("the test's own JSON");
        self.running.reconfigure(config)
    }
    pub fn troubles(&mut self) -> Vec<String> {
        self.running.troubles().expect("has a health")
    }
    /// The rows of a view, as texts.
    pub fn view(&mut self, name: &str) -> Vec<Vec<String>> {
        let table = self.running.view(name).expect("has the view");
        let text = |row| table.columns().iter().map(|column| table.text(row, &column.name)).collect();
        (0..table.rows().len()).map(text).collect()
    }
}

/// Tries until `attempt` gives an answer, and fails with its last complaint.
#[track_caller]
pub fn eventually<T>(attempt: impl FnMut() -> Result<T, String>) -> T {
    gantry_plugin_testkit::eventually(attempt).expect("it comes")
}

/// Says that a test cannot run here; where everything must run that is a failure.
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
pub fn skip(why: &str) {
    let everything_must_run = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!everything_must_run, "{why}");
    eprintln!("SKIPPED: {why}");
}
