//! The file systems that containers see: which are shown, by which names, and
//! how full they are.

use gantry_containers::Containers;
use gantry_plugin_api::identity::Volume;
use gantry_plugin_testkit::{Collected, Kit, NewContainer, PATIENCE, Running, Sample, Tree, eventually};
use gantry_test_docker::needs;
use rustix::fs::{AtFlags, StatxFlags};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const CONFIG: &str = "[docker]\nenabled = false";
const SIZE: &str = "container_resources_disk_size_bytes";

/// A process 7 in mounts of its own, whose root is a directory of the tree. The
/// lines begin with the device: before that stands which mount the tree lies on.
fn machine(mountinfo: &str, directories: &[&str]) -> Kit {
    let kit = Kit::of::<Containers>().deadline(PATIENCE);
    let tree = kit.tree();
    tree.write("proc/self/cgroup", "0::/\n");
    tree.write("sys/fs/cgroup/cgroup.controllers", "cpu io memory pids\n");
    for (process, namespace) in [("1", "mnt:[1]"), ("7", "mnt:[7]")] {
        tree.symlink(namespace, format!("proc/{process}/ns/mnt"));
    }
    let id = mount_id(tree.root());
    let lines: Vec<String> = mountinfo.lines().map(|line| format!("{id} 1 {line}\n")).collect();
    tree.write("proc/7/mountinfo", lines.concat());
    tree.symlink(tree.path("rootfs"), "proc/7/root");
    directories.iter().for_each(|directory| tree.dir(format!("rootfs{directory}")));
    kit
}

/// How large the file system is on which the kit's tree lies.
fn size(kit: &Kit) -> f64 {
    let stat = rustix::fs::statvfs(kit.tree().root()).expect("it is there");
    (stat.f_blocks * stat.f_frsize) as f64
}

fn label<'a>(sample: &'a Sample, name: &str) -> &'a str {
    sample.labels.iter().find(|(label, _)| label == name).map_or("", |(_, value)| value)
}

fn labels<'a>(collected: &'a Collected, family: &'a str) -> Vec<[&'a str; 3]> {
    let of = |sample: &'a Sample| ["mount_point", "device", "volume"].map(|name| label(sample, name));
    let mut all: Vec<[&str; 3]> = collected.of_family(family).map(of).collect();
    all.sort_unstable();
    all
}

/// The number of the mount on which a directory lies.
fn mount_id(directory: &Path) -> u64 {
    let there = rustix::fs::statx(rustix::fs::CWD, directory, AtFlags::empty(), StatxFlags::MNT_ID);
    there.expect("it is there").stx_mnt_id
}

fn volume(mount_point: &str, name: &str, source: &str) -> Volume {
    let mut volume = Volume::default();
    (volume.mount_point, volume.name, volume.source) = (mount_point.into(), name.into(), source.into());
    volume
}

const CLAIM: &str = "pvc-0a1b2c3d-0000-1111-2222-333344445555";

