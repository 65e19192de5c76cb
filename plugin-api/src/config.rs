//! Types for a plugin's configuration.
//!
//! An author derives `Deserialize` and `JsonSchema` for a struct; the host
//! checks the operator's table against the schema before the plugin sees it,
//! and reports an unknown key or a wrong type with file and line. Objects that
//! say nothing of other keys refuse them.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// For a plugin that has nothing to configure: any key is an error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// A text that appears in no output, log or view: `Debug` and `Display` print
/// `***`, and the host leaves values out of its messages about it. Written in
/// `plugins.toml` as a text.
/// The default is empty.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

/// The key of a schema that marks a value as secret.
pub const SECRET_MARK: &str = "x-gantry-secret";

impl Secret {
    /// A secret out of a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
    /// The text itself, for the one who uses it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl serde::Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "writeOnly": true, (SECRET_MARK): true })
    }
}

/// A duration as Prometheus writes it: `30s`, `5m`, `250ms`, `1h30m`.
/// The default is zero.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(pub Duration);

/// The units of a duration, largest first, in milliseconds.
const DURATION_UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

impl HumanDuration {
    /// Reads the Prometheus form; the units come largest first, each once.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a duration such as 500ms, 30s or 1h30m");
        if text == "0" {
            return Ok(Self(Duration::ZERO));
        }
        let (mut rest, mut total, mut next_unit) = (text, 0u64, 0);
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
            rest = &rest[digits..];
            let letters = rest.bytes().take_while(u8::is_ascii_lowercase).count();
            let unit = DURATION_UNITS
                .iter()
                .position(|(name, _)| *name == &rest[..letters])
                .filter(|at| *at >= next_unit)
                .ok_or_else(wrong)?;
            next_unit = unit + 1;
            rest = &rest[letters..];
            total = number
                .checked_mul(DURATION_UNITS[unit].1)
                .and_then(|millis| total.checked_add(millis))
                .ok_or_else(|| format!("{text:?} is too long a duration"))?;
        }
        if text.is_empty() { Err(wrong()) } else { Ok(Self(Duration::from_millis(total))) }
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if left == 0 {
            return f.write_str("0s");
        }
        // Years and weeks are read but not written: 90d is clearer than 12w6d.
        for (name, millis) in &DURATION_UNITS[2..] {
            if left >= *millis {
                write!(f, "{}{name}", left / millis)?;
                left %= millis;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A size with a binary unit: `16MiB`, `512KiB`, `1GiB`, `100B`.
/// The default is zero.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

const SIZE_UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl ByteSize {
    /// Reads a whole number and a binary unit.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a size such as 16MiB, 512KiB or 1GiB");
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
        let (_, factor) = SIZE_UNITS.iter().find(|(name, _)| *name == &text[digits..]).ok_or_else(wrong)?;
        number.checked_mul(*factor).map(Self).ok_or_else(|| format!("{text:?} is too large a size"))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, factor) = SIZE_UNITS
            .iter()
            .find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor))
            .unwrap_or(&SIZE_UNITS[4]);
        write!(f, "{}{name}", self.0 / factor)
    }
}

impl fmt::Debug for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! written_as_text {
    ($type:ident, $pattern:literal, $example:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<str>::deserialize(deserializer)?;
                Self::parse(&text).map_err(D::Error::custom)
            }
        }
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "examples": [$example] })
            }
        }
    };
}

written_as_text!(HumanDuration, "^(0|([0-9]+(y|w|d|h|m|s|ms))+)$", "30s");
written_as_text!(ByteSize, "^[0-9]+(B|KiB|MiB|GiB|TiB)$", "16MiB");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_prometheus_writes_them() {
        let millis = |text| HumanDuration::parse(text).map(|read| read.0.as_millis());
        assert_eq!(millis("30s"), Ok(30_000));
        assert_eq!(millis("1h30m"), Ok(5_400_000));
        assert_eq!(millis("1d250ms"), Ok(86_400_250));
        assert_eq!(millis("0"), Ok(0));
        for bad in ["", "5", "s", "5x", "-5s", "1m1h", "5s5s", "1.5s", "5 s", "99999999999999999y"] {
            assert!(HumanDuration::parse(bad).is_err(), "{bad:?}");
        }
        for text in ["30s", "1h30m", "250ms", "90d"] {
            assert_eq!(HumanDuration::parse(text).map(|read| read.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn sizes_have_binary_units() {
        assert_eq!(ByteSize::parse("16MiB"), Ok(ByteSize(16 << 20)));
        assert_eq!(ByteSize(16 << 20).to_string(), "16MiB");
        assert_eq!(ByteSize(1500).to_string(), "1500B");
        for bad in ["", "16", "16MB", "MiB", "-1B", "16 MiB", "99999999999TiB"] {
            assert!(ByteSize::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_left_out_is_empty_or_zero() {
        #[derive(Debug, Default, PartialEq, Deserialize, JsonSchema)]
        #[serde(default)]
        struct Config {
            secret: Secret,
            timeout: HumanDuration,
            room: ByteSize,
        }
        let read: Config = serde_json::from_str("{}").expect("nothing is required");
        assert_eq!(read, Config::default());
        assert_eq!((read.secret.expose(), read.timeout.0, read.room.0), ("", Duration::ZERO, 0));
        // The schema shows the defaults as they are written; a secret's shows nothing.
        let schema = schemars::schema_for!(Config);
        let shown = |key: &str| schema.pointer(&format!("/properties/{key}/default")).cloned();
        assert_eq!(shown("timeout"), Some("0s".into()));
        assert_eq!(shown("room"), Some("0B".into()));
        assert_eq!(shown("secret"), Some("***".into()));
    }

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret::new("hunter2");
        let json = serde_json::to_string(&secret).expect("serialises");
        assert!(![format!("{secret:?}"), secret.to_string(), json].concat().contains("hunter2"));
        assert_eq!(secret.expose(), "hunter2");
    }
}
