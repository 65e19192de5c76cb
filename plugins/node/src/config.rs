//! The plugin's configuration, and what is made of it.

use gantry_plugin_api::schemars::JsonSchema;
use gantry_plugin_api::serde::de::Error as _;
use gantry_plugin_api::serde::{Deserialize, Deserializer, Serialize};
use gantry_plugin_api::{Error, HumanDuration};
use regex::Regex;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Shorter, a healthy disk under load would be called unresponsive; longer, one
/// hung mount would make each scrape late.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(10);

/// The configuration of the `node` plugin. The patterns are regular
/// expressions that must match a name as a whole; a list that is given takes
/// the place of the default one.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "gantry_plugin_api::serde")]
#[schemars(crate = "gantry_plugin_api::schemars")]
pub struct Config {
    /// How long a collection waits for file systems, for all of them together:
    /// 10ms to 10s. Those that have not answered by then are shown as unresponsive.
    #[serde(deserialize_with = "checked::timeout")]
    pub filesystem_timeout: HumanDuration,
    /// Block devices that are left out.
    #[serde(deserialize_with = "checked::devices")]
    pub exclude_devices: Vec<String>,
    /// Network interfaces that are left out, besides loopback, veth and ifb.
    #[serde(deserialize_with = "checked::interfaces")]
    pub exclude_interfaces: Vec<String>,
    /// Mount points that are left out.
    #[serde(deserialize_with = "checked::mount_points")]
    pub exclude_mount_points: Vec<String>,
    /// Types of file systems that are left out.
    #[serde(deserialize_with = "checked::fs_types")]
    pub exclude_fs_types: Vec<String>,
}

/// Each key is checked where it is read, so that the host refuses a wrong one
/// with the whole file, before anything changes.
mod checked {
    use super::*;

    pub(super) fn timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HumanDuration, D::Error> {
        let timeout = HumanDuration::deserialize(deserializer)?;
        check_timeout(timeout).map_err(D::Error::custom)?;
        Ok(timeout)
    }

    macro_rules! patterns {
        ($($function:ident;)*) => {$(
            pub(super) fn $function<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
                let patterns = Vec::deserialize(deserializer)?;
                Excluded::of(&patterns).map_err(D::Error::custom)?;
                Ok(patterns)
            }
        )*};
    }
    patterns! {
        devices;
        interfaces;
        mount_points;
        fs_types;
    }
}

/// Of one key, which whoever reads the table names.
fn check_timeout(timeout: HumanDuration) -> Result<Duration, String> {
    if TIMEOUTS.contains(&timeout.0) {
        return Ok(timeout.0);
    }
    Err("must be between 10ms and 10s".to_owned())
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|&text| text.to_owned()).collect()
}

impl Default for Config {
    fn default() -> Self {
        Self {
            filesystem_timeout: HumanDuration(Duration::from_millis(250)),
            exclude_devices: texts(&["loop[0-9]+", "ram[0-9]+", "zram[0-9]+"]),
            exclude_interfaces: Vec::new(),
            exclude_mount_points: texts(&[
                "/(proc|sys|dev|run/credentials)(/.*)?",
                "/run/(containerd|docker|netns|k3s/containerd|crio|user/[0-9]+)/.+",
                "/var/lib/(docker|containerd|containers/storage|rancher/k3s/agent/containerd)/.+",
                "/var/lib/kubelet/(pods|plugins)/.+",
            ]),
            // What the kernel makes up, and images that are always full.
            exclude_fs_types: texts(&[
                "autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|efivarfs|fusectl|hugetlbfs|mqueue",
                "nsfs|proc|pstore|ramfs|rootfs|rpc_pipefs|securityfs|selinuxfs|smackfs|sysfs|tracefs|fuse\\.lxcfs",
                "erofs|iso9660|squashfs|fuse\\.(snapfuse|squashfuse|portal)",
            ]),
        }
    }
}

/// A configuration that was found good.
#[derive(Debug)]
pub struct Settings {
    /// See [`Config::filesystem_timeout`].
    pub filesystem_timeout: Duration,
    /// See [`Config::exclude_devices`].
    pub devices: Excluded,
    /// See [`Config::exclude_interfaces`].
    pub interfaces: Excluded,
    /// See [`Config::exclude_mount_points`].
    pub mount_points: Excluded,
    /// See [`Config::exclude_fs_types`].
    pub fs_types: Excluded,
}

impl Settings {
    /// Checks a configuration.
    ///
    /// # Errors
    /// One of the kind `Config`, which begins with the key.
    pub fn of(config: &Config) -> Result<Self, Error> {
        let at = |key: &'static str| move |why: String| Error::config(format!("{key}: {why}"));
        let excluded = |key, patterns: &[String]| Excluded::of(patterns).map_err(at(key));
        Ok(Self {
            filesystem_timeout: check_timeout(config.filesystem_timeout).map_err(at("filesystem_timeout"))?,
            devices: excluded("exclude_devices", &config.exclude_devices)?,
            interfaces: excluded("exclude_interfaces", &config.exclude_interfaces)?,
            mount_points: excluded("exclude_mount_points", &config.exclude_mount_points)?,
            fs_types: excluded("exclude_fs_types", &config.exclude_fs_types)?,
        })
    }
}

/// Names that are left out.
#[derive(Debug, Default)]
pub struct Excluded(Option<Regex>);

impl Excluded {
    fn of(patterns: &[String]) -> Result<Self, String> {
        if patterns.is_empty() {
            return Ok(Self(None));
        }
        // Each by itself first, so that the message names it, and so that an
        // unmatched bracket of one cannot be closed by another's.
        for (index, pattern) in patterns.iter().enumerate() {
            Regex::new(pattern).map_err(|error| {
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default();
                format!("[{index}]: {pattern:?} is no regular expression: {last}")
            })?;
        }
        let alternatives: Vec<String> = patterns.iter().map(|pattern| format!("(?:{pattern})")).collect();
        let whole = format!("^(?:{})$", alternatives.join("|"));
        let regex = Regex::new(&whole)
            .map_err(|error| format!("the patterns together are no regular expression: {error}"))?;
        Ok(Self(Some(regex)))
    }

    /// Whether a name is left out.
    pub fn contains(&self, name: &str) -> bool {
        self.0.as_ref().is_some_and(|regex| regex.is_match(name))
    }
}
