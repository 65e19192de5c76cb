//! Plugin files that must not be opened, and what happens to the others.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use support::agent::{Agent, run, said, sample};
use support::compiled::compiled;
use support::process::{children, lives};
use support::{built, copy_to, library, needs, private_dir, write_library};

/// A configuration with `node`, which is good, and `hostile` from a file.
fn beside_node(file: &Path, more: &str) -> String {
    format!(
        "[plugins.node]\nenabled = true\n[plugins.hostile]\nenabled = true\npath = {file:?}\nisolation = \"none\"\n{more}\n"
    )
}

/// Checks that `gantry check` refuses the file with these words and exit code
/// 1, and that an agent runs on with the other plugin and says the same.
fn refused(dir: tempfile::TempDir, config: &str, words: &[&str]) {
    let output = run(dir.path(), config, &["check"]);
    let checked = said(&output);
    assert_eq!(output.status.code(), Some(1), "{checked}");
    let agent = Agent::start_in(dir, "", config);
    let (state, reasons) = agent.state("hostile");
    assert_eq!(state, "failed", "{reasons}");
    for word in words {
        assert!(checked.contains(word), "check lacks {word:?}: {checked}");
        assert!(reasons.contains(word), "the state lacks {word:?}: {reasons}");
    }
    assert!(sample(&agent.scrape(), "node_uptime_seconds").is_some(), "node goes on");
}

/// The fixture's bytes with one part of its manifest replaced by as many bytes.
fn with_manifest(from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len(), "the section keeps its length");
    let mut bytes = std::fs::read(library("hostile")).expect("the built fixture");
    let positions: Vec<usize> = bytes
        .windows(from.len())
        .enumerate()
        .filter(|(_, window)| *window == from.as_bytes())
        .map(|(at, _)| at)
        .collect();
    assert!(!positions.is_empty(), "{from} is not in the fixture");
    for at in positions {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    bytes
}

fn refused_bytes(bytes: &[u8], words: &[&str]) {
    let dir = private_dir();
    let file = dir.path().join("libgantry_hostile.so");
    write_library(&file, bytes);
    let config = beside_node(&file, "");
    refused(dir, &config, words);
}

#[test]
fn a_good_file_outside_the_vendor_directories_runs() {
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("hostile"));
    let agent = Agent::start_in(dir, "", &beside_node(&file, ""));
    let scraped = agent.scrape();
    assert_eq!(sample(&scraped, "hostile_good{kind=\"first\""), Some(1.0), "{scraped}");
    assert!(sample(&scraped, "gantry_plugin_heap_bytes{plugin=\"hostile\"").is_some_and(|heap| heap > 0.0));
}

#[test]
fn outside_the_vendor_directories_a_process_of_its_own_is_the_default() {
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("hostile"));
    let config =
        format!("[plugins.node]\nenabled = true\n[plugins.hostile]\nenabled = true\npath = {file:?}\n");
    let agent = Agent::start_over(
        support::agent::gantry(),
        dir,
        &format!("{}{config}", Agent::configuration("", "")),
    );
    for (plugin, isolation) in [("node", "none"), ("hostile", "process")] {
        assert_eq!(agent.state(plugin).0, "running");
        assert_eq!(agent.plugin(plugin)["isolation"], isolation);
    }
}

#[test]
fn missing_files_are_named() {
    let dir = private_dir();
    let file = dir.path().join("nothing.so");
    let config = beside_node(&file, "");
    refused(dir, &config, &["nothing.so is not there"]);
    let agent = Agent::start("[plugins.node]\nenabled = true\n[plugins.no-such]\nenabled = true\n");
    let (state, reasons) = agent.state("no-such");
    assert_eq!(state, "failed");
    assert!(reasons.contains("libgantry_no_such.so is in none of"), "{reasons}");
    assert_eq!(agent.state("node").0, "running");
}

#[test]
fn truncated_files_are_not_opened() {
    let whole = std::fs::read(library("hostile")).expect("the built fixture");
    for percent in [1, 20, 50, 80, 99] {
        refused_bytes(&whole[..whole.len() * percent / 100], &["truncated or damaged"]);
    }
}

