//! Hundreds of upgrades under a scraper, while threads count on every counter:
//! nothing is counted twice or not at all, and nothing grows but by what the
//! boundary costs. In the agent, and in processes of their own.

mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use support::agent::{Agent, sample};
use support::commands::{hostile, request};
use support::http::get;
use support::ledger::{self, Ledger};
use support::versions::build;
use support::{copy_to, library, private_dir, process, write_library};

const UPGRADES: usize = 300;

/// Each makes two processes: one that tries the file, and one that runs it.
const ISOLATED_UPGRADES: usize = 100;

/// Twenty times a second.
const EVERY: Duration = Duration::from_millis(50);

/// What stays of a file that is mapped no less: its relocated data (84 kB of this
/// fixture's, in whole pages), what the dynamic linker and the layout check keep
/// of it, and what threads that came and went leave in the allocator.
const BYTES_A_FILE: u64 = 84_000 + 61_000;

/// In a process of its own nothing of a file is mapped here. What the agent's
/// threads come to take of the C library's arenas has an end, however many files
/// there are: 0.8 MiB.
const ARENAS: u64 = 3 << 19;

/// The names and labels of the fixture's series.
fn series(text: &str) -> BTreeSet<String> {
    let own = text.lines().filter(|line| line.starts_with("hostile_"));
    own.map(|line| line.rsplit_once(' ').expect("a value").0.to_owned()).collect()
}

/// Scrapes until it is told to end: each is whole, and counts one more.
fn scrape(address: SocketAddr, ledger: &Ledger, end: &AtomicBool) -> (u64, Duration) {
    let expected = series(get(address, "/metrics").text());
    let (mut scrapes, mut slowest) = (1_u64, Duration::ZERO);
    assert!(expected.iter().any(|line| line.starts_with("hostile_collections_total")), "{expected:?}");
    while !end.load(Relaxed) {
        let (begin, before) = (Instant::now(), ledger.read());
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
        ledger::check(text, before, ledger.read());
        std::thread::park_timeout(EVERY.saturating_sub(begin.elapsed()));
    }
    (scrapes, slowest)
}

#[test]
fn three_hundred_upgrades_lose_nothing() {
    upgrades("none", UPGRADES);
}

#[test]
fn nor_do_a_hundred_of_a_plugin_in_a_process_of_its_own() {
    upgrades("process", ISOLATED_UPGRADES);
}

