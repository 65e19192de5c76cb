//! One table with every kind of column and with hostile texts, at several
//! widths. The expected texts are meant to be looked at.

use super::data::Table;
use super::render::render;
use super::style::Style;
use super::text;
use serde_json::json;

fn table() -> Table {
    serde_json::from_value(json!({
        "view": "connections",
        "columns": [
            {"name": "container", "kind": "container", "unit": ""},
            {"name": "peer", "kind": "text", "unit": ""},
            {"name": "state", "kind": "text", "unit": ""},
            {"name": "rtt", "kind": "number", "unit": "seconds"},
            {"name": "sent", "kind": "number", "unit": "bytes"},
            {"name": "rate", "kind": "number", "unit": "bytes_per_second"},
            {"name": "loss", "kind": "number", "unit": "ratio"},
            {"name": "retransmits", "kind": "number", "unit": ""},
            {"name": "since", "kind": "time", "unit": ""},
            {"name": "last_error", "kind": "a newer kind", "unit": ""},
        ],
        "rows": [
            {
                "container": "/k8s/shop/cart-7d4b9/nginx", "peer": "10.1.2.3:443", "state": "running",
                "rtt": 0.00035, "sent": 14_050_918, "rate": 1_258_291.2, "loss": 0.125, "retransmits": 12_345,
                "since": 1_699_999_820, "last_error": null,
            },
            {
                // Clears the screen, reorders, hides, begins lines of its own.
                "container": "/docker/\u{1b}[2J\u{202e}evil\u{9b}31m", "peer": "a\tb\r\nroot  running", "state": "",
                "rtt": null, "sent": 0, "rate": null, "loss": 0, "retransmits": 0,
                "since": 1_700_000_005, "last_error": "x\u{2028}y\u{200e}z\u{feff}",
            },
            {
                "container": "/docker/日本語のコンテナ", "peer": "👩\u{200d}👩\u{200d}👧 e\u{301}", "state": "failed",
                "rtt": 192, "sent": 1_099_511_627_776_u64, "rate": 0.5, "loss": 1, "retransmits": -1,
                "since": null, "last_error": "connection reset by peer while reading the answer",
            },
        ],
        "truncated": true,
    }))
    .unwrap()
}

fn drawn(width: Option<u16>) -> String {
    let drawn = render(&table(), &Style { width, colours: false, now: 1_700_000_000.0 }, None);
    assert!(!drawn.contains(|character| character != '\n' && crate::logging::steers(character)), "{drawn:?}");
    drawn
}

#[test]
fn off_a_terminal_nothing_is_cut() {
    assert_eq!(drawn(None), include_str!("golden/any.txt"));
}

#[test]
fn on_120_columns_the_widest_texts_give() {
    assert_eq!(drawn(Some(120)), include_str!("golden/120.txt"));
}

#[test]
fn on_80_columns_the_last_columns_go() {
    assert_eq!(drawn(Some(80)), include_str!("golden/80.txt"));
}

#[test]
fn on_40_columns_the_first_ones_stay_readable() {
    assert_eq!(drawn(Some(40)), include_str!("golden/40.txt"));
}

#[test]
fn no_line_of_the_table_is_wider_than_the_terminal() {
    for width in 8..200 {
        let drawn = drawn(Some(width));
        for line in drawn.lines().take(1 + table().rows.len()) {
            assert!(text::width(line) <= usize::from(width), "{width}: {line}");
            assert_eq!(line.trim_end(), line);
        }
    }
}
