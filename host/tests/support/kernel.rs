//! What the kernel's own files say of a container's figures, in both versions
//! of cgroups, and whether an agent shows the same.

use super::agent::Agent;
use super::http::PATIENCE;
use super::series::value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const ROOT: &str = "/sys/fs/cgroup";

/// Labels beside the container's.
pub type Labels = Vec<(&'static str, String)>;

/// A family with labels, and its value.
pub type Figure = (String, Labels, f64);

/// Where a process's cgroups are: of version 1 by controller, and of version 2.
pub struct Kernel {
    first: BTreeMap<String, PathBuf>,
    second: Option<PathBuf>,
}

/// The disk that a directory lies on.
pub struct Disk {
    /// As `254:0`; of a partition that of its disk.
    pub number: String,
    /// As `vda`.
    pub name: String,
}

impl Disk {
    /// `None` where it lies on none.
    pub fn of(directory: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        let device = std::fs::metadata(directory).ok()?.dev();
        let number = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
        let mut at = std::fs::canonicalize(Path::new("/sys/dev/block").join(number)).ok()?;
        if at.join("partition").exists() {
            at.pop();
        }
        let number = std::fs::read_to_string(at.join("dev")).ok()?.trim().to_owned();
        Some(Self { number, name: at.file_name()?.to_str()?.to_owned() })
    }
}

impl Kernel {
    /// As its `/proc/PID/cgroup` says, in the namespace of the test.
    pub fn of(pid: u32) -> Self {
        let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it runs");
        let mut kernel = Self { first: BTreeMap::new(), second: None };
        for line in text.lines() {
            let (names, path) =
                line.split_once(':').and_then(|(_, rest)| rest.split_once(':')).expect("a line");
            let below = |root: &str| Path::new(ROOT).join(root).join(path.trim_start_matches('/'));
            if names.is_empty() {
                let is_beside = Path::new(ROOT).join("unified").exists();
                kernel.second = Some(below(if is_beside { "unified" } else { "" }));
            }
            for name in names.split(',').filter(|name| !name.is_empty() && !name.starts_with("name=")) {
                kernel.first.insert(name.to_owned(), below(name));
            }
        }
        kernel
    }

    /// A file of the controller's, by its name in each version; whether it is the first one's.
    fn read(&self, controller: &str, [first, second]: [&str; 2]) -> (bool, String) {
        let (is_first, path) = match (self.first.get(controller), &self.second) {
            (Some(directory), _) => (true, directory.join(first)),
            (None, Some(directory)) => (false, directory.join(second)),
            (None, None) => panic!("no hierarchy has {controller}"),
        };
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (is_first, text)
    }

    fn number(&self, controller: &str, files: [&str; 2]) -> f64 {
        let (_, text) = self.read(controller, files);
        text.trim().parse().unwrap_or_else(|error| panic!("{files:?}: {error}"))
    }

    /// Seconds of CPU time that it used.
    pub fn cpu_seconds(&self) -> f64 {
        let (is_first, text) = self.read("cpuacct", ["cpuacct.usage", "cpu.stat"]);
        if is_first {
            text.trim().parse::<f64>().expect("a number") / 1e9
        } else {
            keyed(&text)["usage_usec"] / 1e6
        }
    }

    /// What the files say of all families but limits and file systems.
    pub fn figures(&self) -> Vec<Figure> {
        let mut all = Vec::new();
        let mut add = |name: &str, labels: Labels, value: f64| {
            all.push((format!("container_resources_{name}"), labels, value));
        };
        add("cpu_usage_seconds_total", vec![], self.cpu_seconds());
        let (is_first, text) = self.read("cpu", ["cpu.stat", "cpu.stat"]);
        let cpu = keyed(&text);
        let throttled = if is_first { cpu["throttled_time"] / 1e9 } else { cpu["throttled_usec"] / 1e6 };
        add("cpu_throttled_seconds_total", vec![], throttled);
        add("cpu_periods_total", vec![], cpu["nr_periods"]);
        add("cpu_throttled_periods_total", vec![], cpu["nr_throttled"]);

        let used = self.number("memory", ["memory.usage_in_bytes", "memory.current"]);
        let (is_first, text) = self.read("memory", ["memory.stat", "memory.stat"]);
        let memory = keyed(&text);
        let of = |first: &str, second: &str| memory[if is_first { first } else { second }];
        let rss = of("total_rss", "anon") + of("total_mapped_file", "file_mapped");
        add("memory_rss_bytes", vec![], rss);
        add("memory_cache_bytes", vec![], of("total_cache", "file"));
        let inactive = of("total_inactive_file", "inactive_file");
        add("memory_working_set_bytes", vec![], (used - inactive).max(0.0));
        let swap = match is_first {
            true => memory["total_swap"],
            false => self.number("memory", ["", "memory.swap.current"]),
        };
        add("memory_swap_bytes", vec![], swap);
        add("memory_major_faults_total", vec![], of("total_pgmajfault", "pgmajfault"));

        for resource in ["cpu", "memory", "io"] {
            let file = format!("{resource}.pressure");
            let path = self.second.as_ref().expect("pressure is version 2's").join(&file);
            let text =
                std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            for line in text.lines() {
                let (kind, rest) = line.split_once(' ').expect("some or full");
                let total = rest.rsplit_once("total=").expect("a total").1;
                let seconds = total.parse::<f64>().expect("a number") / 1e6;
                let labels = vec![("kind", kind.to_owned())];
                add(&format!("{resource}_pressure_waiting_seconds_total"), labels, seconds);
            }
        }
        all
    }

    /// What it read and wrote of a disk, and how full the file system is that is
    /// mounted there and lies at `directory` for the test.
    pub fn of_disk(&self, disk: &Disk, mount_point: &str, directory: &Path) -> Vec<Figure> {
        let [reads, writes, read, written] = match self.first.get("blkio") {
            Some(_) => {
                let of = |file: &str, kind: &str| {
                    let (_, text) = self.read("blkio", [&format!("blkio.throttle.{file}_recursive"), ""]);
                    let begin = format!("{} {kind} ", disk.number);
                    let line = text.lines().find_map(|line| line.strip_prefix(&begin));
                    line.unwrap_or_else(|| panic!("no {begin:?} in {text}")).parse().expect("a number")
                };
                let (requests, bytes) = ("io_serviced", "io_service_bytes");
                [of(requests, "Read"), of(requests, "Write"), of(bytes, "Read"), of(bytes, "Write")]
            }
            None => {
                let (_, text) = self.read("io", ["", "io.stat"]);
                let line = text.lines().find_map(|line| line.strip_prefix(&format!("{} ", disk.number)));
                let line = line.unwrap_or_else(|| panic!("nothing of {}: {text:?}", disk.number)).to_owned();
                ["rios=", "wios=", "rbytes=", "wbytes="].map(|key| {
                    let value = line.split(' ').find_map(|word| word.strip_prefix(key));
                    value.expect("a key of io.stat").parse::<f64>().expect("a number")
                })
            }
        };
        let stat = rustix::fs::statvfs(directory).expect("it is mounted");
        let bytes = |blocks: u64| (blocks * stat.f_frsize) as f64;
        let labels = vec![("mount_point", mount_point.to_owned()), ("device", disk.name.clone())];
        let figures = [
            ("reads_total", reads),
            ("writes_total", writes),
            ("read_bytes_total", read),
            ("written_bytes_total", written),
            ("size_bytes", bytes(stat.f_blocks)),
            ("used_bytes", bytes(stat.f_blocks - stat.f_bfree)),
            ("reserved_bytes", bytes(stat.f_bfree - stat.f_bavail)),
            ("hung", 0.0),
        ];
        let figure = |(name, value)| (format!("container_resources_disk_{name}"), labels.clone(), value);
        figures.into_iter().map(figure).collect()
    }
}

/// Numbers of lines `KEY VALUE`.
fn keyed(text: &str) -> BTreeMap<String, f64> {
    let pair = |line: &str| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_owned(), value.parse().ok()?))
    };
    text.lines().filter_map(pair).collect()
}