#[allow(clippy::print_stdout, reason = "the numbers are what it is for")]
fn upgrades(isolation: &str, upgrades: usize) {
    let dir = private_dir();
    let ledger = Ledger::new(dir.path());
    let base = copy_to(dir.path(), &library("hostile"));
    let fails = build(dir.path(), "9.9.9");
    let broken = dir.path().join("broken.so");
    write_library(&broken, &std::fs::read(&base).expect("the fixture")[..10_000]);
    let table = "in_version = \"9.9.9\"\nfault = \"error\"\nat = \"activate\"";
    let isolation = format!("isolation = \"{isolation}\"");
    let section = |table: &str| hostile(&base, table).replace("isolation = \"none\"", &isolation);
    let agent = Agent::start_in(dir, "", &section(&format!("{}{table}", ledger.key())));
    let (end, pid, address) = (AtomicBool::new(false), agent.pid(), agent.address);
    let mut took = Vec::new();
    let (mut files, mut before) = (0, (0, 0, 0));
    let ((scrapes, slowest), after) = std::thread::scope(|scope| {
        let scraper = scope.spawn(|| scrape(address, &ledger, &end));
        for n in 0..upgrades {
            if n == 20 {
                before = (process::anonymous(pid), process::threads(pid).len(), process::descriptors(pid));
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
        // What runs last is the base: another table ends the threads, in order.
        agent.rewrite(&section(table));
        agent.good(&["reload"]);
        ledger::check_to_the_last(&agent.scrape(), ledger.read());
        (scraped, (process::anonymous(pid), process::threads(pid).len(), process::descriptors(pid)))
    });
    let good: BTreeSet<Duration> = took.iter().copied().skip(3).step_by(4).collect();
    let more = after.0.saturating_sub(before.0);
    let a_file = more / files;
    println!(
        "{isolation}: {upgrades} upgrades, {scrapes} scrapes, the slowest {slowest:?}, {:?} events; an upgrade to a file that is mapped already: \
         median {:?}, longest {:?}; {files} new files, {a_file} bytes of anonymous memory each; threads {} and {}, \
         descriptors {} and {}",
        ledger.read(),
        good.iter().nth(good.len() / 2),
        good.last(),
        before.1,
        after.1,
        before.2,
        after.2,
    );
    let most = if isolation.contains("none") { BYTES_A_FILE * files } else { ARENAS };
    assert!(more <= most, "{more} bytes, {a_file} a file");
    // Threads of the network and of work that waits for a disk come and go.
    assert!(after.1 <= before.1 + 8, "{} threads, {} before", after.1, before.1);
    assert!(after.2 <= before.2 + 4, "{} descriptors, {} before", after.2, before.2);
}

const KILLS: usize = 40;

/// The process that runs the fixture; not one in which a file is tried.
fn runner(agent: &Agent) -> Option<u32> {
    process::children(agent.pid()).into_iter().find(|child| {
        let line = std::fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
        line.starts_with(b"gantry\0--plugin-runner\0hostile\0")
    })
}

#[test]
fn a_process_that_is_killed_takes_what_it_counted_since_its_last_collection_at_most() {
    let dir = private_dir();
    let ledger = Ledger::new(dir.path());
    let file = copy_to(dir.path(), &library("hostile"));
    let node = "[plugins.node]\nenabled = true\nisolation = \"none\"\n";
    let section = hostile(&file, &ledger.key()).replace("isolation = \"none\"", "isolation = \"process\"");
    let mut agent = Agent::start_in(dir, "", &format!("{node}{section}"));
    let (address, mut random, mut in_flight) = (agent.address, 7_u64, 0);
    let mut may_lack = [0; ledger::THREADS];
    let mut last = [[0; ledger::THREADS]; ledger::COUNTERS.len()];
    let scraped = || {
        let answer = get(address, "/metrics");
        let text = answer.text().to_owned();
        assert_eq!(answer.status, 200, "{text}");
        assert_eq!(sample(&text, "gantry_plugin_up{plugin=\"node\""), Some(1.0), "{text}");
        assert!(sample(&text, "node_uptime_seconds").is_some(), "{text}");
        text
    };
    // From the second one on a counter shows what it has.
    scraped();
    for kill in 0..KILLS {
        let before = ledger.read();
        let text = scraped();
        for (last, name) in last.iter_mut().zip(ledger::COUNTERS) {
            let now = ledger::shown(&text, name);
            for at in 0..ledger::THREADS {
                assert!(
                    now[at] >= last[at],
                    "{name} of thread {at} went back from {} to {}",
                    last[at],
                    now[at]
                );
                let lacks = before[at].saturating_sub(now[at] + 1);
                assert!(
                    lacks <= may_lack[at],
                    "{name} of thread {at} lacks {lacks}, {may_lack:?} in {kill} kills"
                );
            }
            *last = now;
        }
        let child = runner(&agent).expect("it runs");
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let pause = Duration::from_micros(random >> 50);
        std::thread::scope(|scope| {
            // At rest, or in the middle of a collection; that one shows what was before, or more.
            let scrape = (kill % 2 == 0).then(|| scope.spawn(scraped));
            std::thread::park_timeout(pause);
            let pid = rustix::process::Pid::from_raw(child.cast_signed()).expect("a number");
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it runs");
            if let Some(scrape) = scrape {
                let text = scrape.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                in_flight += usize::from(text.contains("\nhostile_load_total{"));
            }
        });
        agent.wait_until("it is gone, and that is seen", |agent| {
            !process::lives(child) && agent.plugin("hostile")["state"] == "failed"
        });
        for (may_lack, (before, dead)) in may_lack.iter_mut().zip(before.into_iter().zip(ledger.read())) {
            *may_lack += dead - before + 1;
        }
        // Without the back-off.
        agent.good(&["restart", "hostile"]);
    }
    agent.rewrite(&format!("{node}{}", section.replace(&ledger.key(), "")));
    agent.good(&["reload"]);
    let (text, written) = (scraped(), ledger.read());
    let lost: ledger::Events =
        std::array::from_fn(|at| written[at] - ledger::shown(&text, "hostile_load_total")[at]);
    let counted = [("plugin", "hostile"), ("source", "snapshot")];
    let counted = support::series::value(&text, "gantry_plugin_handovers_total", &counted);
    println!(
        "{KILLS} kills, {in_flight} during a scrape that was answered; {written:?} events, {lost:?} lost, {may_lack:?} at most"
    );
    assert!(lost.iter().zip(may_lack).all(|(lost, most)| *lost <= most), "{lost:?} {may_lack:?}");
    assert!(lost.iter().any(|lost| *lost > 0), "nothing is lost where nothing was killed");
    assert_eq!(counted, Some(KILLS as f64), "each that went on with less is counted:\n{text}");
}
