//! The plugin's configuration, and what is made of it.

use crate::counts::Limits;
use crate::destination::{Network, Rules};
use crate::latency;
use gantry_plugin_api::schemars::JsonSchema;
use gantry_plugin_api::serde::de::Error as _;
use gantry_plugin_api::serde::{Deserialize, Deserializer, Serialize};
use gantry_plugin_api::{ByteSize, Error, HumanDuration};
use std::ops::RangeInclusive;
use std::time::Duration;

/// What the kernel has where nobody set it (`net/ipv4/af_inet.c`).
const EPHEMERAL: RangeInclusive<u16> = 32768..=60999;

const RINGS: RangeInclusive<u64> = (256 << 10)..=(64 << 20);

/// The configuration of the `tcp-ebpf` plugin.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "gantry_plugin_api::serde")]
#[schemars(crate = "gantry_plugin_api::schemars")]
pub struct Config {
    /// Destinations of one container that have series of their own; the others
    /// are counted together as `~other`.
    pub max_destinations: u32,
    /// The same of all containers together.
    pub max_destinations_in_all: u32,
    /// How long a destination is remembered to which nothing is open and
    /// nothing happens. One minute at least.
    #[serde(deserialize_with = "checked::idle")]
    pub idle: HumanDuration,
    /// Ports from which clients connect, as `32768-60999`: connections to them
    /// do not count. Empty: the machine's own range, as far as it lies within the
    /// kernel's default of 32768-60999, since one that was widened has services in it.
    #[serde(deserialize_with = "checked::ports")]
    pub ephemeral_ports: String,
    /// Ports of that range at which somebody serves.
    pub served_ports: Vec<u16>,
    /// Public addresses that count. Private ones always do.
    #[serde(deserialize_with = "checked::networks")]
    pub public_networks: Vec<String>,
    /// Whether connects that the application itself gave up count in
    /// `container_net_tcp_failed_connects_total`, as in coroot-node-agent.
    pub count_aborted: bool,
    /// The kernel's buffer of events: 256KiB to 64MiB.
    #[serde(deserialize_with = "checked::ring")]
    pub ring: ByteSize,
    /// Whether the kernel measures how long each program runs, for the view
    /// `programs`. It measures all BPF programs of the machine then, at some 50 ns a run.
    pub measure_programs: bool,
    /// Whether the kernel's connection tracking is listened to, for who really answers
    /// where a destination is translated.
    pub translations: bool,
    /// Whether destinations are asked for how far away they are, by ICMP echoes from the
    /// container's own network namespace.
    pub latency: bool,
    /// How often each of them is: 1s to 10m.
    #[serde(deserialize_with = "checked::latency_interval")]
    pub latency_interval: HumanDuration,
    /// How many are asked at most, of all containers together.
    pub max_latency_destinations: u32,
    /// Whether programs are loaded at all; without, connections are looked at
    /// only when metrics are collected.
    pub ebpf: bool,
}

/// Each key is checked where it is read, so that the host refuses a wrong one
/// with the whole file, before anything changes.
mod checked {
    use super::*;

    pub(super) fn idle<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HumanDuration, D::Error> {
        let idle = HumanDuration::deserialize(deserializer)?;
        check_idle(idle).map(|_| idle).map_err(D::Error::custom)
    }
    pub(super) fn latency_interval<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<HumanDuration, D::Error> {
        let interval = HumanDuration::deserialize(deserializer)?;
        check_latency_interval(interval).map(|_| interval).map_err(D::Error::custom)
    }
    pub(super) fn ports<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        let ports = String::deserialize(deserializer)?;
        check_ports(&ports).map(|_| ports).map_err(D::Error::custom)
    }
    pub(super) fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
        let networks = Vec::deserialize(deserializer)?;
        check_networks(&networks).map(|_| networks).map_err(D::Error::custom)
    }
    pub(super) fn ring<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
        let ring = ByteSize::deserialize(deserializer)?;
        check_ring(ring).map(|_| ring).map_err(D::Error::custom)
    }
}

fn check_idle(idle: HumanDuration) -> Result<Duration, Error> {
    if idle.0 < Duration::from_secs(60) {
        return Err(Error::config("idle: must be 1m at least: a scrape may come once a minute"));
    }
    Ok(idle.0)
}

fn check_latency_interval(interval: HumanDuration) -> Result<Duration, Error> {
    if (Duration::from_secs(1)..=Duration::from_secs(600)).contains(&interval.0) {
        return Ok(interval.0);
    }
    Err(Error::config("latency_interval: must be between 1s and 10m"))
}

fn check_ports(text: &str) -> Result<Option<RangeInclusive<u16>>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    let range = text.split_once('-').and_then(|(from, to)| Some(from.parse().ok()?..=to.parse().ok()?));
    match range {
        Some(range) if !range.is_empty() => Ok(Some(range)),
        _ => Err(Error::config(format!("ephemeral_ports: {text:?} is no range such as 32768-60999"))),
    }
}

