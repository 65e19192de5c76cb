//! What CRI-O says of pods and containers, where that is otherwise than what
//! containerd says. The facts: cri-o/cri-o, `server/container_status.go` and
//! `server/sandbox_status.go` (what an answer holds, and its JSON),
//! `pkg/annotations/internal.go` (its own annotations), and
//! `internal/config/cgmgr/systemd_linux.go` (cgroups), as of 1.31 to 1.34.

use crate::fake::{self, FakeContainer, Pod, id, labels, pod_id};
use serde_json::{Value, json};

/// What CRI-O calls an image in its store: no `sha256:` before it.
pub const IMAGE_ID: &str = "4cad75abc83d5ca6ee22053d85850676eaef657ee9d723d7bef61179e1e1e485";

/// The cgroup of a container of this pod, by systemd's driver. crun makes one
/// more in it, called `container`.
pub fn cgroup(uid: &str, container: &str) -> String {
    format!("{}/crio-{container}.scope", slice(uid))
}

/// Of the process that watches it, where `conmon_cgroup` is `pod`.
pub fn conmon_cgroup(uid: &str, container: &str) -> String {
    format!("{}/crio-conmon-{container}.scope", slice(uid))
}

/// Of a pod's sandbox that has no process: no scope, as systemd keeps none that
/// is empty.
pub fn sandbox_cgroup(uid: &str, sandbox: &str) -> String {
    format!("{}/crio-{sandbox}", slice(uid))
}

/// A pod's slice, with all above it.
pub fn slice(uid: &str) -> String {
    let uid = uid.replace('-', "_");
    format!("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{uid}.slice")
}

/// A pod. With `drop_infra_ctr`, which is so by default, nothing runs in its
/// sandbox, and its JSON has neither an image nor a process.
pub fn pod(number: usize, name: &str) -> Pod {
    let mut pod = fake::pod(number, name);
    let status = pod.status.status.as_mut().expect("it was just made");
    status.annotations = labels(&[
        ("kubernetes.io/config.seen", "2026-11-23T05:57:03.123456789Z"),
        ("kubernetes.io/config.source", "api"),
    ]);
    let info = json!({ "runtimeSpec": spec(&json!([]), &sandbox_annotations(number, name)) });
    pod.status.info = labels(&[("info", &info.to_string())]);
    pod
}

/// A pod with a process that holds its namespaces, as those that share one for
/// processes have it.
pub fn pod_with_infra(number: usize, name: &str, pid: u32) -> Pod {
    let mut pod = pod(number, name);
    let info = json!({
        "image": "registry.k8s.io/pause:3.10",
        "pid": pid,
        "runtimeSpec": spec(&json!(["PATH=/bin"]), &sandbox_annotations(number, name)),
    });
    pod.status.info = labels(&[("info", &info.to_string())]);
    pod
}

/// A running container of a pod.
pub fn container(number: usize, pod: usize, name: &str) -> FakeContainer {
    container_with(number, pod, name, 0)
}

/// One whose first process is this.
pub fn container_with(number: usize, pod: usize, name: &str, pid: u32) -> FakeContainer {
    let mut container = fake::container(number, pod, name);
    let status = container.status.status.as_mut().expect("it was just made");
    // Some name of the image, if it has one; what the pod asked for it does not say.
    IMAGE_ID.clone_into(&mut status.image_ref);
    IMAGE_ID.clone_into(&mut status.image_id);
    status.annotations = labels(&[
        ("io.kubernetes.container.hash", "8c1d1f3a"),
        ("io.kubernetes.container.restartCount", "0"),
        ("io.kubernetes.container.terminationMessagePath", "/dev/termination-log"),
        ("io.kubernetes.container.terminationMessagePolicy", "File"),
        ("io.kubernetes.pod.terminationGracePeriod", "30"),
    ]);
    let info = info(number, pod, name, pid).to_string();
    container.status.info = labels(&[("info", &info)]);
    container
}

/// A container's JSON.
pub fn info(number: usize, pod: usize, name: &str, pid: u32) -> Value {
    let annotations = json!({
        "io.container.manager": "cri-o",
        "io.kubernetes.container.name": name,
        "io.kubernetes.cri-o.ContainerID": id(number),
        "io.kubernetes.cri-o.ContainerType": "container",
        "io.kubernetes.cri-o.Image": IMAGE_ID,
        "io.kubernetes.cri-o.ImageName": "docker.io/library/nginx:1.27",
        "io.kubernetes.cri-o.ImageRef": IMAGE_ID,
        "io.kubernetes.cri-o.Labels": format!("{{\"io.kubernetes.container.name\":{name:?}}}"),
        "io.kubernetes.cri-o.SandboxID": pod_id(pod),
        "io.kubernetes.cri-o.Volumes": "[]",
        "org.systemd.property.CollectMode": "'inactive-or-failed'",
    });
    json!({
        "sandboxID": pod_id(pod),
        "pid": pid,
        "runtimeSpec": spec(&json!(["PATH=/bin", "HOSTNAME=web"]), &annotations),
        "privileged": false,
        // Where checkpoints are supported.
        "checkpointedAt": "0001-01-01T00:00:00Z",
        "restored": false,
    })
}

fn sandbox_annotations(number: usize, name: &str) -> Value {
    json!({
        "io.container.manager": "cri-o",
        "io.kubernetes.cri-o.ContainerID": pod_id(number),
        "io.kubernetes.cri-o.ContainerType": "sandbox",
        "io.kubernetes.cri-o.HostNetwork": "false",
        "io.kubernetes.cri-o.KubeName": name,
        "io.kubernetes.cri-o.SandboxID": pod_id(number),
        "org.systemd.property.CollectMode": "'inactive-or-failed'",
    })
}

/// As it is given to runc or crun.
fn spec(environment: &Value, annotations: &Value) -> Value {
    json!({
        "ociVersion": "1.2.0",
        "process": { "user": { "uid": 0, "gid": 0 }, "args": ["/pause"], "env": environment, "cwd": "/" },
        "root": { "path": "/var/lib/containers/storage/overlay/0a/merged", "readonly": true },
        "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
        "annotations": annotations,
        "linux": { "namespaces": [{ "type": "pid" }, { "type": "network", "path": "/var/run/netns/0a" }] },
    })
}
