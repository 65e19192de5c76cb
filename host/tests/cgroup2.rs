//! Containers where version 2 of cgroups has all controllers: in the kernels of
//! `cargo xtask kernels`.

mod support;

use support::agent::Agent;
use support::cgroup::Cgroup;
use support::http::PATIENCE;
use support::kernel::{Disk, Figure, Kernel, agree};
use support::private_dir;
use support::series::{scrape_until, value};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const ROOT: &str = "/sys/fs/cgroup";

fn agent() -> Agent {
    Agent::start_in(
        private_dir(),
        "[host.identity]\nmin_container_age = \"0s\"\nmetadata_wait = \"0s\"",
        "[plugins.containers]\nenabled = true\n",
    )
}

/// A container's cgroup below a slice of its own.
struct Nested {
    slice: PathBuf,
    cgroup: Option<Cgroup>,
    id: String,
}

impl Nested {
    fn new(number: u32) -> Self {
        let (slice, id) = (format!("gantry{number}.slice"), format!("{number:064x}"));
        let cgroup = Cgroup::at(&format!("/{slice}/docker-{id}.scope"));
        Self { slice: Path::new(ROOT).join(slice), cgroup: Some(cgroup), id: format!("/docker/{id}") }
    }

    fn cgroup(&self) -> &Cgroup {
        self.cgroup.as_ref().expect("it is taken at the end alone")
    }

    fn directory(&self) -> PathBuf {
        Path::new(ROOT).join(self.cgroup().path().trim_start_matches('/'))
    }

    fn limit(&self, file: &str, value: &str) {
        write(&self.directory().join(file), value);
    }
}

impl Drop for Nested {
    fn drop(&mut self) {
        self.cgroup = None;
        // Where a test failed somebody may be in it still; the machine ends soon.
        let _ = std::fs::remove_dir(&self.slice);
    }
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap_or_else(|error| panic!("{text:?} to {}: {error}", path.display()));
}

/// Waits until a program says by a file that it did its work and rests.
fn rests(flag: &Path) {
    let until = std::time::Instant::now() + PATIENCE;
    while !flag.exists() {
        assert!(std::time::Instant::now() < until, "it never comes to rest");
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
}

/// Numbers of a file of lines `KEY VALUE`.
fn keyed(cgroup: &Cgroup, file: &str) -> BTreeMap<String, f64> {
    let text = cgroup.read(file);
    let pair = |line: &str| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_owned(), value.parse().ok()?))
    };
    text.lines().filter_map(pair).collect()
}

/// What it was given.
fn limits() -> Vec<Figure> {
    let limits = [
        ("cpu_limit_cores", 0.25),
        ("cpu_binding_limit_cores", 0.25),
        ("memory_limit_bytes", f64::from(32 << 20)),
        ("memory_binding_limit_bytes", f64::from(24 << 20)),
        ("memory_swap_limit_bytes", f64::from(48 << 20)),
    ];
    limits.map(|(name, value)| (format!("container_resources_{name}"), vec![], value)).to_vec()
}

/// Uses CPU, memory and disk beyond its limits, and rests: `dd` with its block in
/// memory, which it cannot write on.
const WORK: &str = "
mkdir -p /mnt && mount --bind $DISK /mnt
dd if=/dev/zero of=/mnt/$NAME bs=64k count=32 oflag=direct
dd if=/mnt/$NAME of=/dev/null bs=64k iflag=direct
i=0; while [ $i -lt 8000 ]; do i=$((i+1)); done
exec 3>/mnt/$NAME.open
dd if=/dev/zero bs=28M count=1 | { head -c 1 >/dev/null; touch $FLAG; read never </tmp/never.$NAME; }";

#[test]
#[ignore = "needs version 2 of cgroups with its controllers: cargo xtask kernels"]
fn every_family_is_as_the_kernel_says() {
    let nested = Nested::new(1);
    nested.limit("cpu.max", "25000 100000");
    nested.limit("memory.max", &(32 << 20).to_string());
    nested.limit("memory.swap.max", &(48 << 20).to_string());
    write(&nested.slice.join("cpu.max"), "40000 100000");
    write(&nested.slice.join("memory.max"), &(24 << 20).to_string());
    let agent = agent();
    let dir = private_dir();
    let flag = dir.path().join("rests");
    let name = format!("cgroup2-{}", std::process::id());
    let fifo = format!("/tmp/never.{name}");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .expect("a fifo");
    let member = nested.cgroup().spawn_with(&["unshare", "-m", "/bin/sh", "-c", WORK], |command| {
        command.env("FLAG", &flag).env("DISK", env!("CARGO_TARGET_TMPDIR")).env("NAME", &name);
    });
    rests(&flag);

    let kernel = Kernel::of(member.0.id());
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let disk = Disk::of(directory).expect("the machine has a disk");
    let figures = agree(&agent, &nested.id, || {
        [kernel.figures(), limits(), kernel.of_disk(&disk, "/mnt", directory)].concat()
    });
    // What was to happen did.
    for family in [
        "cpu_throttled_seconds_total",
        "memory_swap_bytes",
        "disk_read_bytes_total",
        "disk_written_bytes_total",
        "disk_size_bytes",
        "disk_used_bytes",
        "disk_reserved_bytes",
    ] {
        assert!(figures[&format!("container_resources_{family}")] > 0.0, "{family}: {figures:?}");
    }
    drop(member);
    std::fs::remove_file(fifo).expect("it is ours");
}

