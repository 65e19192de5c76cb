//! The whole agent beside a real Docker: names, figures and lives of containers.

mod support;

use gantry_test_docker::{Docker, IMAGE};
use support::agent::{Agent, sample};
use support::cgroup::Cgroup;
use support::kernel::{Disk, Kernel, agree};
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

/// The kernel's files of a container that runs.
fn kernel(docker: &Docker, container: &str) -> Kernel {
    Kernel::of(pid(docker, container).parse().expect("a number"))
}

const BUSY: &str = "while true; do :; done";

#[test]
fn names_limits_and_figures_are_those_of_docker_and_the_kernel() {
    let Some(docker) = Docker::start() else { return };
    let disk = Disk::of(docker.dir());
    if !needs::have("a disk below /tmp", disk.is_some()) {
        return;
    }
    let disk = disk.expect("just looked");
    let agent = agent(&docker, AT_ONCE);
    let limits = ["run", "-d", "--network", "none", "--name", "limited", "--memory", "64m", "--cpus", "0.1"];
    let volumes = ["-v", "data:/data", "-v", "/etc:/host etc:ro", "--label", "odd=\"a\"\n\\b"];
    let throttled = throttled(&disk);
    let script = format!("{USE_DISK}; {BUSY}");
    docker.run(
        &[&limits[..], &volumes, &throttled.each_ref().map(|one| &**one), &[IMAGE, "sh", "-c", &script]]
            .concat(),
    );
    docker.container(&["--network", "host", "--name", "0dd_Na.me-1"]);
    let id = ("container_id", "/docker/limited");
    let other = [("container_id", "/docker/0dd_Na.me-1")];
    let of = |text: &str, name: &str| value(text, name, &[id]);
    let scraped =
        scrape_until(&agent, "both are shown, and one is throttled and has used its disk", |text| {
            let volume = &[id, ("mount_point", "/data")];
            of(text, "container_resources_cpu_throttled_seconds_total").is_some_and(|seconds| seconds > 0.1)
                && value(text, "container_resources_disk_read_bytes_total", volume)
                    .is_some_and(|read| read > 0.0)
                && value(text, "container_info", &other).is_some()
        });
    let inspected = |field: &str| -> f64 {
        docker.run(&["inspect", "-f", &format!("{{{{{field}}}}}"), "limited"]).parse().expect("a number")
    };
    let info = &[id, ("image", IMAGE), ("systemd_triggered_by", ""), ("systemd_type", "")];
    assert_eq!(value(&scraped, "container_info", info), Some(1.0));
    let raw = docker.run(&["inspect", "-f", "{{.Id}}", "limited"]);
    let info = &[id, ("runtime", "docker"), ("runtime_id", &raw), ("name", "limited")];
    assert_eq!(value(&scraped, "container_runtime_info", info), Some(1.0));
    let volume = &[id, ("mount_point", "/data"), ("device", &disk.name), ("volume", "data")];
    assert!(value(&scraped, "container_resources_disk_size_bytes", volume).is_some());

    let (cores, memory) = (inspected(".HostConfig.NanoCpus") / 1e9, inspected(".HostConfig.Memory"));
    let limits = [
        ("cpu_limit_cores", cores),
        ("cpu_binding_limit_cores", cores),
        ("memory_limit_bytes", memory),
        ("memory_binding_limit_bytes", memory),
        ("memory_swap_limit_bytes", inspected(".HostConfig.MemorySwap") - memory),
    ];
    let limits = limits.map(|(name, value)| (format!("container_resources_{name}"), vec![], value));
    let files = kernel(&docker, "limited");
    let figures = agree(&agent, "/docker/limited", || {
        [files.figures(), limits.to_vec(), files.of_disk(&disk, "/data", docker.dir())].concat()
    });
    for family in ["cpu_throttled_periods_total", "disk_written_bytes_total", "disk_size_bytes"] {
        assert!(figures[&format!("container_resources_{family}")] > 0.0, "{family}: {figures:?}");
    }
    // One that sleeps has the same at any time.
    let files = kernel(&docker, "0dd_Na.me-1");
    let idle = files.cpu_seconds();
    let usage = "container_resources_cpu_usage_seconds_total";
    assert_eq!(value(&agent.scrape(), usage, &other), Some(idle));
    agree(&agent, "/docker/0dd_Na.me-1", || {
        // Where nothing is limited the kernel counts no periods.
        files.figures().into_iter().filter(|(family, ..)| !family.contains("_cpu_")).collect()
    });
}

#[test]
fn restarts_are_as_many_as_docker_counts() {
    let Some(docker) = Docker::start() else { return };
    let agent = agent(&docker, AT_ONCE);
    let script = "sleep 0.3; exit 3";
    let failing = ["--restart", "on-failure:2", "--name", "failing", IMAGE, "sh", "-c", script];
    docker.run(&[&["run", "-d", "--network", "none"], &failing[..]].concat());
    let id = &[("container_id", "/docker/failing")];
    scrape_until(&agent, "it was started again for the last time", |text| {
        let state = docker.run(&["inspect", "-f", "{{.RestartCount}} {{.State.Status}}", "failing"]);
        state == "2 exited" && value(text, "container_restarts_total", id) == Some(2.0)
    });
}

/// Of the first version of cgroups the kernel counts what a container reads and
/// writes of a disk where that is limited.
fn throttled(disk: &Disk) -> [String; 4] {
    let rate = format!("/dev/{}:1gb", disk.name);
    ["--device-read-bps".to_owned(), rate.clone(), "--device-write-bps".to_owned(), rate]
}

