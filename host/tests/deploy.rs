//! What is shipped beside the binary is good in the eyes of those who read it.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use support::{agent::said, needs};

const UNIT: &str = include_str!("../../deploy/systemd/gantry.service");
const BEFORE_253: &str = include_str!("../../deploy/systemd/before-253.conf");

/// A copy of the unit that names the binary that was built.
fn unit_in(dir: &Path) -> PathBuf {
    let start = format!("ExecStart={} run", env!("CARGO_BIN_EXE_gantry"));
    let text = UNIT.replace("ExecStart=/usr/bin/gantry run", &start);
    assert_ne!(text, UNIT, "the unit starts what is installed");
    let path = dir.join("gantry.service");
    std::fs::write(&path, text).expect("a file in a temporary directory");
    path
}

fn analyze(arguments: &[&str], unit: &Path) -> std::process::Output {
    Command::new("systemd-analyze").args(arguments).arg(unit).output().expect("it runs")
}

/// What `systemd-analyze verify` complains of.
fn complaints(unit: &Path) -> Vec<String> {
    // Units of the machine that this one is ordered after are not judged.
    let output = analyze(&["verify", "--man=no", "--recursive-errors=no"], unit);
    let said = said(&output);
    let lines: Vec<String> = said.lines().map(ToOwned::to_owned).collect();
    assert!(output.status.success() || !lines.is_empty(), "{}", output.status);
    lines
}

#[test]
fn systemd_has_nothing_to_complain_of() {
    if !needs::program("systemd-analyze") {
        return;
    }
    let dir = support::private_dir();
    let unit = unit_in(dir.path());
    // What an older one does not know, it must say and pass over.
    let unknown = "Failed to parse service type, ignoring: notify-reload";
    let left = |lines: Vec<String>| -> Vec<String> {
        lines.into_iter().filter(|line| !line.ends_with(unknown)).collect()
    };
    let plain = complaints(&unit);
    let old = plain.iter().any(|line| line.ends_with(unknown));
    assert_eq!(left(plain), [""; 0]);
    if old {
        let drop_ins = dir.path().join("gantry.service.d");
        std::fs::create_dir(&drop_ins).expect("own directory");
        std::fs::write(drop_ins.join("before-253.conf"), BEFORE_253).expect("own directory");
        assert_eq!(left(complaints(&unit)), [""; 0]);
    }
    // And it would complain.
    let text = std::fs::read_to_string(&unit).expect("written above");
    std::fs::write(&unit, text.replace("ProtectClock=yes", "ProtectClok=yes")).expect("own file");
    assert_ne!(left(complaints(&unit)), [""; 0]);
}

#[test]
fn the_exposure_is_told() {
    if !needs::program("systemd-analyze") {
        return;
    }
    let dir = support::private_dir();
    let unit = unit_in(dir.path());
    let output = analyze(&["security", "--offline=true", "--no-pager"], &unit);
    let said = said(&output);
    // Before systemd 250 there is no `--offline`.
    let level = said.lines().find(|line| line.contains("Overall exposure level"));
    println!("{}", level.unwrap_or("this systemd does not tell the exposure of a file"));
}

#[test]
fn the_unit_keeps_to_the_names_that_others_build_on() {
    for line in [
        "ExecStart=/usr/bin/gantry run",
        "StateDirectory=gantry",
        "StateDirectoryMode=0700",
        "RuntimeDirectory=gantry",
        "ConfigurationDirectory=gantry",
    ] {
        assert!(UNIT.lines().any(|one| one == line), "{line}");
    }
    // Each of these would hide from the agent what it is there to see.
    for key in
        ["ProtectProc=", "ProcSubset=", "ProtectHome=", "ProtectHostname=", "PrivateNetwork=", "NoExecPaths="]
    {
        assert!(!UNIT.lines().any(|line| line.starts_with(key)), "{key}");
    }
}
