//! Descriptions as Docker gives them.

use super::*;
use crate::Containers;
use gantry_plugin_testkit::Kit;
use std::sync::Arc;

fn link() -> Link {
    let kit = Kit::of::<Containers>().with_path("proc", "/proc");
    Link::new(kit.host(), "docker", "docker", "/run/docker.sock".into(), &[], Arc::default())
}

fn described(json: serde_json::Value) -> Container {
    inspected("id", serde_json::from_value(json).expect("a description"), &link())
}

#[test]
fn all_of_it() {
    let pid = std::process::id();
    let claim =
        "/var/lib/kubelet/pods/0/volumes/kubernetes.io~csi/pvc-0a1b2c3d-0000-1111-2222-0123456789ab/mount";
    let told = described(serde_json::json!({
        "Id": "x", "Name": "/we\"ird", "Image": "sha256:1",
        "LogPath": "/l.log",
        "State": { "Pid": pid, "StartedAt": "2026-11-23T05:57:04.1Z" },
        "Config": { "Image": "nginx", "Labels": { "a": "b\n\"" }, "Env": ["A=b=c", "EMPTY=", "NONE", "=x"] },
        "HostConfig": { "NetworkMode": "host", "LogConfig": { "Type": "json-file" }, "Tmpfs": { "/t": "" } },
        "Mounts": [
            { "Type": "volume", "Name": "data", "Source": "/v/data/_data", "Destination": "/data", "RW": true },
            { "Type": "bind", "Source": claim, "Destination": "/claim", "RW": false },
        ],
        "NetworkSettings": {
            "Ports": {
                "80/tcp": [{ "HostIp": "0.0.0.0", "HostPort": "8080" }, { "HostIp": "::", "HostPort": "8080" }],
                "53/udp": [{ "HostIp": "127.0.0.1", "HostPort": "5353" }],
                "443/tcp": null, "x/tcp": [{ "HostPort": "1" }], "1/tcp": [{ "HostPort": "" }],
            },
            "Networks": { "two": {}, "one": {} },
        },
    }));
    assert_eq!(told.names["name"], "we\"ird");
    assert_eq!((told.image.as_str(), told.labels["a"].as_str()), ("nginx", "b\n\""));
    assert_eq!(told.environment.len(), 3, "{:?}", told.environment.keys());
    assert_eq!((told.environment["A"].as_str(), told.environment["EMPTY"].as_str()), ("b=c", ""));
    assert_eq!((told.log_path.as_str(), told.log_driver.as_str()), ("/l.log", "json-file"));
    assert_eq!(told.init.map(|init| init.pid), Some(pid));
    assert!(told.host_network && told.started_at == 1_795_413_424);
    assert_eq!(told.networks, ["one", "two"]);
    let volume = |volume: &Volume| {
        format!("{} {} {} {}", volume.mount_point, volume.kind, volume.name, volume.read_only)
    };
    let volumes: Vec<String> = told.volumes.iter().map(volume).collect();
    assert_eq!(
        volumes,
        [
            "/claim bind pvc-0a1b2c3d-0000-1111-2222-0123456789ab true",
            "/data volume data false",
            "/t tmpfs  false"
        ]
    );
    let port = |port: &PublishedPort| {
        format!("{}:{}->{}/{}", port.host_address, port.host_port, port.container_port, port.protocol)
    };
    let ports: Vec<String> = told.ports.iter().map(port).collect();
    assert_eq!(ports, ["127.0.0.1:5353->53/udp", "0.0.0.0:8080->80/tcp", ":::8080->80/tcp"]);
}

#[test]
fn nothing_of_it() {
    for empty in [
        serde_json::json!({}),
        serde_json::json!({ "State": null, "Config": null, "HostConfig": null, "NetworkSettings": null, "Mounts": null }),
        serde_json::json!({ "Config": { "Labels": null, "Env": null }, "NetworkSettings": { "Ports": null, "Networks": null } }),
    ] {
        let told = described(empty);
        assert_eq!((told.runtime_id.as_str(), told.names.len(), told.init), ("id", 0, None));
    }
}

#[test]
fn logs_of_other_drivers_have_no_path() {
    let told = described(serde_json::json!({
        "LogPath": "/x", "HostConfig": { "LogConfig": { "Type": "local" } }, "Image": "sha256:1"
    }));
    assert_eq!(
        (told.log_path.as_str(), told.log_driver.as_str(), told.image.as_str()),
        ("", "local", "sha256:1")
    );
}

#[test]
fn a_row_tells_less() {
    let row = serde_json::json!({
        "Names": ["/other/alias", "/web"], "Image": "", "ImageID": "sha256:2", "Labels": { "a": "b" },
        "HostConfig": { "NetworkMode": "bridge" }, "NetworkSettings": { "Networks": { "bridge": {} } },
    });
    let told = listed("id", serde_json::from_value(row).expect("a row"), &link());
    assert_eq!(
        (told.names["name"].as_str(), told.image.as_str(), told.labels["a"].as_str()),
        ("web", "sha256:2", "b")
    );
    assert!(!told.host_network && told.networks == ["bridge"]);
}
