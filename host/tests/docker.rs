//! The whole agent beside a real Docker: names, figures and lives of containers.

mod support;

use gantry_test_docker::{Docker, IMAGE};
use std::path::PathBuf;
use support::agent::{Agent, sample};
use support::process::runners;
use support::prometheus::Prometheus;
use support::series::{label_names, scrape_until, value};
use support::{needs, private_dir};

/// An agent that shows containers as soon as they have their names.
fn agent(docker: &Docker, identity: &str) -> Agent {
    let socket = docker.socket();
    let plugins = format!(
        "[plugins.node]\nenabled = true\n[plugins.containers]\nenabled = true\n\
         config.docker = {{ socket = {socket:?}, deadline = \"20s\" }}\n"
    );
    Agent::start_in(private_dir(), &format!("[host.identity]\nmetadata_wait = \"30s\"\n{identity}"), &plugins)
}

const AT_ONCE: &str = "min_container_age = \"0s\"";

fn pid(docker: &Docker, container: &str) -> String {
    docker.run(&["inspect", "-f", "{{.State.Pid}}", container])
}

/// A file of the container's cgroup, from the hierarchy of the first version
/// that has this controller, or else the second.
fn cgroup_file(docker: &Docker, container: &str, controller: &str, file: [&str; 2]) -> String {
    let lines = std::fs::read_to_string(format!("/proc/{}/cgroup", pid(docker, container))).expect("it runs");
    let path = |wanted: &str| {
        let mut entries = lines.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
        entries.find(|(names, _)| names.split(',').any(|name| name == wanted)).map(|(_, path)| path)
    };
    let root = PathBuf::from("/sys/fs/cgroup");
    let (directory, file) = match path(controller) {
        Some(path) => (root.join(controller).join(path.trim_start_matches('/')), file[0]),
        None => (root.join(path("").expect("one of them").trim_start_matches('/')), file[1]),
    };
    let file = directory.join(file);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Seconds of CPU time that the kernel says the container used.
fn cpu_seconds(docker: &Docker, container: &str) -> f64 {
    let text = cgroup_file(docker, container, "cpuacct", ["cpuacct.usage", "cpu.stat"]);
    match text.lines().find_map(|line| line.strip_prefix("usage_usec ")) {
        Some(micros) => micros.parse::<f64>().expect("a number") / 1e6,
        None => text.trim().parse::<f64>().expect("a number") / 1e9,
    }
}

const BUSY: &str = "while true; do :; done";

#[test]
fn names_limits_and_figures_are_those_of_docker_and_the_kernel() {
    let Some(docker) = Docker::start() else { return };
    let agent = agent(&docker, AT_ONCE);
    let limits = ["run", "-d", "--network", "none", "--name", "limited", "--memory", "64m", "--cpus", "0.5"];
    let volumes = ["-v", "data:/data", "-v", "/etc:/host etc:ro", "--label", "odd=\"a\"\n\\b"];
    docker.run(&[&limits[..], &volumes, &[IMAGE, "sh", "-c", BUSY]].concat());
    docker.container(&["--network", "host", "--name", "0dd_Na.me-1"]);
    let id = ("container_id", "/docker/limited");
    let of = |text: &str, name: &str| value(text, name, &[id]);
    let throttled = "container_resources_cpu_throttled_seconds_total";
    let scraped = scrape_until(&agent, "both are shown, and one is throttled", |text| {
        of(text, throttled).is_some_and(|seconds| seconds > 0.1)
            && value(text, "container_info", &[("container_id", "/docker/0dd_Na.me-1")]).is_some()
    });
    let gauge = |name: &str| of(&scraped, name).unwrap_or_else(|| panic!("no {name}:\n{scraped}"));
    let inspected = |field: &str| -> f64 {
        docker.run(&["inspect", "-f", &format!("{{{{{field}}}}}"), "limited"]).parse().expect("a number")
    };
    assert_eq!(gauge("container_resources_memory_limit_bytes"), inspected(".HostConfig.Memory"));
    assert_eq!(gauge("container_resources_cpu_limit_cores"), inspected(".HostConfig.NanoCpus") / 1e9);
    assert_eq!(gauge("container_resources_memory_binding_limit_bytes"), f64::from(64 << 20));
    assert_eq!(gauge("container_restarts_total"), inspected(".RestartCount"));
    let info = &[id, ("image", IMAGE), ("systemd_triggered_by", ""), ("systemd_type", "")];
    assert_eq!(value(&scraped, "container_info", info), Some(1.0));
    let raw = docker.run(&["inspect", "-f", "{{.Id}}", "limited"]);
    let info = &[id, ("runtime", "docker"), ("runtime_id", &raw), ("name", "limited")];
    assert_eq!(value(&scraped, "container_runtime_info", info), Some(1.0));
    let volume = &[id, ("mount_point", "/data"), ("volume", "data")];
    assert!(value(&scraped, "container_resources_disk_size_bytes", volume).is_some_and(|size| size > 1e6));

    // It runs on meanwhile: what is shown lies between two looks at the kernel.
    let usage = "container_resources_cpu_usage_seconds_total";
    let before = cpu_seconds(&docker, "limited");
    let shown = of(&agent.scrape(), usage).expect("it runs");
    let after = cpu_seconds(&docker, "limited");
    assert!((before..=after).contains(&shown), "{before} {shown} {after}");
    // One that sleeps has the same at any time.
    let idle = cpu_seconds(&docker, "0dd_Na.me-1");
    let other = [("container_id", "/docker/0dd_Na.me-1")];
    assert_eq!(value(&agent.scrape(), usage, &other), Some(idle));
    let memory = cgroup_file(&docker, "0dd_Na.me-1", "memory", ["memory.stat", "memory.stat"]);
    let cache = memory.lines().find_map(|line| {
        line.strip_prefix("total_cache ").or_else(|| line.strip_prefix("file "))?.parse::<f64>().ok()
    });
    assert_eq!(value(&agent.scrape(), "container_resources_memory_cache_bytes", &other), cache);
}

#[test]
fn one_that_lives_for_moments_is_folded_in_the_next_scrape() {
    let Some(docker) = Docker::start() else { return };
    let agent = agent(&docker, "");
    agent.scrape();
    let script = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done";
    docker.run(&["run", "--rm", "--network", "none", "--name", "moment", IMAGE, "sh", "-c", script]);
    let text = agent.scrape();
    let folded = &[("container_id", "/docker/~short-lived")];
    // The first of all shows that it began at 0.
    assert_eq!(value(&text, "container_resources_cpu_usage_seconds_total", folded), Some(0.0), "{text}");
    let text = agent.scrape();
    let used = value(&text, "container_resources_cpu_usage_seconds_total", folded);
    assert!(used.is_some_and(|seconds| seconds > 0.005), "{used:?}:\n{text}");
    assert!(!text.contains("/docker/moment"), "{text}");
    // A program that ends at once: what its runtime used for it is counted, or said to be lost.
    let told = |text: &str| {
        let unread = &[("plugin", "containers"), ("reason", "cgroup_gone_unread")];
        let used = value(text, "container_resources_cpu_usage_seconds_total", folded).unwrap_or_default();
        used + value(text, "gantry_samples_skipped_total", unread).unwrap_or_default()
    };
    let before = told(&text);
    docker.run(&["run", "--rm", "--network", "none", IMAGE, "sh", "-c", ":"]);
    let text = agent.scrape();
    assert!(told(&text) > before + 0.001, "{before}:\n{text}");
    // Those of other tests are among them.
    assert!(sample(&text, "gantry_identity_folded_total").is_some_and(|count| count >= 1.0));
}

#[test]
fn a_restart_goes_on_and_a_new_one_of_the_same_name_begins_at_zero() {
    let Some(docker) = Docker::start() else { return };
    let agent = agent(&docker, AT_ONCE);
    docker.run(&["run", "-d", "--network", "none", "--name", "web", IMAGE, "sh", "-c", BUSY]);
    let id = &[("container_id", "/docker/web")];
    let usage = "container_resources_cpu_usage_seconds_total";
    let seconds = |text: &str| value(text, usage, id);
    let restarts = |text: &str| value(text, "container_restarts_total", id);
    scrape_until(&agent, "it is shown", |text| seconds(text).is_some_and(|used| used > 0.2));
    docker.run(&["restart", "-t", "0", "web"]);
    let text = scrape_until(&agent, "its restart", |text| restarts(text) == Some(1.0));
    assert!(seconds(&text).is_some_and(|used| used > 0.2), "its counters go on: {:?}", seconds(&text));
    docker.run(&["rm", "-f", "web"]);
    assert!(seconds(&agent.scrape()).is_some(), "its last values stay");
    docker.container(&["--network", "none", "--name", "web"]);
    let text = scrape_until(&agent, "the new one is shown", |text| restarts(text) == Some(0.0));
    assert!(seconds(&text).is_none_or(|used| used < 0.2), "another container: {:?}", seconds(&text));
}

#[test]
fn names_stay_when_the_provider_is_disabled_or_docker_dies() {
    let Some(mut docker) = Docker::start() else { return };
    let agent = agent(&docker, AT_ONCE);
    docker.container(&["--network", "none", "--name", "before"]);
    let usage = |text: &str, id: &str| {
        value(text, "container_resources_cpu_usage_seconds_total", &[("container_id", id)])
    };
    scrape_until(&agent, "it is shown", |text| usage(text, "/docker/before").is_some());
    docker.kill_daemon();
    scrape_until(&agent, "Docker is away", |text| {
        value(text, "container_runtime_up", &[("runtime", "docker")]) == Some(0.0)
    });
    assert!(usage(&agent.scrape(), "/docker/before").is_some());
    let ids = |agent: &Agent| -> Vec<String> {
        let rows = agent.table(&["containers", "--where", "runtime=docker"]);
        rows.iter().map(|row| row["id"].as_str().expect("an id").to_owned()).collect()
    };
    assert!(ids(&agent).contains(&"/docker/before".to_owned()), "{:?}", ids(&agent));
    agent.good(&["disable", "containers"]);
    assert!(ids(&agent).contains(&"/docker/before".to_owned()), "{:?}", ids(&agent));
    agent.good(&["enable", "containers"]);
    scrape_until(&agent, "it is shown again", |text| usage(text, "/docker/before").is_some());
}

#[test]
fn names_stay_when_the_provider_is_restarted_and_upgraded() {
    let Some(docker) = Docker::start() else { return };
    let dir = private_dir();
    let file = support::copy_to(dir.path(), &support::library("containers"));
    let socket = docker.socket();
    let plugins = format!(
        "[plugins.containers]\nenabled = true\npath = {file:?}\nisolation = \"none\"\n\
         config.docker = {{ socket = {socket:?}, deadline = \"20s\" }}\n"
    );
    let host = format!("[host.identity]\nmetadata_wait = \"30s\"\n{AT_ONCE}");
    let agent = Agent::start_in(dir, &host, &plugins);
    docker.container(&["--network", "none", "--name", "kept"]);
    let usage = |text: &str| {
        value(text, "container_resources_cpu_usage_seconds_total", &[("container_id", "/docker/kept")])
    };
    scrape_until(&agent, "it is shown", |text| usage(text).is_some());
    let id = docker.run(&["inspect", "-f", "{{.Id}}", "kept"]);
    let stays = |what: &str| {
        // Another one's name says that the next generation is at work.
        docker.container(&["--network", "none", "--name", what]);
        let other = format!("/docker/{what}");
        let ids = || agent.table(&["containers", "--where", "runtime=docker"]);
        scrape_until(&agent, "the provider tells names again", |text| {
            assert!(
                !text.contains(&format!("/docker/{}", id.trim())),
                "under its raw id after {what}:\n{text}"
            );
            ids().iter().any(|row| row["id"] == other)
        });
        let ids = ids();
        assert!(ids.iter().any(|row| row["id"] == "/docker/kept"), "{what}: {ids:?}");
        scrape_until(&agent, "its series go on", |text| usage(text).is_some());
    };
    agent.good(&["restart", "containers"]);
    stays("restarted");
    // What stands behind a library's end is not looked at, and makes it another file.
    let mut bytes = std::fs::read(&file).expect("the plugin");
    bytes.extend_from_slice(b"another build");
    let beside = file.with_extension("new");
    support::write_library(&beside, &bytes);
    std::fs::rename(beside, &file).expect("own directory");
    let digest = agent.plugin("containers")["digest"].clone();
    agent.good(&["reload"]);
    assert_ne!(agent.plugin("containers")["digest"], digest, "it is another generation");
    stays("upgraded");
}

#[test]
fn names_stay_when_the_provider_crashes() {
    let Some(docker) = Docker::start() else { return };
    let socket = docker.socket();
    let plugins = format!(
        "[plugins.containers]\nenabled = true\nisolation = \"process\"\n\
         config.docker = {{ socket = {socket:?}, deadline = \"20s\" }}\n"
    );
    let config = format!("[host.identity]\nmetadata_wait = \"30s\"\n{AT_ONCE}");
    let config = Agent::configuration(&config, "") + &plugins;
    let mut agent = Agent::start_over(support::agent::gantry(), private_dir(), &config);
    docker.container(&["--network", "none", "--name", "kept"]);
    let usage = |text: &str| {
        value(text, "container_resources_cpu_usage_seconds_total", &[("container_id", "/docker/kept")])
    };
    let before = scrape_until(&agent, "it is shown", |text| usage(text).is_some());
    let id = docker.run(&["inspect", "-f", "{{.Id}}", "kept"]);
    let raw = format!("/docker/{}", id.trim());
    let child = runners(agent.pid(), "containers")[0];
    let pid = rustix::process::Pid::from_raw(child.cast_signed()).expect("a process has a number");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it runs");
    agent.wait_until("another process takes its place", |agent| {
        assert!(!agent.scrape().contains(&raw), "it is shown under its raw id");
        runners(agent.pid(), "containers").iter().any(|runner| *runner != child)
    });
    // Known to the host alone while nobody provides names.
    let ids = agent.table(&["containers", "--where", "runtime=docker"]);
    assert!(ids.iter().any(|row| row["id"] == "/docker/kept"), "{ids:?}");
    docker.container(&["--network", "none", "--name", "later"]);
    let text = scrape_until(&agent, "the provider tells names again", |text| {
        assert!(!text.contains(&raw), "it is shown under its raw id");
        text.contains("container_id=\"/docker/later\"") && usage(text).is_some()
    });
    assert!(usage(&text) >= usage(&before), "its counters go on");
}

#[test]
fn a_workload_opts_out_by_the_environment_that_docker_was_told() {
    let Some(docker) = Docker::start() else { return };
    let agent = agent(&docker, AT_ONCE);
    let run = |name: &str, variable: &str| {
        docker.container(&["--network", "none", "--name", name, "-e", variable]);
    };
    run("shown", "GANTRY_DISABLE=logs");
    run("quiet", "GANTRY_DISABLE=containers");
    run("traced", "COROOT_EBPF_TRACES=disabled");
    run("logged", "COROOT_LOG_MONITORING=disabled");
    let usage = |text: &str, name: &str| {
        let id = format!("/docker/{name}");
        value(text, "container_resources_cpu_usage_seconds_total", &[("container_id", &id)])
    };
    let text = scrape_until(&agent, "all others are shown", |text| {
        ["shown", "traced", "logged"].iter().all(|name| usage(text, name).is_some())
    });
    assert!(usage(&text, "quiet").is_none() && !text.contains("/docker/quiet"), "{text}");
    for (name, expected) in [
        ("shown", "yes, but not by logs"),
        ("quiet", "yes, but not by containers"),
        ("traced", "yes, but not by traces"),
        ("logged", "yes, but not by logs"),
    ] {
        let rows = agent.table(&["containers", "--where", &format!("id=/docker/{name}")]);
        assert_eq!(rows[0]["shown"].as_str(), Some(expected), "{name}");
    }
}

/// Families with the labels that coroot-node-agent gives them, sorted, besides
/// those that are of every container.
const KNOWN: [(&str, &[&str]); 14] = [
    ("container_info", &["image", "systemd_triggered_by", "systemd_type"]),
    ("container_restarts_total", &[]),
    ("container_application_type", &["application_type"]),
    ("container_resources_cpu_limit_cores", &[]),
    ("container_resources_cpu_usage_seconds_total", &[]),
    ("container_resources_cpu_throttled_seconds_total", &[]),
    ("container_resources_memory_limit_bytes", &[]),
    ("container_resources_memory_rss_bytes", &[]),
    ("container_resources_memory_cache_bytes", &[]),
    ("container_resources_cpu_pressure_waiting_seconds_total", &["kind"]),
    ("container_resources_memory_pressure_waiting_seconds_total", &["kind"]),
    ("container_resources_io_pressure_waiting_seconds_total", &["kind"]),
    ("container_resources_disk_size_bytes", &["device", "mount_point", "volume"]),
    ("container_resources_disk_used_bytes", &["device", "mount_point", "volume"]),
];

const OF_EVERY_CONTAINER: [&str; 4] = ["app_id", "container_id", "machine_id", "system_uuid"];

#[test]
fn a_prometheus_stores_the_families_and_labels_that_dashboards_know() {
    if !needs::program("prometheus") {
        return;
    }
    let Some(docker) = Docker::start() else { return };
    let agent = agent(&docker, AT_ONCE);
    let limits = ["run", "-d", "--network", "none", "--name", "web", "--memory", "64m", "--cpus", "0.5"];
    // Its entry point is a shell that becomes the server: `httpd` is one of the application types.
    let script = "echo ready; sleep 1; exec httpd -f -p 8080";
    docker.run(&[&limits[..], &["-v", "data:/data", IMAGE, "sh", "-c", script]].concat());
    let all = |text: &str| KNOWN.iter().all(|(name, _)| label_names(text, name).is_some());
    let text = scrape_until(&agent, "every family is there", all);
    for (name, labels) in KNOWN {
        let mut wanted: Vec<&str> = labels.iter().copied().chain(OF_EVERY_CONTAINER).collect();
        wanted.sort_unstable();
        assert_eq!(label_names(&text, name).expect("it is there"), wanted, "{name}");
    }
    let data = private_dir();
    let mut prometheus = Prometheus::scraping(agent.address, data.path());
    for (name, _) in KNOWN {
        let query = format!("count({name}{{container_id=\"/docker/web\"}})");
        prometheus.wait_for(&query, std::time::Duration::from_secs(60), |count| count >= 1.0);
    }
    let warnings = prometheus.warnings();
    assert!(warnings.is_empty(), "{warnings:#?}");
}
