//! The golden dump of all that crosses: a change of the boundary is seen here
//! before any plugin meets it.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use gantry_plugin_api::abi::layout::dump;
use std::path::Path;

const REGENERATE: &str = "GANTRY_BLESS=1 cargo test -p gantry-plugin-api --test layout";

#[test]
fn the_layout_is_the_golden_one() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/abi.layout.txt");
    let now = dump();
    if std::env::var_os("GANTRY_BLESS").is_some() {
        std::fs::write(&file, &now).unwrap();
        return;
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(golden == now, "{}", difference(&golden, &now));
}

/// The blocks that only one side has: a reader sees the type and the line.
fn difference(golden: &str, now: &str) -> String {
    let only = |mark: &str, of: &str, other: &str| -> String {
        let known: Vec<&str> = other.lines().collect();
        of.lines().filter(|line| !known.contains(line)).map(|line| format!("{mark} {line}\n")).collect()
    };
    format!(
        "what crosses has changed (- golden, + now):\n{}{}\
         A method that was appended behind the last prefix field is fine; anything else breaks\n\
         plugins that are out there. If it is meant, take the new text with\n  {REGENERATE}\n",
        only("-", golden, now),
        only("+", now, golden),
    )
}

#[test]
fn it_is_the_same_each_time() {
    let first = dump();
    assert!((0..3).all(|_| dump() == first));
}