#[test]
fn what_is_no_library_is_said() {
    refused_bytes(b"#!/bin/sh\necho hello\n", &["not a shared library (no ELF header)"]);
    refused_bytes(b"", &["no ELF header"]);
    let program = std::fs::read(env!("CARGO_BIN_EXE_gantry")).expect("own binary");
    refused_bytes(&program, &["no section .gantry_manifest"]);
}

#[test]
fn another_architecture_is_said() {
    let mut bytes = std::fs::read(library("hostile")).expect("the built fixture");
    // e_machine: AArch64 on any machine but that, x86-64 there.
    let machine: u16 = if cfg!(target_arch = "aarch64") { 62 } else { 183 };
    bytes[18..20].copy_from_slice(&machine.to_le_bytes());
    refused_bytes(&bytes, &["build it for this architecture", std::env::consts::ARCH]);
}

#[test]
fn other_api_versions_are_named_with_the_remedy() {
    refused_bytes(
        &with_manifest("\"api\":\"1.0\"", "\"api\":\"2.0\""),
        &["built for plugin api 2.0, this host offers 1.0", "upgrade the host"],
    );
    refused_bytes(
        &with_manifest("\"api\":\"1.0\"", "\"api\":\"0.9\""),
        &["built for plugin api 0.9, this host offers 1.0", "rebuild the plugin"],
    );
    refused_bytes(
        &with_manifest("\"min_host_api\":\"1.0\"", "\"min_host_api\":\"1.9\""),
        &["needs plugin api 1.9, this host offers 1.0"],
    );
}

#[test]
fn a_plugin_that_would_abort_is_refused_by_name() {
    refused_bytes(
        &with_manifest("\"panic\":\"unwind\"", "\"panic\":\"abort\" "),
        &["built with panic", "isolation = "],
    );
}

#[test]
fn a_manifest_that_makes_no_sense_is_refused() {
    refused_bytes(
        &with_manifest("{\"gantry_manifest\":1", "[\"gantry_manifest\":1"),
        &["manifest cannot be read"],
    );
    refused_bytes(&with_manifest("\"name\":\"hostile\"", "\"name\":\"../../x\""), &["is no plugin's name"]);
    refused_bytes(
        &with_manifest("\"name\":\"hostile\"", "\"name\":\"another\""),
        &["it is the plugin", "another"],
    );
}

#[test]
fn files_that_others_could_change_are_refused() {
    for (mode, words) in [(0o775, "writable by its group"), (0o757, "writable by everybody")] {
        let dir = private_dir();
        let file = copy_to(dir.path(), &library("hostile"));
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("own file");
        let config = beside_node(&file, "");
        refused(dir, &config, &[words, "chmod go-w"]);
        let dir = private_dir();
        let open = dir.path().join("open");
        std::fs::create_dir(&open).expect("temporary directory");
        let file = copy_to(&open, &library("hostile"));
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(mode)).expect("own directory");
        let config = beside_node(&file, "");
        refused(dir, &config, &["its directory", words]);
    }
}

#[test]
fn files_of_strangers_are_refused() {
    if !needs::root() {
        return;
    }
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("hostile"));
    std::os::unix::fs::chown(&file, Some(12_345), None).expect("root may");
    let config = beside_node(&file, "");
    refused(dir, &config, &["belongs to user 12345"]);
}

#[test]
fn a_link_is_judged_by_both_ends() {
    let dir = private_dir();
    let (open, good) = (dir.path().join("open"), dir.path().join("good"));
    std::fs::create_dir(&open).expect("temporary directory");
    std::fs::create_dir(&good).expect("temporary directory");
    std::fs::set_permissions(&good, std::fs::Permissions::from_mode(0o755)).expect("own directory");
    let file = copy_to(&good, &library("hostile"));
    let link = open.join("link.so");
    std::os::unix::fs::symlink(&file, &link).expect("a link");
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).expect("own directory");
    let config = beside_node(&link, "");
    refused(dir, &config, &["its directory", "writable by everybody"]);
}

