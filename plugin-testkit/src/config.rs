//! Configurations as tests write them.

use crate::failure::Failure;
use serde_json::Value;

/// What a configuration may be given as: the TOML text of the plugin's own
/// table (`[plugins.NAME.config]` without the heading), or a JSON value.
pub trait ToConfig {
    /// As it crosses: a JSON object.
    fn to_config(&self) -> Result<String, Failure>;
}

impl ToConfig for str {
    fn to_config(&self) -> Result<String, Failure> {
        let value: Value = toml::from_str(self)
            .map_err(|error| Failure::Config(error.to_string().trim_end().replace('\n', " ")))?;
        Ok(value.to_string())
    }
}

impl ToConfig for String {
    fn to_config(&self) -> Result<String, Failure> {
        self.as_str().to_config()
    }
}

impl ToConfig for Value {
    fn to_config(&self) -> Result<String, Failure> {
        match self {
            Value::Object(_) => Ok(self.to_string()),
            other => Err(Failure::Config(format!("{other} is no JSON object"))),
        }
    }
}

impl<T: ToConfig + ?Sized> ToConfig for &T {
    fn to_config(&self) -> Result<String, Failure> {
        (**self).to_config()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toml_and_json_are_the_same() {
        assert_eq!("".to_config().unwrap(), "{}");
        let toml = "a = 1\n[b]\nc = [\"x\"]".to_config().unwrap();
        assert_eq!(toml, serde_json::json!({ "a": 1, "b": { "c": ["x"] } }).to_config().unwrap());
        assert!("a =".to_config().unwrap_err().to_string().contains("of this test: TOML parse error"));
        assert!(Value::Null.to_config().is_err());
    }
}