#[test]
fn binds_claims_and_network_file_systems_are_shown_by_their_names() {
    let mountinfo = format!(
        "0:50 / / rw - overlay overlay rw\n\
         0:51 / /proc rw - proc proc rw\n\
         254:1 /var/lib/docker/containers/x/hosts /etc/hosts rw - ext4 /dev/vda1 rw\n\
         254:1 /var/lib/docker/volumes/data/_data /data rw - ext4 /dev/vda1 rw\n\
         254:16 /pods/u/volumes/kubernetes.io~csi/{CLAIM}/mount /claim rw - xfs /dev/vdb rw\n\
         0:60 / /share rw - nfs4 nas:/export rw\n\
         0:61 / /fuse rw - fuse.s3fs s3fs rw\n\
         0:62 / /tmp rw - tmpfs tmpfs rw\n\
         254:1 /srv/a\\040b /with\\040blank rw - ext4 /dev/vda1 rw\n"
    );
    let kit = machine(&mountinfo, &["/data", "/claim", "/share", "/fuse", "/with blank"]);
    let tree = kit.tree();
    for (disk, number) in [("vda", "254:0"), ("vdb", "254:16")] {
        tree.write(format!("sys/devices/{disk}/dev"), format!("{number}\n"));
    }
    tree.write("sys/devices/vda/vda1/dev", "254:1\n");
    tree.write("sys/devices/vda/vda1/partition", "1\n");
    tree.symlink("../../devices/vda/vda1", "sys/dev/block/254:1");
    tree.symlink("../../devices/vdb", "sys/dev/block/254:16");
    tree.write("sys/fs/cgroup/docker/x/cgroup.controllers", "cpu io memory pids\n");
    // The partition's requests are counted by its disk.
    let traffic = "254:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n";
    tree.write("sys/fs/cgroup/docker/x/io.stat", traffic);
    kit.identity().declare(NewContainer::new("/docker/x").cgroup("/docker/x", 1).process(7, 1).with(|x| {
        x.volumes.push(volume("/data", "data", "/var/lib/docker/volumes/data/_data"));
    }));
    let mut running = kit.start(CONFIG).expect("it starts");
    let shown = [
        ["/claim", "vdb", CLAIM],
        ["/data", "vda", "data"],
        ["/fuse", "s3fs", ""],
        ["/share", "nas:/export", ""],
        ["/with blank", "vda", ""],
    ];
    let collected = running.collect().expect("it collects");
    for family in [SIZE, "container_resources_disk_used_bytes", "container_resources_disk_reserved_bytes"] {
        assert_eq!(labels(&collected, family), shown, "{family}");
    }
    assert!(collected.of_family(SIZE).all(|sample| sample.number() == size(&kit)), "{}", collected.text());
    let disk = |collected: &Collected, family: &str, mount: &str| {
        collected.find(&format!("container_resources_disk_{family}{{mount_point=\"{mount}\"}}"))
    };
    for mount in ["/data", "/with blank"] {
        assert_eq!(disk(&collected, "reads_total", mount), Some(1.0));
        assert_eq!(disk(&collected, "writes_total", mount), Some(2.0));
        assert_eq!(disk(&collected, "read_bytes_total", mount), Some(4096.0));
        assert_eq!(disk(&collected, "written_bytes_total", mount), Some(8192.0));
    }
    assert_eq!(disk(&collected, "reads_total", "/claim"), None, "nothing was read of that disk");
}

#[test]
fn one_that_cannot_be_seen_takes_no_figures_from_others_of_its_file_system() {
    let lines = "254:1 / /gone rw - ext4 /dev/vda1 rw\n254:1 / /there rw - ext4 /dev/vda1 rw\n";
    let kit = machine(lines, &["/there"]);
    kit.identity().declare(NewContainer::new("/docker/x").process(7, 1));
    let collected = kit.start(CONFIG).expect("it starts").collect().expect("it collects");
    assert_eq!(labels(&collected, SIZE), [["/gone", "", ""], ["/there", "", ""]]);
}

#[test]
fn a_service_shows_what_its_files_lie_on() {
    let mountinfo = "254:1 / / rw - ext4 /dev/vda1 rw\n\
                     254:2 / /var/lib/db rw - ext4 /dev/vdb rw\n\
                     254:3 / /home rw - ext4 /dev/vdc rw\n";
    let kit = machine(mountinfo, &["/var/lib/db", "/home"]);
    kit.tree().remove("proc/7/ns/mnt");
    kit.tree().symlink("mnt:[1]", "proc/7/ns/mnt");
    let process = gantry_plugin_api::identity::Process { pid: 7, start: 1 };
    kit.identity().declare(NewContainer::new("/system.slice/db.service").process(7, 1));
    kit.identity().open_files(process, &["/var/lib/db/base/1"]);
    let collected = kit.start(CONFIG).expect("it starts").collect().expect("it collects");
    assert_eq!(collected.label_values(SIZE, "mount_point"), ["/var/lib/db"]);
}

