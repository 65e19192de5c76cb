//! Numbers with their units, for people: at most three digits of what was
//! measured, whole numbers exactly. The other way round is `typed`.

/// Units by the factor between each and the next, the base unit first.
struct Ladder {
    step: f64,
    units: &'static [&'static str],
}

const BYTES: Ladder = Ladder { step: 1024.0, units: &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] };
const HERTZ: Ladder = Ladder { step: 1000.0, units: &["Hz", "kHz", "MHz", "GHz", "THz"] };
const SECONDS: Ladder = Ladder { step: 1000.0, units: &["ns", "µs", "ms", "s"] };

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const YEAR: u64 = 365 * DAY;

/// A number of a unit, as the columns of a table name it.
pub fn number(value: f64, unit: &str) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    let sign = if value < 0.0 { "-" } else { "" };
    let value = value.abs();
    if value.is_infinite() {
        return format!("{sign}inf");
    }
    let positive = match unit {
        "" => plain(value),
        "seconds" => seconds(value),
        "bytes" => scaled(value, &BYTES),
        "bytes_per_second" => format!("{}/s", scaled(value, &BYTES)),
        "hertz" => scaled(value, &HERTZ),
        "ratio" => format!("{} %", measured(value * 100.0)),
        other => format!("{} {}", plain(value), name(other)),
    };
    format!("{sign}{positive}")
}

/// A number that names something instead of counting it, as a process or a
/// port does: nobody types its thousands apart.
pub fn identifier(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < EXACT { format!("{value:.0}") } else { number(value, "") }
}

/// A unit that is not known here, as people write it: `packets_per_second` is `packets/s`.
pub fn name(unit: &str) -> String {
    unit.replace("_per_second", "/s").replace('_', " ")
}

/// How long ago a time was, both in seconds since the epoch.
pub fn age(time: f64, now: f64) -> String {
    let ago = now - time;
    if !ago.is_finite() {
        return number(time, "");
    }
    // Saturates: nothing is 2^64 seconds ago.
    let seconds = ago.abs().round() as u64;
    // A unit is left for the next at two of these, so that what is shown is
    // never wrong by more than half.
    let (count, unit) = match seconds {
        0 => return "now".to_owned(),
        _ if seconds < 2 * MINUTE => (seconds, "s"),
        _ if seconds < 2 * HOUR => (seconds / MINUTE, "m"),
        _ if seconds < 2 * DAY => (seconds / HOUR, "h"),
        _ if seconds < 2 * YEAR => (seconds / DAY, "d"),
        _ => (seconds / YEAR, "y"),
    };
    if ago < 0.0 { format!("in {count}{unit}") } else { format!("{count}{unit} ago") }
}

fn seconds(value: f64) -> String {
    // From here on it would read 60 s.
    if value >= 59.95 {
        return long(value.round() as u64);
    }
    if value == 0.0 || value >= 1.0 {
        return format!("{} s", measured(value));
    }
    scaled(value * 1e9, &SECONDS)
}

/// The two largest units of a long duration.
fn long(seconds: u64) -> String {
    let (large, small, rest) = match seconds {
        _ if seconds < HOUR => ((seconds / MINUTE, "m"), "s", seconds % MINUTE),
        _ if seconds < DAY => ((seconds / HOUR, "h"), "m", seconds % HOUR / MINUTE),
        _ => ((seconds / DAY, "d"), "h", seconds % DAY / HOUR),
    };
    let (count, unit) = large;
    if rest == 0 { format!("{count}{unit}") } else { format!("{count}{unit} {rest}{small}") }
}

fn scaled(mut value: f64, ladder: &Ladder) -> String {
    let last = ladder.units.len() - 1;
    let mut at = 0;
    // What would be shown as a whole step is one of the next unit.
    while at < last && value >= ladder.step - 0.5 {
        value /= ladder.step;
        at += 1;
    }
    format!("{} {}", measured(value), ladder.units[at])
}

/// Above it not every whole number has a double of its own.
const EXACT: f64 = 9_007_199_254_740_992.0;

fn plain(value: f64) -> String {
    if value.fract() == 0.0 && value <= EXACT { grouped(&format!("{value:.0}")) } else { measured(value) }
}

