//! The identity service and the `containers` plugin over cgroups of the running kernel.

mod support;

use support::agent::{Agent, sample, write_config};
use support::cgroup::Cgroup;
use support::http::PATIENCE;
use support::private_dir;
use support::series::{scrape_until, value};

const CONTAINERS: &str = "[plugins.node]\nenabled = true\n[plugins.containers]\nenabled = true\n";

/// An agent that shows containers as soon as they are there.
fn at_once() -> Agent {
    Agent::start_in(
        private_dir(),
        "[host.identity]\nmin_container_age = \"0s\"\nmetadata_wait = \"0s\"",
        CONTAINERS,
    )
}

fn series(name: &'static str, id: &str) -> impl Fn(&str) -> Option<f64> {
    let id = id.to_owned();
    move |text: &str| value(text, name, &[("container_id", &id)])
}

#[test]
fn a_container_that_lives_for_moments_is_counted_and_folded() {
    let agent = Agent::start(CONTAINERS);
    let Some(cgroup) = Cgroup::new() else { return };
    let folded = series("container_resources_cpu_usage_seconds_total", "/docker/~short-lived");
    // Others' containers on this machine are folded there too, perhaps before.
    let mut first = folded(&agent.scrape());
    let id = cgroup.path();
    cgroup.spawn(&["/bin/sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"]).wait();
    let used: f64 = match std::panic::catch_unwind(|| cgroup.read("cpuacct.usage")) {
        Ok(nanos) => nanos.trim().parse::<f64>().expect("a number") / 1e9,
        Err(_) => {
            let stat = cgroup.read("cpu.stat");
            let micros = stat.lines().find_map(|line| line.strip_prefix("usage_usec ")).expect("usage");
            micros.parse::<f64>().expect("a number") / 1e6
        }
    };
    cgroup.remove();
    let scraped = scrape_until(&agent, "the fold has it", |text| {
        let value = folded(text);
        first = first.or(value);
        value.is_some_and(|value| value >= used * 0.99)
    });
    assert_eq!(first, Some(0.0), "it began at 0, for those who ask for the increase");
    assert!(!scraped.contains(&id), "none of its own");
    assert!(sample(&scraped, "gantry_identity_folded_total").expect("folded") >= 1.0);
}

#[test]
fn figures_are_those_of_the_kernel() {
    let Some(cgroup) = Cgroup::new() else { return };
    let agent = at_once();
    let id = cgroup.path();
    let member =
        cgroup.spawn(&["/bin/sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; exec sleep 1000"]);
    let usage = series("container_resources_cpu_usage_seconds_total", &id);
    scrape_until(&agent, "it is shown", |text| usage(text).is_some());
    // Until it sleeps nothing stays the same.
    let children = format!("/proc/{}/comm", member.0.id());
    let until = std::time::Instant::now() + PATIENCE;
    while std::fs::read_to_string(&children).expect("it runs").trim() != "sleep" {
        assert!(std::time::Instant::now() < until, "it never sleeps");
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
    let rss = |text: &str| -> f64 {
        let field = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<f64>().ok())
        };
        let v1 = field("total_rss").zip(field("total_mapped_file"));
        let (anonymous, mapped) = v1.or(field("anon").zip(field("file_mapped"))).expect("memory.stat");
        anonymous + mapped
    };
    let shown = series("container_resources_memory_rss_bytes", &id);
    scrape_until(&agent, "its memory", |text| shown(text) == Some(rss(&cgroup.read("memory.stat"))));
    drop(member);
}

#[test]
fn a_restart_is_counted_once_and_its_counters_go_on() {
    let Some(cgroup) = Cgroup::new() else { return };
    let agent = at_once();
    let path = cgroup.path();
    let restarts = series("container_restarts_total", &path);
    let first = cgroup.spawn(&["sleep", "1000"]);
    scrape_until(&agent, "it is shown", |text| restarts(text) == Some(0.0));
    // What nobody saw in it is not what it began with.
    scrape_until(&agent, "its process is seen", |_| {
        agent.table(&["containers", "--where", &format!("id={path}")])[0]["processes"] == 1
    });
    drop(first);
    let second = cgroup.spawn(&["sleep", "1000"]);
    scrape_until(&agent, "its restart", |text| restarts(text) == Some(1.0));
    drop(second);
    cgroup.remove();
    let cgroup = Cgroup::at(&path);
    let _third = cgroup.spawn(&["sleep", "1000"]);
    scrape_until(&agent, "another", |text| restarts(text) == Some(2.0));
}

#[test]
fn the_last_values_of_one_that_is_gone_are_served() {
    let Some(cgroup) = Cgroup::new() else { return };
    let agent = at_once();
    let path = cgroup.path();
    let shown = series("container_resources_cpu_usage_seconds_total", &path);
    let member = cgroup.spawn(&["sleep", "1000"]);
    scrape_until(&agent, "it is shown", |text| shown(text).is_some());
    drop(member);
    cgroup.remove();
    let containers = "gantry_identity_containers";
    let there = sample(&agent.scrape(), containers).expect("the figure");
    for _ in 0..3 {
        assert!(shown(&agent.scrape()).is_some(), "{path}; {there} containers");
    }
}

