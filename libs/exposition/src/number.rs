//! Numbers as both text formats read them.

use crate::format::Format;

/// From here on not every whole number has a float of its own.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Writes a value. Whole numbers that floats hold exactly are written with all
/// their digits and no exponent, others with the fewest digits that read back
/// as the same float.
pub(crate) fn value(out: &mut Vec<u8>, number: f64) {
    let whole = number as i64;
    if whole as f64 == number && number.abs() < EXACT {
        out.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes());
    } else if number.is_finite() {
        out.extend_from_slice(zmij::Buffer::new().format_finite(number).as_bytes());
    } else {
        out.extend_from_slice(if number.is_nan() {
            b"NaN"
        } else if number > 0.0 {
            b"+Inf"
        } else {
            b"-Inf"
        });
    }
}

/// Writes a count.
pub(crate) fn count(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Writes a bucket's bound. It is part of the series' identity: the formats'
/// usual spellings are kept, `1` in 0.0.4 and `1.0` in OpenMetrics, as Go's
/// client writes them and Prometheus 3 takes for the same.
pub(crate) fn bound(out: &mut Vec<u8>, number: f64, format: Format) {
    let from = out.len();
    value(out, number);
    if format == Format::OpenMetrics && !out[from..].iter().any(|byte| matches!(byte, b'.' | b'e')) {
        out.extend_from_slice(b".0");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(number: f64) -> String {
        let mut out = Vec::new();
        value(&mut out, number);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values() {
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (-17.0, "-17"),
            (0.1, "0.1"),
            (1e15, "1000000000000000"),
            (9_007_199_254_740_991.0, "9007199254740991"),
            (36_028_797_018_963_968.0, "3.602879701896397e+16"),
            (f64::NAN, "NaN"),
            (-f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (1_700_000_000.25, "1700000000.25"),
        ] {
            assert_eq!(written(number), text);
        }
    }

    #[test]
    fn large_and_small_read_back() {
        for number in [
            EXACT,
            -EXACT,
            f64::MAX,
            f64::MIN,
            f64::MIN_POSITIVE,
            5e-324,
            1e21,
            1e-7,
            i64::MAX as f64,
            1e300 / 3.0,
        ] {
            let text = written(number);
            assert_eq!(text.parse::<f64>().unwrap(), number, "{text}");
            assert!(text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.e".contains(&byte)), "{text}");
        }
    }

    #[test]
    fn bounds() {
        for (number, plain, open) in
            [(1.0, "1", "1.0"), (0.005, "0.005", "0.005"), (-2.0, "-2", "-2.0"), (1e300, "1e+300", "1e+300")]
        {
            let (mut text, mut metrics) = (Vec::new(), Vec::new());
            bound(&mut text, number, Format::Text);
            bound(&mut metrics, number, Format::OpenMetrics);
            assert_eq!((text.as_slice(), metrics.as_slice()), (plain.as_bytes(), open.as_bytes()));
        }
    }
}
