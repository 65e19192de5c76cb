//! A daemon of the test's own: its data, its state, its socket and, where ports
//! are published, its network. Several run side by side.

use crate::{image, left, needs};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Far longer than a daemon under load takes to answer, or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at something that tells nobody.
const LOOK: Duration = Duration::from_millis(10);

/// A real Docker. With the value all of it goes: its containers, its daemons,
/// what they mounted, its network namespace.
#[derive(Debug)]
pub struct Docker {
    dir: TempDir,
    daemon: Option<Child>,
    network: Option<Network>,
}

impl Docker {
    /// One whose containers have no network but the host's, if asked for.
    /// `None` where the machine lacks something, which is said.
    ///
    /// # Panics
    /// Where it does not come to work.
    pub fn start() -> Option<Self> {
        needs::root_and(&["dockerd", "containerd", "runc", "docker", "tar", "busybox"])
            .then(|| Self::begin(None))
    }

    /// One with a bridge, that publishes ports, in a network namespace of its own.
    ///
    /// # Panics
    /// Where it does not come to work.
    pub fn with_network() -> Option<Self> {
        let programs =
            ["dockerd", "containerd", "runc", "docker", "tar", "busybox", "ip", "nsenter", "iptables"];
        needs::root_and(&programs).then(|| Self::begin(Some(Network::new())))
    }

    fn begin(network: Option<Network>) -> Self {
        // A socket's path has at most 107 bytes.
        let dir = tempfile::Builder::new().prefix("gtd-").tempdir_in("/tmp").expect("/tmp is writable");
        let mut docker = Self { dir, daemon: None, network };
        docker.start_daemon();
        let busybox = needs::find("busybox").expect("looked for before");
        image::import(&docker, &busybox);
        docker
    }

    /// Where it keeps all it has.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.dir().join("docker.sock")
    }

    /// The daemon's log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir().join("log")).unwrap_or_default()
    }

    /// The client, with nothing asked yet.
    pub fn command(&self) -> Command {
        let mut command = Command::new("docker");
        // Nobody's own settings or context.
        command.env_remove("DOCKER_HOST").env_remove("DOCKER_CONTEXT").env("DOCKER_CONFIG", self.dir());
        command.arg("-H").arg(format!("unix://{}", self.socket().display()));
        command
    }

    /// What a command says, without the blanks around it.
    ///
    /// # Panics
    /// Where it fails.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.command().args(arguments).stdin(Stdio::null()).output().expect("docker runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "docker {arguments:?}: {said}\nthe daemon says:\n{}", self.log());
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Starts a container that does nothing, with these options, and gives its id.
    ///
    /// # Panics
    /// Where it does not start.
    #[track_caller]
    pub fn container(&self, options: &[&str]) -> String {
        self.run(&[&["run", "-d"], options, &[image::IMAGE]].concat())
    }

    /// Starts the daemon, where it was stopped, and waits until it answers.
    ///
    /// # Panics
    /// Where it ends, or does not answer.
    pub fn start_daemon(&mut self) {
        let dir = self.dir();
        let program = needs::find("dockerd").expect("looked for before");
        let mut command = match &self.network {
            Some(network) => {
                // Not `ip netns exec`, which mounts another /sys without cgroups.
                let mut command = Command::new("nsenter");
                command.arg(format!("--net={}", network.path().display())).arg(program);
                command
            }
            None => {
                let mut command = Command::new(program);
                command.args(["--iptables=false", "--bridge=none"]);
                command
            }
        };
        command.arg("--data-root").arg(dir.join("data")).arg("--exec-root").arg(dir.join("exec"));
        command.arg("-p").arg(dir.join("pid")).arg("-H").arg(format!("unix://{}", self.socket().display()));
        // Where the system runs a containerd it is shared, but not its names.
        let name = dir.file_name().unwrap_or_default().to_string_lossy();
        command.arg("--containerd-namespace").arg(&*name);
        command.arg("--containerd-plugins-namespace").arg(format!("{name}-plugins"));
        command.args(["--storage-driver=vfs", "--log-level=warn", "--shutdown-timeout=1"]);
        let log = File::options().create(true).append(true).open(dir.join("log"));
        let log = log.expect("the test's own directory");
        let errors = log.try_clone().expect("a descriptor");
        let child = command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn();
        self.daemon = Some(child.expect("dockerd starts"));
        self.wait_for_answer();
    }

    /// Stops the daemon with its containers, as `systemctl stop docker` does.
    ///
    /// # Panics
    /// Where it does not end.
    pub fn stop_daemon(&mut self) {
        assert!(self.end_daemon(Signal::TERM), "dockerd does not end; it says:\n{}", self.log());
    }

    /// Kills the daemon, as a crash does: its containers stay.
    ///
    /// # Panics
    /// Where it does not end.
    pub fn kill_daemon(&mut self) {
        assert!(self.end_daemon(Signal::KILL), "dockerd cannot be killed");
    }

    /// The daemon's process.
    pub fn pid(&self) -> Option<u32> {
        self.daemon.as_ref().map(Child::id)
    }

    fn wait_for_answer(&mut self) {
        let until = Instant::now() + PATIENCE;
        while !answers(&self.socket()) {
            let ended = self.daemon.as_mut().and_then(|daemon| daemon.try_wait().ok().flatten());
            assert!(ended.is_none(), "dockerd ended with {ended:?}; it says:\n{}", self.log());
            assert!(Instant::now() < until, "dockerd does not answer; it says:\n{}", self.log());
            std::thread::park_timeout(LOOK);
        }
    }

    fn end_daemon(&mut self, signal: Signal) -> bool {
        let Some(mut daemon) = self.daemon.take() else { return true };
        if let Some(pid) = pid_of(daemon.id()) {
            // It may have ended by itself.
            let _ = kill_process(pid, signal);
        }
        let until = Instant::now() + PATIENCE;
        while matches!(daemon.try_wait(), Ok(None)) {
            if Instant::now() > until {
                return false;
            }
            std::thread::park_timeout(LOOK);
        }
        true
    }

    fn unmount(&self) {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let dir = self.dir().to_string_lossy().into_owned();
        let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
        // The innermost first.
        for point in points.filter(|point| point.starts_with(&dir)).collect::<Vec<_>>().into_iter().rev() {
            let _ = Command::new("umount").args(["-l", point]).stderr(Stdio::null()).status();
        }
    }
}

