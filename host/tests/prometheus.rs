//! A real Prometheus, its linter, and Python's strict parsers.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use support::agent::Agent;
use support::http::{PATIENCE, get, get_with};
use support::{copy_to, library, needs, private_dir};

/// A server of the test's own; killed at the end.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    lines: mpsc::Receiver<String>,
    log: Vec<String>,
}

impl Prometheus {
    fn scraping(agent: SocketAddr, dir: &std::path::Path) -> Self {
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
    fn query(&self, query: &str) -> Option<f64> {
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let answer = get(self.address, &format!("/api/v1/query?query={escaped}"));
        let json: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(json["status"], "success", "{query}: {json}");
        json.pointer("/data/result/0/value/1")?.as_str()?.parse().ok()
    }

    /// Asks until a query's value is as wanted; a second between questions.
    fn wait_for(&mut self, query: &str, within: Duration, good: impl Fn(f64) -> bool) -> f64 {
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

fn hostile(dir: &std::path::Path, emit: &str) -> String {
    let library = copy_to(dir, &library("hostile"));
    format!(
        "[plugins.node]\nenabled = true\n[plugins.hostile]\nenabled = true\npath = {library:?}\n\
         isolation = \"none\"\nconfig.emit = \"{emit}\"\n"
    )
}

#[test]
fn prometheus_scrapes_for_a_minute_without_a_warning() {
    if !needs::program("prometheus") {
        return;
    }
    let dir = private_dir();
    let plugins = hostile(dir.path(), "good");
    let agent = Agent::start_in(dir, "", &plugins);
    let data = private_dir();
    let mut prometheus = Prometheus::scraping(agent.address, data.path());
    prometheus.wait_for("count_over_time(up[5m])", Duration::from_secs(120), |count| count >= 60.0);
    assert_eq!(prometheus.query("min_over_time(up[5m])"), Some(1.0));
    let increase = prometheus.query("increase(hostile_events_total[5m])").expect("the counter");
    // Extrapolation to the edges of the range adds a few per cent.
    assert!((0.98..1.2).contains(&increase), "increase() says {increase}");
    assert!(prometheus.query("count({__name__=~\"node_.*\"})").is_some_and(|count| count > 20.0));
    assert_eq!(prometheus.query("count(up{job=\"gantry\"})"), Some(1.0));
    prometheus.log.extend(prometheus.lines.try_iter());
    let warnings: Vec<_> = prometheus
        .log
        .iter()
        .filter(|line| line.contains("level=warn") || line.contains("level=error"))
        .collect();
    assert!(warnings.is_empty(), "{warnings:#?}");
}

/// Lines of the linter that names kept for compatibility cause.
fn known(line: &str) -> bool {
    // None so far; upstream's histograms that end in _total will come here.
    line.trim().is_empty()
}

#[test]
fn the_linter_of_prometheus_has_nothing_to_say() {
    if !needs::program("promtool") {
        return;
    }
    let agent = Agent::start("[plugins.node]\nenabled = true\n");
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    promtool.stdin.take().expect("piped").write_all(agent.scrape().as_bytes()).expect("it reads");
    let output = promtool.wait_with_output().expect("it ends");
    let said = support::agent::said(&output);
    let complaints: Vec<_> = said.lines().filter(|line| !known(line)).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn strict_parsers_accept_both_formats() {
    if !needs::python_module("prometheus_client") {
        return;
    }
    let dir = private_dir();
    let plugins = hostile(dir.path(), "numbers");
    let agent = Agent::start_in(dir, "", &plugins);
    let open = "import sys; from prometheus_client.openmetrics.parser import text_string_to_metric_families as p; \
                print(sum(len(f.samples) for f in p(sys.stdin.read())))";
    let text = open.replace("openmetrics.", "");
    for (script, accept) in
        [(open, "application/openmetrics-text;version=1.0.0"), (text.as_str(), "text/plain")]
    {
        let answer = get_with(agent.address, "/metrics", &[&format!("Accept: {accept}")]);
        let mut python = Command::new("/usr/bin/python3")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("python starts");
        python.stdin.take().expect("piped").write_all(&answer.body).expect("it reads");
        let output = python.wait_with_output().expect("it ends");
        let said = support::agent::said(&output);
        assert!(output.status.success(), "{accept}: {said}");
        let samples: usize = said.trim().parse().expect("a number");
        let lines = answer.text().lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(samples, lines, "{accept}");
    }
}
