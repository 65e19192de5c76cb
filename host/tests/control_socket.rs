//! The control socket as a file, and whom it lets in.

mod support;

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use support::agent::{Agent, gantry, said, sample};
use support::commands::request;
use support::{copy_to, library, needs, private_dir};

const NODE: &str = "[plugins.node]\nenabled = true\n";

/// A user that nobody is.
const STRANGER: u32 = 65_534;

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().expect("it is there").permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("own file");
}

/// The directory of an agent, without the agent.
fn dir_of(agent: &mut Agent) -> tempfile::TempDir {
    std::mem::replace(&mut agent.dir, private_dir())
}

/// The host and a plugin where every user reaches them.
fn public(dir: &Path) -> std::path::PathBuf {
    set_mode(dir, 0o755);
    let bin = dir.join("bin");
    std::fs::create_dir(&bin).expect("temporary directory");
    set_mode(&bin, 0o755);
    copy_to(&bin, &library("node"));
    copy_to(&bin, Path::new(env!("CARGO_BIN_EXE_gantry")))
}

fn ask_as(user: u32, host: &Path, socket: &Path) -> Output {
    let mut command = Command::new(host);
    command.args(["plugins", "--socket"]).arg(socket).stdin(Stdio::null()).current_dir("/");
    command.uid(user).gid(user).output().expect("it runs")
}

#[test]
fn only_its_owner_may_open_it_and_it_goes_with_the_agent() {
    let mut agent = Agent::start(NODE);
    let socket = agent.socket();
    assert!(socket.symlink_metadata().expect("it is there").file_type().is_socket());
    assert_eq!(mode(&socket), 0o600);
    assert!(agent.terminate().success());
    assert!(!socket.exists());
}

#[test]
fn one_that_a_killed_agent_left_is_replaced() {
    let mut agent = Agent::start(NODE);
    let socket = agent.socket();
    agent.signal(rustix::process::Signal::KILL);
    let dir = dir_of(&mut agent);
    drop(agent);
    assert!(socket.exists(), "nobody took it away");
    let again = Agent::start_in(dir, "", NODE);
    assert_eq!(again.row("node")["state"], "running");
    assert_eq!(mode(&socket), 0o600);
}

#[test]
fn what_is_no_socket_is_left_alone_and_the_agent_runs_without_one() {
    let dir = private_dir();
    let state = dir.path().join("state");
    std::fs::create_dir(&state).expect("temporary directory");
    set_mode(&state, 0o700);
    std::fs::write(state.join("gantry.sock"), b"somebody's").expect("temporary file");
    let mut agent = Agent::start_in(dir, "", NODE);
    let warning = agent.wait_for_log("no control socket");
    assert!(
        warning.contains("WARN") && warning.contains("is there and is no socket; remove it"),
        "{warning}"
    );
    assert!(sample(&agent.scrape(), "node_uptime_seconds").is_some());
    assert!(agent.bad(2, &["plugins"]).contains("no agent answers at"));
    let socket = agent.socket();
    assert!(agent.terminate().success());
    assert_eq!(std::fs::read(socket).expect("it is there still"), b"somebody's");
}

#[test]
fn a_socket_at_which_another_program_listens_is_left_to_it() {
    let dir = private_dir();
    let state = dir.path().join("state");
    std::fs::create_dir(&state).expect("temporary directory");
    set_mode(&state, 0o700);
    let other = UnixListener::bind(state.join("gantry.sock")).expect("temporary directory");
    let mut agent = Agent::start_in(dir, "", NODE);
    let warning = agent.wait_for_log("no control socket");
    assert!(warning.contains("another program listens at") && warning.contains("stop it"), "{warning}");
    assert!(sample(&agent.scrape(), "node_uptime_seconds").is_some());
    let socket = agent.socket();
    assert!(agent.terminate().success());
    assert!(socket.exists(), "it is the other's");
    drop(other);
}

#[test]
fn a_socket_that_was_removed_or_taken_over_is_nothing_the_end_removes() {
    let mut agent = Agent::start(NODE);
    let socket = agent.socket();
    std::fs::remove_file(&socket).expect("own file");
    std::fs::write(&socket, b"somebody's").expect("own directory");
    assert!(agent.terminate().success());
    assert_eq!(std::fs::read(socket).expect("it is there still"), b"somebody's");
}

#[test]
fn a_stranger_is_refused_by_the_file_s_mode_and_by_his_number() {
    if !needs::root() {
        return;
    }
    let dir = private_dir();
    let host = public(dir.path());
    let socket = dir.path().join("gantry.sock");
    let mut command = gantry();
    command.arg("--socket").arg(&socket);
    let mut agent = Agent::start_by(command, dir, "", NODE);
    let locked_out = ask_as(STRANGER, &host, &socket);
    assert_eq!(locked_out.status.code(), Some(1), "{}", said(&locked_out));
    let error = said(&locked_out);
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.contains("Permission denied") && error.contains("ask as root"), "{error}");
    // Should the mode ever let him in, who he is decides.
    set_mode(&socket, 0o666);
    let refused = ask_as(STRANGER, &host, &socket);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    let error = said(&refused);
    assert_eq!(error, "gantry: user 65534 may not command this agent; ask as root or as user 0\n");
    agent.wait_for_log("control socket: user 65534 was refused");
    assert_eq!(request(&socket, "GET", "/v1/plugins").status, 200, "root goes on");
}

#[test]
fn the_agent_s_own_user_and_root_may_command_it() {
    if !needs::root() {
        return;
    }
    let dir = private_dir();
    let host = public(dir.path());
    let state = dir.path().join("state");
    std::fs::create_dir(&state).expect("temporary directory");
    std::os::unix::fs::chown(&state, Some(STRANGER), Some(STRANGER)).expect("root may");
    set_mode(&state, 0o700);
    let mut command = Command::new(&host);
    command.uid(STRANGER).gid(STRANGER).stdin(Stdio::null()).current_dir("/");
    let mut agent = Agent::start_by(command, dir, "", NODE);
    let socket = agent.socket();
    for user in [0, STRANGER] {
        let asked = ask_as(user, &host, &socket);
        assert_eq!(asked.status.code(), Some(0), "{user}: {}", said(&asked));
    }
    set_mode(&state, 0o755);
    set_mode(&socket, 0o666);
    let refused = ask_as(STRANGER - 1, &host, &socket);
    assert_eq!(
        said(&refused),
        "gantry: user 65533 may not command this agent; ask as root or as user 65534\n"
    );
    // A file that its own user may not read.
    let thread = agent.thread_of("node");
    set_mode(&agent.config(), 0o000);
    let error = agent.bad(1, &["reload"]);
    assert!(error.contains("plugins.toml: cannot be opened: Permission denied"), "{error}");
    agent.hang_up("reload: refused; everything goes on as before");
    assert_eq!(agent.thread_of("node"), thread);
    set_mode(&agent.config(), 0o644);
    agent.hang_up("reloaded ");
    // Nor may it write there.
    let before = std::fs::read(agent.config()).expect("own file");
    let error = agent.bad(1, &["disable", "node"]);
    assert!(error.contains("cannot be edited") && error.contains("--until-restart"), "{error}");
    assert_eq!(std::fs::read(agent.config()).expect("own file"), before);
    assert_eq!(agent.state("node").0, "running");
}
