//! Plugins in processes of their own: what they see of the host is what they
//! see in the agent, and they come and go without a trace.

mod support;

use rustix::process::{Pid, Signal, kill_process};
use support::agent::{Agent, gantry, run, said, sample};
use support::commands::hostile_with;
use support::day::{Day, fault, side_by_side};
use support::process::{children, lives, runners, threads};
use support::watch::Rule;
use support::{copy_to, library, needs, private_dir};

/// An agent with the fixture, by a line of its section.
fn agent(keys: &str, table: &str) -> Agent {
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("hostile"));
    let section = hostile_with(&file, "", table).replace("isolation = \"none\"", keys);
    Agent::start_in(dir, "", &section)
}

/// The processes of the fixture.
fn processes(agent: &Agent) -> Vec<u32> {
    runners(agent.pid(), "hostile")
}

fn only_child(agent: &mut Agent) -> u32 {
    agent.wait_until("it has one process", |agent| processes(agent).len() == 1);
    processes(agent)[0]
}

fn status(pid: u32, key: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    status.lines().find_map(|line| line.strip_prefix(key)).expect("the kernel says it").trim().to_owned()
}

/// The view in which the fixture asks for everything.
fn services(agent: &Agent) -> serde_json::Value {
    let answer = agent.view("hostile", "services");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let view: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    view["rows"].clone()
}

#[test]
fn every_service_gives_the_same_answer_in_either_mode() {
    let near = {
        let dir = private_dir();
        let file = copy_to(dir.path(), &library("hostile"));
        let config = Agent::configuration("", "") + &hostile_with(&file, "", "");
        Agent::start_over(gantry(), dir, &config)
    };
    let far = agent("", "");
    assert_eq!(near.plugin("hostile")["isolation"], "none");
    assert_eq!(far.plugin("hostile")["isolation"], "process", "the default outside the vendor directories");
    let rows = services(&far);
    assert!(rows.as_array().is_some_and(|rows| rows.len() > 15), "{rows}");
    // Containers of other tests come and go.
    let begin = std::time::Instant::now();
    while services(&near) != services(&far) {
        assert!(begin.elapsed() < support::http::PATIENCE, "{}\n{}", services(&near), services(&far));
    }
}

#[test]
fn it_is_shown_with_its_heap_its_time_and_where_it_runs() {
    let mut agent = agent("isolation = \"process\"", "emit = \"flood\"\ncount = 20000\n");
    let child = only_child(&mut agent);
    let spent = "gantry_plugin_cpu_seconds_total{plugin=\"hostile\"";
    agent.wait_until("its own time is counted", |agent| {
        let all = std::fs::read_to_string(format!("/proc/{child}/schedstat")).expect("it runs");
        let ran: f64 = all.split(' ').next().and_then(|ran| ran.parse().ok()).expect("a number");
        // The thread in the agent alone has not spent that much.
        sample(&agent.scrape(), spent).is_some_and(|counted| ran > 1e8 && counted * 1e9 > ran * 0.5)
    });
    let scraped = agent.scrape();
    let info = scraped.lines().find(|line| line.starts_with("gantry_plugin_info{plugin=\"hostile\""));
    assert!(info.is_some_and(|line| line.contains("isolation=\"process\"")), "{info:?}");
    assert!(sample(&scraped, "gantry_plugin_heap_bytes{plugin=\"hostile\"").is_some_and(|heap| heap > 0.0));
    // It is not mapped here.
    assert_eq!(sample(&scraped, "gantry_plugin_generations{plugin=\"hostile\""), None);
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", agent.pid())).expect("it runs");
    assert!(!maps.contains("hostile"));
}

#[test]
fn its_rights_are_those_that_were_granted() {
    if !needs::root() {
        return;
    }
    let memory = "memory = \"64MiB\"\ngrant = [\"CAP_NET_RAW\", \"CAP_BPF\"]";
    for (keys, capabilities, data) in [("", 0, 256_u64 << 20), (memory, 1 << 13 | 1 << 39, 64 << 20)] {
        let mut agent = agent(keys, "");
        let child = only_child(&mut agent);
        let own = u64::from_str_radix(&status(agent.pid(), "CapPrm:"), 16).expect("a number");
        for set in ["CapEff:", "CapPrm:", "CapBnd:"] {
            let has = u64::from_str_radix(&status(child, set), 16).expect("a number");
            assert_eq!(has & !capabilities, 0, "{set} {has:x}");
            assert_eq!(has, capabilities & own, "{set} {has:x}");
        }
        assert_eq!(status(child, "NoNewPrivs:"), "1");
        assert_eq!(status(child, "Seccomp:"), "2");
        let limits = std::fs::read_to_string(format!("/proc/{child}/limits")).expect("it runs");
        let limit = |name: &str| {
            let line = limits.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel says it");
            line.split_whitespace().next().expect("a number").to_owned()
        };
        assert_eq!((limit("Max core file size"), limit("Max data size")), ("0".to_owned(), data.to_string()));
        assert!(limit("Max open files").parse::<u64>().is_ok_and(|most| most <= 4096));
    }
}

