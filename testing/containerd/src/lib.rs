//! A real containerd of the test's own: its data, its state, its socket, its
//! cgroups. What the kubelet asks of it, the test asks.

mod ask;
pub mod kubelet;

use gantry_test_docker::needs;
use kubelet::{
    Attempt, ContainerConfig, ContainerLinux, ContainerSecurity, Create, Id, ImageSpec, KeyValue, Mount,
    NamespaceOption, Nothing, PodConfig, PodLinux, PodSecurity, RunPod, SandboxMetadata,
};
use prost::Message;
use rustix::process::{Pid, Signal, kill_process};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Its name, and the sandboxes'.
pub const IMAGE: &str = "registry.test/busybox:1";

/// Far longer than a daemon under load takes to answer, or to end.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at something that tells nobody.
const LOOK: Duration = Duration::from_millis(10);

/// A pod that was made.
#[derive(Debug)]
pub struct Pod {
    /// Of its sandbox.
    pub id: String,
    /// As it was asked for.
    pub config: PodConfig,
}

/// With the value all of it goes: pods, daemon, mounts, cgroups.
#[derive(Debug)]
pub struct Containerd {
    dir: TempDir,
    daemon: Option<Child>,
    runtime: Runtime,
    /// Of plain containers.
    cgroups: RefCell<Vec<String>>,
}

impl Containerd {
    /// `None` where the machine lacks something, which is said.
    pub fn start(disabled: &str) -> Option<Self> {
        let programs =
            ["containerd", "containerd-shim-runc-v2", "ctr", "runc", "tar", "busybox", "sha256sum", "umount"];
        needs::root_and(&programs).then(|| Self::begin(disabled))
    }

    fn begin(disabled: &str) -> Self {
        // A socket's path has at most 107 bytes.
        let dir = tempfile::Builder::new().prefix("gtc-").tempdir_in("/tmp").expect("/tmp is writable");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut containerd = Self { dir, daemon: None, runtime, cgroups: RefCell::default() };
        let at = containerd.dir().display().to_string();
        let config = format!(
            "version = 2\nroot = \"{at}/root\"\nstate = \"{at}/state\"\ndisabled_plugins = [{disabled}]\n\
             [grpc]\naddress = \"{at}/c.sock\"\n\
             [plugins.\"io.containerd.internal.v1.opt\"]\npath = \"{at}/opt\"\n\
             [plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"{IMAGE}\"\n\
             restrict_oom_score_adj = true\n\
             [plugins.\"io.containerd.grpc.v1.cri\".containerd]\nsnapshotter = \"native\"\n\
             [plugins.\"io.containerd.grpc.v1.cri\".cni]\nbin_dir = \"{at}/cni\"\nconf_dir = \"{at}/cni\"\n"
        );
        std::fs::write(containerd.dir().join("config.toml"), config).expect("the test's own directory");
        containerd.start_daemon();
        containerd.import();
        containerd
    }

