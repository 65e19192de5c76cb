//! What one container costs: to understand Docker's description of it and tell
//! the host, and the whole way over a socket.
#![allow(missing_docs, reason = "criterion's macros write undocumented items")]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use gantry_containers::Containers;
use gantry_containers::containerd::{api, spec::Spec};
use gantry_containers::cri;
use gantry_containers::docker::{RUNTIME, describe};
use gantry_containers::provider::link::Link;
use gantry_plugin_testkit::{Kit, NewContainer};
use gantry_test_docker::fake::{container, id};
use gantry_test_docker::{Fake, Request};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

/// As of a service: 20 labels, 30 variables, 3 volumes, a port.
fn description(number: usize) -> Value {
    let mut description = container(number, &format!("web-{number}"));
    let labels =
        (0..20).map(|at| (format!("org.example.label-{at}"), json!(format!("value {at}")))).collect();
    description["Config"]["Labels"] = Value::Object(labels);
    description["Config"]["Env"] = (0..30).map(|at| json!(format!("VARIABLE_{at}=value {at}"))).collect();
    description["Mounts"] = (0..3)
        .map(|at| json!({ "Type": "bind", "Source": format!("/srv/{at}"), "Destination": format!("/data/{at}"), "RW": true }))
        .collect();
    description["NetworkSettings"]["Ports"] =
        json!({ "80/tcp": [{ "HostIp": "0.0.0.0", "HostPort": "8080" }] });
    description["State"]["Pid"] = json!(std::process::id());
    description
}

fn understanding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("one container");
    let kit = Kit::of::<Containers>().with_path("proc", "/proc");
    let link = Link::new(kit.host(), RUNTIME, RUNTIME, "/run/docker.sock".into(), &[], Arc::default());
    let json = description(1).to_string();
    let parse = || serde_json::from_str(black_box(&json)).expect("a description");
    group.bench_function("parse", |bencher| {
        bencher.iter(|| -> bollard::models::ContainerInspectResponse { parse() });
    });
    group.bench_function("describe", |bencher| {
        bencher.iter_batched(
            parse,
            |parsed| describe::inspected(&id(1), parsed, &link),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("tell", |bencher| {
        let described = describe::inspected(&id(1), parse(), &link);
        bencher.iter_batched(
            || described.clone(),
            |described| {
                link.tell(described);
                link.flush();
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// The same container, as containerd says it over the CRI and over its own API.
fn containerd(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("one container of containerd");
    let kit = Kit::of::<Containers>().with_path("proc", "/proc");
    let link = |api| Link::new(kit.host(), "containerd", api, "/run/c.sock".into(), &[], Arc::default());
    let (over_cri, own) = (link("cri"), link("containerd"));
    let environment: Vec<String> = (0..30).map(|at| format!("VARIABLE_{at}=value {at}")).collect();
    let mounts = (0..3).map(|at| {
        json!({ "destination": format!("/data/{at}"), "type": "bind", "source": format!("/srv/{at}"), "options": ["rbind"] })
    });
    let spec = json!({
        "process": { "env": environment }, "mounts": mounts.collect::<Vec<_>>(),
        "linux": { "namespaces": [{ "type": "pid" }, { "type": "network" }] },
    });
    let labels: BTreeMap<String, String> =
        (0..20).map(|at| (format!("org.example.label-{at}"), format!("value {at}"))).collect();
    let info = json!({ "pid": std::process::id(), "sandboxID": id(2), "runtimeSpec": spec }).to_string();
    let info = BTreeMap::from([("info".to_owned(), info)]);
    let status = cri::api::ContainerStatus { id: id(1), labels: labels.clone(), ..Default::default() };
    let pod = cri::pods::Pod::default();
    group.bench_function("over the CRI", |bencher| {
        bencher.iter_batched(
            || status.clone(),
            |status| {
                let info = cri::info::read(black_box(&info)).expect("it makes sense");
                cri::describe::container(status, info, &pod, &over_cri)
            },
            BatchSize::SmallInput,
        );
    });
    let plain = api::Container {
        id: id(1),
        labels,
        image: "docker.io/library/nginx:1.27".to_owned(),
        spec: Some(api::Any {
            type_url: "types.containerd.io/opencontainers/runtime-spec/1/Spec".to_owned(),
            value: spec.to_string().into_bytes(),
        }),
    };
    let process = api::Process { pid: std::process::id(), status: 2 };
    group.bench_function("over its own API", |bencher| {
        bencher.iter_batched(
            || (plain.clone(), process.clone()),
            |(plain, process)| {
                let spec = Spec::read(black_box(plain.spec.as_ref())).expect("it makes sense");
                gantry_containers::containerd::describe::container("shop", plain, spec, Some(process), &own)
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn whole_way(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("over a socket");
    let kit = Kit::of::<Containers>();
    kit.tree().dir("run");
    let fake = Fake::start(&kit.tree().path("run/docker.sock"));
    fake.put(description(1));
    let running = kit.start("").expect("it starts");
    fake.wait_listeners(1);
    let wanted = kit.identity().appear(NewContainer::new("/x").runtime(RUNTIME, &id(1)));
    // The host's wish, the thread that hears it, the one that asks, Docker's
    // answer, and the host's being told.
    group.bench_function("wanted to told", |bencher| {
        bencher.iter(|| {
            kit.provided().clear();
            kit.identity().want_metadata(wanted);
            kit.provided().wait_for(|_| true).expect("it is told")
        });
    });
    assert!(fake.asked(Request::Inspect) > 1);
    group.finish();
    drop(running);
}

criterion_group!(benches, understanding, containerd, whole_way);
criterion_main!(benches);