#[test]
fn a_service_with_mounts_of_its_own_shows_what_its_files_lie_on_too() {
    // As of one with `PrivateTmp=` and `ProtectSystem=`.
    let mountinfo = "254:1 / / ro - ext4 /dev/vda1 rw\n\
                     254:1 /tmp/systemd-private-1-db.service-x/tmp /tmp rw - ext4 /dev/vda1 rw\n\
                     254:2 / /var/lib/db rw - ext4 /dev/vdb rw\n\
                     254:3 / /home ro - ext4 /dev/vdc rw\n";
    let kit = machine(mountinfo, &["/var/lib/db", "/home", "/tmp"]);
    let process = gantry_plugin_api::identity::Process { pid: 7, start: 1 };
    let service = NewContainer::new("/system.slice/db.service").runtime("systemd", "db.service");
    kit.identity().declare(service.process(7, 1));
    kit.identity().open_files(process, &["/var/lib/db/base/1"]);
    let collected = kit.start(CONFIG).expect("it starts").collect().expect("it collects");
    assert_eq!(collected.label_values(SIZE, "mount_point"), ["/var/lib/db"]);
}

#[test]
fn where_the_node_s_mounts_cannot_be_read_the_agent_s_own_stand_in_on_the_node_alone() {
    let mountinfo = "254:1 / / rw - ext4 /dev/vda1 rw\n254:2 / /data rw - ext4 /dev/vdb rw\n";
    let shown = |root: Option<&str>, own_cgroup: &str| {
        let mut kit = machine(mountinfo, &["/data"]);
        kit.tree().remove("proc/1/ns/mnt");
        kit.tree().symlink("mnt:[7]", "proc/self/ns/mnt");
        kit.tree().write("proc/self/cgroup", format!("0::{own_cgroup}\n"));
        if let Some(root) = root {
            kit = kit.with_path("root", root);
        }
        let process = gantry_plugin_api::identity::Process { pid: 7, start: 1 };
        kit.identity().declare(NewContainer::new("/docker/x").process(7, 1));
        kit.identity().open_files(process, &["/data/1"]);
        let collected = kit.start(CONFIG).expect("it starts").collect().expect("it collects");
        collected.label_values(SIZE, "mount_point")
    };
    assert_eq!(shown(Some("/"), "/system.slice/gantry.service"), ["/data"]);
    let id = "0123456789abcdef".repeat(4);
    assert_eq!(shown(Some("/"), &format!("/docker/{id}")), ["/", "/data"], "they are a container's");
    assert_eq!(shown(None, "/system.slice/gantry.service"), ["/", "/data"], "the node's lie elsewhere");
}

#[test]
fn a_service_that_opens_its_files_later_shows_them_then() {
    let mountinfo = "254:1 / / rw - ext4 /dev/vda1 rw\n254:2 / /var/lib/db rw - ext4 /dev/vdb rw\n";
    let kit = machine(mountinfo, &["/var/lib/db"]);
    kit.tree().remove("proc/7/ns/mnt");
    kit.tree().symlink("mnt:[1]", "proc/7/ns/mnt");
    let process = gantry_plugin_api::identity::Process { pid: 7, start: 1 };
    kit.identity().declare(NewContainer::new("/system.slice/db.service").process(7, 1));
    kit.identity().open_files(process, &["/etc/db.conf"]);
    let mut running = kit.start(CONFIG).expect("it starts");
    let shown =
        |running: &mut Running| running.collect().expect("it collects").label_values(SIZE, "mount_point");
    assert_eq!(shown(&mut running), ["/"]);
    kit.identity().open_files(process, &["/etc/db.conf", "/var/lib/db/base/1"]);
    assert_eq!(shown(&mut running), ["/"], "not asked each time");
    kit.clock().advance(std::time::Duration::from_secs(5));
    assert_eq!(shown(&mut running), ["/", "/var/lib/db"]);
    kit.identity().open_files(process, &["/var/lib/db/base/1"]);
    kit.clock().advance(std::time::Duration::from_secs(60));
    assert_eq!(shown(&mut running), ["/var/lib/db"]);
}

