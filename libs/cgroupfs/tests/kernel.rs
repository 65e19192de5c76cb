//! This machine's own cgroups. As root they are made, used and removed.

mod support;

use gantry_cgroupfs::list::{self, Bounds};
use gantry_cgroupfs::usage::{Counted, Device};
use gantry_cgroupfs::{Entry, Group, Layout, Parts, Reader, Resource, Usage, Version, membership};
use rustix::process::Pid;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use support::{Made, have, layout};

/// A shell that waits for a line, so that it can be moved before it begins.
struct Waiting(Child);

impl Waiting {
    fn new(script: &str) -> Self {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &format!("read line; {script}")]).stdin(Stdio::piped()).stdout(Stdio::piped());
        Self(command.spawn().expect("there is a shell"))
    }

    /// Lets it run in the cgroup, to its end; what it printed.
    fn run_in(mut self, made: &Made) -> String {
        made.add(self.0.id());
        self.0.stdin.take().expect("piped").write_all(b"go\n").expect("it reads");
        let mut text = String::new();
        std::io::Read::read_to_string(&mut self.0.stdout.take().expect("piped"), &mut text).expect("a text");
        let status = self.0.wait().expect("it ends");
        assert!(status.success(), "{status}: {text}");
        text
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn word(directory: &Path, file: &str, before: &str) -> Option<u64> {
    word_of(&fs::read_to_string(directory.join(file)).ok()?, before)
}

fn word_of(text: &str, before: &str) -> Option<u64> {
    let words: Vec<_> = text.split([' ', '\n']).collect();
    let at = words.iter().position(|word| *word == before)?;
    Some(words[at + 1].parse().expect("a number"))
}

fn alone(directory: &Path, file: &str) -> Option<u64> {
    fs::read_to_string(directory.join(file)).ok()?.trim().parse().ok()
}

fn read(made: &Made) -> Usage {
    let layout = layout();
    let mut usage = Usage::default();
    Reader::new(&layout, 100).read(&mut made.group(&layout), Parts::ALL, &mut usage);
    usage
}

#[test]
fn this_process_is_in_the_directories_that_its_entries_name() {
    let layout = layout();
    let mut buffer = Vec::new();
    membership::read(Path::new("/proc"), "self", &mut buffer).expect("readable");
    let pid = Pid::as_raw(Some(rustix::process::getpid())).to_string();
    let mut seen = 0;
    for entry in membership::entries(&buffer) {
        let entry = entry.expect("of the kernel's form");
        let Some(directory) = layout.directory(&entry) else { continue };
        let procs = fs::read_to_string(directory.join("cgroup.procs")).expect("readable");
        assert!(procs.lines().any(|line| line == pid), "{}", directory.display());
        seen += 1;
    }
    assert!(have("a cgroup of this process that can be seen", seen > 0));
}

#[test]
fn cpu_time_is_that_of_the_kernel_s_files() {
    let Some(made) = Made::new("cpu") else { return };
    let layout = layout();
    let version = made.group(&layout).version(Resource::Cpu).expect("served");
    let quota = match version {
        Version::V1 => ("cpu.cfs_quota_us", "20000"),
        Version::V2 => ("cpu.max", "20000 100000"),
    };
    let limit = made.of("cpu").join(quota.0);
    if !have("the cpu controller", limit.exists()) {
        return;
    }
    fs::write(limit, quota.1).expect("a limit");
    // Until it was held back, however fast the machine is.
    let stat = made.of("cpu").join("cpu.stat");
    let script = format!(
        "turn=0; until grep -q '^nr_throttled [1-9]' {} || [ $turn -ge 1000 ]; do \
         turn=$((turn+1)); i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done; done",
        stat.display()
    );
    Waiting::new(&script).run_in(&made);
    // The timer of its periods goes on for one or two that nobody uses.
    let text = || fs::read_to_string(&stat).expect("readable");
    let settled = (0..1000).find_map(|_| {
        let before = text();
        let cpu = read(&made).cpu;
        (before == text()).then_some((cpu, before))
    });
    let (cpu, text) = settled.expect("its figures rest for a moment");
    let (usage, throttled) = match version {
        Version::V1 => (alone(made.of("cpuacct"), "cpuacct.usage"), "throttled_time"),
        Version::V2 => (word(made.of("cpu"), "cpu.stat", "usage_usec").map(|us| us * 1000), "throttled_usec"),
    };
    let unit = if version == Version::V1 { 1 } else { 1000 };
    assert_eq!(cpu.usage, usage);
    assert!(cpu.usage > Some(1_000_000), "it ran: {cpu:?}");
    let stat = |key: &str| word_of(&text, key);
    assert_eq!((cpu.periods, cpu.throttled_periods), (stat("nr_periods"), stat("nr_throttled")));
    assert_eq!(cpu.throttled, stat(throttled).map(|time| time * unit));
    assert!(cpu.throttled_periods > Some(0) && cpu.throttled > Some(0), "it was held back: {cpu:?}");
    assert!(cpu.user.zip(cpu.system).is_some());
    assert_eq!((cpu.limit.own, cpu.limit.binding), (Some(0.2), Some(0.2)));
}

#[test]
fn memory_and_limits_are_those_of_the_kernel_s_files() {
    let Some(made) = Made::new("memory") else { return };
    let directory = made.of("memory");
    let layout = layout();
    let version = made.group(&layout).version(Resource::Memory).expect("served");
    let (limit, current) = match version {
        Version::V1 => ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        Version::V2 => ("memory.max", "memory.current"),
    };
    if !have("the memory controller", directory.join(limit).exists()) {
        return;
    }
    let before = read(&made).memory;
    assert_eq!((before.limit.own, before.limit.binding), (None, None), "unlimited at first");
    fs::write(directory.join(limit), "67108864").expect("a limit");
    let memory = read(&made).memory;
    assert_eq!((memory.limit.own, memory.limit.binding), (Some(64 << 20), Some(64 << 20)));
    assert_eq!(memory.usage, alone(directory, current));
    assert_eq!(
        (memory.rss, memory.cache, memory.major_faults),
        (Some(0), Some(0), Some(0)),
        "nobody is in it"
    );
    assert_eq!(memory.working_set, memory.usage);
}

/// With v1, newer kernels count only on devices for which somewhere a limit was
/// set: one that nothing reaches.
fn count_from_now_on(made: &Made, file: &Path) {
    use std::os::linux::fs::MetadataExt as _;
    let device = fs::metadata(file).expect("there").st_dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    // Fails where the file system has no device, which is found out afterwards.
    let limit = made.of("blkio").join("blkio.throttle.write_bps_device");
    let _ = fs::write(limit, format!("{major}:{minor} 1000000000000"));
}

#[test]
fn devices_pressure_and_processes_are_those_of_the_kernel_s_files() {
    let Some(made) = Made::new("rest") else { return };
    let file = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a file");
    count_from_now_on(&made, file.path());
    let write = format!("dd if=/dev/zero of={} bs=64k count=16 oflag=direct 2>&1", file.path().display());
    let printed = Waiting::new(&format!("{write} || true")).run_in(&made);
    let usage = read(&made);
    assert_eq!(usage.notes, Default::default());

    let v1 = made.of("blkio").join("blkio.throttle.io_service_bytes_recursive");
    let v2 = made.of("blkio").join("io.stat");
    if let Ok(text) = fs::read_to_string(v1).or_else(|_| fs::read_to_string(v2)) {
        eprintln!("{printed}{text}");
        for device in &usage.io.devices {
            let Device { number: (major, minor), written_bytes, .. } = device;
            let v1 = format!("{major}:{minor} Write {written_bytes}\n");
            let v2 = (format!("{major}:{minor} "), format!("wbytes={written_bytes} "));
            assert!(text.contains(&v1) || text.contains(&v2.0) && text.contains(&v2.1), "{device:?}: {text}");
        }
        let written = usage.io.devices.iter().map(|device| device.written_bytes).sum::<u64>();
        // tmpfs has no device.
        let has_device = text.contains(" Write ") || text.contains("wbytes=");
        assert!(
            !have("a block device below the build directory", has_device) || written >= 1 << 20,
            "{text}"
        );
    }
    for (file, stall) in [
        ("cpu.pressure", usage.pressure.cpu),
        ("memory.pressure", usage.pressure.memory),
        ("io.pressure", usage.pressure.io),
    ] {
        let Ok(text) = fs::read_to_string(made.of("").join(file)) else { continue };
        let mut totals = text.lines().map(|line| line.rsplit_once("total=").expect("a total").1);
        let mut next = || totals.next().map(|total| total.parse().expect("a number"));
        assert_eq!((stall.some, stall.full), (next(), next()), "{file}: {text}");
    }
    assert_eq!(usage.pids.current, alone(made.of("pids"), "pids.current"));
}

#[test]
fn a_cgroup_that_is_made_again_is_not_read_as_the_old_one() {
    let Some(made) = Made::new("again") else { return };
    let layout = layout();
    let mut group = made.group(&layout);
    let mut reader = Reader::new(&layout, 100);
    let mut usage = Usage::default();
    Waiting::new("i=0; while [ $i -lt 10000 ]; do i=$((i+1)); done").run_in(&made);
    reader.read(&mut group, Parts::ALL, &mut usage);
    assert!(usage.cpu.usage > Some(0) && !usage.notes.gone, "{usage:?}");
    let kept = reader.kept();
    made.remove();
    reader.read(&mut group, Parts::ALL, &mut usage);
    assert!(usage.notes.gone);
    assert_eq!((usage.cpu.usage, reader.kept()), (None, 0), "of {kept}");
    reader.read(&mut group, Parts::ALL, &mut usage);
    assert!(usage.notes.gone, "it still is");
    for (_, directory) in &made.directories {
        fs::create_dir(directory).expect("made again");
    }
    reader.read(&mut group, Parts::ALL, &mut usage);
    assert_eq!((usage.cpu.usage, usage.notes.gone), (Some(0), false), "{usage:?}");
    assert!(usage.notes.anew.has(Counted::CpuUsage));
    // Removed and made between two readings: all that is counted begins anew.
    made.remove();
    for (_, directory) in &made.directories {
        fs::create_dir(directory).expect("made again");
    }
    Waiting::new("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done").run_in(&made);
    reader.read(&mut group, Parts::ALL, &mut usage);
    assert!(usage.cpu.usage > Some(0) && !usage.notes.gone, "{usage:?}");
    for counted in [Counted::CpuUsage, Counted::Memory, Counted::CpuPressure] {
        let is_counted = match counted {
            Counted::CpuUsage => usage.cpu.usage.is_some(),
            Counted::Memory => usage.memory.major_faults.is_some(),
            _ => usage.pressure.cpu.some.is_some(),
        };
        assert_eq!(usage.notes.anew.has(counted), is_counted, "{counted:?}: {usage:?}");
    }
    reader.read(&mut group, Parts::ALL, &mut usage);
    assert!(!usage.notes.anew.has(Counted::CpuUsage), "told once");
}

#[test]
fn a_hierarchy_that_is_left_takes_its_figures_alone() {
    let Some(made) = Made::new("left") else { return };
    let layout = layout();
    let mut group = made.group(&layout);
    if group.version(Resource::Memory) != Some(Version::V1) {
        // There it is a controller that is taken away: the next test.
        return;
    }
    let (mut reader, mut usage) = (Reader::new(&layout, 100), Usage::default());
    reader.read(&mut group, Parts::ALL, &mut usage);
    assert!(usage.memory.usage.is_some());
    fs::remove_dir(made.of("memory")).expect("nobody is in it");
    reader.read(&mut group, Parts::ALL, &mut usage);
    assert!(!usage.notes.gone && !usage.notes.anew.has(Counted::CpuUsage), "{:?}", usage.notes);
    assert_eq!((usage.memory.usage, usage.cpu.usage.is_some()), (None, true));
    fs::create_dir(made.of("memory")).expect("made again");
    reader.read(&mut group, Parts::ALL, &mut usage);
    assert!(usage.memory.usage.is_some(), "{usage:?}");
    assert!(usage.notes.anew.has(Counted::Memory) && !usage.notes.anew.has(Counted::CpuUsage));
}

#[test]
fn a_controller_that_is_taken_away_takes_its_figures_alone() {
    let Some(made) = Made::new("taken") else { return };
    let layout = layout();
    if made.group(&layout).version(Resource::Memory) != Some(Version::V2) {
        return;
    }
    let control = made.of("").join("cgroup.subtree_control");
    fs::write(&control, "+memory +pids").expect("nobody is in it");
    let below = made.of("").join("below");
    fs::create_dir(&below).expect("made");
    let path = made.path().join("below");
    let entry = || Entry { hierarchy: 0, controllers: "", path: &path, deleted: false };
    let mut group = Group::of(&layout, [entry()]);
    let (mut reader, mut usage) = (Reader::new(&layout, 100), Usage::default());
    reader.read(&mut group, Parts::ALL, &mut usage);
    assert!(usage.memory.usage.is_some() && usage.cpu.usage.is_some(), "{usage:?}");
    fs::write(&control, "-memory").expect("taken away");
    reader.read(&mut group, Parts::ALL, &mut usage);
    assert_eq!((usage.notes.gone, usage.memory.usage, usage.cpu.usage.is_some()), (false, None, true));
    assert!(!usage.notes.anew.has(Counted::CpuUsage), "{:?}", usage.notes);
    fs::write(&control, "+memory").expect("given back");
    // A file that was missing is looked for again later, or when the container is described anew.
    reader.replace(&mut group, Group::of(&layout, [entry()]));
    reader.read(&mut group, Parts::ALL, &mut usage);
    assert!(usage.memory.usage.is_some() && usage.notes.anew.has(Counted::Memory), "{usage:?}");
    assert!(!usage.notes.anew.has(Counted::CpuUsage), "its cgroup is the same");
    drop(reader);
    fs::remove_dir(&below).expect("nobody is in it");
}

#[test]
fn cgroups_are_listed_with_the_kernel_s_ids() {
    let Some(made) = Made::new("list") else { return };
    for (hierarchy, directory) in &made.directories {
        fs::create_dir(directory.join("below")).expect("made");
        let root = hierarchy.directory.as_ref().expect("it was used");
        let from = directory.strip_prefix(root).expect("below it");
        let mut found = Vec::new();
        let bounds = Bounds { directories: 10, depth: 3 };
        let listing =
            list::below(root, from, bounds, |cgroup| found.push((cgroup.path.to_owned(), cgroup.id)));
        assert_eq!(listing.expect("listed").directories, 2);
        assert_eq!(found[0], (from.to_owned(), list::id(directory).expect("there")));
        assert_eq!(found[1].0, from.join("below"));
        assert_ne!(found[0].1, found[1].1);
    }
}

const EXPECTED: &str = "GANTRY_CGROUPFS_EXPECTED_BASE";

#[test]
fn the_own_namespace_s_root_is_found() {
    if !have("unshare", Path::new("/usr/bin/unshare").exists()) {
        return;
    }
    let Some(made) = Made::new("namespace") else { return };
    let test = std::env::current_exe().expect("this");
    let inside = format!(
        "exec env {EXPECTED}={} /usr/bin/unshare --cgroup {} --exact inside_of_a_namespace --ignored --nocapture",
        made.path().display(),
        test.display()
    );
    let printed = Waiting::new(&inside).run_in(&made);
    assert!(printed.contains("1 passed"), "{printed}");
}

#[test]
#[ignore = "the_own_namespace_s_root_is_found runs it where it makes sense"]
fn inside_of_a_namespace() {
    let Ok(expected) = std::env::var(EXPECTED) else { return };
    let expected = Path::new(&expected);
    let layout = Layout::read(Path::new("/proc"), Path::new("/sys/fs/cgroup")).expect("a layout");
    let index = layout.serving(Resource::CpuAccount).expect("served");
    let hierarchy = &layout.hierarchies()[index];
    assert_eq!(hierarchy.base(), Some(expected));
    let name = expected.strip_prefix("/").expect("absolute");
    assert_eq!(hierarchy.relative(Path::new("/")).as_deref(), Some(name));
    assert_eq!(hierarchy.absolute(Path::new("/../x")).as_deref(), Some(Path::new("/x")));
    let init = hierarchy.absolute(Path::new("/.."));
    assert_eq!(init.as_deref(), Some(Path::new("/")));
}
