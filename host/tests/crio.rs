//! The whole agent beside a runtime that answers as CRI-O does, and cgroups as
//! systemd makes them for it.

mod support;

use gantry_test_cri::Fake;
use gantry_test_cri::crio;
use gantry_test_cri::fake::{FakeContainer, Pod, id, pod_id};
use support::agent::Agent;
use support::cgroup::{Cgroup, Member, hierarchies};
use support::private_dir;
use support::series::{scrape_until, value};

use std::path::Path;

const USAGE: &str = "container_resources_cpu_usage_seconds_total";
const LIMIT: &str = "container_resources_memory_limit_bytes";
const BINDING_LIMIT: &str = "container_resources_memory_binding_limit_bytes";
const RESTARTS: &str = "container_restarts_total";
const BUSY: &str = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; exec sleep 1000";

/// CRI-O and an agent that asks it, which shows containers as soon as they have
/// their names. `None` where the test must be skipped; it was said.
fn begin() -> Option<(Fake, Agent)> {
    Cgroup::new()?;
    let dir = private_dir();
    let fake = Fake::crio(&dir.path().join("crio.sock"));
    let plugins = format!(
        "[plugins.containers]\nenabled = true\n\
         config.docker.enabled = false\nconfig.podman.enabled = false\nconfig.systemd.enabled = false\n\
         config.containerd.enabled = false\n\
         config.cri = {{ socket = {:?}, deadline = \"20s\" }}\n",
        dir.path().join("crio.sock")
    );
    let host = "[host.identity]\nmetadata_wait = \"30s\"\nmin_container_age = \"0s\"";
    Some((fake, Agent::start_in(dir, host, &plugins)))
}

/// A number of this test's own, of which ids and uids are made.
fn number(of: usize) -> usize {
    usize::try_from(std::process::id()).expect("a number") * 100 + of
}

fn uid(number: usize) -> String {
    format!("8d1a1f0e-5c1e-4f0a-9d5a-{number:012x}")
}

/// A pod of this name.
fn pod(number: usize, name: &str) -> Pod {
    let mut pod = crio::pod(number, name);
    let metadata = pod.status.status.as_mut().and_then(|status| status.metadata.as_mut());
    metadata.expect("it was just made").uid = uid(number);
    pod
}

/// A running container of the pod.
fn container(number: usize, pod: usize, name: &str, process: &Member) -> FakeContainer {
    let mut container = crio::container_with(number, pod, "nginx", process.0.id());
    let status = container.status.status.as_mut().expect("it was just made");
    status.labels.insert("io.kubernetes.pod.name".to_owned(), name.to_owned());
    container
}

/// Tells of a container, as CRI-O does when it is made and started.
fn put(fake: &Fake, number: usize, container: FakeContainer) {
    fake.put(container);
    [0, 1].into_iter().for_each(|kind| fake.event(kind, &id(number)));
}

fn of(text: &str, name: &str, id: &str) -> Option<f64> {
    value(text, name, &[("container_id", id)])
}

/// Whether a cgroup is in each hierarchy.
fn is_there(path: &str) -> bool {
    hierarchies().iter().all(|root| root.join(path.trim_start_matches('/')).is_dir())
}

/// Takes a pod's slice away, and those above it where nobody else is in them.
fn remove_slices(uid: &str) {
    let slice = crio::slice(uid);
    for root in hierarchies() {
        for directory in
            Path::new(slice.trim_start_matches('/')).ancestors().filter(|path| path.parent().is_some())
        {
            // Another test's may be in it.
            let _ = std::fs::remove_dir(root.join(directory));
        }
    }
}

