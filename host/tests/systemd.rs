//! What a service manager is told, and what it gets to see over HTTP.

mod support;

use std::os::unix::net::UnixDatagram;
use support::agent::{Agent, gantry};
use support::commands::hostile;
use support::compiled::compiled;
use support::http::{PATIENCE, get};
use support::{copy_to, library, private_dir};

const NODE: &str = "[plugins.node]\nenabled = true\n";

/// Plays systemd.
struct Manager {
    socket: UnixDatagram,
    _dir: tempfile::TempDir,
    path: std::path::PathBuf,
}

impl Manager {
    fn new() -> Self {
        let dir = private_dir();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("temporary directory");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
        Self { socket, _dir: dir, path }
    }

    /// The command of an agent that it starts.
    fn command(&self) -> std::process::Command {
        let mut command = gantry();
        command.env("NOTIFY_SOCKET", &self.path);
        command
    }

    /// The next message.
    fn next(&self) -> String {
        let mut bytes = [0; 8192];
        let size = self.socket.recv(&mut bytes).expect("a message");
        String::from_utf8(bytes[..size].to_vec()).expect("text")
    }
}

/// The value of a key in a message.
fn value<'a>(message: &'a str, key: &str) -> Option<&'a str> {
    message.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
}

fn monotonic_micros() -> i128 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec / 1000)
}

#[test]
fn ready_after_the_start_and_stopping_at_the_end() {
    let manager = Manager::new();
    let mut agent = Agent::start_by(manager.command(), private_dir(), "", NODE);
    assert_eq!(manager.next(), "READY=1\nSTATUS=1 of 1 enabled plugins are running");
    agent.signal(rustix::process::Signal::TERM);
    assert_eq!(manager.next(), "STOPPING=1");
    agent.wait_for_log("INFO stopped");
}

/// A reload as systemd's `Type=notify-reload` expects it.
fn reloads(manager: &Manager, status: &str) {
    let begin = manager.next();
    assert_eq!(value(&begin, "RELOADING"), Some("1"), "{begin}");
    let micros: i128 = value(&begin, "MONOTONIC_USEC").expect("a time").parse().expect("a number");
    assert!(micros > 0 && micros <= monotonic_micros(), "{begin}");
    assert_eq!(manager.next(), format!("READY=1\nSTATUS={status}"));
}

#[test]
fn a_reload_begins_and_ends_also_with_a_bad_configuration() {
    let manager = Manager::new();
    let mut agent = Agent::start_by(manager.command(), private_dir(), "", NODE);
    assert!(manager.next().starts_with("READY=1"));
    let before = monotonic_micros();
    agent.signal(rustix::process::Signal::HUP);
    reloads(&manager, "1 of 1 enabled plugins are running");
    assert!(before > 0);
    std::fs::write(agent.config(), "[host\n").expect("own file");
    agent.signal(rustix::process::Signal::HUP);
    reloads(&manager, "1 of 1 enabled plugins are running");
    agent.wait_for_log("reload: refused; everything goes on as before");
    agent.configure("", "[plugins.node]\nenabled = false\n");
    agent.good(&["reload"]);
    reloads(&manager, "0 of 0 enabled plugins are running");
}

#[test]
fn a_switch_changes_the_status() {
    let manager = Manager::new();
    let agent = Agent::start_by(manager.command(), private_dir(), "", NODE);
    assert!(manager.next().starts_with("READY=1"));
    agent.good(&["disable", "node"]);
    assert_eq!(manager.next(), "STATUS=0 of 0 enabled plugins are running");
    agent.good(&["enable", "node"]);
    assert_eq!(manager.next(), "STATUS=1 of 1 enabled plugins are running");
}

#[test]
fn the_watchdog_is_fed_also_while_a_plugin_hangs() {
    let manager = Manager::new();
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("hostile"));
    let mut command = manager.command();
    command.env("WATCHDOG_USEC", "100000");
    let plugins = format!("{NODE}{}", hostile(&file, "fault = \"hang\"\nat = \"collect\"\nafter = 1"));
    let agent = Agent::start_by(command, dir, "", &plugins);
    let feeds = |count: usize| (0..count).for_each(|_| while manager.next() != "WATCHDOG=1" {});
    feeds(3);
    assert_eq!(agent.state("hostile").0, "running");
    std::thread::scope(|scope| {
        let address = agent.address;
        // It hangs in its collection; the watchdog is fed meanwhile.
        let scrape = scope.spawn(move || get(address, "/metrics"));
        feeds(3);
        assert_eq!(scrape.join().expect("no panic").status, 200);
    });
    feeds(3);
    assert_eq!(get(agent.address, "/-/healthy").status, 200);
}

#[test]
fn a_watchdog_of_another_process_is_not_fed() {
    let manager = Manager::new();
    let mut command = manager.command();
    // The caller's number, as where a shell between did not exec.
    command.env("WATCHDOG_USEC", "1000").env("WATCHDOG_PID", std::process::id().to_string());
    let agent = Agent::start_by(command, private_dir(), "", NODE);
    assert!(manager.next().starts_with("READY=1"));
    for _ in 0..3 {
        agent.good(&["reload"]);
        // Nothing comes between.
        reloads(&manager, "1 of 1 enabled plugins are running");
    }
}

#[test]
fn children_are_not_told_where_the_manager_is() {
    let manager = Manager::new();
    let dir = private_dir();
    let told = dir.path().join("told");
    // The constructor runs in the child that tries the library.
    let code = format!(
        "#include <stdio.h>\n#include <stdlib.h>\n__attribute__((constructor)) static void c(void) {{\n\
         FILE *f = fopen({told:?}, \"w\"); const char *n[] = {{\"NOTIFY_SOCKET\", \"WATCHDOG_USEC\", \"LISTEN_FDS\"}};\n\
         for (int i = 0; i < 3; i++) fprintf(f, \"%s;\", getenv(n[i]) ? \"told\" : \"not\"); fclose(f); _Exit(7); }}"
    );
    let Some(file) = compiled(dir.path(), &code) else { return };
    let mut command = manager.command();
    command.env("WATCHDOG_USEC", "60000000").env("LISTEN_FDS", "0");
    let agent = Agent::start_by(command, dir, "", &format!("{NODE}{}", hostile(&file, "")));
    assert!(agent.state("hostile").1.contains("exit status: 7"), "{:?}", agent.state("hostile"));
    assert_eq!(std::fs::read_to_string(&told).expect("the child wrote it"), "not;not;not;");
}

#[test]
fn a_manager_that_is_not_there_is_said_once_and_stops_nothing() {
    let mut command = gantry();
    command.env("NOTIFY_SOCKET", "/nowhere/notify").env("WATCHDOG_USEC", "20000");
    let mut agent = Agent::start_by(command, private_dir(), "", NODE);
    agent.wait_for_log("the init system could not be told of the agent's state");
    agent.hang_up("reloaded ");
    agent.hang_up("reloaded ");
    assert!(!agent.log.join("\n").contains("could not be told"), "{:?}", agent.log);
    assert_eq!(agent.state("node").0, "running");
}