impl Drop for Docker {
    /// Also while a test fails, so nothing here fails.
    fn drop(&mut self) {
        if self.daemon.is_some() {
            let list = self.command().args(["ps", "-aq"]).stderr(Stdio::null()).output();
            let ids = list.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
            let ids = ids.unwrap_or_default();
            if !ids.trim().is_empty() {
                let mut command = self.command();
                command.args(["rm", "-fv"]).args(ids.split_whitespace());
                let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
            }
        }
        if !self.end_daemon(Signal::TERM) {
            self.end_daemon(Signal::KILL);
        }
        left::end(self.dir(), Instant::now() + PATIENCE);
        self.unmount();
    }
}

fn pid_of(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

fn answers(socket: &Path) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")?;
        let mut head = [0; 15];
        stream.read_exact(&mut head)?;
        Ok(head.ends_with(b" 200 OK"))
    };
    ask().unwrap_or(false)
}

/// A network namespace of the test's own, from which nothing leads out.
#[derive(Debug)]
struct Network {
    name: String,
}

impl Network {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("gtd-{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed));
        let network = Self { name };
        ip(&["netns", "add", &network.name]);
        ip(&["-n", &network.name, "link", "set", "lo", "up"]);
        for family in ["-4", "-6"] {
            let routes = ip(&[family, "-n", &network.name, "route", "show", "default"]);
            assert!(routes.trim().is_empty(), "tests send nothing out, and there is a way: {routes}");
        }
        network
    }

    fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).stderr(Stdio::null()).status();
    }
}

#[track_caller]
fn ip(arguments: &[&str]) -> String {
    let output = Command::new("ip").args(arguments).stdin(Stdio::null()).output().expect("ip runs");
    assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_leaves_nothing() {
        let Some(docker) = Docker::start() else { return };
        let id = docker.container(&["--network", "none", "--name", "one"]);
        assert_eq!(docker.run(&["inspect", "-f", "{{.Name}} {{.State.Running}}", &id]), "/one true");
        let (dir, pid) = (docker.dir().to_owned(), docker.pid().expect("it runs"));
        drop(docker);
        assert!(!dir.exists(), "{}", dir.display());
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("readable");
        assert!(!mounts.contains(&*dir.to_string_lossy()), "{mounts}");
    }

    #[test]
    fn one_that_was_killed_leaves_nothing() {
        let Some(mut docker) = Docker::start() else { return };
        let id = docker.container(&["--network", "none"]);
        let pid = docker.run(&["inspect", "-f", "{{.State.Pid}}", &id]);
        docker.kill_daemon();
        let path = format!("/proc/{pid}");
        // Of one that is dead and not waited for yet, it is empty.
        let lives = || std::fs::read(format!("{path}/cmdline")).is_ok_and(|line| !line.is_empty());
        assert!(lives(), "its containers stay");
        drop(docker);
        assert!(!lives());
        let cgroups = std::fs::read_dir("/sys/fs/cgroup").expect("cgroups").flatten();
        let left: Vec<_> = cgroups.map(|entry| entry.path().join("docker").join(&id)).collect();
        assert!(left.iter().all(|cgroup| !cgroup.exists()), "{left:?}");
    }

    #[test]
    fn goes_with_a_test_that_fails() {
        let Some(docker) = Docker::with_network() else { return };
        let failed = std::panic::catch_unwind(move || {
            docker.container(&["--name", "one", "-p", "127.0.0.1:18080:80"]);
            panic!("{}", docker.dir().display());
        });
        let dir = *failed.expect_err("it panics").downcast::<String>().expect("a text");
        assert!(dir.starts_with("/tmp/gtd-") && !Path::new(&dir).exists(), "{dir}");
    }
}
