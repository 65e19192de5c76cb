//! Words of names: base units, others, and what Prometheus' linter minds.

/// Base units that the boundary knows.
pub(super) const BASE: [&str; 5] = ["seconds", "bytes", "ratio", "cores", "celsius"];

/// Units that are none, and what is written instead.
const OTHERS: [(&str, &str); 24] = [
    ("milliseconds", "seconds"),
    ("microseconds", "seconds"),
    ("nanoseconds", "seconds"),
    ("minutes", "seconds"),
    ("hours", "seconds"),
    ("days", "seconds"),
    ("weeks", "seconds"),
    ("msec", "seconds"),
    ("usec", "seconds"),
    ("nsec", "seconds"),
    ("kilobytes", "bytes"),
    ("kibibytes", "bytes"),
    ("megabytes", "bytes"),
    ("mebibytes", "bytes"),
    ("gigabytes", "bytes"),
    ("gibibytes", "bytes"),
    ("terabytes", "bytes"),
    ("bits", "bytes"),
    ("percent", "ratio"),
    ("percentage", "ratio"),
    ("fahrenheit", "celsius"),
    ("kelvin", "celsius"),
    ("millicores", "cores"),
    ("jiffies", "seconds"),
];

/// Abbreviations of units: only at the end of a name, where nothing else is meant.
const SHORT: [(&str, &str); 10] = [
    ("s", "seconds"),
    ("sec", "seconds"),
    ("ms", "seconds"),
    ("us", "seconds"),
    ("ns", "seconds"),
    ("kb", "bytes"),
    ("kib", "bytes"),
    ("mb", "bytes"),
    ("mib", "bytes"),
    ("gb", "bytes"),
];

/// Words that say the type, which the type line says already.
pub(super) const TYPES: [&str; 4] = ["counter", "gauge", "histogram", "summary"];

/// Endings that the lines of histograms and counters have.
pub(super) const LINES: [&str; 4] = ["_count", "_sum", "_bucket", "_created"];

/// The name without what a counter ends in.
pub(super) fn stem(name: &str) -> &str {
    name.strip_suffix("_total").unwrap_or(name)
}

/// A word of a name that is a unit and no base unit, with the one that is.
pub(super) fn other_unit(name: &str) -> Option<(&'static str, &'static str)> {
    let stem = stem(name);
    let whole = OTHERS.iter().find(|(unit, _)| stem.split('_').any(|word| word == *unit));
    let last = stem.rsplit_once('_').map(|(_, last)| last);
    whole.or_else(|| SHORT.iter().find(|(unit, _)| last == Some(unit))).copied()
}

/// The base unit that a name ends in.
pub(super) fn base_unit(name: &str) -> Option<&'static str> {
    let (_, last) = stem(name).rsplit_once('_')?;
    BASE.iter().find(|unit| **unit == last).copied()
}

/// Whether it is written in snake_case: `[a-z][a-z0-9_]*`.
pub(super) fn is_snake_case(name: &str) -> bool {
    name.bytes().next().is_some_and(|first| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_in_names() {
        for (name, other, base) in [
            ("x_seconds_total", None, Some("seconds")),
            ("x_latency_ms", Some("ms"), None),
            ("x_milliseconds_total", Some("milliseconds"), None),
            ("x_percent_used", Some("percent"), None),
            ("us_states", None, None),
            ("x_bytes", None, Some("bytes")),
            ("seconds", None, None),
            ("x_processes", None, None),
        ] {
            assert_eq!((other_unit(name).map(|(unit, _)| unit), base_unit(name)), (other, base), "{name}");
        }
    }
}
