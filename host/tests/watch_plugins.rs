//! `host.watch_plugins`: files that are put into a directory of plugins are taken over.

mod support;

use rustix::process::Signal;
use std::path::{Path, PathBuf};
use support::agent::{Agent, gantry};
use support::versions::build;
use support::{needs, private_dir, write_library};

#[test]
fn a_file_that_is_put_into_a_watched_directory_is_taken() {
    let dir = private_dir();
    let plugins = dir.path().join("plugins");
    std::fs::create_dir(&plugins).expect("own directory");
    let file = plugins.join("libgantry_hostile.so");
    std::fs::rename(build(dir.path(), "0.2.0"), &file).expect("own directory");
    let next = build(dir.path(), "0.3.0");
    let host = format!("plugin_dirs = [{plugins:?}]\nwatch_plugins = true\n");
    let section = "[plugins.hostile]\nenabled = true\nisolation = \"none\"\nversion = \">=0.2\"\n";
    let mut agent = Agent::start_in(dir, &host, section);
    assert_eq!(agent.row("hostile")["version"], "0.2.0");
    std::fs::rename(next, &file).expect("own directory");
    agent.wait_for_log("watch: hostile: running (0.3.0)");
    assert_eq!(agent.row("hostile")["version"], "0.3.0");
    write_library(&file, b"no library");
    agent.wait_for_log("no ELF header");
    assert_eq!(agent.row("hostile")["version"], "0.3.0");
}

const SECTION: &str = "[plugins.hostile]\nenabled = true\nisolation = \"none\"\nversion = \">=0.2\"\n";

/// An agent that watches the first directory, where 0.2.0 is; 0.3.0 is in the second.
fn watches() -> (Agent, PathBuf, PathBuf) {
    let dir = private_dir();
    let put = |place: &str, version: &str| -> PathBuf {
        let plugins = dir.path().join(place);
        std::fs::create_dir(&plugins).expect("own directory");
        std::fs::rename(build(dir.path(), version), file(&plugins)).expect("own directory");
        plugins
    };
    let (plugins, other) = (put("plugins", "0.2.0"), put("other", "0.3.0"));
    let host = format!("plugin_dirs = [{plugins:?}]\nwatch_plugins = true\n");
    let mut command = gantry();
    command.args(["--directories-every", "50ms"]);
    let agent = Agent::start_by(command, dir, &host, SECTION);
    assert_eq!(agent.row("hostile")["version"], "0.2.0");
    (agent, plugins, other)
}

fn file(plugins: &Path) -> PathBuf {
    plugins.join("libgantry_hostile.so")
}

#[test]
fn another_directory_at_the_path_of_one_is_watched_in_its_place() {
    let (mut agent, plugins, other) = watches();
    // The kernel says nothing of it: what is watched is there still, elsewhere.
    std::fs::rename(&plugins, plugins.with_extension("before")).expect("own directory");
    std::fs::rename(&other, &plugins).expect("own directory");
    agent.wait_for_log("watch: hostile: running (0.3.0)");
    // It is that one which is watched now.
    let next = build(agent.dir.path(), "0.4.0");
    std::fs::rename(next, file(&plugins)).expect("own directory");
    agent.wait_for_log("watch: hostile: running (0.4.0)");
}

#[test]
fn a_file_whose_event_did_not_fit_into_the_queue_is_taken_all_the_same() {
    let most = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").expect("Linux");
    let most: usize = most.trim().parse().expect("a number");
    if !needs::have("a queue of inotify that can be filled", most <= 1 << 17) {
        return;
    }
    let (mut agent, plugins, other) = watches();
    agent.signal(Signal::STOP);
    // Two in turn: the kernel makes one event of what is the same twice.
    for n in 0..=most {
        std::fs::write(plugins.join(["a", "b"][n % 2]), "").expect("own directory");
    }
    std::fs::rename(file(&other), file(&plugins)).expect("own directory");
    agent.signal(Signal::CONT);
    agent.wait_for_log("watch: hostile: running (0.3.0)");
}
