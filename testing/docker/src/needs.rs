//! What a test needs of the machine. A missing thing is said loudly, and with
//! `CI=true` it is a failure.

use std::path::PathBuf;

/// Whether the test can run.
///
/// # Panics
/// With `CI=true`, where it cannot.
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
pub fn have(what: &str, there: bool) -> bool {
    if !there {
        let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(!ci, "{what} is missing, and CI=true forbids to skip");
        eprintln!("\n*** SKIPPED: this test needs {what} ***\n");
    }
    there
}

/// Where a program is.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    // Daemons lie where only root's PATH leads.
    let dirs = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    dirs.map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// Whether all these programs are there, and the test runs as root.
pub fn root_and(programs: &[&str]) -> bool {
    let root = have("root", rustix::process::geteuid().is_root());
    programs.iter().fold(root, |all, program| have(program, find(program).is_some()) && all)
}