#[test]
fn a_pod_s_containers_have_its_name_and_nothing_else_is_shown() {
    let Some((fake, agent)) = begin() else { return };
    let (pod_number, first, second) = (number(1), number(2), number(3));
    let (name, uid) = ("web-7d4b9c6f5-x2x7k", uid(pod_number));
    fake.put_pod(pod(pod_number, name));
    let sandbox = Cgroup::at(&crio::sandbox_cgroup(&uid, &pod_id(pod_number)));
    let conmon = Cgroup::at(&crio::conmon_cgroup(&uid, &id(first)));
    let watcher = conmon.spawn(&["/bin/sh", "-c", BUSY]);
    let cgroup = Cgroup::at(&crio::cgroup(&uid, &id(first)));
    let process = cgroup.spawn(&["/bin/sh", "-c", BUSY]);
    put(&fake, first, container(first, pod_number, name, &process));

    let (shown, app) = (format!("/k8s/shop/{name}/nginx"), "/k8s/shop/web");
    let raw = id(first);
    let runtime = [("container_id", &*shown), ("app_id", app), ("runtime", "crio"), ("runtime_id", &*raw)];
    let text = scrape_until(&agent, "it is shown with its name and what it used", |text| {
        of(text, USAGE, &shown).is_some_and(|seconds| seconds > 0.005)
            && value(text, "container_runtime_info", &runtime) == Some(1.0)
    });
    let image = [("container_id", &*shown), ("image", "docker.io/library/nginx:1.27")];
    assert_eq!(value(&text, "container_info", &image), Some(1.0), "{text}");
    assert_eq!(of(&text, RESTARTS, &shown), Some(0.0));
    let up = [("runtime", "crio"), ("api", "cri")];
    assert_eq!(value(&text, "container_runtime_up", &up), Some(1.0), "{text}");
    let used = of(&text, USAGE, &shown).expect("it is shown");

    // What the kubelet does when a container ended. crun has one more cgroup in the scope.
    drop(process);
    cgroup.remove();
    fake.remove(&id(first));
    fake.event(3, &id(first));
    let scope = Cgroup::at(&crio::cgroup(&uid, &id(second)));
    let inner = Cgroup::at(&format!("{}/container", crio::cgroup(&uid, &id(second))));
    let process = inner.spawn(&["/bin/sleep", "1000"]);
    put(&fake, second, container(second, pod_number, name, &process));
    let text = scrape_until(&agent, "it was started again", |text| of(text, RESTARTS, &shown) == Some(1.0));
    assert!(of(&text, USAGE, &shown).is_some_and(|seconds| seconds >= used), "its counters go on: {text}");
    let hidden = [id(first), id(second), pod_id(pod_number), "conmon".to_owned()];
    for hidden in hidden.iter().map(|hidden| format!("container_id=\"/crio/{hidden}")) {
        assert!(!text.contains(&hidden), "{hidden}: {text}");
    }
    assert!(!text.contains("crio-conmon"), "what watches it is no container: {text}");
    drop((process, inner, scope, watcher, conmon, sandbox));
    remove_slices(&uid);
}

#[test]
fn a_pod_that_is_made_anew_goes_on_while_its_old_cgroup_lingers() {
    let Some((fake, agent)) = begin() else { return };
    let [old, new, first, second] = [11, 12, 13, 14].map(number);
    let (name, shown) = ("db-0", "/k8s/shop/db-0/nginx");
    fake.put_pod(pod(old, name));
    let cgroup = Cgroup::at(&crio::cgroup(&uid(old), &id(first)));
    cgroup.allow_memory(128 << 20);
    let process = cgroup.spawn(&["/bin/sh", "-c", BUSY]);
    put(&fake, first, container(first, old, name, &process));
    let text = scrape_until(&agent, "it is shown with what it used", |text| {
        of(text, USAGE, shown).is_some_and(|seconds| seconds > 0.005)
    });
    let used = of(&text, USAGE, shown).expect("it is shown");

    // Nobody removes its cgroup yet.
    let mut ended = container(first, old, name, &process);
    ended.state = 2;
    drop(process);
    put(&fake, first, ended);
    fake.put_pod(pod(new, name));
    let another = Cgroup::at(&crio::cgroup(&uid(new), &id(second)));
    another.allow_memory(96 << 20);
    let process = another.spawn(&["/bin/sleep", "1000"]);
    put(&fake, second, container(second, new, name, &process));
    let text = scrape_until(&agent, "it runs again", |text| of(text, RESTARTS, shown) == Some(1.0));
    assert!(is_there(&cgroup.path()), "it lingers");
    let meanwhile = of(&text, USAGE, shown).expect("it is shown");
    assert!(meanwhile >= used, "{used}: {text}");
    // And it stays so.
    for _ in 0..3 {
        let text = agent.scrape();
        assert!(of(&text, USAGE, shown).is_some_and(|seconds| seconds >= meanwhile), "{meanwhile}: {text}");
        assert_eq!(of(&text, RESTARTS, shown), Some(1.0), "{text}");
        for limit in [LIMIT, BINDING_LIMIT] {
            assert_eq!(of(&text, limit, shown), Some(f64::from(96 << 20)), "of the new one alone: {text}");
        }
    }
    assert!(is_there(&cgroup.path()), "it lingers");

    cgroup.remove();
    assert!(!is_there(&crio::cgroup(&uid(old), &id(first))));
    for gone in [id(first), pod_id(old)] {
        fake.remove(&gone);
        fake.event(3, &gone);
    }
    let raw = id(second);
    let runtime = [("container_id", shown), ("runtime", "crio"), ("runtime_id", &*raw)];
    let text = scrape_until(&agent, "the new one stays", |text| {
        value(text, "container_runtime_info", &runtime) == Some(1.0)
    });
    assert!(of(&text, USAGE, shown).is_some_and(|seconds| seconds >= meanwhile), "{meanwhile}: {text}");
    assert_eq!(of(&text, RESTARTS, shown), Some(1.0), "{text}");
    drop((process, another));
    [old, new].into_iter().for_each(|number| remove_slices(&uid(number)));
}