#[test]
fn a_pinned_digest_must_match() {
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("hostile"));
    let config = beside_node(&file, &format!("sha256 = \"{}\"", "0".repeat(64)));
    refused(dir, &config, &["its sha256 is ", "the configuration pins 0000"]);
}

#[test]
fn constructors_that_crash_kill_a_child_and_not_the_agent() {
    for (code, words) in [
        ("__attribute__((constructor)) static void c(void) { *(volatile int *)0 = 1; }", "SIGSEGV"),
        ("#include <stdlib.h>\n__attribute__((constructor)) static void c(void) { abort(); }", "SIGABRT"),
        (
            "#include <stdlib.h>\n__attribute__((constructor)) static void c(void) { _Exit(7); }",
            "exit status: 7",
        ),
        ("int nothing;", "the dynamic linker refused it"),
    ] {
        let dir = private_dir();
        let Some(file) = compiled(dir.path(), code) else { return };
        let config = beside_node(&file, "");
        refused(dir, &config, &[words]);
    }
}

#[test]
fn a_file_that_is_overwritten_while_it_is_loaded_harms_nobody() {
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("hostile"));
    let agent = Agent::start_in(dir, "", &beside_node(&file, ""));
    std::fs::write(&file, vec![0; 100_000]).expect("own file");
    for _ in 0..3 {
        assert_eq!(sample(&agent.scrape(), "hostile_good{kind=\"last\""), Some(1.0));
    }
    std::fs::write(&file, b"").expect("own file");
    assert_eq!(sample(&agent.scrape(), "hostile_good{kind=\"last\""), Some(1.0));
}

/// Says by a file that it was opened, whatever comes of that.
const TELLS: &str = "#include <fcntl.h>\n__attribute__((constructor)) static void c(void) \
    { open(MARK, O_CREAT | O_WRONLY, 0600); }";