/// Three digits that count; zeros at the end of a fraction say nothing and go.
fn measured(value: f64) -> String {
    if value > EXACT || (value > 0.0 && value < 0.0001) {
        let text = format!("{value:.2e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{}e{exponent}", short(digits));
    }
    let decimals = match value {
        0.0 => 0,
        _ if value >= 100.0 => 0,
        _ if value >= 10.0 => 1,
        _ if value >= 1.0 => 2,
        _ if value >= 0.1 => 3,
        _ if value >= 0.01 => 4,
        _ if value >= 0.001 => 5,
        _ => 6,
    };
    let text = format!("{value:.decimals$}");
    if decimals > 0 { short(&text).to_owned() } else { grouped(&text) }
}

/// A fraction without the zeros at its end.
fn short(digits: &str) -> &str {
    digits.trim_end_matches('0').trim_end_matches('.')
}

fn grouped(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(unit: &str, cases: &[(f64, &str)]) {
        for (value, shown) in cases {
            assert_eq!(number(*value, unit), *shown, "{value:e} {unit}");
        }
    }

    #[test]
    fn seconds_short_and_long() {
        let short = [
            (0.0, "0 s"),
            (3.5e-10, "0.35 ns"),
            (0.0012, "1.2 ms"),
            (0.00035, "350 µs"),
            (0.9999, "1 s"),
            (1.5, "1.5 s"),
            (59.94, "59.9 s"),
        ];
        all("seconds", &short);
        let long = [(59.96, "1m"), (192.0, "3m 12s"), (3599.7, "1h"), (7500.0, "2h 5m"), (93_600.0, "1d 2h")];
        all("seconds", &long);
        all("seconds", &[(-0.25, "-250 ms"), (-0.0, "0 s"), (1e30, "213503982334601d 7h")]);
    }

    #[test]
    fn bytes_and_their_rates() {
        let sizes = [
            (0.0, "0 B"),
            (512.0, "512 B"),
            (1023.0, "1,023 B"),
            (1024.0, "1 KiB"),
            (1_047_552.0, "1,023 KiB"),
            (1_048_100.0, "1 MiB"),
            (14_050_918.0, "13.4 MiB"),
            (16_777_216.0, "16 MiB"),
            (-2048.0, "-2 KiB"),
            (1e30, "867,361,737,988 EiB"),
        ];
        all("bytes", &sizes);
        all("bytes_per_second", &[(1_258_291.2, "1.2 MiB/s"), (0.5, "0.5 B/s")]);
    }

    #[test]
    fn ratios_frequencies_and_others() {
        all(
            "ratio",
            &[(0.125, "12.5 %"), (0.07, "7 %"), (0.000_12, "0.012 %"), (1.0, "100 %"), (2.5, "250 %")],
        );
        all("hertz", &[(2.4e9, "2.4 GHz"), (50.0, "50 Hz"), (999_600.0, "1 MHz")]);
        all("packets", &[(5.0, "5 packets"), (12_345.0, "12,345 packets")]);
        all("context_switches_per_second", &[(1.25, "1.25 context switches/s")]);
    }

    #[test]
    fn counts_are_exact_and_measurements_short() {
        let counts = [(0.0, "0"), (999.0, "999"), (12_345.0, "12,345"), (-1_234_567.0, "-1,234,567")];
        all("", &counts);
        all("", &[(3.456, "3.46"), (0.0524, "0.0524"), (12_345.678, "12,346"), (1e-9, "1e-9")]);
        all("", &[(EXACT, "9,007,199,254,740,992"), (1.8e19, "1.8e19"), (f64::MAX, "1.8e308")]);
        all("bytes", &[(f64::NAN, "NaN"), (f64::INFINITY, "inf"), (f64::NEG_INFINITY, "-inf")]);
    }

    #[test]
    fn an_identifier_is_not_grouped() {
        assert_eq!(identifier(4_026_531_840.0), "4026531840");
        assert_eq!(identifier(-1.0), "-1");
        assert_eq!(identifier(f64::NAN), "NaN");
    }

    #[test]
    fn times_are_told_from_now() {
        let now = 1_700_000_000.0;
        let cases = [
            (0.2, "now"),
            (5.0, "5s ago"),
            (119.0, "119s ago"),
            (180.0, "3m ago"),
            (7260.0, "2h ago"),
            (259_200.0, "3d ago"),
            (94_608_000.0, "3y ago"),
            (-5.0, "in 5s"),
            (-86_400.0 * 3.0, "in 3d"),
        ];
        for (ago, shown) in cases {
            assert_eq!(age(now - ago, now), shown);
        }
        assert_eq!(age(f64::NAN, now), "NaN");
        assert_eq!(age(f64::INFINITY, now), "inf");
        assert_eq!(age(0.0, f64::NAN), "0");
    }
}