/// A program whose first thread ends while another goes on.
const LEADERLESS: &str = "import ctypes, platform, threading, time\n\
threading.Thread(target=time.sleep, args=(1000,)).start()\n\
ctypes.CDLL(None).syscall({'x86_64': 60}.get(platform.machine(), 93), 0)\n";

#[test]
fn a_process_whose_first_thread_ends_is_there_until_the_last_one_does() {
    if !support::needs::program("python3") {
        return;
    }
    let Some(cgroup) = Cgroup::new() else { return };
    let agent = at_once();
    agent.scrape();
    let id = cgroup.path();
    let processes = || {
        let rows = agent.table(&["containers", "--where", &format!("id={id}")]);
        rows.first().and_then(|row| row["processes"].as_f64()).unwrap_or_default()
    };
    let leaderless = cgroup.spawn(&["python3", "-c", LEADERLESS]);
    let status = format!("/proc/{}/status", leaderless.0.id());
    scrape_until(&agent, "its first thread is over", |_| {
        std::fs::read_to_string(&status)
            .is_ok_and(|status| status.contains("State:\tZ") && status.contains("Threads:\t2"))
    });
    let _other = cgroup.spawn(&["sleep", "1000"]);
    // What came before is known when this one is.
    scrape_until(&agent, "both are there", |_| processes() == 2.0);
    drop(leaderless);
    scrape_until(&agent, "its end is seen, though nobody tells it", |_| processes() == 1.0);
}

#[test]
fn what_is_left_out_and_what_users_run_follow_a_reload() {
    let Some(denied) = Cgroup::new() else { return };
    let own = format!("gantry{}", std::process::id());
    let path = format!("/user.slice/user-1000.slice/user@1000.service/app.slice/{own}.service");
    let id = format!("/user.slice/user-1000.slice/{own}.service");
    let of_user = Cgroup::at(&path);
    let members = [&denied, &of_user].map(|cgroup| cgroup.spawn(&["sleep", "1000"]));
    let agent = at_once();
    let restarts = "container_restarts_total";
    let is_shown = |text: &str| {
        let of_user = text.lines().any(|line| line.starts_with(restarts) && line.contains(&own));
        [value(text, restarts, &[("container_id", &denied.path())]).is_some(), of_user]
    };
    scrape_until(&agent, "by default users' own are left out", |text| is_shown(text) == [true, false]);
    let rules = |rules: &str| {
        let host = format!("[host.identity]\nmin_container_age = \"0s\"\nmetadata_wait = \"0s\"\n{rules}");
        write_config(agent.dir.path(), &Agent::configuration(&host, CONTAINERS));
        agent.good(&["reload"]);
    };
    rules(&format!("user_slices = true\ndeny = [\"^{}$\"]", denied.path()));
    scrape_until(&agent, "users' own are shown, and what is denied is not", |text| {
        is_shown(text) == [false, true]
    });
    let rows = agent.table(&["containers", "--where", &format!("id={}", denied.path())]);
    assert!(rows[0]["shown"].as_str().is_some_and(|shown| shown.starts_with("no")), "{rows:?}");
    // What is left out is as if it were gone: its last values stay for a while.
    let there = |agent: &Agent| agent.table(&["containers", "--where", &format!("id={id}")]).len();
    assert_eq!(there(&agent), 1);
    rules("");
    scrape_until(&agent, "all is as before", |text| is_shown(text)[0] && there(&agent) == 0);
    drop(members);
    drop(of_user);
    let parents = ["user@1000.service/app.slice", "user@1000.service", ""];
    for hierarchy in support::cgroup::hierarchies() {
        for parent in parents {
            // Somebody else's may be in it.
            let _ = std::fs::remove_dir(hierarchy.join("user.slice/user-1000.slice").join(parent));
        }
        let _ = std::fs::remove_dir(hierarchy.join("user.slice"));
    }
}

#[test]
fn a_bare_process_opts_its_container_out_by_its_own_environment() {
    let agent = at_once();
    // A cgroup in which nothing has run for long is shown as it is.
    let (Some(quiet), Some(other)) = (Cgroup::new(), Cgroup::new()) else { return };
    let _quiet = quiet.spawn_with(&["/bin/sleep", "1000"], |command| {
        command.env("GANTRY_DISABLE", "containers,logs");
    });
    let _other = other.spawn(&["/bin/sleep", "1000"]);
    scrape_until(&agent, "one is shown, and the other is known and not shown", |text| {
        assert!(!text.contains(&quiet.path()), "not even before its environment was read: {text}");
        let rows = agent.table(&["containers", "--where", &format!("id={}", quiet.path())]);
        let said = rows.first().and_then(|row| row["shown"].as_str().map(str::to_owned));
        said.as_deref() == Some("yes, but not by containers, logs")
            && value(text, "container_restarts_total", &[("container_id", &other.path())]).is_some()
    });
}
