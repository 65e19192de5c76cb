//! What nerdctl keeps in labels (nerdctl, `pkg/labels`): JSON of its own.
//! Whoever may set them may start containers.

use crate::provider::bounds::{Loss, Losses, MAX_NETWORKS, MAX_PORTS};
use crate::provider::link::Link;
use gantry_plugin_api::Container;
use gantry_plugin_api::identity::PublishedPort;
use gantry_plugin_api::serde::Deserialize;
use gantry_plugin_api::serde::de::DeserializeOwned;
use gantry_plugin_api::serde_json;
use std::collections::{BTreeMap, HashMap};

type Labels = BTreeMap<String, String>;

/// The container's name.
pub const NAME: &str = "nerdctl/name";
const MOUNTS: &str = "nerdctl/mounts";
const PORTS: &str = "nerdctl/ports";
const NETWORKS: &str = "nerdctl/networks";
/// Where it keeps the container's files.
const STATE_DIR: &str = "nerdctl/state-dir";
/// Since nerdctl 2.0.
const LOG_CONFIG: &str = "nerdctl/log-config";

/// The one log driver whose file can be read: it has one line a record.
const JSON_FILE: &str = "json-file";

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase", crate = "gantry_plugin_api::serde")]
struct Mount {
    name: String,
    destination: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase", crate = "gantry_plugin_api::serde")]
struct Port {
    host_port: i64,
    container_port: i64,
    protocol: String,
    #[serde(rename = "HostIP")]
    host_address: String,
}

#[derive(Deserialize, Default)]
#[serde(default, crate = "gantry_plugin_api::serde")]
struct LogConfig {
    driver: String,
    opts: HashMap<String, String>,
}

fn json<T: DeserializeOwned>(labels: &Labels, label: &str) -> Option<T> {
    serde_json::from_str(labels.get(label)?).ok()
}

/// The names of volumes, by where the container sees them.
pub fn volumes(labels: &Labels) -> HashMap<String, String> {
    let mounts: Vec<Mount> = json(labels, MOUNTS).unwrap_or_default();
    mounts.into_iter().map(|mount| (mount.destination, mount.name)).collect()
}

/// Ports, networks and the log.
pub fn add(labels: &Labels, id: &str, told: &mut Container, link: &Link) {
    let losses = link.losses();
    told.ports = ports(json(labels, PORTS).unwrap_or_default(), losses);
    let mut networks: Vec<String> = json(labels, NETWORKS).unwrap_or_default();
    networks.sort_unstable();
    let networks = networks.into_iter().map(|name| losses.text(name)).collect();
    told.networks = losses.list(networks, MAX_NETWORKS, Loss::Network);
    if let Some((driver, path)) = log(labels, id, |path| link.of_node(path).is_file()) {
        told.log_driver = losses.text(driver);
        told.log_path = losses.text(path);
    }
}

fn ports(all: Vec<Port>, losses: &Losses) -> Vec<PublishedPort> {
    let mut ports = Vec::new();
    for Port { host_port, container_port, protocol, host_address } in all {
        let (Ok(host_port), Ok(container_port)) = (host_port.try_into(), container_port.try_into()) else {
            losses.add(Loss::Port, 1);
            continue;
        };
        let mut port = PublishedPort::default();
        port.protocol = losses.text(protocol);
        port.host_address = losses.text(host_address);
        (port.host_port, port.container_port) = (host_port, container_port);
        ports.push(port);
    }
    losses.list(ports, MAX_PORTS, Loss::Port)
}

/// The driver and its file: `STATE-DIR/ID-json.log` of `json-file`. An older
/// nerdctl says the driver in a file alone; there it is this one where its file is.
fn log(labels: &Labels, id: &str, is_file: impl Fn(&str) -> bool) -> Option<(String, String)> {
    let directory = labels.get(STATE_DIR).filter(|path| path.starts_with('/'));
    let usual = directory.map(|directory| format!("{directory}/{id}-json.log"));
    let Some(LogConfig { driver, mut opts }) = json(labels, LOG_CONFIG) else {
        return usual.filter(|path| is_file(path)).map(|path| (JSON_FILE.to_owned(), path));
    };
    let own = opts.remove("log-path").filter(|path| path.starts_with('/'));
    let path = if driver == JSON_FILE { own.or(usual) } else { None };
    Some((driver, path.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn pair(driver: &str, path: &str) -> Option<(String, String)> {
        Some((driver.to_owned(), path.to_owned()))
    }

    #[test]
    fn logs_are_where_their_driver_writes() {
        let at = "/var/lib/nerdctl/1935db59/containers/default/abc";
        let file = format!("{at}/abc-json.log");
        let of = |config: Option<&str>, there: bool| {
            let mut labels = labels(&[(STATE_DIR, at)]);
            labels.extend(config.map(|config| (LOG_CONFIG.to_owned(), config.to_owned())));
            log(&labels, "abc", |path| there && path == file)
        };
        assert_eq!(of(Some(r#"{"driver":"json-file","opts":{}}"#), false), pair("json-file", &file));
        let elsewhere = r#"{"driver":"json-file","opts":{"log-path":"/srv/a.log"}}"#;
        assert_eq!(of(Some(elsewhere), false), pair("json-file", "/srv/a.log"));
        assert_eq!(of(Some(r#"{"driver":"journald"}"#), true), pair("journald", ""));
        assert_eq!((of(None, true), of(None, false)), (pair("json-file", &file), None));
        assert_eq!(of(Some("{"), false), None);
        assert_eq!(log(&labels(&[(STATE_DIR, "../x")]), "abc", |_| true), None);
    }

    #[test]
    fn volumes_and_ports_are_json() {
        let labels = labels(&[
            (MOUNTS, r#"[{"Type":"volume","Name":"data","Source":"/v","Destination":"/data","RW":true}]"#),
            (
                PORTS,
                r#"[{"HostPort":8080,"ContainerPort":80,"Protocol":"tcp","HostIP":"0.0.0.0"},{"HostPort":-1}]"#,
            ),
        ]);
        assert_eq!(volumes(&labels)["/data"], "data");
        let ports = ports(json(&labels, PORTS).expect("it is JSON"), &Losses::default());
        assert_eq!((ports.len(), ports[0].host_port, ports[0].container_port), (1, 8080, 80));
        assert_eq!((&*ports[0].protocol, &*ports[0].host_address), ("tcp", "0.0.0.0"));
        assert!(json::<Vec<Port>>(&labels, MOUNTS).is_some() && json::<Vec<Port>>(&labels, NAME).is_none());
    }
}
