//! What a test needs of the machine. A missing thing is said loudly, and with
//! `CI=true` it is a failure.

use std::process::{Command, Stdio};

/// Whether the test can run.
pub fn have(what: &str, there: bool) -> bool {
    if !there {
        let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(!ci, "{what} is missing, and CI=true forbids to skip");
        eprintln!("\n*** SKIPPED: this test needs {what} ***\n");
    }
    there
}

pub fn root() -> bool {
    have("root", rustix::process::geteuid().is_root())
}

pub fn program(name: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(name).is_file()));
    have(name, found)
}

pub fn python_module(module: &str) -> bool {
    let imported = Command::new("/usr/bin/python3")
        .args(["-c", &format!("import {module}")])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    have(&format!("the Python module {module}"), imported)
}
