//! Descriptions as containerd and CRI-O give them.

use super::*;
use crate::Containers;
use crate::cri::CONTAINERD;
use crate::cri::api::{ContainerMetadata, ImageSpec, SandboxMetadata};
use crate::cri::info;
use gantry_plugin_testkit::Kit;
use std::collections::BTreeMap;
use std::sync::Arc;

fn link() -> Link {
    let kit = Kit::of::<Containers>().with_path("proc", "/proc");
    Link::new(kit.host(), CONTAINERD, "cri", "/run/containerd/containerd.sock".into(), &[], Arc::default())
}

fn pod() -> Pod {
    let (namespace, name) = ("shop".to_owned(), "web-0".to_owned());
    Pod { namespace, name, uid: "0a1b".to_owned(), ..Pod::default() }
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn info_of(json: &str) -> Info {
    info::read(&map(&[("info", json)])).expect("it makes sense")
}

fn status() -> ContainerStatus {
    let image = ImageSpec { image: "sha256:5".to_owned(), ..ImageSpec::default() };
    ContainerStatus {
        id: "id".to_owned(),
        metadata: Some(ContainerMetadata { name: "nginx".to_owned() }),
        image: Some(image),
        image_ref: "docker.io/library/nginx@sha256:6".to_owned(),
        ..ContainerStatus::default()
    }
}

#[test]
fn what_runtimes_say_besides() {
    let pid = std::process::id();
    // As containerd writes it, with some of what is passed over.
    let json = format!(
        r#"{{"sandboxID":"s","pid":{pid},"removing":false,"snapshotter":"overlayfs","config":{{"metadata":
        {{"name":"nginx"}},"image":{{"image":"sha256:5","user_specified_image":"nginx:1.27"}}}},"runtimeSpec":
        {{"ociVersion":"1.0.2","process":{{"user":{{"uid":0}},"args":["nginx"],"env":["A=b=c","EMPTY=","NONE"]}}}}}}"#
    );
    let told = container(status(), info_of(&json), &pod(), &link());
    assert_eq!((told.image.as_str(), told.init.map(|init| init.pid)), ("nginx:1.27", Some(pid)));
    assert_eq!((told.environment["A"].as_str(), told.environment.len()), ("b=c", 2));
    for json in ["", "{", "{\"pid\":\"x\"}"] {
        assert!(info::read(&map(&[("info", json)])).is_none(), "{json}");
    }
    let unknown = info::read(&map(&[("other", "{")])).expect("nothing of it is read");
    assert_eq!((unknown.pid, unknown.sandbox.as_str()), (0, ""));
    assert_eq!(info_of(r#"{"pid":-1}"#).pid, -1);
}

#[test]
fn what_crio_says_besides() {
    let pid = std::process::id();
    let json = gantry_test_cri::crio::info(1, 1, "nginx", pid).to_string();
    let info = info_of(&json);
    assert_eq!((info.pid, &*info.sandbox), (i64::from(pid), &*gantry_test_cri::fake::pod_id(1)));
    // Of its image it says the name that it has in the store, and no digest of a registry.
    let image = ImageSpec { image: "quay.io/shop/web:2".to_owned(), ..ImageSpec::default() };
    let image_ref = gantry_test_cri::crio::IMAGE_ID.to_owned();
    let status = ContainerStatus { image: Some(image), image_ref, ..status() };
    let told = container(status, info, &pod(), &link());
    assert_eq!((&*told.image, told.init.map(|init| init.pid)), ("quay.io/shop/web:2", Some(pid)));
    assert_eq!((&*told.environment["HOSTNAME"], told.environment.len()), ("web", 2));
    // A sandbox in which nothing runs: no process, and no image.
    let dropped = gantry_test_cri::crio::pod(1, "web-0").status.info;
    let dropped = info::read(&dropped).expect("it makes sense");
    assert_eq!((dropped.pid, &*dropped.sandbox), (0, ""));
    let told =
        sandbox(SandboxStatus { id: "id".to_owned(), ..SandboxStatus::default() }, &dropped, &pod(), &link());
    assert_eq!((told.init, &*told.names["pod"]), (None, "web-0"));
    let held = gantry_test_cri::crio::pod_with_infra(1, "web-0", pid).status.info;
    assert_eq!(info::read(&held).expect("it makes sense").pid, i64::from(pid));
}

#[test]
fn images_are_what_was_asked_for() {
    let image = |image: &str, asked: &str| {
        let (image, user_specified_image) = (image.to_owned(), asked.to_owned());
        let image = Some(ImageSpec { image, user_specified_image });
        container(ContainerStatus { image, ..status() }, Info::default(), &pod(), &link()).image
    };
    assert_eq!(image("docker.io/library/nginx:1.27", ""), "docker.io/library/nginx:1.27");
    assert_eq!(image("sha256:5", "nginx"), "nginx");
    assert_eq!(image("", ""), "docker.io/library/nginx@sha256:6");
}

#[test]
fn what_made_the_pod_is_told_of_its_containers() {
    let labels = map(&[("pod-template-hash", "64cd4f9686"), ("app", "web")]);
    let metadata = SandboxMetadata { name: "web-64cd4f9686-mvtnb".to_owned(), ..SandboxMetadata::default() };
    let sandbox = SandboxStatus { metadata: Some(metadata), labels, ..SandboxStatus::default() };
    let told = container(status(), Info::default(), &Pod::of(&sandbox), &link());
    assert_eq!((&*told.names["owner"], &*told.names["owner_kind"]), ("web", "Deployment"));
}

#[test]
fn names_logs_and_times() {
    let labels = map(&[("io.kubernetes.container.name", "nginx"), ("odd", "é\n\"")]);
    let status = ContainerStatus {
        labels,
        log_path: "/var/log/pods/shop_web-0_0a1b/nginx/2.log".to_owned(),
        started_at: 1_795_413_424_999_999_999,
        ..status()
    };
    let told = container(status, Info::default(), &Pod { host_network: true, ..pod() }, &link());
    let names: Vec<(&str, &str)> =
        told.names.iter().map(|(kind, name)| (kind.as_str(), name.as_str())).collect();
    assert_eq!(
        names,
        [
            ("container", "nginx"),
            ("name", "nginx"),
            ("namespace", "shop"),
            ("pod", "web-0"),
            ("pod_uid", "0a1b")
        ]
    );
    assert_eq!((told.labels["odd"].as_str(), told.started_at), ("é\n\"", 1_795_413_424));
    assert_eq!((told.log_driver.as_str(), told.host_network), ("cri", true));
    assert!(told.log_path.ends_with("/nginx/2.log"));
    let bare = container(ContainerStatus::default(), Info::default(), &Pod::default(), &link());
    assert!(bare.names.is_empty() && bare.log_driver.is_empty() && bare.image.is_empty());
    let early = ContainerStatus { started_at: i64::MIN, ..ContainerStatus::default() };
    assert_eq!(container(early, Info::default(), &Pod::default(), &link()).started_at, 0);
}

#[test]
fn a_sandbox_is_no_container_whatever_its_labels_say() {
    let metadata = SandboxMetadata { name: "web-0".into(), uid: "0a1b".into(), namespace: "shop".into() };
    for labels in [
        &[("app", "web")][..],
        &[("io.kubernetes.container.name", "POD")],
        &[("io.kubernetes.container.name", "nginx")],
    ] {
        let status = SandboxStatus {
            id: "id".to_owned(),
            metadata: Some(metadata.clone()),
            created_at: 1_000_000_000,
            labels: map(labels),
            ..SandboxStatus::default()
        };
        let told = sandbox(status, &Info::default(), &pod(), &link());
        assert!(
            !told.names.contains_key("container")
                && !told.labels.contains_key("io.kubernetes.container.name")
        );
        assert_eq!((told.names["pod"].as_str(), told.started_at), ("web-0", 1));
    }
}

#[test]
fn too_much_is_cut() {
    let link = link();
    let long = "x".repeat(1 << 20);
    let mount = |number: usize| Mount { container_path: format!("/{number:04}"), ..Mount::default() };
    let status = ContainerStatus {
        labels: map(&[("long", &long), ("io.kubernetes.pod.name", "web-0")]),
        mounts: (0..300).map(mount).collect(),
        log_path: long.clone(),
        ..status()
    };
    let told = container(status, Info::default(), &pod(), &link);
    assert_eq!(
        (told.labels["long"].len(), told.log_path.len(), told.volumes.len()),
        (4096, 4096, MAX_VOLUMES)
    );
    assert_eq!(told.labels["io.kubernetes.pod.name"], "web-0");
}

#[test]
fn what_is_mounted() {
    let claim = "pvc-0a1b2c3d-0000-1111-2222-0123456789ab";
    let mount = |at: &str, host: &str| Mount {
        container_path: at.into(),
        host_path: host.into(),
        ..Mount::default()
    };
    let image = Some(ImageSpec { image: "registry.example/models:1".into(), ..ImageSpec::default() });
    let status = ContainerStatus {
        mounts: vec![
            mount("/claim", &format!("/var/lib/kubelet/pods/0a1b/volumes/kubernetes.io~csi/{claim}/mount")),
            Mount { image, readonly: true, ..mount("/models", "") },
            mount("/etc/hosts", "/var/lib/kubelet/pods/0a1b/etc-hosts"),
        ],
        ..status()
    };
    let told = container(status, Info::default(), &pod(), &link());
    let volumes: Vec<String> = told
        .volumes
        .iter()
        .map(|one| format!("{} {} {} {}", one.mount_point, one.kind, one.name, one.read_only))
        .collect();
    assert_eq!(
        volumes,
        [format!("/claim bind {claim} false"), "/etc/hosts bind  false".into(), "/models image  true".into()]
    );
    assert_eq!(told.volumes[2].source, "registry.example/models:1");
}