    /// Where it keeps all it has.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.dir().join("c.sock")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir().join("log")).unwrap_or_default()
    }

    /// Its own name, by which what is outside of the directory is known for its.
    pub fn name(&self) -> String {
        self.dir().file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    #[track_caller]
    fn ctr(&self, namespace: &str, arguments: &[&str]) -> String {
        let mut command = Command::new("ctr");
        command.arg("-a").arg(self.socket()).args(["-n", namespace]).args(arguments);
        let output = command.stdin(Stdio::null()).output().expect("ctr runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ctr {arguments:?}: {said}\n{}", self.log());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Starts the daemon, and waits until it answers.
    pub fn start_daemon(&mut self) {
        let log = File::options().create(true).append(true).open(self.dir().join("log"));
        let log = log.expect("the test's own directory");
        let errors = log.try_clone().expect("a descriptor");
        let mut command = Command::new("containerd");
        command.arg("-c").arg(self.dir().join("config.toml"));
        let child = command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn();
        self.daemon = Some(child.expect("containerd starts"));
        let until = Instant::now() + PATIENCE;
        let answers = || {
            let version = Command::new("ctr").arg("-a").arg(self.socket()).arg("version").output();
            version.is_ok_and(|output| output.status.success())
        };
        while !answers() {
            assert!(Instant::now() < until, "containerd does not answer; it says:\n{}", self.log());
            std::thread::park_timeout(LOOK);
        }
    }

    /// Ends the daemon; what runs in it stays.
    pub fn kill_daemon(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        // It may have ended by itself.
        let _ = daemon.kill();
        let _ = daemon.wait();
    }

    /// A static busybox and nothing else, in Docker's form of an archive.
    fn import(&self) {
        let dir = self.dir().join("image");
        let bin = self.dir().join("rootfs/bin");
        std::fs::create_dir_all(&bin).expect("the test's own directory");
        std::fs::create_dir_all(&dir).expect("the test's own directory");
        std::fs::copy(needs::find("busybox").expect("looked for before"), bin.join("busybox"))
            .expect("a copy");
        for command in ["sh", "sleep", "echo", "true"] {
            symlink("busybox", bin.join(command)).expect("the test's own directory");
        }
        tar(&dir.join("layer.tar"), &self.dir().join("rootfs"));
        let sum = Command::new("sha256sum").arg(dir.join("layer.tar")).output().expect("sha256sum runs");
        let sum = String::from_utf8_lossy(&sum.stdout);
        let sum = sum.split(' ').next().unwrap_or_default();
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let config = serde_json::json!({
            "architecture": architecture, "os": "linux", "config": { "Cmd": ["/bin/sleep", "1000000"] },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{sum}")] },
        });
        let manifest =
            serde_json::json!([{ "Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"] }]);
        std::fs::write(dir.join("config.json"), config.to_string()).expect("the test's own directory");
        std::fs::write(dir.join("manifest.json"), manifest.to_string()).expect("the test's own directory");
        let archive = self.dir().join("image.tar");
        tar(&archive, &dir);
        self.import_into("k8s.io");
    }

    /// Gives a namespace the image.
    pub fn import_into(&self, namespace: &str) {
        let archive = self.dir().join("image.tar");
        self.ctr(namespace, &["images", "import", "--snapshotter", "native", &archive.to_string_lossy()]);
    }

    /// A plain container that runs, on the node's network, with options of `ctr run`.
    pub fn plain(&self, namespace: &str, id: &str, options: &[&str], command: &str) {
        self.cgroups.borrow_mut().push(format!("{namespace}/{id}"));
        let run = ["run", "-d", "--null-io", "--snapshotter", "native", "--net-host"];
        let program = [IMAGE, id, "/bin/sh", "-c", command];
        self.ctr(namespace, &[&run[..], options, &program].concat());
    }

    /// Starts one anew whose process has ended.
    pub fn start_plain(&self, namespace: &str, id: &str) {
        self.ctr(namespace, &["tasks", "start", "-d", "--null-io", id]);
    }

    /// Ends one's process, by its kill.
    pub fn stop_plain(&self, namespace: &str, id: &str) {
        self.ctr(namespace, &["tasks", "delete", "-f", id]);
    }

    /// Changes one's labels.
    pub fn label_plain(&self, namespace: &str, id: &str, label: &str) {
        self.ctr(namespace, &["containers", "label", id, label]);
    }

    /// Ends it and takes it away.
    pub fn remove_plain(&self, namespace: &str, id: &str) {
        self.stop_plain(namespace, id);
        self.ctr(namespace, &["containers", "delete", id]);
    }

    /// One request of CRI.
    #[track_caller]
    fn ask<A: Message + Default>(&self, method: &str, question: &impl Message) -> A {
        let path = format!("/runtime.v1.RuntimeService/{method}");
        let (socket, patience) = (self.socket(), PATIENCE);
        let answer = self
            .runtime
            .block_on(async { tokio::time::timeout(patience, ask::unary(&socket, &path, question)).await });
        let answer = answer.unwrap_or_else(|_| panic!("{method}: no answer\n{}", self.log()));
        answer.unwrap_or_else(|error| panic!("{method}: {error}\n{}", self.log()))
    }

    /// A pod on the node's network, as the kubelet has it made.
    pub fn pod(&self, namespace: &str, name: &str, uid: &str) -> Pod {
        let log_directory = self.dir().join(format!("pods/{namespace}_{name}_{uid}"));
        std::fs::create_dir_all(&log_directory).expect("the test's own directory");
        let config = PodConfig {
            metadata: Some(SandboxMetadata {
                name: name.into(),
                uid: uid.into(),
                namespace: namespace.into(),
            }),
            log_directory: log_directory.display().to_string(),
            labels: pairs(&[
                ("app", "web"),
                ("io.kubernetes.pod.name", name),
                ("io.kubernetes.pod.namespace", namespace),
                ("io.kubernetes.pod.uid", uid),
            ]),
            linux: Some(PodLinux {
                cgroup_parent: format!("/{}/kubepods/besteffort/pod{uid}", self.name()),
                security: Some(PodSecurity { namespaces: Some(NamespaceOption { network: 2, pid: 1 }) }),
            }),
        };
        let id: Id = self.ask("RunPodSandbox", &RunPod { config: Some(config.clone()) });
        Pod { id: id.id, config }
    }

    /// A container that was started, with what the kubelet gives each.
    pub fn container(
        &self,
        pod: &Pod,
        name: &str,
        attempt: u32,
        command: &str,
        mounts: &[(&Path, &str, bool)],
    ) -> String {
        let metadata = pod.config.metadata.clone().unwrap_or_default();
        std::fs::create_dir_all(Path::new(&pod.config.log_directory).join(name))
            .expect("the test's own directory");
        let mount = |(host, container, readonly): &(&Path, &str, bool)| Mount {
            container_path: (*container).to_owned(),
            host_path: host.display().to_string(),
            readonly: *readonly,
        };
        let config = ContainerConfig {
            metadata: Some(Attempt { name: name.to_owned(), attempt }),
            image: Some(ImageSpec { image: IMAGE.to_owned() }),
            command: ["/bin/sh", "-c", command].map(str::to_owned).to_vec(),
            envs: vec![KeyValue { key: "GANTRY_DISABLE".to_owned(), value: "logs".to_owned() }],
            mounts: mounts.iter().map(mount).collect(),
            labels: pairs(&[
                ("io.kubernetes.container.name", name),
                ("io.kubernetes.pod.name", &metadata.name),
                ("io.kubernetes.pod.namespace", &metadata.namespace),
                ("io.kubernetes.pod.uid", &metadata.uid),
            ]),
            log_path: format!("{name}/{attempt}.log"),
            linux: Some(ContainerLinux {
                security: Some(ContainerSecurity {
                    namespaces: Some(NamespaceOption { network: 2, pid: 1 }),
                }),
            }),
        };
        let create =
            Create { pod: pod.id.clone(), config: Some(config), pod_config: Some(pod.config.clone()) };
        let id: Id = self.ask("CreateContainer", &create);
        let _: Nothing = self.ask("StartContainer", &id);
        id.id
    }

    /// At once, by its kill.
    pub fn stop(&self, container: &str) {
        let _: Nothing = self.ask("StopContainer", &Id { id: container.to_owned() });
    }

    /// One that was stopped.
    pub fn remove(&self, container: &str) {
        let _: Nothing = self.ask("RemoveContainer", &Id { id: container.to_owned() });
    }

    /// With all that is in it.
    pub fn remove_pod(&self, pod: &str) {
        let _: Nothing = self.ask("StopPodSandbox", &Id { id: pod.to_owned() });
        let _: Nothing = self.ask("RemovePodSandbox", &Id { id: pod.to_owned() });
    }

    /// The containers' processes and their shims name the directory, or a
    /// cgroup that has its name.
    fn processes(&self) -> Vec<Pid> {
        let ours = [vec![self.name()], self.cgroups.borrow().clone()].concat();
        let names = |pid: &i32, file: &str| {
            let text = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            ours.iter().any(|name| text.contains(name))
        };
        let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let own = i32::try_from(std::process::id()).unwrap_or(0);
        let ours = pids.filter(|pid| *pid != own && (names(pid, "cmdline") || names(pid, "cgroup")));
        ours.filter_map(Pid::from_raw).collect()
    }
}

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn tar(archive: &Path, from: &Path) {
    let status = Command::new("tar").arg("-C").arg(from).arg("-cf").arg(archive).arg(".").status();
    assert!(status.is_ok_and(|status| status.success()), "tar makes {}", archive.display());
}

