//! The agent is restarted again and again under a scraper, while threads of a
//! plugin count on every counter: no increment is lost, none is counted twice,
//! and no counter goes back. In the agent, and in a process of its own.

mod support;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use support::agent::{Agent, sample};
use support::commands::hostile;
use support::http::raw;
use support::ledger::{self, Ledger};
use support::{copy_to, library, private_dir, process};

const RESTARTS: usize = 20;

/// Twenty times a second.
const EVERY: Duration = Duration::from_millis(50);

/// Scrapes that each agent answers at least.
const SCRAPES: u64 = 5;

#[derive(Default)]
struct Scraped {
    /// Those that were answered.
    answered: AtomicU64,
    /// Those that came while no agent was there, or when one ended.
    unanswered: AtomicU64,
    end: AtomicBool,
}

/// Each answer is whole, and shows all that was counted, and nothing less than
/// the one before.
fn scrape(address: SocketAddr, ledger: &Ledger, scraped: &Scraped) {
    let mut last = [[0; ledger::THREADS]; ledger::COUNTERS.len()];
    let mut collections = 0.0;
    while !scraped.end.load(Relaxed) {
        let (begin, before) = (Instant::now(), ledger.read());
        let request = b"GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        let Ok(answer) = raw(address, request) else {
            scraped.unanswered.fetch_add(1, Relaxed);
            std::thread::park_timeout(EVERY.saturating_sub(begin.elapsed()));
            continue;
        };
        let (text, after) = (answer.text(), ledger.read());
        assert_eq!(answer.status, 200, "{text}");
        let answered = scraped.answered.fetch_add(1, Relaxed) + 1;
        // One that nobody got may have been collected for.
        let (least, most) = (answered as f64, (answered + scraped.unanswered.load(Relaxed)) as f64);
        let counted = sample(text, "hostile_collections_total").expect("it is shown from the first on");
        assert!(counted > collections && counted >= least && counted <= most, "{counted}: {least} to {most}");
        collections = counted;
        if answered > 1 {
            assert_eq!(sample(text, "hostile_events_total"), Some(1.0), "it is born once");
            ledger::check(text, before, after);
        }
        for (last, name) in last.iter_mut().zip(ledger::COUNTERS) {
            let now = ledger::shown(text, name);
            assert!(now.iter().zip(&*last).all(|(now, last)| now >= last), "{name}: {now:?} after {last:?}");
            *last = now;
        }
        std::thread::park_timeout(EVERY.saturating_sub(begin.elapsed()));
    }
}

#[test]
fn twenty_restarts_under_load_lose_nothing() {
    restarts("none");
}

#[test]
fn nor_do_twenty_with_the_plugin_in_a_process_of_its_own() {
    restarts("process");
}

#[allow(clippy::print_stdout, reason = "the numbers are what it is for")]
fn restarts(isolation: &str) {
    let dir = private_dir();
    let ledger = Ledger::new(dir.path());
    let file = copy_to(dir.path(), &library("hostile"));
    // One port for all of them, at an address of this test's own: nobody else takes
    // it while no agent is there.
    let [.., high, low] = std::process::id().to_be_bytes();
    let own = Ipv4Addr::new(127, if isolation == "none" { 64 } else { 65 }, high, low);
    let address = TcpListener::bind((own, 0)).and_then(|free| free.local_addr()).expect("a free port");
    let isolation = format!("isolation = \"{isolation}\"");
    let section = |table: &str| hostile(&file, table).replace("isolation = \"none\"", &isolation);
    let config =
        |table: &str| Agent::configuration("", &section(table)).replace("127.0.0.1:0", &address.to_string());
    let mut agent = Agent::start_over(support::agent::gantry(), dir, &config(&ledger.key()));
    // From the second one on a counter shows what it has.
    agent.scrape();
    let scraped = Scraped { answered: AtomicU64::new(1), ..Scraped::default() };
    let mut figures = Vec::new();
    let mut away = Vec::new();
    std::thread::scope(|scope| {
        let scraper = scope.spawn(|| scrape(address, &ledger, &scraped));
        for _ in 0..RESTARTS {
            let enough = scraped.answered.load(Relaxed) + SCRAPES;
            agent.wait_until("it is scraped", |_| {
                scraper.is_finished() || scraped.answered.load(Relaxed) >= enough
            });
            let pid = agent.pid();
            let threads = process::threads(pid).len();
            figures.push((process::anonymous(pid), threads, process::descriptors(pid)));
            if scraper.is_finished() {
                break;
            }
            let begin = Instant::now();
            assert!(agent.terminate().success());
            agent.again();
            away.push(begin.elapsed());
        }
        scraped.end.store(true, Relaxed);
        scraper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    // Another table ends the threads, in order.
    support::agent::write_config(agent.dir.path(), &config(""));
    agent.good(&["reload"]);
    ledger::check_to_the_last(&agent.scrape(), ledger.read());
    away.sort();
    let (first, last) = (figures[0], figures[figures.len() - 1]);
    println!(
        "{isolation}: {RESTARTS} restarts, {} scrapes answered, {} not; {:?} events; from SIGTERM to running again: \
         median {:?}, longest {:?}; anonymous memory {} and {} KiB, threads {} and {}, descriptors {} and {}",
        scraped.answered.load(Relaxed),
        scraped.unanswered.load(Relaxed),
        ledger.read(),
        away[away.len() / 2],
        away[away.len() - 1],
        first.0 / 1024,
        last.0 / 1024,
        first.1,
        last.1,
        first.2,
        last.2,
    );
    // What one hands over to the next does not grow. Threads that wait for a disk come and go.
    assert!(last.0 <= first.0 + (2 << 20), "{} bytes, {} at first", last.0, first.0);
    assert!(last.1 <= first.1 + 8, "{} threads, {} at first", last.1, first.1);
    assert!(last.2 <= first.2 + 4, "{} descriptors, {} at first", last.2, first.2);
}
