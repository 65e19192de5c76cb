//! Reading a configuration, and telling what is wrong with it without telling
//! what stands in it: any value may be a secret that was written in the wrong
//! place.

use crate::error::Error;
use serde::de::DeserializeOwned;

/// Reads a configuration that crossed as JSON. The message begins with the
/// path of the key, as `filesystems.timeout`, and holds no value.
pub(crate) fn read_config<C: DeserializeOwned>(json: &str) -> Result<C, Error> {
    let text = if json.is_empty() { "{}" } else { json };
    let mut input = serde_json::Deserializer::from_str(text);
    let read = serde_path_to_error::deserialize(&mut input).map_err(|error| {
        let message = without_values(&error.inner().to_string());
        match error.path().to_string().as_str() {
            "." => Error::config(message),
            path => Error::config(format!("{path}: {message}")),
        }
    })?;
    input.end().map_err(|_| Error::config("the configuration is not one JSON object"))?;
    Ok(read)
}

/// Serde's messages with the values taken out.
fn without_values(message: &str) -> String {
    // The position is one in the crossing JSON, which nobody can look at.
    let message = message.rfind(" at line ").map_or(message, |end| &message[..end]);
    let is = |start: &str| message.starts_with(start);
    if is("missing field") || is("duplicate field") || is("unknown field") {
        return message.to_owned();
    }
    if is("invalid type: ") || is("invalid value: ") || is("unknown variant ") {
        // Between them stands the value. What was expected may hold the same
        // words, in which case more is cut, never less.
        let found = message.find(['`', '"']).unwrap_or(message.len());
        let expected = message.rfind(", expected ").unwrap_or(message.len());
        return format!("{}{}", message[..found.min(expected)].trim_end(), &message[expected..]);
    }
    without_quoted(message)
}

/// A text of the author's, or of a type he uses: what it quotes is taken for a
/// value, up to the last quote where one is left open.
fn without_quoted(message: &str) -> String {
    let mut out = String::new();
    let mut rest = message.chars();
    while let Some(character) = rest.next() {
        out.push(character);
        if !matches!(character, '"' | '`') {
            continue;
        }
        out.push('…');
        while let Some(inner) = rest.next() {
            match inner {
                '\\' => _ = rest.next(),
                _ if inner == character => {
                    out.push(character);
                    break;
                }
                _ => {}
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ByteSize, HumanDuration, Secret};
    use serde::Deserialize;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Config {
        token: Option<Secret>,
        inner: Inner,
        list: Vec<Inner>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Inner {
        port: u16,
        every: Option<HumanDuration>,
        size: Option<ByteSize>,
        mode: Mode,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Mode {
        #[default]
        Fast,
        Slow,
    }

    fn wrong(json: &str) -> String {
        read_config::<Config>(json).expect_err(json).message().to_owned()
    }

    #[test]
    fn what_is_wrong_is_told_by_the_path_of_its_key() {
        assert_eq!(wrong(r#"{"inner":{"port":"x"}}"#), "inner.port: invalid type: string, expected u16");
        assert_eq!(wrong(r#"{"token":77123}"#), "token: invalid type: integer, expected a string");
        assert_eq!(
            wrong(r#"{"list":[{},{"mode":"hasty"}]}"#),
            "list[1].mode: unknown variant, expected `fast` or `slow`"
        );
        assert!(wrong(r#"{"tokn":"x"}"#).contains("unknown field `tokn`"));
        assert!(wrong("[]x").contains("config"));
    }

    #[test]
    fn no_value_is_told() {
        let secrets =
            ["s3cret", r#"s3\"cret"#, r#"\"s3cret"#, "s3cret, expected s3cret", "`s3cret`", r"s3cret\\"];
        let places = [
            r#"{"inner":{"port":"@"}}"#,
            r#"{"inner":{"every":"@"}}"#,
            r#"{"inner":{"size":"@"}}"#,
            r#"{"inner":{"mode":"@"}}"#,
            r#"{"list":"@"}"#,
            r#""@""#,
        ];
        for secret in secrets {
            for place in places {
                let message = wrong(&place.replace('@', secret));
                assert!(!message.contains("s3") && !message.contains("cret"), "{secret} {place}: {message}");
            }
        }
        assert!(!wrong(r#"{"token":918273}"#).contains("918273"));
        assert!(!wrong(r#"{"list":[918273]}"#).contains("918273"));
    }

    #[test]
    fn nothing_is_the_empty_object() {
        assert!(read_config::<Config>("").is_ok());
        assert!(read_config::<Config>("{} {}").is_err());
    }
}