#[test]
fn what_ends_is_let_go_and_what_is_too_much_is_counted() {
    let lines: String =
        (0..70).map(|number| format!("254:1 / /m{number} rw - ext4 /dev/vda1 rw\n")).collect();
    let kit = machine(&(lines + "garbage\n"), &[]).allow(gantry_plugin_testkit::Check::Skipped, "");
    let process = gantry_plugin_api::identity::Process { pid: 7, start: 1 };
    let gone = kit.identity().declare(NewContainer::new("/docker/x").process(7, 1));
    let mut running = kit.start(CONFIG).expect("it starts");
    let collected = running.collect().expect("it collects");
    assert_eq!((collected.skipped()["mounts_beyond"], collected.skipped()["mounts_malformed"]), (6, 1));
    let mountinfo = kit.tree().path("proc/7/mountinfo").canonicalize().expect("there");
    let is_open = || {
        let all = std::fs::read_dir("/proc/self/fd").expect("of this process");
        all.flatten().any(|fd| std::fs::read_link(fd.path()).is_ok_and(|path| path == mountinfo))
    };
    assert!(is_open(), "the kernel tells of changes by it");
    kit.identity().process_exits(process);
    kit.identity().change(gone, |gone| gone.gone = true);
    // No collection lets go of it: the thread that hears of ends does.
    eventually(|| (!is_open()).then_some(()).ok_or_else(|| "it holds the mounts".to_owned()))
        .expect("it is let go");
}

/// `/tmp` may lie in memory, as in the machines of other kernels: that is not shown.
fn on_a_disk() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory")
}

/// A process in mounts of its own, which a script makes.
struct Apart(Child);

impl Apart {
    fn start(script: &str) -> Self {
        let child = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", script])
            .stdin(Stdio::null())
            .spawn();
        Self(child.expect("unshare runs"))
    }