fn check_networks(texts: &[String]) -> Result<Vec<Network>, Error> {
    let network = |(index, text): (usize, &String)| {
        Network::parse(text).ok_or_else(|| {
            Error::config(format!("public_networks[{index}]: {text:?} is no network such as 192.0.2.0/24"))
        })
    };
    texts.iter().enumerate().map(network).collect()
}

fn check_ring(ring: ByteSize) -> Result<u32, Error> {
    match u32::try_from(ring.0) {
        Ok(bytes) if RINGS.contains(&ring.0) => Ok(bytes.next_power_of_two()),
        _ => Err(Error::config("ring: must be between 256KiB and 64MiB")),
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_destinations: 1000,
            max_destinations_in_all: 20_000,
            idle: HumanDuration(Duration::from_secs(600)),
            ephemeral_ports: String::new(),
            served_ports: vec![50051],
            public_networks: vec!["0.0.0.0/0".to_owned(), "::/0".to_owned()],
            count_aborted: false,
            ring: ByteSize(4 << 20),
            measure_programs: false,
            translations: true,
            latency: true,
            latency_interval: HumanDuration(Duration::from_secs(15)),
            max_latency_destinations: 1000,
            ebpf: true,
        }
    }
}

/// A configuration that was found good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// See [`Config::max_destinations`] and [`Config::max_destinations_in_all`].
    pub limits: Limits,
    /// See [`Config::idle`].
    pub idle: Duration,
    /// What counts.
    pub rules: Rules,
    /// See [`Config::count_aborted`].
    pub count_aborted: bool,
    /// A power of two.
    pub ring: u32,
    /// See [`Config::measure_programs`].
    pub measure: bool,
    /// See [`Config::ebpf`].
    pub ebpf: bool,
    /// See [`Config::translations`].
    pub translations: bool,
    /// See [`Config::latency`]; none: nobody is asked.
    pub latency: Option<latency::Settings>,
}

impl Settings {
    /// Checks a configuration. `local_ports` is the text of
    /// `net/ipv4/ip_local_port_range`.
    ///
    /// # Errors
    /// One of the kind `Config`, which begins with the key.
    pub fn of(config: &Config, local_ports: Option<&str>, host_netns: u32) -> Result<Self, Error> {
        let own = || {
            let mut numbers = local_ports?.split_ascii_whitespace().map(str::parse);
            let (from, to): (u16, u16) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
            // One that lies elsewhere altogether leaves no port: then all count.
            Some(from.max(*EPHEMERAL.start())..=to.min(*EPHEMERAL.end()))
        };
        let rules = Rules {
            ephemeral: check_ports(&config.ephemeral_ports)?.or_else(own).unwrap_or(EPHEMERAL),
            served: config.served_ports.clone(),
            public: check_networks(&config.public_networks)?,
            host_netns,
        };
        Ok(Self {
            limits: Limits { each: config.max_destinations, all: config.max_destinations_in_all },
            idle: check_idle(config.idle)?,
            rules,
            count_aborted: config.count_aborted,
            ring: check_ring(config.ring)?,
            measure: config.measure_programs,
            ebpf: config.ebpf,
            translations: config.translations,
            latency: config.latency.then_some(latency::Settings {
                interval: check_latency_interval(config.latency_interval)?,
                most: config.max_latency_destinations as usize,
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_s_own_range_counts_within_the_default_unless_another_is_given() {
        let of = |config: &Config, ports| Settings::of(config, ports, 0).expect("good").rules.ephemeral;
        let default = Config::default();
        assert_eq!(of(&default, None), EPHEMERAL);
        assert_eq!(of(&default, Some("1024\t65535\n")), EPHEMERAL);
        assert_eq!(of(&default, Some("40000\t65535\n")), 40000..=60999);
        assert!(of(&default, Some("1024\t20000\n")).is_empty());
        assert_eq!(of(&default, Some("nothing")), EPHEMERAL);
        let own = Config { ephemeral_ports: "1024-65535".to_owned(), ..default };
        assert_eq!(of(&own, Some("40000\t50000\n")), 1024..=65535);
    }

    #[test]
    fn what_is_wrong_names_its_key() {
        for (json, key) in [
            (r#"{"idle": "59s"}"#, "idle"),
            (r#"{"ephemeral_ports": "5-4"}"#, "ephemeral_ports"),
            (r#"{"ephemeral_ports": "all"}"#, "ephemeral_ports"),
            (r#"{"public_networks": ["::/0", "10.0.0.0"]}"#, "public_networks[1]"),
            (r#"{"latency_interval": "0s"}"#, "latency_interval"),
            (r#"{"latency_interval": "11m"}"#, "latency_interval"),
            (r#"{"ring": "1KiB"}"#, "ring"),
            (r#"{"ring": "1GiB"}"#, "ring"),
        ] {
            let error = serde_json::from_str::<Config>(json).expect_err(json).to_string();
            assert!(error.starts_with(key), "{json}: {error}");
        }
        let odd: Config = serde_json::from_str(r#"{"ring": "3MiB"}"#).expect("good");
        assert_eq!(Settings::of(&odd, None, 0).expect("good").ring, 4 << 20);
    }
}