impl Drop for Containerd {
    /// Also while a test fails, so nothing here fails.
    fn drop(&mut self) {
        self.kill_daemon();
        let until = Instant::now() + PATIENCE;
        while let left = self.processes()
            && !left.is_empty()
            && Instant::now() < until
        {
            for pid in left {
                let _ = kill_process(pid, Signal::KILL);
            }
            std::thread::park_timeout(LOOK);
        }
        let roots = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
        let ours = [vec![self.name()], self.cgroups.take()].concat();
        let all =
            roots.flat_map(|root| ours.iter().map(move |name| root.path().join(name)).collect::<Vec<_>>());
        for root in all.filter(|root| root.is_dir()) {
            while !remove_cgroups(&root) && Instant::now() < until {
                std::thread::park_timeout(LOOK);
            }
            // A namespace of the test's own; others' containers lie in the default one.
            let namespace = root.parent().filter(|parent| parent.to_string_lossy().contains(&self.name()));
            namespace.into_iter().for_each(|namespace| drop(std::fs::remove_dir(namespace)));
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let dir = self.dir().to_string_lossy().into_owned();
        let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
        for point in points.filter(|point| point.starts_with(&dir)).collect::<Vec<_>>().into_iter().rev() {
            let _ = Command::new("umount").args(["-l", point]).stderr(Stdio::null()).status();
        }
    }
}

/// The innermost first; whether all are gone.
fn remove_cgroups(root: &Path) -> bool {
    let below = std::fs::read_dir(root).into_iter().flatten().flatten();
    let dirs = below.map(|entry| entry.path()).filter(|path| path.is_dir());
    for dir in dirs {
        remove_cgroups(&dir);
    }
    std::fs::remove_dir(root).is_ok()
}
