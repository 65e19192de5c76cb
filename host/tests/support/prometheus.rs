//! A real Prometheus that scrapes an agent.

use super::http::{PATIENCE, get};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A server of the test's own; killed at the end.
pub struct Prometheus {
    child: Child,
    address: SocketAddr,
    lines: mpsc::Receiver<String>,
    log: Vec<String>,
}

impl Prometheus {
    pub fn scraping(agent: SocketAddr, dir: &std::path::Path) -> Self {
        let config = format!(
            "global:\n  scrape_interval: 1s\nscrape_configs:\n- job_name: gantry\n  static_configs:\n  - targets: ['{agent}']\n"
        );
        let file = dir.join("prometheus.yml");
        std::fs::write(&file, config).expect("temporary file");
        // Nobody else takes a port that was just given back, as a rule; where
        // somebody does, Prometheus says so and the test fails.
        let address =
            TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
        let mut child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("tsdb").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("prometheus starts");
        let errors = child.stderr.take().expect("it is piped");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut prometheus = Self { child, address, lines, log: Vec::new() };
        while !prometheus.log.iter().any(|line| line.contains("Server is ready")) {
            let line = prometheus.lines.recv_timeout(PATIENCE);
            prometheus.log.push(line.unwrap_or_else(|_| panic!("not ready: {:#?}", prometheus.log)));
        }
        prometheus
    }

    /// The value of a query that gives one sample, if it gives one.
    pub fn query(&self, query: &str) -> Option<f64> {
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let answer = get(self.address, &format!("/api/v1/query?query={escaped}"));
        let json: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(json["status"], "success", "{query}: {json}");
        json.pointer("/data/result/0/value/1")?.as_str()?.parse().ok()
    }

    /// What it complained of so far.
    pub fn warnings(&mut self) -> Vec<&String> {
        self.log.extend(self.lines.try_iter());
        let is_bad = |line: &&String| line.contains("level=warn") || line.contains("level=error");
        self.log.iter().filter(is_bad).collect()
    }

    /// Asks until a query's value is as wanted; a second between questions.
    pub fn wait_for(&mut self, query: &str, within: Duration, good: impl Fn(f64) -> bool) -> f64 {
        let until = Instant::now() + within;
        loop {
            let value = self.query(query);
            if let Some(value) = value.filter(|value| good(*value)) {
                return value;
            }
            assert!(Instant::now() < until, "{query} is {value:?}; log: {:#?}", self.log);
            if let Ok(line) = self.lines.recv_timeout(Duration::from_secs(1)) {
                self.log.push(line);
            }
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