/// Waits until each figure of a container lay once between what the kernel said
/// before the scrape and what it said after it; gives the last of these.
#[track_caller]
pub fn agree(agent: &Agent, id: &str, wanted: impl Fn() -> Vec<Figure>) -> BTreeMap<String, f64> {
    let mut right = BTreeSet::new();
    let until = Instant::now() + PATIENCE;
    loop {
        let before = wanted();
        let text = agent.scrape();
        let after = wanted();
        let last = after.iter().map(|(family, _, value)| (family.clone(), *value)).collect();
        let mut wrong = Vec::new();
        for ((family, labels, low), (_, _, high)) in before.into_iter().zip(after) {
            let own = labels.iter().map(|(name, value)| (*name, value.as_str()));
            let all: Vec<(&str, &str)> = own.chain([("container_id", id)]).collect();
            let shown = value(&text, &family, &all);
            if shown.is_some_and(|shown| (low.min(high) - 1e-6..=low.max(high) + 1e-6).contains(&shown)) {
                right.insert((family, labels));
            } else if !right.contains(&(family.clone(), labels.clone())) {
                wrong.push(format!("{family}{labels:?}: {shown:?}, not between {low} and {high}"));
            }
        }
        if wrong.is_empty() {
            return last;
        }
        assert!(Instant::now() < until, "{}", wrong.join("\n"));
        std::thread::park_timeout(Duration::from_millis(50));
    }
}