#[test]
fn what_is_swapped_between_check_and_open_is_never_opened() {
    let swaps = |isolation: &str| {
        let dir = private_dir();
        let mark = dir.path().join("opened");
        let code = format!("#define MARK {mark:?}\n{TELLS}");
        let Some(evil) = compiled(dir.path(), &code) else { return };
        let bad = std::fs::read(&evil).expect("it was built");
        let good = std::fs::read(library("hostile")).expect("the built fixture");
        let digest = {
            let config = beside_node(&evil, "");
            write_library(&evil, &good);
            let agent = Agent::start_in(private_dir(), "", &config);
            agent.plugin("hostile")["digest"].as_str().expect("a digest").to_owned()
        };
        let section = beside_node(&evil, &format!("sha256 = {digest:?}"));
        let agent = Agent::start_in(dir, "", &section.replace("isolation = \"none\"", isolation));
        let over = std::sync::atomic::AtomicBool::new(false);
        let (mut ran, mut refused) = (0, 0);
        std::thread::scope(|scope| {
            // As fast as it can: the good one and the other take each other's place.
            scope.spawn(|| {
                let beside = evil.with_extension("beside");
                for bytes in [&bad, &good].into_iter().cycle() {
                    if over.load(std::sync::atomic::Ordering::Relaxed) {
                        return;
                    }
                    write_library(&beside, bytes);
                    std::fs::rename(&beside, &evil).expect("own directory");
                }
            });
            for _ in 0..40 {
                agent.command("plugins/hostile/disable?until_restart");
                let answer = agent.command("plugins/hostile/enable?until_restart");
                match answer.text().contains("hostile: running") {
                    true => ran += 1,
                    false => refused += 1,
                }
                if mark.exists() {
                    break;
                }
            }
            over.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        println!("{isolation}: {ran} ran, {refused} were refused");
        assert!(!mark.exists(), "it was opened, after {ran} and {refused}");
        assert!(refused > 0, "the other one was there");
        // Where nothing is pinned it is opened, and says so.
        write_library(&evil, &bad);
        let other = private_dir();
        let _ = run(other.path(), &beside_node(&evil, ""), &["check"]);
        assert!(mark.exists(), "it tells when it is opened");
    };
    support::day::side_by_side(&["isolation = \"none\"", "isolation = \"process\""], |isolation| {
        swaps(isolation);
    });
}

#[test]
fn plugins_are_looked_for_in_plugin_dirs() {
    let dir = private_dir();
    let plugins = dir.path().join("plugins");
    std::fs::create_dir(&plugins).expect("temporary directory");
    std::fs::set_permissions(&plugins, std::fs::Permissions::from_mode(0o755)).expect("own directory");
    let whole = std::fs::read(library("hostile")).expect("the built fixture");
    write_library(&plugins.join("libgantry_hostile.so"), &whole);
    let config = "[plugins.hostile]\nenabled = true\nisolation = \"none\"\n";
    let agent = Agent::start_in(dir, "plugin_dirs = [\"plugins\"]", config);
    assert_eq!(agent.state("hostile").0, "running");
    assert!(built().join("libgantry_node.so").exists());
}

#[test]
fn constructors_that_hang_hold_nobody_up_and_outlive_nobody() {
    for code in [
        "#include <unistd.h>\n__attribute__((constructor)) static void c(void) { for (;;) sleep(1000); }",
        "#include <unistd.h>\n__attribute__((constructor)) static void c(void) \
         { close(0); close(1); close(2); for (;;) sleep(1000); }",
    ] {
        let dir = private_dir();
        let Some(file) = compiled(dir.path(), code) else { return };
        let mut agent = Agent::start_in(dir, "", &beside_node(&file, ""));
        assert!(sample(&agent.scrape(), "node_uptime_seconds").is_some(), "node does not wait for it");
        assert_eq!(agent.state("hostile").0, "discovered");
        let child = children(agent.pid()).pop().expect("the child that tries it");
        assert!(agent.terminate().success());
        let until = std::time::Instant::now() + support::http::PATIENCE;
        while lives(child) {
            assert!(std::time::Instant::now() < until, "the child lives on");
            std::thread::park_timeout(std::time::Duration::from_millis(5));
        }
    }
}

#[test]
fn a_constructor_that_hangs_is_said_by_check() {
    let dir = private_dir();
    let code =
        "#include <unistd.h>\n__attribute__((constructor)) static void c(void) { for (;;) sleep(1000); }";
    let Some(file) = compiled(dir.path(), code) else { return };
    let checked = run(dir.path(), &beside_node(&file, ""), &["check"]);
    assert_eq!(checked.status.code(), Some(1));
    assert!(said(&checked).contains("took longer than 10 s; the child was killed"), "{}", said(&checked));
}

#[test]
fn a_path_that_a_stranger_could_exchange_is_opened_from_memory() {
    if !needs::root() {
        return;
    }
    let dir = private_dir();
    let strange = dir.path().join("strange");
    let plugins = strange.join("plugins");
    std::fs::create_dir_all(&plugins).expect("temporary directory");
    for own in [&strange, &plugins] {
        std::fs::set_permissions(own, std::fs::Permissions::from_mode(0o755)).expect("own directory");
    }
    let file = copy_to(&plugins, &library("hostile"));
    std::os::unix::fs::chown(&strange, Some(12_345), None).expect("root may");
    // A file where the state directory should be: nothing can be stored.
    std::fs::write(dir.path().join("state"), b"").expect("temporary file");
    let mut agent = Agent::start_in(dir, "", &beside_node(&file, ""));
    let line = agent.wait_for_log("libgantry_hostile.so is opened");
    assert!(line.contains("is opened from memory"), "{line}");
    assert_eq!(agent.state("hostile").0, "running");
}

#[test]
fn check_names_families_that_would_be_refused() {
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("hostile"));
    let checked = run(dir.path(), &beside_node(&file, ""), &["check"]);
    assert_eq!(checked.status.code(), Some(1));
    for words in [
        "[plugins.hostile]: hostile: family name \"gantry_hostile\" belongs to the host",
        "but gauge with node",
    ] {
        assert!(said(&checked).contains(words), "lacks {words:?}: {}", said(&checked));
    }
}
