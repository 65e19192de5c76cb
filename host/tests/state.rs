//! State directories that are read-only, full, on a noexec file system, or
//! held by another agent; and how an agent ends.

mod support;

use std::path::Path;
use support::agent::{Agent, gantry, said, sample, write_config};
use support::mount::Mounted;
use support::process::threads;
use support::{needs, private_dir};

const NODE: &str = "[plugins.node]\nenabled = true\n";

/// Where the library of `node` is mapped from in a process.
fn mapped(pid: u32) -> String {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("it runs");
    let line = maps
        .lines()
        .find(|line| line.contains("gantry_node") || line.contains("node-") || line.contains("gantry-node"));
    line.and_then(|line| line.split_whitespace().nth(5))
        .unwrap_or_else(|| panic!("not mapped:\n{maps}"))
        .to_owned()
}

#[test]
fn a_library_is_opened_from_the_store() {
    let agent = Agent::start(NODE);
    let path = mapped(agent.pid());
    assert!(path.contains("/state/store/node-"), "{path}");
    let name = Path::new(&path).file_stem().expect("a name").to_string_lossy().into_owned();
    let digest = name.rsplit('-').next().expect("a digest");
    assert_eq!(digest.len(), 64);
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| path.metadata().expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(Path::new(&path)), 0o555);
    assert_eq!(mode(Path::new(&path).parent().expect("the store")), 0o700);
    let described = std::fs::read_to_string(Path::new(&path).with_extension("json")).expect("kept beside it");
    assert!(described.contains("node_uptime_seconds"));
}

#[test]
fn a_state_directory_that_cannot_hold_the_store_is_no_obstacle() {
    if !needs::root() {
        return;
    }
    for options in ["ro", "noexec", "size=16k"] {
        let dir = private_dir();
        let mounted = Mounted::tmpfs(&dir.path().join("state"), &format!("mode=700,{options}"));
        let mut agent = Agent::start_in(dir, "", NODE);
        let log = agent.wait_for_log("the store cannot be used");
        assert!(log.contains("opened where it is") || log.contains("opened from memory"), "{options}: {log}");
        assert!(sample(&agent.scrape(), "node_uptime_seconds").is_some(), "{options}");
        let path = mapped(agent.pid());
        assert!(!path.contains("/state/store/"), "{options}: {path}");
        assert!(agent.terminate().success());
        // Before the directory that it is mounted in is removed.
        drop(mounted);
    }
}

#[test]
fn a_stored_file_that_was_tampered_with_is_written_again() {
    let dir = private_dir();
    let mut agent = Agent::start_in(dir, "", NODE);
    let stored = std::path::PathBuf::from(mapped(agent.pid()));
    assert!(agent.terminate().success());
    let good = std::fs::read(&stored).expect("the stored file");
    std::fs::remove_file(&stored).expect("own file");
    std::fs::write(&stored, b"something else").expect("own directory");
    let config = agent.dir.path().join("plugins.toml");
    let state = agent.dir.path().join("state");
    let output = gantry()
        .args(["once", "node", "--config"])
        .arg(config)
        .arg("--state-dir")
        .arg(state)
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(std::fs::read(&stored).expect("the stored file"), good);
}

#[test]
fn a_second_agent_is_told_who_holds_the_state_directory() {
    let agent = Agent::start(NODE);
    let config = write_config(agent.dir.path(), "[host]\nlisten = \"127.0.0.1:0\"\n");
    let state = agent.dir.path().join("state");
    let second = gantry()
        .arg("run")
        .arg("--config")
        .arg(&config)
        .arg("--state-dir")
        .arg(&state)
        .output()
        .expect("it runs");
    assert_eq!(second.status.code(), Some(1));
    let said = said(&second);
    assert!(said.contains(&format!("held by another agent (pid {})", agent.pid())), "{said}");
    // These take no lock.
    let check = gantry().arg("check").arg("--config").arg(&config).arg("--state-dir").arg(&state).output();
    assert!(check.expect("it runs").status.success());
}

#[test]
fn sigterm_stops_everything_and_leaves_nothing() {
    let mut agent = Agent::start(NODE);
    assert!(threads(agent.pid()).iter().any(|name| name == "p:node"), "{:?}", threads(agent.pid()));
    assert!(agent.terminate().success());
    agent.wait_for_log("plugin node is stopped");
    agent.wait_for_log("INFO stopped");
    assert!(std::net::TcpStream::connect(agent.address).is_err());
}

#[test]
fn sigterm_waits_for_no_plugin_that_hangs_and_stops_the_others_well() {
    let dir = private_dir();
    let file = support::copy_to(dir.path(), &support::library("hostile"));
    let plugins = format!(
        "{NODE}[plugins.hostile]\nenabled = true\npath = {file:?}\nisolation = \"none\"\ndeadline = \"100ms\"\n\
         [plugins.hostile.config]\nfault = \"hang\"\nat = \"collect\"\nafter = 1\n"
    );
    let mut agent = Agent::start_in(dir, "", &plugins);
    agent.wait_for_sample("gantry_plugin_up{plugin=\"hostile\"", 0.0);
    assert!(agent.terminate().success());
    agent.wait_for_log("plugin hostile is hung");
    agent.wait_for_log("plugin node is stopped");
}