const USE_DISK: &str = "busybox dd if=/dev/zero of=/data/file bs=64k count=8 oflag=direct && \
                        busybox dd if=/data/file of=/dev/null bs=64k iflag=direct";

/// How many of them live for some 50 ms each.
const MOMENTS: usize = 10;

#[test]
fn those_that_live_for_moments_are_folded_and_few_are_lost() {
    let Some(docker) = Docker::start() else { return };
    let agent = agent(&docker, "");
    let folded = &[("container_id", "/docker/~short-lived")];
    let usage = "container_resources_cpu_usage_seconds_total";
    // Another test's may have been folded already.
    let mut first = value(&agent.scrape(), usage, folded);
    // Its own files keep what those below it used when they are gone.
    let path = format!("/gantry-moments-{}", std::process::id());
    let parent = Cgroup::at(&path);
    let used = || match std::panic::catch_unwind(|| parent.read("cpuacct.usage")) {
        Ok(nanos) => nanos.trim().parse::<f64>().expect("a number") / 1e9,
        Err(_) => {
            let stat = parent.read("cpu.stat");
            let micros = stat.lines().find_map(|line| line.strip_prefix("usage_usec ")).expect("usage");
            micros.parse::<f64>().expect("a number") / 1e6
        }
    };
    let script = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done";
    for number in 0..MOMENTS {
        // Every other one is a program that ends at once.
        let script = if number % 2 == 0 { script } else { ":" };
        let name = format!("moment-{number}");
        let own = ["--rm", "--network", "none", "--cgroup-parent", &path, "--name", &name];
        docker.run(&[&["run"], &own[..], &[IMAGE, "sh", "-c", script]].concat());
    }
    let used = used();
    assert!(used > 0.02, "{used} s");
    let losses = |text: &str| -> f64 {
        let of = |reason| {
            value(text, "gantry_samples_skipped_total", &[("plugin", "containers"), ("reason", reason)])
        };
        ["cgroup_gone_unread", "cgroup_end_unread"].into_iter().filter_map(of).sum()
    };
    let mut lost = 0.0;
    let text = scrape_until(&agent, "the fold has what they used", |text| {
        let shown = value(text, usage, folded);
        first = first.or(shown);
        lost = losses(text);
        // Each that is lost may be one of those that used something, which are half of
        // them; those of other tests are among the lost as well.
        let share = (1.0 - lost / (MOMENTS as f64 / 2.0)).max(0.0);
        shown.is_some_and(|seconds| seconds >= 0.99 * used * share)
    });
    assert_eq!(first, Some(0.0), "the first of all shows that it began at 0");
    assert!(!text.contains("/docker/moment"), "{text}");
    // Those of other tests are among them.
    assert!(sample(&text, "gantry_identity_folded_total").is_some_and(|count| count >= MOMENTS as f64));
    // From now on one is in the next scrape.
    let before = value(&text, usage, folded).expect("the fold stays");
    docker.run(&["run", "--rm", "--network", "none", "--name", "last", IMAGE, "sh", "-c", script]);
    let text = agent.scrape();
    let after = value(&text, usage, folded).expect("the fold stays");
    assert!(after > before + 0.005 || losses(&text) > lost, "{before}:\n{text}");
    drop(parent);
    // Docker made it in the hierarchies that the test left out too.
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
        let _ = std::fs::remove_dir(hierarchy.path().join(path.trim_start_matches('/')));
    }
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

/// Families with the types and labels that coroot-node-agent gives them; what
/// the file is made of stands in it.
fn known() -> Vec<[&'static str; 3]> {
    let lines = include_str!("fixtures/dashboard-series.tsv").lines().filter(|line| !line.starts_with('#'));
    let row = |line: &'static str| {
        let fields: Vec<&str> = line.split('\t').collect();
        fields.try_into().unwrap_or_else(|_| panic!("three fields: {line}"))
    };
    let known: Vec<_> = lines.map(row).collect();
    assert!(known.len() >= 19, "{known:?}");
    known
}

#[test]
fn a_prometheus_stores_the_families_and_labels_that_dashboards_know() {
    if !needs::program("prometheus") {
        return;
    }
    let Some(docker) = Docker::start() else { return };
    let disk = Disk::of(docker.dir());
    if !needs::have("a disk below /tmp", disk.is_some()) {
        return;
    }
    let agent = agent(&docker, AT_ONCE);
    let limits = ["run", "-d", "--network", "none", "--name", "web", "--memory", "64m", "--cpus", "0.5"];
    let throttled = throttled(&disk.expect("just looked"));
    // Its entry point is a shell that becomes the server: `httpd` is one of the application types.
    let script = format!("{USE_DISK}; sleep 1; exec httpd -f -p 8080");
    let throttled = throttled.each_ref().map(|one| &**one);
    docker.run(&[&limits[..], &throttled, &["-v", "data:/data", IMAGE, "sh", "-c", &script]].concat());
    let all = |text: &str| known().iter().all(|[name, ..]| label_names(text, name).is_some());
    let text = scrape_until(&agent, "every family is there", all);
    for [name, kind, labels] in known() {
        assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name} is a {kind}:\n{text}");
        assert_eq!(label_names(&text, name).expect("it is there").join(","), labels, "{name}");
    }
    let data = private_dir();
    let mut prometheus = Prometheus::scraping(agent.address, data.path());
    for [name, ..] in known() {
        let query = format!("count({name}{{container_id=\"/docker/web\"}})");
        prometheus.wait_for(&query, std::time::Duration::from_secs(60), |count| count >= 1.0);
    }
    let warnings = prometheus.warnings();
    assert!(warnings.is_empty(), "{warnings:#?}");
}
