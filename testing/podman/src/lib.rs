//! A real Podman of the test's own: its storage, its socket.
#![forbid(unsafe_code)]

use gantry_test_docker::needs;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The one that there is.
pub const IMAGE: &str = "localhost/busybox:latest";

/// Far longer than a service under load takes to begin.
const PATIENCE: Duration = Duration::from_secs(60);

/// Podman gives containers that it makes itself, as those that hold a pod's
/// namespaces, limits that a user without CAP_SYS_RESOURCE may not raise to. So
/// they keep this process's own.
const RUNTIME: &str = r#"#!/bin/sh
bundle= before=
for word in "$@"; do
    [ "$before" = --bundle ] && bundle=$word
    before=$word
done
[ -n "$bundle" ] && sed -i -E 's/,"rlimits":\[[^]]*\]//' "$bundle/config.json"
exec "$RUNC" "$@"
"#;

/// With the value all of it goes: containers, service, storage.
#[derive(Debug)]
pub struct Podman {
    dir: TempDir,
    service: Option<Child>,
}

impl Podman {
    /// `None` where the machine lacks something, which is said.
    pub fn start() -> Option<Self> {
        needs::root_and(&["podman", "conmon", "runc", "sed", "tar", "busybox"]).then(Self::begin)
    }

    fn begin() -> Self {
        // A socket's path has at most 107 bytes.
        let dir = tempfile::Builder::new().prefix("gtp-").tempdir_in("/tmp").expect("/tmp is writable");
        let mut podman = Self { dir, service: None };
        let runc = needs::find("runc").expect("it was asked for").display().to_string();
        let runtime = podman.dir().join("runc");
        std::fs::write(&runtime, RUNTIME.replace("$RUNC", &runc)).expect("the test's own directory");
        std::fs::set_permissions(&runtime, Permissions::from_mode(0o755)).expect("the test's own file");
        let root = podman.dir().join("image");
        std::fs::create_dir_all(root.join("bin")).expect("the test's own directory");
        let busybox = needs::find("busybox").expect("it was asked for");
        std::fs::copy(busybox, root.join("bin/busybox")).expect("a copy");
        let tar = podman.dir().join("image.tar");
        let status = Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&tar).arg(".").status();
        assert!(status.expect("it was asked for").success());
        let program = "CMD [\"/bin/busybox\", \"sleep\", \"1000\"]";
        podman.run(&["import", "--change", program, &tar.display().to_string(), IMAGE]);
        podman.serve();
        podman
    }

    fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where its service listens.
    pub fn socket(&self) -> PathBuf {
        self.dir().join("p.sock")
    }

    fn command(&self) -> Command {
        let mut command = Command::new("podman");
        for (flag, name) in [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
            command.arg(flag).arg(self.dir().join(name));
        }
        command.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]);
        command.arg("--runtime").arg(self.dir().join("runc"));
        // The user's own settings are another matter.
        command.args(["--events-backend", "file"]).env("HOME", self.dir()).stdin(Stdio::null());
        command
    }

    /// What it prints.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> String {
        // Not a pipe: what stays behind of it, as conmon, would hold that open.
        let (out, error) = (self.dir().join("out"), self.dir().join("error"));
        let file = |path| File::create(path).expect("the test's own directory");
        let status = self.command().args(args).stdout(file(&out)).stderr(file(&error)).status();
        let text = |path| std::fs::read_to_string(path).unwrap_or_default();
        assert!(status.expect("it was asked for").success(), "{args:?}: {}", text(&error));
        text(&out).trim().to_owned()
    }

    /// One that runs; its id.
    #[track_caller]
    pub fn container(&self, args: &[&str]) -> String {
        self.started(&[&["--network", "host"], args].concat())
    }

    /// One of a pod.
    #[track_caller]
    pub fn container_in(&self, pod: &str, args: &[&str]) -> String {
        self.started(&[&["--pod", pod], args].concat())
    }

    #[track_caller]
    fn started(&self, args: &[&str]) -> String {
        let run = ["run", "-d", "--log-driver", "k8s-file"];
        self.run(&[&run[..], args, &[IMAGE, "/bin/busybox", "sleep", "1000"]].concat())
    }

    /// Begins to listen.
    pub fn serve(&mut self) {
        let log = File::create(self.dir().join("log")).expect("the test's own directory");
        let mut command = self.command();
        command.args(["system", "service", "--time=0"]).arg(format!("unix://{}", self.socket().display()));
        let service = command.stdout(Stdio::null()).stderr(log).spawn();
        self.service = Some(service.expect("it was asked for"));
        let until = Instant::now() + PATIENCE;
        while std::os::unix::net::UnixStream::connect(self.socket()).is_err() {
            assert!(Instant::now() < until, "podman does not listen");
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// Ends the service; what runs stays.
    pub fn kill_service(&mut self) {
        if let Some(mut service) = self.service.take() {
            service.kill().expect("it is ours");
            service.wait().expect("it is ours");
        }
        let _ = std::fs::remove_file(self.socket());
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        self.kill_service();
        // What it left is in the test's directory and below one cgroup, where a
        // pod's own directory stays in some hierarchies.
        let pods = self.command().args(["pod", "ls", "-q", "--no-trunc"]).output();
        let _ = self.command().args(["pod", "rm", "-fa", "-t", "0"]).stdout(Stdio::null()).status();
        let _ = self.command().args(["rm", "-fa", "-t", "0"]).stdout(Stdio::null()).status();
        let pods =
            pods.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        let roots = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
        for root in roots {
            pods.lines()
                .for_each(|pod| drop(std::fs::remove_dir(root.path().join("libpod_parent").join(pod))));
        }
    }
}