    /// Waits until a mount is there.
    fn has(&self, mount: &Path) {
        let path = format!("/proc/{}/mountinfo", self.0.id());
        let wanted = format!(" {} ", mount.display());
        eventually(|| {
            let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
            text.contains(&wanted).then_some(()).ok_or(text)
        })
        .expect("the script mounts it");
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The machine itself, with one container that is this process.
fn beside(process: &Apart) -> (Kit, Running) {
    let kit = Kit::of::<Containers>().with_tree(Tree::at("/")).deadline(PATIENCE);
    kit.identity().declare(NewContainer::new("/docker/apart").process(process.0.id(), 1));
    let running = kit.start(CONFIG).expect("it starts");
    (kit, running)
}

#[test]
fn mounts_that_come_and_go_are_followed_and_bind_mounts_are_what_they_show() {
    if !needs::root_and(&["unshare", "mount", "umount"]) {
        return;
    }
    let dir = on_a_disk();
    let (bound, on) = (dir.path().join(CLAIM), dir.path().join("claim"));
    for dir in [&bound, &on] {
        std::fs::create_dir(dir).expect("a directory");
    }
    let (go, fifo) = (dir.path().join("go"), |path: &Path| {
        rustix::fs::mkfifoat(rustix::fs::CWD, path, 0o600.into()).expect("a pipe");
    });
    fifo(&go);
    // Each line that is written into the pipe lets it go one step on.
    let script = format!(
        "exec 9<>{go}; mount --bind {bound} {on}; read x <&9; umount {on}; read x <&9",
        go = go.display(),
        bound = bound.display(),
        on = on.display()
    );
    let apart = Apart::start(&script);
    apart.has(&on);
    let (_kit, mut running) = beside(&apart);
    let of_claim = |collected: &Collected| -> Vec<f64> {
        let of = |sample: &&Sample| label(sample, "volume") == CLAIM;
        collected.of_family(SIZE).filter(of).map(|sample| sample.number()).collect()
    };
    let stat = rustix::fs::statvfs(&bound).expect("it is there");
    let collected = running.collect().expect("it collects");
    assert_eq!(of_claim(&collected), [(stat.f_blocks * stat.f_frsize) as f64], "{}", collected.text());
    std::fs::write(&go, "\n").expect("the other end is open");
    eventually(|| {
        let collected = running.collect().map_err(|failure| failure.to_string())?;
        of_claim(&collected).is_empty().then_some(()).ok_or(collected.text())
    })
    .expect("the kernel says that it is gone");
}

#[test]
fn a_program_that_hangs_holds_nobody_until_it_is_back() {
    let kit = machine("", &[]).allow(gantry_plugin_testkit::Check::Skipped, "");
    let tree = kit.tree();
    tree.write("proc/8/cmdline", "nginx: master process\0");
    // Whoever opens a pipe that nobody writes to waits, as for a file system that hangs.
    let cmdline = tree.path("proc/7/cmdline");
    rustix::fs::mkfifoat(rustix::fs::CWD, &cmdline, 0o600.into()).expect("a pipe");
    kit.identity().declare(NewContainer::new("/docker/hung").process(7, 1));
    kit.identity().declare(NewContainer::new("/docker/web").process(8, 1));
    let mut running = kit.start(CONFIG).expect("it starts");
    let type_of = |collected: &Collected, container: &str| -> Vec<String> {
        let of = |sample: &&Sample| sample.series.contains(&format!("container_id=\"{container}\""));
        let types = collected.of_family("container_application_type").filter(of);
        types.map(|sample| label(sample, "application_type").to_owned()).collect()
    };
    // Who is asked first is not said.
    eventually(|| {
        let collected = running.collect().map_err(|failure| failure.to_string())?;
        let is_said = collected.skipped().get("program_hung") == Some(&1);
        (is_said && type_of(&collected, "/docker/web") == ["nginx"])
            .then_some(())
            .ok_or_else(|| format!("{:?} {}", collected.skipped(), collected.text()))
    })
    .expect("the other one is shown, and this one is counted");
    let mut writer = std::fs::OpenOptions::new().write(true).open(&cmdline).expect("somebody waits for that");
    std::fs::remove_file(&cmdline).expect("it is there");
    tree.write("proc/7/cmdline", "redis-server *:6379\0");
    std::io::Write::write_all(&mut writer, b"gone\0").expect("a pipe");
    drop(writer);
    eventually(|| {
        let collected = running.collect().map_err(|failure| failure.to_string())?;
        let types = ["/docker/hung", "/docker/web"].map(|container| type_of(&collected, container));
        (types == [["redis"], ["nginx"]] && collected.skipped().is_empty())
            .then_some(())
            .ok_or(collected.text())
    })
    .expect("it is looked at again");
    running.stop().expect("it stops");
}

#[test]
fn a_mount_that_hangs_is_said_and_the_others_are_shown() {
    if !needs::root_and(&["unshare", "mount"]) || !needs::have("/dev/fuse", Path::new("/dev/fuse").exists()) {
        return;
    }
    let dir = on_a_disk();
    let (hung, bound) = (dir.path().join("hung"), dir.path().join("bound"));
    for dir in [&hung, &bound] {
        std::fs::create_dir(dir).expect("a directory");
    }
    // A FUSE server that never answers.
    let script = format!(
        "exec 9<>/dev/fuse; mount --bind {bound} {bound}; \
         mount -i -t fuse.hung -o fd=9,rootmode=40000,user_id=0,group_id=0 server {hung}; exec sleep 1000",
        bound = bound.display(),
        hung = hung.display()
    );
    let apart = Apart::start(&script);
    apart.has(&hung);
    let (_kit, mut running) = beside(&apart);
    let is_hung =
        |mount: &Path| format!("container_resources_disk_hung{{mount_point=\"{}\"}}", mount.display());
    let size = |mount: &Path| format!("{SIZE}{{mount_point=\"{}\"}}", mount.display());
    for _ in 0..3 {
        let collected = running.collect().expect("it collects");
        assert_eq!(collected.find(&is_hung(&hung)), Some(1.0), "{}", collected.text());
        assert_eq!(collected.find(&size(&hung)), None);
        assert_eq!(collected.find(&is_hung(&bound)), Some(0.0));
        assert!(collected.find(&size(&bound)).is_some());
    }
    // With the server's end the kernel answers for it, and its thread is free.
    drop(apart);
    running.stop().expect("it stops");
}
