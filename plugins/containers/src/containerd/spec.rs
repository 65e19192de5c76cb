//! What of OCI's runtime specification (`config.json`) is used. containerd
//! keeps it as its client made it.

use super::api::Any;
use crate::provider::described::or_nothing;
use gantry_plugin_api::serde::Deserialize;
use gantry_plugin_api::serde_json;

/// The type that clients in Go give it (`typeurl` of
/// `github.com/opencontainers/runtime-spec/specs-go.Spec`).
const TYPE: &str = "opencontainers/runtime-spec/";

/// The specification. What is not there is empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default, crate = "gantry_plugin_api::serde")]
pub struct Spec {
    /// The first process.
    #[serde(deserialize_with = "or_nothing")]
    pub process: Process,
    /// What is mounted.
    #[serde(deserialize_with = "or_nothing")]
    pub mounts: Vec<Mount>,
    /// What Linux gives it.
    #[serde(deserialize_with = "or_nothing")]
    pub linux: Linux,
}

/// The same.
#[derive(Debug, Default, Deserialize)]
#[serde(default, crate = "gantry_plugin_api::serde")]
pub struct Process {
    /// `NAME=VALUE`
    #[serde(deserialize_with = "or_nothing")]
    pub env: Vec<String>,
}

/// The same.
#[derive(Debug, Default, Deserialize)]
#[serde(default, crate = "gantry_plugin_api::serde")]
pub struct Mount {
    /// Where the container sees it.
    pub destination: String,
    /// `bind`, or a kind of file system.
    #[serde(rename = "type", deserialize_with = "or_nothing")]
    pub kind: String,
    /// Where it lies.
    #[serde(deserialize_with = "or_nothing")]
    pub source: String,
    /// As mount(8) takes them.
    #[serde(deserialize_with = "or_nothing")]
    pub options: Vec<String>,
}

/// The same.
#[derive(Debug, Default, Deserialize)]
#[serde(default, crate = "gantry_plugin_api::serde")]
pub struct Linux {
    /// Its own ones, or others that it joins.
    #[serde(deserialize_with = "or_nothing")]
    pub namespaces: Vec<Namespace>,
}

/// The same.
#[derive(Debug, Default, Deserialize)]
#[serde(default, crate = "gantry_plugin_api::serde")]
pub struct Namespace {
    /// Of what.
    #[serde(rename = "type")]
    pub kind: String,
}

impl Spec {
    /// `None` where it is there and makes no sense.
    pub fn read(any: Option<&Any>) -> Option<Self> {
        let Some(any) = any else { return Some(Self::default()) };
        if !any.type_url.contains(TYPE) {
            return None;
        }
        serde_json::from_slice(&any.value).ok()
    }

    /// Whether it has no network of its own.
    pub fn is_in_host_network(&self) -> bool {
        // Without any it is no Linux container, or says nothing.
        let namespaces = &self.linux.namespaces;
        !namespaces.is_empty() && !namespaces.iter().any(|one| one.kind == "network")
    }
}

impl Mount {
    /// Whether it is something of the node's.
    pub fn is_bound(&self) -> bool {
        self.kind == "bind" || self.options.iter().any(|option| option == "bind" || option == "rbind")
    }

    /// Whether it cannot be written to.
    pub fn is_read_only(&self) -> bool {
        self.options.iter().any(|option| option == "ro" || option == "rro")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Spec> {
        let type_url = "types.containerd.io/opencontainers/runtime-spec/1/Spec".to_owned();
        Spec::read(Some(&Any { type_url, value: text.as_bytes().to_vec() }))
    }

    #[test]
    fn what_is_used_is_read_and_null_is_nothing() {
        let spec = read(
            r#"{"ociVersion":"1.1.0","process":{"env":["A=b"],"cwd":"/"},
            "mounts":[{"destination":"/data","type":"bind","source":"/srv","options":["rbind","ro"]},
            {"destination":"/proc","type":"proc","source":"proc","options":null}],
            "linux":{"namespaces":[{"type":"pid"},{"type":"mount"}]}}"#,
        );
        let spec = spec.expect("it makes sense");
        assert_eq!(spec.process.env, ["A=b"]);
        assert!(spec.mounts[0].is_bound() && spec.mounts[0].is_read_only() && !spec.mounts[1].is_bound());
        assert!(spec.is_in_host_network());
        let own = read(r#"{"process":null,"mounts":null,"linux":{"namespaces":[{"type":"network"}]}}"#);
        assert!(!own.expect("it makes sense").is_in_host_network());
        assert!(!read("{}").expect("it makes sense").is_in_host_network());
        assert!(read("[").is_none() && read(r#"{"process":7}"#).is_none());
        assert!(Spec::read(None).is_some());
        assert!(Spec::read(Some(&Any { type_url: "another".to_owned(), value: b"{}".to_vec() })).is_none());
    }
}
