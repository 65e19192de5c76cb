//! Scrapes that never end, each of which must be a good one for `node`.

use super::agent::sample;
use super::http::{PATIENCE, raw};
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Between two scrapes: tests share few cores, and a scrape costs 1 ms or more.
const PAUSE: Duration = Duration::from_millis(20);

/// What else must hold of each scrape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The fixture's counter never goes back.
    NeverBack,
    /// It is also never absent.
    AlwaysThere,
    /// It may begin anew: what is disabled forgets what it kept.
    MayBeginAnew,
}

/// Scrapes on a thread of its own. When it ends, all of them must have been good.
pub struct Watch {
    stop: mpsc::Sender<()>,
    thread: Option<JoinHandle<Result<u32, String>>>,
}

impl Watch {
    pub fn start(address: SocketAddr, path: &'static str, rule: Rule) -> Self {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let (mut good, mut last) = (0, None);
            loop {
                last = one(address, path, rule, last).map_err(|why| format!("scrape {good}: {why}"))?;
                good += 1;
                if stopped.recv_timeout(PAUSE) != Err(mpsc::RecvTimeoutError::Timeout) {
                    return Ok(good);
                }
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // One that found a bad scrape has ended.
        let _ = self.stop.send(());
        let Some(thread) = self.thread.take() else { return };
        let watched = thread.join();
        if !std::thread::panicking() {
            let good = watched.expect("no panic").unwrap_or_else(|why| panic!("{why}"));
            assert!(good > 0, "nothing was scraped");
        }
    }
}

/// One scrape, and the fixture's counter in it.
fn one(address: SocketAddr, path: &str, rule: Rule, last: Option<f64>) -> Result<Option<f64>, String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    let answer =
        raw(address, request.as_bytes()).map_err(|error| format!("{error} ({PATIENCE:?} at most)"))?;
    let text = answer.text();
    let wrong = |what: &str| Err(format!("{what}: {}\n{text}", answer.status));
    if answer.status != 200 {
        return wrong("no good answer");
    }
    if sample(text, "node_uptime_seconds").is_none() {
        return wrong("node's samples are not there");
    }
    for (series, value) in [("gantry_plugin_up", 1.0), ("gantry_plugin_stale", 0.0)] {
        if sample(text, &format!("{series}{{plugin=\"node\"")) != Some(value) {
            return wrong(&format!("{series} of node is not {value}"));
        }
    }
    let counter = sample(text, "hostile_collections_total");
    match (last, counter) {
        (Some(last), Some(now)) if now < last && rule != Rule::MayBeginAnew => {
            wrong(&format!("the counter went back from {last}"))
        }
        (Some(_), None) if rule == Rule::AlwaysThere => wrong("the counter is absent"),
        (last, counter) => Ok(counter.or(last)),
    }
}
