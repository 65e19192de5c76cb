//! The image that tests' containers run: a static busybox and nothing else.

use crate::real::Docker;
use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

/// Its name.
pub const IMAGE: &str = "gantry-test:1";

/// What it runs when nothing else is said: nothing, without end.
const CHANGES: [&str; 2] = ["--change", "CMD [\"/bin/sleep\", \"1000000\"]"];

/// The commands that are there besides `busybox COMMAND`.
const COMMANDS: [&str; 8] = ["sh", "sleep", "echo", "cat", "true", "env", "nc", "httpd"];

/// Imports it.
pub(crate) fn import(docker: &Docker, busybox: &Path) {
    let root = docker.dir().join("rootfs");
    let bin = root.join("bin");
    std::fs::create_dir_all(&bin).expect("the test's own directory");
    std::fs::copy(busybox, bin.join("busybox")).expect("busybox can be read");
    for command in COMMANDS {
        symlink("busybox", bin.join(command)).expect("the test's own directory");
    }
    let tar = docker.dir().join("rootfs.tar");
    let status = Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&tar).arg(".").status();
    assert!(status.is_ok_and(|status| status.success()), "tar makes the image");
    let from = File::open(&tar).expect("it was made just above");
    let mut command = docker.command();
    command.arg("import").args(CHANGES).args(["-", IMAGE]).stdin(from).stdout(Stdio::null());
    assert!(command.status().is_ok_and(|status| status.success()), "docker imports the image");
}