#[test]
fn restart_disable_and_enable_leave_no_trace() {
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("hostile"));
    // `node` is in a process of its own too.
    let mut day = Day::of_file(dir, file, "", "20s", "applies = true\n", "/metrics", Rule::MayBeginAnew);
    day.collects(2.0);
    let open = |agent: &Agent| {
        let descriptors = std::fs::read_dir(format!("/proc/{}/fd", agent.pid())).expect("it runs");
        let of_it = threads(agent.pid()).iter().filter(|name| name.ends_with(":hostile")).count();
        (descriptors.count(), of_it)
    };
    let command = |day: &Day, what: &str| day.agent.command(&format!("plugins/hostile/{what}"));
    command(&day, "disable?until_restart");
    let mut before = (0, 0);
    day.agent.wait_until("nothing of it is there", |agent| {
        before = open(agent);
        before.1 == 0 && processes(agent).is_empty()
    });
    for _ in 0..10 {
        command(&day, "enable?until_restart");
        day.agent.wait_for_state("hostile", "running");
        let first = only_child(&mut day.agent);
        let counted = day.collections();
        command(&day, "restart");
        day.recovers_from(counted);
        assert_ne!(only_child(&mut day.agent), first);
        command(&day, "disable?until_restart");
        day.agent.wait_until("its process is gone", |agent| {
            !lives(first) && processes(agent).is_empty() && open(agent).1 == 0
        });
    }
    // Connections of scrapes come and go.
    day.rest();
    day.agent.wait_until("no descriptor is left", |agent| open(agent).0 <= before.0 + 2);
    day.ends_well();
}

#[test]
fn it_takes_new_keys_while_it_runs_and_new_rights_by_a_new_process() {
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("hostile"));
    let section = |keys: &str, count: u32| {
        let table = format!("applies = true\nemit = \"flood\"\ncount = {count}\n");
        hostile_with(&file, "", &table).replace("isolation = \"none\"", keys)
    };
    let start = section("", 3);
    let mut agent = Agent::start_in(dir, "", &start);
    let first = only_child(&mut agent);
    agent.rewrite(&section("", 5));
    let answer = agent.command("reload");
    assert!(answer.text().contains("took its new configuration while running"), "{}", answer.text());
    assert!(agent.scrape().contains("hostile_series{n=\"4\""));
    assert_eq!(only_child(&mut agent), first);
    agent.rewrite(&section("memory = \"99MiB\"", 5));
    agent.command("reload");
    agent.wait_until("another process has the new limit", |agent| {
        processes(agent).first().is_some_and(|child| {
            let limits = std::fs::read_to_string(format!("/proc/{child}/limits"));
            limits.is_ok_and(|limits| limits.contains(&(99 << 20).to_string()))
        })
    });
    // Into the agent itself, and out of it again.
    agent.rewrite(&section("isolation = 'none'", 5));
    agent.command("reload");
    agent.wait_until("it runs here", |agent| {
        processes(agent).is_empty() && agent.plugin("hostile")["isolation"] == "none"
    });
    agent.rewrite(&section("isolation = \"process\"", 5));
    agent.command("reload");
    agent.wait_until("it runs there", |agent| agent.plugin("hostile")["isolation"] == "process");
    agent.wait_for_state("hostile", "running");
}

/// The fixture as somebody builds it who saves the tables for unwinding.
fn aborting() -> std::path::PathBuf {
    let target = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/panic-abort");
    let built = std::process::Command::new(env!("CARGO"))
        .args(["build", "--release", "-p", "gantry-fixture-hostile", "--target-dir"])
        .arg(&target)
        .env("CARGO_PROFILE_RELEASE_PANIC", "abort")
        .output()
        .expect("cargo runs");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    target.join("release/libgantry_hostile.so")
}

#[test]
fn a_plugin_that_would_abort_runs_by_itself_and_nowhere_else() {
    let dir = private_dir();
    let file = copy_to(dir.path(), &aborting());
    let start = hostile_with(&file, "", &fault("panic", "collect", "after = 4\n"))
        .replace("isolation = \"none\"", "");
    let mut agent = Agent::start_in(dir, "", &start);
    assert_eq!(agent.plugin("hostile")["isolation"], "process");
    agent.wait_until("it has aborted", |agent| {
        agent.scrape();
        agent.log.iter().any(|line| line.contains("its process was ended by signal 6"))
    });
    agent.rewrite(&start.replace("enabled = true", "enabled = true\nisolation = 'none'"));
    let answer = agent.command("reload");
    assert!(answer.text().contains("so that a panic would end the agent"), "{}", answer.text());
}

