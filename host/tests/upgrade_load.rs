//! Three hundred upgrades under a scraper: nothing is counted twice or not at
//! all, and nothing grows but by what the boundary costs.

mod support;

#[path = "fixtures/hostile/patch.rs"]
mod patch;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use support::agent::{Agent, sample};
use support::commands::{hostile, request};
use support::http::get;
use support::{copy_to, library, private_dir, process, write_library};

const UPGRADES: usize = 300;

/// Twenty times a second.
const EVERY: Duration = Duration::from_millis(50);

/// What stays of a file that is mapped no less: its relocated data (84 kB of this
/// fixture's, in whole pages), what the dynamic linker and the layout check keep
/// of it, and what threads that came and went leave in the allocator.
const BYTES_A_FILE: u64 = 84_000 + 61_000;

fn build(dir: &Path, version: &str) -> PathBuf {
    let mut bytes = std::fs::read(library("hostile")).expect("the built fixture");
    patch::version(&mut bytes, version);
    let file = dir.join(format!("hostile-{version}.so"));
    write_library(&file, &bytes);
    file
}

/// Memory that belongs to the agent alone, whatever it lies in.
fn anonymous(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("it runs");
    let line = text.lines().find_map(|line| line.strip_prefix("Anonymous:")).expect("the kernel says so");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count()
}

/// The names and labels of the fixture's series.
fn series(text: &str) -> BTreeSet<String> {
    let own = text.lines().filter(|line| line.starts_with("hostile_"));
    own.map(|line| line.rsplit_once(' ').expect("a value").0.to_owned()).collect()
}

/// Scrapes until it is told to end: each is whole, and counts one more.
fn scrape(address: SocketAddr, end: &AtomicBool) -> (u64, Duration) {
    let expected = series(get(address, "/metrics").text());
    let (mut scrapes, mut slowest) = (1_u64, Duration::ZERO);
    assert!(expected.iter().any(|line| line.starts_with("hostile_collections_total")), "{expected:?}");
    while !end.load(Relaxed) {
        let begin = Instant::now();
        let answer = get(address, "/metrics");
        assert_eq!(answer.status, 200, "{}", answer.text());
        slowest = slowest.max(begin.elapsed());
        scrapes += 1;
        let text = answer.text();
        assert_eq!(series(text), expected, "after {scrapes} scrapes");
        // Of its own counter, and of the one that it hands over by itself.
        let counted = sample(text, "hostile_collections_total");
        assert_eq!(counted, Some(scrapes as f64), "a collection is lost or counted twice");
        assert_eq!(sample(text, "hostile_events_total"), Some(1.0), "it is born once");
        std::thread::park_timeout(EVERY.saturating_sub(begin.elapsed()));
    }
    (scrapes, slowest)
}

#[test]
fn three_hundred_upgrades_lose_nothing() {
    let dir = private_dir();
    let base = copy_to(dir.path(), &library("hostile"));
    let fails = build(dir.path(), "9.9.9");
    let broken = dir.path().join("broken.so");
    write_library(&broken, &std::fs::read(&base).expect("the fixture")[..10_000]);
    let table = "in_version = \"9.9.9\"\nfault = \"error\"\nat = \"activate\"";
    let agent = Agent::start_in(dir, "", &hostile(&base, table));
    let (end, pid, address) = (AtomicBool::new(false), agent.pid(), agent.address);
    let mut took = Vec::new();
    let (mut files, mut before) = (0, (0, 0, 0));
    let ((scrapes, slowest), after) = std::thread::scope(|scope| {
        let scraper = scope.spawn(|| scrape(address, &end));
        for n in 0..UPGRADES {
            if n == 20 {
                before = (anonymous(pid), process::threads(pid).len(), descriptors(pid));
                files = 0;
            }
            let (file, good) = match n % 4 {
                0 => {
                    let version = format!("{}.{}.{}", 1 + n / 100, n / 10 % 10, n % 10);
                    files += 1;
                    (build(agent.dir.path(), &version), true)
                }
                1 => (fails.clone(), false),
                2 => (broken.clone(), false),
                _ => (base.clone(), true),
            };
            let begin = Instant::now();
            let path: String =
                file.to_str().expect("UTF-8").bytes().map(|byte| format!("%{byte:02x}")).collect();
            let answer =
                request(&agent.socket(), "POST", &format!("/v1/plugins/hostile/upgrade?file={path}"));
            took.push(begin.elapsed());
            assert_eq!(answer.status == 200, good, "{n}: {}", answer.text());
            if scraper.is_finished() {
                break;
            }
        }
        end.store(true, Relaxed);
        let scraped = scraper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        agent.thread_of("hostile");
        (scraped, (anonymous(pid), process::threads(pid).len(), descriptors(pid)))
    });
    let good: BTreeSet<Duration> = took.iter().copied().skip(3).step_by(4).collect();
    let a_file = after.0.saturating_sub(before.0) / files;
    println!(
        "{UPGRADES} upgrades and {scrapes} scrapes, the slowest {slowest:?}; an upgrade to a file that is mapped already: \
         median {:?}, longest {:?}; {files} new files, {a_file} bytes of anonymous memory each; threads {} and {}, \
         descriptors {} and {}",
        good.iter().nth(good.len() / 2),
        good.last(),
        before.1,
        after.1,
        before.2,
        after.2,
    );
    assert!(a_file <= BYTES_A_FILE, "{a_file} bytes a file");
    // Threads of the network and of work that waits for a disk come and go.
    assert!(after.1 <= before.1 + 8, "{} threads, {} before", after.1, before.1);
    assert!(after.2 <= before.2 + 4, "{} descriptors, {} before", after.2, before.2);
}