const USAGE: &str = "container_resources_cpu_usage_seconds_total";

/// That a container is shown with the CPU time of its own directory.
fn has_all_of_it(agent: &Agent, nested: &Nested) -> String {
    let file = || keyed(nested.cgroup(), "cpu.stat")["usage_usec"] / 1e6;
    let text = scrape_until(agent, "the CPU time of all that is in it", |text| {
        let shown = value(text, USAGE, &[("container_id", &nested.id)]);
        shown.is_some_and(|shown| (shown - file()).abs() < 1e-6)
    });
    assert!(file() > 0.0);
    text
}

/// A container that was given its subtree, and has units of its own there.
#[test]
#[ignore = "needs version 2 of cgroups with its controllers: cargo xtask kernels"]
fn what_a_container_has_below_it_is_its_own() {
    let nested = Nested::new(2);
    let slice = nested.directory().join("system.slice");
    let unit = slice.join("inner.service");
    std::fs::create_dir_all(&unit).expect("made");
    let agent = agent();
    let dir = private_dir();
    let flag = dir.path().join("rests");
    let script = "echo $$ >$UNIT/cgroup.procs; i=0; while [ $i -lt 5000 ]; do i=$((i+1)); done; touch $FLAG; \
                  exec sleep 1000";
    let member = nested.cgroup().spawn_with(&["/bin/sh", "-c", script], |command| {
        command.env("UNIT", &unit).env("FLAG", &flag);
    });
    rests(&flag);
    let text = has_all_of_it(&agent, &nested);
    assert!(!text.contains("inner.service"), "no unit of the machine's");
    drop(member);
    for directory in [unit, slice] {
        std::fs::remove_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    }
}

/// Threads of one process in cgroups of their own, whose resources are those of
/// the domain above them.
#[test]
#[ignore = "needs version 2 of cgroups with its controllers: cargo xtask kernels"]
fn a_threaded_cgroup_is_the_container_s() {
    let nested = Nested::new(3);
    let threads = nested.directory().join("threads");
    std::fs::create_dir(&threads).expect("made");
    write(&threads.join("cgroup.type"), "threaded");
    let agent = agent();
    let dir = private_dir();
    let flag = dir.path().join("rests");
    let script = "echo $$ >$THREADS/cgroup.threads; i=0; while [ $i -lt 5000 ]; do i=$((i+1)); done; \
                  touch $FLAG; exec sleep 1000";
    let member = nested.cgroup().spawn_with(&["/bin/sh", "-c", script], |command| {
        command.env("THREADS", &threads).env("FLAG", &flag);
    });
    rests(&flag);
    let place = std::fs::read_to_string(format!("/proc/{}/cgroup", member.0.id())).expect("it runs");
    assert!(place.contains("/threads"), "{place}");
    has_all_of_it(&agent, &nested);
    drop(member);
    std::fs::remove_dir(&threads).expect("it is empty");
}

/// What is known of a container besides its figures: the program that it runs,
/// and its image, as a Docker says that only plays one.
#[test]
#[ignore = "needs version 2 of cgroups with its controllers: cargo xtask kernels"]
fn what_runs_in_it_and_of_which_image_is_shown() {
    let nested = Nested::new(4);
    let dir = private_dir();
    let docker = gantry_test_docker::Fake::start(&dir.path().join("docker.sock"));
    docker.put(gantry_test_docker::fake::container(4, "web"));
    let plugins = format!(
        "[plugins.containers]\nenabled = true\nconfig.docker = {{ socket = {:?}, deadline = \"20s\" }}\n",
        docker.socket()
    );
    let host = "[host.identity]\nmin_container_age = \"0s\"\nmetadata_wait = \"30s\"";
    let agent = Agent::start_in(private_dir(), host, &plugins);
    let member = nested.cgroup().spawn(&["httpd", "-f", "-p", "8080"]);
    let id = ("container_id", "/docker/web");
    scrape_until(&agent, "its program and its image", |text| {
        value(text, "container_application_type", &[id, ("application_type", "httpd")]) == Some(1.0)
            && value(text, "container_info", &[id, ("image", "nginx:1.27")]) == Some(1.0)
            && value(text, USAGE, &[id]).is_some()
    });
    drop(member);
}