#[test]
fn what_is_not_granted_is_said_by_check_and_probe() {
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("containers"));
    let config = format!("[plugins.containers]\nenabled = true\npath = {file:?}\n");
    for command in ["check", "probe"] {
        let output = run(dir.path(), &config, &[command]);
        let all = said(&output);
        assert!(
            all.contains("CAP_SYS_PTRACE") && all.contains("add it to grant in [plugins.containers]"),
            "{all}"
        );
        let granted = format!("{config}grant = \"CAP_SYS_PTRACE\"\n");
        let all = said(&run(dir.path(), &granted, &[command]));
        assert!(!all.contains("not granted") && !all.contains("add it to grant"), "{all}");
    }
    let output = run(dir.path(), &format!("{config}grant = [\"CAP_EVERYTHING\"]\n"), &["check"]);
    assert!(said(&output).contains("\"CAP_EVERYTHING\" is no capability"), "{}", said(&output));
    let output = run(dir.path(), &format!("{config}isolation = \"none\"\nmemory = \"1GiB\"\n"), &["check"]);
    assert!(said(&output).contains("memory does nothing with isolation"), "{}", said(&output));
    let output = run(dir.path(), &format!("{config}memory = \"1MiB\"\n"), &["check"]);
    assert!(said(&output).contains("memory must be at least 16MiB"), "{}", said(&output));
}

#[test]
fn once_works_with_it() {
    let dir = private_dir();
    let config = "[plugins.node]\nisolation = \"process\"\n";
    let output = run(dir.path(), config, &["once", "node"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("\nnode_uptime_seconds{"), "{}", said(&output));
}

#[test]
fn the_end_of_the_agent_is_the_end_of_its_children() {
    side_by_side(&[Signal::KILL, Signal::TERM], |signal| {
        let mut agent = agent("", &fault("leave_thread", "collect", ""));
        agent.scrape();
        let child = only_child(&mut agent);
        agent.signal(*signal);
        agent.wait_until("its child is gone", |_| !lives(child));
    });
    // One that does not listen any more, at a moment when it is busy.
    let mut agent = agent("deadline = \"60s\"", &fault("spin", "collect", "after = 1\n"));
    let child = only_child(&mut agent);
    let address = agent.address;
    let scrape =
        std::thread::spawn(move || support::http::raw(address, b"GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n"));
    agent.wait_until("it is busy", |_| status(child, "State:").starts_with('R'));
    let status = agent.terminate();
    assert!(status.success(), "{status}");
    // It was killed; the kernel may be at it still.
    agent.wait_until("its child is gone", |_| !lives(child));
    let _ = scrape.join().expect("no panic");
}

#[test]
fn signals_to_all_processes_of_the_service_end_it_in_order() {
    let mut agent = agent("", "");
    let child = only_child(&mut agent);
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        kill_process(Pid::from_raw(child.cast_signed()).expect("a number"), signal).expect("it runs");
    }
    agent.scrape();
    assert_eq!(only_child(&mut agent), child);
    let status = agent.terminate();
    assert!(status.success() && !lives(child), "{status}");
    agent.wait_for_log("plugin hostile is stopped");
}

#[test]
fn killed_a_hundred_times_it_costs_nobody_anything() {
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("hostile"));
    let sections = format!(
        "[plugins.node]\nenabled = true\ndeadline = \"20s\"\n{}",
        hostile_with(&file, "", "emit = \"wide\"\ncount = 500\n").replace("isolation = \"none\"", "")
    );
    let mut agent = Agent::start_in(dir, "", &sections);
    let watch = support::watch::Watch::start(agent.address, "/metrics", Rule::NeverBack);
    // Without the back-off this would last for minutes.
    let (enough, ended) = std::sync::mpsc::channel::<()>();
    let socket = agent.socket();
    let restarts = std::thread::spawn(move || {
        let pause = std::time::Duration::from_millis(30);
        while ended.recv_timeout(pause) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            support::control::ask(&socket, "POST", "plugins/hostile/restart").expect("the agent answers");
        }
    });
    let (mut random, mut killed) = (7_u64, 0);
    while killed < 100 {
        agent.wait_until("there is a child that can be killed", |agent| !processes(agent).is_empty());
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        // At no particular moment: of its start, a collection, its rest, its stop.
        agent.wait_for(std::time::Duration::from_micros(random >> 48));
        for child in processes(&agent) {
            let pid = Pid::from_raw(child.cast_signed()).expect("a number");
            // It may have ended meanwhile.
            killed += usize::from(kill_process(pid, Signal::KILL).is_ok());
        }
    }
    drop(enough);
    restarts.join().expect("no panic");
    agent.command("plugins/hostile/restart");
    agent.wait_for_state("hostile", "running");
    drop(watch);
    let zombies = children(agent.pid()).into_iter().filter(|child| !lives(*child)).count();
    assert_eq!(zombies, 0);
    agent.wait_until("only the threads of one are left", |agent| {
        threads(agent.pid()).iter().filter(|name| name.ends_with(":hostile")).count() <= 3
    });
    assert_eq!(sample(&agent.scrape(), "gantry_plugin_hung_threads{plugin=\"hostile\""), Some(0.0));
}