#[test]
fn a_plugin_that_hangs_in_its_stop_takes_no_time_of_another() {
    let dir = private_dir();
    let hostile = support::copy_to(dir.path(), &support::library("hostile"));
    let alone = support::copy_to(dir.path(), &support::library("alone"));
    let taken = dir.path().join("lock");
    let plugins = format!(
        "{NODE}[plugins.hostile]\nenabled = true\npath = {hostile:?}\nisolation = \"none\"\n\
         config = {{ fault = \"hang\", at = \"stop\" }}\n\
         [plugins.alone]\nenabled = true\npath = {alone:?}\nisolation = \"none\"\n\
         config = {{ lock = {taken:?}, hangs = true }}\n"
    );
    let mut agent = Agent::start_in(dir, "", &plugins);
    for name in ["hostile", "alone"] {
        agent.wait_for_state(name, "running");
    }
    assert!(agent.terminate().success());
    agent.wait_for_log("plugin node is stopped");
    // One after the other, the second would have had what the first left.
    for name in ["hostile", "alone"] {
        agent.wait_for_log(&format!("plugin {name} is hung: stop did not come back within 5s"));
    }
}

#[test]
fn commands_without_a_state_directory_leave_no_trace() {
    let dir = private_dir();
    let config = write_config(dir.path(), NODE);
    let temporary = dir.path().join("tmp");
    std::fs::create_dir(&temporary).expect("temporary directory");
    for arguments in [&["check"][..], &["probe"], &["once", "node"]] {
        let output = gantry().args(arguments).arg("--config").arg(&config).env("TMPDIR", &temporary).output();
        let output = output.expect("it runs");
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        let left = std::fs::read_dir(&temporary).expect("it is there").count();
        assert_eq!(left, 0, "{arguments:?}");
    }
}

#[test]
fn a_disabled_plugin_costs_nothing() {
    let agent = Agent::start("[plugins.node]\nenabled = false\n");
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", agent.pid())).expect("it runs");
    assert!(!maps.contains("libgantry_node") && !maps.contains("store/node-"), "{maps}");
    assert!(!threads(agent.pid()).iter().any(|name| name.contains("node")));
    assert_eq!(agent.state("node").0, "disabled");
    assert!(sample(&agent.scrape(), "node_uptime_seconds").is_none());
}

#[test]
fn a_log_that_cannot_be_written_is_counted_and_stops_nothing() {
    let dir = private_dir();
    let free =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
    let config = write_config(dir.path(), &format!("[host]\nlisten = \"{free}\"\n{NODE}"));
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("the kernel's full device");
    let mut child = gantry()
        .arg("run")
        .arg("--config")
        .arg(&config)
        .arg("--state-dir")
        .arg(dir.path().join("state"))
        .stderr(full)
        .spawn()
        .expect("it starts");
    let until = std::time::Instant::now() + support::http::PATIENCE;
    let answer = loop {
        let asked =
            support::http::raw(free, b"GET /metrics HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
        if let Ok(answer) = asked {
            break answer;
        }
        assert!(
            std::time::Instant::now() < until && child.try_wait().is_ok_and(|ended| ended.is_none()),
            "{asked:?}"
        );
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    };
    assert!(sample(answer.text(), "node_uptime_seconds").is_some());
    let again = support::http::get(free, "/metrics");
    assert!(
        sample(again.text(), "gantry_log_lines_lost_total").is_some_and(|lost| lost > 0.0),
        "{}",
        again.text()
    );
    child.kill().expect("it runs");
    child.wait().expect("it ends");
}

#[test]
fn a_reader_that_has_had_enough_is_no_failure() {
    let dir = private_dir();
    let config = write_config(dir.path(), NODE);
    for arguments in [&["once", "node"][..], &["probe"], &["check"], &["--help"]] {
        let mut child = gantry()
            .args(arguments)
            .arg("--config")
            .arg(&config)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("it starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    }
}

#[test]
fn a_log_that_nobody_reads_keeps_the_agent_neither_from_serving_nor_from_ending() {
    let dir = private_dir();
    let free =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
    let config = write_config(dir.path(), &format!("[host]\nlisten = \"{free}\"\n{NODE}"));
    // A pipe that is full before the agent starts, and stays so.
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).expect("a pipe");
    while rustix::io::write(&writer, &[b'x'; 4096]).is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false).expect("its flag");
    let mut child = gantry()
        .arg("run")
        .arg("--config")
        .arg(&config)
        .arg("--state-dir")
        .arg(dir.path().join("state"))
        .stderr(writer)
        .spawn()
        .expect("it starts");
    let until = std::time::Instant::now() + support::http::PATIENCE;
    while support::http::raw(free, b"GET /metrics HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").is_err()
    {
        assert!(std::time::Instant::now() < until, "no answer");
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
    let pid = rustix::process::Pid::from_child(&child);
    // A hang-up is no end.
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("it runs");
    assert!(sample(support::http::get(free, "/metrics").text(), "node_uptime_seconds").is_some());
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    assert!(child.wait().expect("it ends").success());
    drop(reader);
}
