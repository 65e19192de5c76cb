//! Ids of all schemes, and names that mean no good.

use super::text::{bounded, marked, part};
use super::*;
use crate::identity::path::{Place, UserSlices, classify};
use std::collections::HashMap;

const DIGEST: &str = "3726184226f5d3147c25fdeab5b60097e378e8a720503a5e19ecfdf29f869860";
const OTHER: &str = "3e74d3fd9db4c9dd921ae05c2502fb984d0cde1b36e581b13f79c639da4518a1";

/// The minutes since the epoch in 28283967 are these seconds.
const NOW: u64 = 28_283_967 * 60 + 30;

fn found(path: &str) -> Found {
    match classify(path, UserSlices::Shown) {
        Place::Container(found) => found,
        Place::Nobody => panic!("nobody's: {path}"),
    }
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn container(names: &[(&str, &str)], labels: &[(&str, &str)]) -> Container {
    let mut container = Container::default();
    container.names = map(names);
    container.labels = map(labels);
    container
}

fn named(path: &str, container: &Container) -> Named {
    let environment = BTreeMap::new();
    name(&found(path), Known { metadata: Some(container), environment: &environment, now: NOW })
}

fn docker(names: &[(&str, &str)], labels: &[(&str, &str)]) -> Named {
    named(&format!("/docker/{DIGEST}"), &container(names, labels))
}

fn of_pod(namespace: &str, pod: &str, name: &str) -> Container {
    let labels = [
        ("io.kubernetes.pod.namespace", namespace),
        ("io.kubernetes.pod.name", pod),
        ("io.kubernetes.container.name", name),
    ];
    container(&[("name", "k8s_something")], &labels)
}

fn k8s(namespace: &str, pod: &str, name: &str) -> Named {
    let path = format!("/kubepods/besteffort/pod3d274242-8ee0-11e9-a8a6-1e68d864ef1a/{DIGEST}");
    named(&path, &of_pod(namespace, pod, name))
}

#[test]
fn without_metadata_the_runtime_s_own_id_is_shown() {
    let environment = BTreeMap::new();
    let known = Known { metadata: None, environment: &environment, now: NOW };
    assert_eq!(name(&found(&format!("/docker/{DIGEST}")), known).id, format!("/docker/{DIGEST}"));
    assert_eq!(docker(&[], &[]).id, format!("/docker/{DIGEST}"), "metadata that say nothing");
    assert_eq!(name(&found("/lxc/web"), known).id, "/lxc/web");
    let pod = name(&found("/kubepods/besteffort/pod3d274242-8ee0-11e9-a8a6-1e68d864ef1a"), known);
    assert_eq!((pod.id.as_str(), pod.skipped), ("", Some(NO_ID)));
}

#[test]
fn a_name_is_the_runtime_s() {
    assert_eq!(docker(&[("name", "/web-1")], &[]), Named { id: "/docker/web-1".into(), ..Named::default() });
    assert_eq!(docker(&[("name", "web-1")], &[]).id, "/docker/web-1");
    let podman = format!("/machine.slice/libpod-{DIGEST}.scope");
    assert_eq!(named(&podman, &container(&[("name", "web")], &[])).id, "/podman/web");
    let nerdctl = format!("/default/{DIGEST}");
    assert_eq!(named(&nerdctl, &container(&[], &[("nerdctl/name", "web")])).id, "/containerd/web");
    let other = [("nerdctl/name", "web"), ("nerdctl/namespace", "dev")];
    assert_eq!(named(&nerdctl, &container(&[], &other)).id, "/containerd/dev/web");
    let plain = container(&[("name", "redis"), ("containerd_namespace", "shop")], &[]);
    assert_eq!(named(&nerdctl, &plain).id, "/containerd/shop/redis");
    assert_eq!(named("/default/redis", &container(&[("name", "redis")], &[])).id, "/containerd/redis");
    let mut elsewhere = plain;
    elsewhere.runtime = "containerd".to_owned();
    assert_eq!(named(&format!("/shop/{DIGEST}"), &elsewhere).id, "/containerd/shop/redis");
    let mut told = container(&[("name", "web")], &[]);
    told.runtime = "podman".to_owned();
    assert_eq!(
        named(&format!("/my-parent/{DIGEST}"), &told).id,
        "/podman/web",
        "who knows the name knows the runtime"
    );
    told.runtime = "../etc".to_owned();
    assert_eq!(named(&format!("/my-parent/{DIGEST}"), &told).id, "/docker/web");
}

#[test]
fn a_pod_s_container_has_its_place_in_the_cluster() {
    let web = k8s("default", "web-64cd4f9686-mvtnb", "nginx");
    assert_eq!(web.id, "/k8s/default/web-64cd4f9686-mvtnb/nginx");
    assert_eq!((web.app_id.as_str(), web.shared, web.skipped), ("/k8s/default/web", false, None));
    let names = container(&[("namespace", "default"), ("pod", "web-0"), ("container", "nginx")], &[]);
    assert_eq!(
        named(&format!("/kubepods/x/{DIGEST}"), &names).id,
        "/k8s/default/web-0/nginx",
        "from a provider's names"
    );
    assert_eq!(k8s("", "web-0", "nginx").id, "/k8s/_/web-0/nginx");
    assert_eq!(k8s("default", "", "nginx").id, "/kubernetes/k8s_something", "no pod");
}

#[test]
fn pause_containers_are_skipped_but_sandboxes_are_not() {
    for name in ["POD", ""] {
        assert_eq!(k8s("default", "web-0", name).skipped, Some(PAUSE));
    }
    let mut sandbox = of_pod("default", "web-0", "x");
    sandbox.labels.insert("io.cri-containerd.kind".into(), "sandbox".into());
    let path = format!("/kubepods/besteffort/pod3d274242-8ee0-11e9-a8a6-1e68d864ef1a/{DIGEST}");
    assert_eq!(named(&path, &sandbox).skipped, Some(PAUSE));
    let gvisor = found(&path).in_sandbox(DIGEST);
    let environment = BTreeMap::new();
    let known = Known { metadata: Some(&sandbox), environment: &environment, now: NOW };
    let gvisor = name(&gvisor, known);
    assert_eq!((gvisor.id.as_str(), gvisor.skipped), ("/k8s/default/web-0/sandbox", None));
    assert_eq!(
        identity_key(&found(&path), Some(&sandbox)),
        found(&path).key,
        "a pause container is no pod's container"
    );
}

#[test]
fn runs_of_a_cronjob_share_an_id() {
    let run = k8s("default", "hello-28283967-khz2f", "xz");
    assert_eq!((run.id.as_str(), run.shared), ("/k8s-cronjob/default/hello/xz", true));
    assert_eq!(run.app_id, "/k8s-cronjob/default/hello");
    let week = 7 * 24 * 60;
    for (minutes, near) in [
        (28_283_967 - week, true),
        (28_283_967 - week - 1, false),
        (28_283_967 + week, true),
        (28_283_967 + week + 1, false),
    ] {
        let pod = format!("hello-{minutes}-khz2f");
        assert_eq!(k8s("default", &pod, "xz").id.starts_with("/k8s-cronjob/"), near, "{pod}");
    }
    for pod in [
        "hello-2828396-khz2f",
        "hello-28283967-khz2",
        "hello-28283967-KHZ2F",
        "-28283967-khz2f",
        "hello-+8283967-khz2f",
    ] {
        assert!(k8s("default", pod, "xz").id.starts_with("/k8s/"), "{pod}");
    }
    assert_eq!(
        k8s("default", "hello-20000000-khz2f", "xz").app_id,
        "/k8s/default/hello",
        "as a Deployment's, far from now"
    );
}

#[test]
fn an_application_is_what_made_the_pod() {
    for (pod, app) in [
        ("otel-demo-frauddetectionservice-64cd4f9686-mvtnb", "otel-demo-frauddetectionservice"),
        ("coroot-node-agent-np9pk", "coroot-node-agent"),
        ("pyroscope-df884bb79-hhxtv", "pyroscope"),
        ("cassandra-main-12", "cassandra-main"),
        ("my.app-5d8f-x2x4z", "my.app"),
        ("web", ""),
        ("web-nginx", ""),
        ("etcd-minikube", ""),
        ("-12", ""),
        ("web-", ""),
    ] {
        let expected = if app.is_empty() { String::new() } else { format!("/k8s/default/{app}") };
        assert_eq!(k8s("default", pod, "c").app_id, expected, "{pod}");
    }
}

#[test]
fn what_a_provider_knows_of_a_pod_s_owner_goes_before_its_name() {
    let app = |pod: &str, kind: &str, owner: &str| {
        let mut container = of_pod("default", pod, "c");
        container.names.extend(map(&[("owner_kind", kind), ("owner", owner)]));
        named(&format!("/kubepods/x/{DIGEST}"), &container)
    };
    for (pod, kind, owner, app_id) in [
        // Here the guess is right as well.
        ("web-64cd4f9686-mvtnb", "Deployment", "web", "/k8s/default/web"),
        ("agent-np9pk", "DaemonSet", "agent", "/k8s/default/agent"),
        ("db-12", "StatefulSet", "db", "/k8s/default/db"),
        ("migrate-0-mvtnb", "Job", "migrate", "/k8s/default/migrate"),
        // Nobody made it.
        ("foo-2", "Pod", "foo-2", ""),
        // Names by which nothing can be told.
        ("web-5d8fbbbbbbb-mvtnb", "Deployment", "web", "/k8s/default/web"),
        ("web-abc-np9pk", "DaemonSet", "web-abc", "/k8s/default/web-abc"),
    ] {
        let named = app(pod, kind, owner);
        assert_eq!((named.id, named.app_id), (format!("/k8s/default/{pod}/c"), app_id.to_owned()), "{pod}");
    }
    // A template's digest that looks like a run's time.
    let (job, web) = ("hello-28283967-khz2f", "/k8s/default/hello-28283967-khz2f/c");
    assert_eq!(app(job, "CronJob", "hello").id, "/k8s-cronjob/default/hello/c");
    assert_eq!(app(job, "Deployment", "hello").id, web);
    assert_eq!(app(job, "Deployment", "hello").app_id, "/k8s/default/hello");
}

#[test]
fn swarm_tasks_are_known_by_their_replica() {
    let labels = [
        ("com.docker.stack.namespace", "shop"),
        ("com.docker.swarm.service.name", "shop_web"),
        ("com.docker.swarm.task.name", "shop_web.3.w0g2kv1k3c0v"),
        ("com.docker.swarm.node.id", "node1"),
    ];
    let web = docker(&[("name", "/shop_web.3.w0g2kv1k3c0v")], &labels);
    assert_eq!(
        (web.id.as_str(), web.app_id.as_str(), web.shared),
        ("/swarm/shop/web/3", "/swarm/shop/web", true)
    );
    let alone = [("com.docker.swarm.service.name", "web"), ("com.docker.swarm.task.name", "web.node7.w0g2k")];
    assert_eq!(docker(&[], &alone).id, "/swarm/_/web/node7");
    let node = [("com.docker.swarm.service.name", "web"), ("com.docker.swarm.node.id", "node1")];
    assert_eq!(docker(&[], &node).id, "/swarm/_/web/node1");
    assert_eq!(docker(&[], &node[..1]).id, "/swarm/_/web/_");
}

#[test]
fn nomad_needs_all_five_variables() {
    const ALLOC: &str = "bd759fed-5e8d-90b4-2110-94d5f79737a8";
    let five = [
        ("NOMAD_NAMESPACE", "default"),
        ("NOMAD_JOB_NAME", "shop"),
        ("NOMAD_GROUP_NAME", "web"),
        ("NOMAD_ALLOC_ID", ALLOC),
        ("NOMAD_TASK_NAME", "nginx"),
    ];
    let expected = format!("/nomad/default/shop/web/{ALLOC}/nginx");
    let mut task = container(&[("name", "/nginx-bd759fed")], &[]);
    task.environment = map(&five);
    assert_eq!(named(&format!("/docker/{DIGEST}"), &task).id, expected);
    for missing in 0..five.len() {
        let mut four = five.to_vec();
        four.remove(missing);
        task.environment = map(&four);
        assert_eq!(named(&format!("/docker/{DIGEST}"), &task).id, "/docker/nginx-bd759fed");
    }
    // A task without a runtime: its own environment, where it fits its cgroup.
    let environment = map(&five);
    let known = Known { metadata: None, environment: &environment, now: NOW };
    let own = |task: &str| name(&found(&format!("/nomad.slice/share.slice/{ALLOC}.{task}.scope")), known).id;
    assert_eq!(own("nginx"), expected);
    assert_eq!(own("other"), format!("/nomad/{ALLOC}.other"), "another's variables");
    assert_eq!(
        name(&found(&format!("/docker/{DIGEST}")), known).id,
        format!("/docker/{DIGEST}"),
        "a process may say anything"
    );
}

#[test]
fn an_ecs_task_s_containers_have_a_readable_id() {
    let labels = [
        ("com.amazonaws.ecs.cluster", "arn:aws:ecs:eu-west-1:123456789012:cluster/prod"),
        ("com.amazonaws.ecs.container-name", "nginx"),
        (
            "com.amazonaws.ecs.task-arn",
            "arn:aws:ecs:eu-west-1:123456789012:task/prod/5a0d5ceddf6c44c1928d367a815d890f",
        ),
        ("com.amazonaws.ecs.task-definition-family", "web"),
    ];
    let web = docker(&[("name", "/ecs-web-7-nginx-a0b1c2")], &labels);
    assert_eq!(web.id, "/ecs/prod/web/5a0d5ceddf6c44c1928d367a815d890f/nginx");
    assert_eq!(web.app_id, "/ecs/prod/web/nginx");
    assert_eq!(docker(&[], &labels[1..3]).id, "/ecs/_/_/5a0d5ceddf6c44c1928d367a815d890f/nginx");
    assert_eq!(docker(&[("name", "/x")], &labels[..2]).id, "/docker/x", "no task");
    let mut pause = labels;
    pause[1].1 = "~internal~ecs~pause";
    assert_eq!(docker(&[], &pause).skipped, Some(PAUSE));
}

#[test]
fn a_user_s_container_takes_no_name_of_the_node_s() {
    let path = format!("/user.slice/user-1000.slice/user@1000.service/libpod-{DIGEST}.scope");
    let stolen = of_pod("default", "web-0", "nginx");
    // Its own name, among the user's; no place in the cluster.
    assert_eq!(named(&path, &stolen).id, "/podman/user-1000/k8s_something");
    assert_eq!(named(&path, &container(&[], &[])).id, format!("/podman/user-1000/{DIGEST}"));
    assert_eq!(identity_key(&found(&path), Some(&stolen)), found(&path).key);
}

#[test]
fn a_pod_s_container_stays_itself_when_started_again() {
    let path = |digest| format!("/kubepods/besteffort/pod3d274242-8ee0-11e9-a8a6-1e68d864ef1a/{digest}");
    let (one, again) = (found(&path(DIGEST)), found(&path(OTHER)));
    let web = of_pod("default", "web-0", "nginx");
    assert_ne!(identity_key(&one, None), identity_key(&again, None));
    assert_eq!(identity_key(&one, Some(&web)), identity_key(&again, Some(&web)));
    assert_ne!(identity_key(&one, Some(&web)), identity_key(&one, Some(&of_pod("default", "web-0", "side"))));
    assert_ne!(identity_key(&one, Some(&web)), identity_key(&one, Some(&of_pod("other", "web-0", "nginx"))));
    let plain = container(&[("name", "/web")], &[]);
    assert_ne!(
        identity_key(&one, Some(&plain)),
        identity_key(&again, Some(&plain)),
        "elsewhere it is a new one"
    );
}

#[test]
fn units_that_could_be_mistaken_are_shared() {
    let environment = BTreeMap::new();
    let known = Known { metadata: None, environment: &environment, now: NOW };
    let escaped = name(&found("/system.slice/home\\x2duser.mount"), known);
    let plain = name(&found("/system.slice/home-user.mount"), known);
    assert_eq!((escaped.id.as_str(), escaped.shared), ("/system.slice/home-user.mount", true));
    assert_eq!((plain.id.as_str(), plain.shared), ("/system.slice/home-user.mount", false));
    let user = found("/user.slice/user-1000.slice/user@1000.service/app.slice/my\\x2dapp.service");
    assert_eq!(name(&user, known).id, "/user.slice/user-1000.slice/my-app.service");
    assert!(name(&user, known).shared);
}

#[test]
fn names_cannot_forge_ids() {
    let forged = docker(&[("name", "/../k8s/default/web-0/nginx")], &[]).id;
    assert_eq!(forged.matches('/').count(), 2, "{forged}");
    assert!(forged.starts_with("/docker/.._k8s_default_web-0_nginx~"), "{forged}");
    assert_ne!(docker(&[("name", "a/b")], &[]).id, docker(&[("name", "a_b")], &[]).id);
    assert_ne!(docker(&[("name", "a/b")], &[]).id, docker(&[("name", "a\nb")], &[]).id);
    let copy = forged.strip_prefix("/docker/").expect("it begins so").to_owned();
    assert_ne!(docker(&[("name", &copy)], &[]).id, forged, "the result itself as a name");
    let short_lived = docker(&[("name", "~short-lived")], &[]).id;
    assert!(!short_lived.contains("/~"), "{short_lived}");
    let nerdctl = container(&[], &[("nerdctl/name", "web"), ("nerdctl/namespace", "user-1000")]);
    assert_ne!(named(&format!("/default/{DIGEST}"), &nerdctl).id, "/containerd/user-1000/web");
    for odd in ["", ".", "..", "_"] {
        let part = part(odd);
        assert!(part == "_" && odd.is_empty() || part.contains('~'), "{odd:?} is {part:?}");
    }
    assert_eq!(part("we\"b é"), "we\"b é", "quotes are escaped where they are written");
}

#[test]
fn long_names_are_cut_and_stay_two() {
    let long = "é".repeat(2048);
    let (one, two) =
        (docker(&[("name", &format!("{long}1"))], &[]).id, docker(&[("name", &format!("{long}2"))], &[]).id);
    assert_ne!(one, two);
    assert!(one.len() <= 8 + 255 && one.starts_with("/docker/é"), "{one}");
    let parts = [("a", "b"), ("b", "a")].map(|(first, last)| {
        let long = "x".repeat(250);
        k8s(&format!("{first}{long}"), &long, &format!("{long}{last}")).id
    });
    assert_ne!(parts[0], parts[1]);
    assert!(parts.iter().all(|id| id.len() <= 512), "{parts:?}");
    let most = format!("/k8s/{}/{}/{}", "n".repeat(63), "p".repeat(253), "c".repeat(63));
    assert_eq!(bounded(most.clone()), most, "what Kubernetes allows is never cut");
    assert_eq!(marked("x"), marked("x"), "the same at each start");
}

/// Names that were made to be mistaken for each other.
const NASTY: [&str; 16] = [
    "a",
    "b",
    "a/b",
    "a_b",
    "a~b",
    "",
    "_",
    "/",
    "//",
    "..",
    "web-1",
    "/web-1",
    "user-1000",
    "~short-lived",
    "a\n",
    "POD",
];

#[test]
fn no_two_containers_have_one_id() {
    let mut ids: HashMap<String, Key> = HashMap::new();
    let mut see = |found: &Found, container: &Container| {
        let environment = BTreeMap::new();
        let named = name(found, Known { metadata: Some(container), environment: &environment, now: NOW });
        assert!(named.id.len() <= 512 && named.app_id.len() <= 512);
        if named.skipped.is_some() {
            return;
        }
        assert_ne!(named.app_id, named.id);
        let key = identity_key(found, Some(container));
        let before = ids.insert(named.id.clone(), key.clone());
        assert!(named.shared || before.is_none_or(|before| before == key), "{:?} of {container:?}", named.id);
    };
    let digest = |n: usize| format!("{n:064x}");
    let mut n = 0;
    for one in NASTY {
        see(&found(&format!("/lxc.payload.{}", one.replace('/', "-") + "x")), &Container::default());
        for two in NASTY {
            for three in NASTY {
                n += 1;
                if !two.is_empty() {
                    see(&found(&format!("/kubepods/x/{}", digest(n))), &of_pod(one, two, three));
                }
                let labels = [
                    ("com.amazonaws.ecs.task-arn", one),
                    ("com.amazonaws.ecs.container-name", two),
                    ("com.amazonaws.ecs.cluster", three),
                ];
                // An ARN's last part alone counts.
                if !labels.iter().any(|(_, value)| value.contains('/') || matches!(*value, "" | "_")) {
                    see(&found(&format!("/ecs/{}", digest(n + 1_000_000))), &container(&[], &labels));
                }
            }
            // One daemon gives each name once; with and without a slash it is the same.
            if !one.starts_with('/') && !one.is_empty() && !two.is_empty() && two != "default" {
                n += 1;
                let labels = [("nerdctl/name", one), ("nerdctl/namespace", two)];
                see(&found(&format!("/default/{}", digest(n))), &container(&[], &labels));
            }
        }
        if !one.starts_with('/') {
            n += 1;
            see(&found(&format!("/docker/{}", digest(n))), &container(&[("name", one)], &[]));
            let user = format!("/user.slice/user-1000.slice/docker-{}.scope", digest(n));
            see(&found(&user), &container(&[("name", one)], &[]));
        }
    }
    assert!(ids.len() > 4000, "{}", ids.len());
}
