//! A number as an operator types it to choose rows: plain in the base unit, or
//! with a unit as tables show it. The other way round is `units`.

use super::units;
use gantry_plugin_api::HumanDuration;

/// A number that was typed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Typed {
    /// In the base unit: that number and no other.
    Exact(f64),
    /// With a unit: whatever is shown as it is. Nobody can type all digits of
    /// what a table shows as `13.4 MiB`.
    Shown(f64),
}

/// What one of a unit is in the base unit.
type Factors = &'static [(&'static str, f64)];

const SECONDS: Factors = &[
    ("ns", 1e-9),
    ("µs", 1e-6),
    ("us", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
    ("d", 86_400.0),
    ("w", 604_800.0),
];
const KIB: f64 = 1024.0;
const BYTES: Factors = &[
    ("B", 1.0),
    ("KiB", KIB),
    ("MiB", KIB * KIB),
    ("GiB", KIB * KIB * KIB),
    ("TiB", KIB * KIB * KIB * KIB),
    ("PiB", KIB * KIB * KIB * KIB * KIB),
    ("EiB", KIB * KIB * KIB * KIB * KIB * KIB),
];
const HERTZ: Factors = &[("Hz", 1.0), ("kHz", 1e3), ("MHz", 1e6), ("GHz", 1e9), ("THz", 1e12)];

impl Typed {
    /// Reads a number of a unit; `None` if it is none.
    pub fn parse(text: &str, unit: &str) -> Option<Self> {
        // As tables show it: `12,345`, `13.4 MiB`, `3m 12s`.
        let text: String =
            text.chars().filter(|character| *character != ',' && !character.is_whitespace()).collect();
        let finite = |number: &str| number.parse().ok().filter(|number: &f64| number.is_finite());
        if let Some(number) = finite(&text) {
            return Some(Self::Exact(number));
        }
        // A suffix that is the end of another (`s` of `ms`) leaves no number.
        let with = |suffix: &str, factor: f64| Some(finite(text.strip_suffix(suffix)?)? * factor);
        let number = match unit {
            "seconds" => first(SECONDS, with).or_else(|| composed(&text)),
            "bytes" => first(BYTES, with),
            "bytes_per_second" => {
                let amount = text.strip_suffix("/s").unwrap_or(&text);
                first(BYTES, |suffix, factor| Some(finite(amount.strip_suffix(suffix)?)? * factor))
            }
            "hertz" => first(HERTZ, with),
            "ratio" => with("%", 0.01),
            other => with(&units::name(other).replace(' ', ""), 1.0),
        };
        number.map(Self::Shown)
    }

    /// Whether a number of the unit is meant.
    pub fn means(self, number: f64, unit: &str) -> bool {
        match self {
            Self::Exact(typed) => typed == number,
            Self::Shown(typed) => units::number(typed, unit) == units::number(number, unit),
        }
    }
}

fn first(factors: Factors, read: impl Fn(&str, f64) -> Option<f64>) -> Option<f64> {
    factors.iter().find_map(|(suffix, factor)| read(suffix, *factor))
}

/// `3m12s`: several units of time in one.
fn composed(text: &str) -> Option<f64> {
    let (sign, text) = text.strip_prefix('-').map_or((1.0, text), |rest| (-1.0, rest));
    HumanDuration::parse(text).ok().map(|duration| sign * duration.0.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_numbers_are_exact() {
        assert_eq!(Typed::parse("0.0002", "seconds"), Some(Typed::Exact(0.0002)));
        assert_eq!(Typed::parse("-12,345", ""), Some(Typed::Exact(-12345.0)));
        assert_eq!(Typed::parse("1e3", "bytes"), Some(Typed::Exact(1000.0)));
        assert!(!Typed::Exact(0.0002).means(0.000_200_1, "seconds"));
    }

    #[test]
    fn human_forms_are_read() {
        let shown = |text, unit, value: f64| {
            let Some(Typed::Shown(read)) = Typed::parse(text, unit) else {
                panic!("{text} is not read");
            };
            assert!((read - value).abs() <= value.abs() * 1e-12, "{text} is {read}");
        };
        shown("16MiB", "bytes", 16_777_216.0);
        shown("1.2 MiB/s", "bytes_per_second", 1_258_291.2);
        shown("1.5s", "seconds", 1.5);
        shown("30s", "seconds", 30.0);
        shown("350µs", "seconds", 0.00035);
        shown("3m 12s", "seconds", 192.0);
        shown("12.5 %", "ratio", 0.125);
        shown("2.4GHz", "hertz", 2.4e9);
        shown("5 packets", "packets", 5.0);
    }

    #[test]
    fn whatever_is_shown_finds_itself() {
        for unit in ["", "seconds", "bytes", "bytes_per_second", "ratio", "hertz", "packets_per_second"] {
            for value in [0.0, 0.000_123_4, 0.5, 1.0, 59.96, 192.4, 1023.7, 12_345.0, -3.3e7, 1e12] {
                let shown = units::number(value, unit);
                let typed = Typed::parse(&shown, unit).unwrap_or_else(|| panic!("{shown} is not read"));
                let exact = matches!(typed, Typed::Exact(_));
                assert!(exact || typed.means(value, unit), "{shown} does not mean {value}");
            }
        }
        assert!(Typed::parse("13.4MiB", "bytes").unwrap().means(14_050_918.0, "bytes"));
        assert!(!Typed::parse("13.4MiB", "bytes").unwrap().means(14_150_918.0, "bytes"));
    }

    #[test]
    fn what_is_no_number_of_the_unit_is_refused() {
        for (text, unit) in [
            ("", ""),
            ("abc", ""),
            ("16MiB", "seconds"),
            ("30s", "bytes"),
            ("5 packets", ""),
            ("MiB", "bytes"),
            ("NaN", ""),
            ("inf", "bytes"),
            ("1..2s", "seconds"),
        ] {
            assert_eq!(Typed::parse(text, unit), None, "{text:?} {unit}");
        }
    }
}
