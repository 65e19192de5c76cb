//! An agent of the test's own.

use super::http::{Answer, PATIENCE, get};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// What an init system waits at least.
const STOPS_WITHIN: Duration = Duration::from_secs(10);

/// A running agent; killed when the test ends.
pub struct Agent {
    child: Child,
    lines: mpsc::Receiver<String>,
    pub log: Vec<String>,
    pub address: SocketAddr,
    pub dir: tempfile::TempDir,
    host: String,
}

/// Lines that wait for a test to read them; whoever logs more loses them.
const LINES: usize = 10_000;

/// A command of the host, with nothing of the caller's environment that steers it.
pub fn gantry() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gantry"));
    command.stdin(Stdio::null()).env("NO_COLOR", "1");
    command
}

/// Writes `plugins.toml` into a directory.
pub fn write_config(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("plugins.toml");
    std::fs::write(&path, text).expect("a file in a temporary directory");
    path
}

/// Runs a command of the host to its end over a configuration.
pub fn run(dir: &Path, config: &str, arguments: &[&str]) -> Output {
    let config = write_config(dir, config);
    let state = dir.join("state");
    gantry()
        .args(arguments)
        .arg("--config")
        .arg(config)
        .arg("--state-dir")
        .arg(state)
        .output()
        .expect("the host runs")
}

/// What a command said, for messages of failures.
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

impl Agent {
    /// Starts an agent over `[plugins.…]` sections, and waits until it answers
    /// and every start is over.
    pub fn start(plugins: &str) -> Self {
        Self::start_in(super::private_dir(), "", plugins)
    }

    /// In a directory that the test prepared, with keys of `[host]`.
    pub fn start_in(dir: tempfile::TempDir, host: &str, plugins: &str) -> Self {
        Self::start_by(gantry(), dir, host, plugins)
    }

    /// By a command that the test prepared: another user, another environment.
    pub fn start_by(command: Command, dir: tempfile::TempDir, host: &str, plugins: &str) -> Self {
        let mut agent = Self::start_over(command, dir, &Self::configuration(host, plugins));
        agent.host = Self::configuration(host, "");
        agent
    }

    /// Over a whole configuration of the test's.
    pub fn start_over(command: Command, dir: tempfile::TempDir, config: &str) -> Self {
        let config = write_config(dir.path(), config);
        let state = dir.path().join("state");
        let mut agent = Self::spawn(command, dir, &config, &state);
        agent.wait_for_log("enabled plugins are running");
        agent
    }

    /// Other sections in its file, whole at any time; nothing is told to it.
    pub fn rewrite(&self, plugins: &str) {
        let beside = self.dir.path().join("plugins.toml.new");
        std::fs::write(&beside, format!("{}{}\n", self.host, isolated(plugins))).expect("a temporary file");
        std::fs::rename(beside, self.dir.path().join("plugins.toml")).expect("own directory");
    }

    /// The text that an agent of a test has as its configuration.
    pub fn configuration(host: &str, plugins: &str) -> String {
        let plugins = isolated(plugins);
        format!("[host]\nlisten = \"127.0.0.1:0\"\nlog_format = \"text\"\n{host}\n{plugins}\n")
    }

    fn spawn(mut command: Command, dir: tempfile::TempDir, config: &Path, state: &Path) -> Self {
        let mut child = command
            .arg("run")
            .arg("--config")
            .arg(config)
            .arg("--state-dir")
            .arg(state)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the host starts");
        let errors = child.stderr.take().expect("standard error is piped");
        let (sender, lines) = mpsc::sync_channel(LINES);
        std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut agent = Self { child, lines, log: Vec::new(), address: nowhere, dir, host: String::new() };
        let line = agent.wait_for_log("listening at http://");
        let address = line.rsplit("http://").next().expect("the address is at the end");
        agent.address = address.trim().parse().expect("an address");
        agent
    }

    /// After its end: another agent over the same directory.
    pub fn again(&mut self) {
        let dir = std::mem::replace(&mut self.dir, super::private_dir());
        let (config, state) = (dir.path().join("plugins.toml"), dir.path().join("state"));
        let host = std::mem::take(&mut self.host);
        *self = Self::spawn(gantry(), dir, &config, &state);
        self.host = host;
        self.wait_for_log("enabled plugins are running");
    }

    /// Waits until it has ended by itself.
    pub fn ended(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is ours") {
                return status;
            }
            assert!(Instant::now() < until, "it lives");
            std::thread::park_timeout(std::time::Duration::from_millis(5));
        }
    }

    /// SIGKILL, and its end.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is ours");
    }

    /// Waits for a line of the log that holds a text; also one that came before.
    pub fn wait_for_log(&mut self, text: &str) -> String {
        if let Some(line) = self.log.iter().find(|line| line.contains(text)) {
            return line.clone();
        }
        let until = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.log.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(_) => panic!("the log never said {text:?}:\n{}", self.log.join("\n")),
            }
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("it runs");
    }

    /// Waits for a file or a process of the system's, which tell nobody when they
    /// change; the agent's lines are taken meanwhile.
    pub fn wait_until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < until, "never: {what}");
            if let Ok(line) = self.lines.recv_timeout(Duration::from_millis(10)) {
                self.log.push(line);
            }
        }
    }

    /// Lets so much time go by, where the moment of what follows must be any.
    pub fn wait_for(&mut self, pause: Duration) {
        let until = Instant::now() + pause;
        while let Ok(line) = self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            self.log.push(line);
        }
    }

    pub fn scrape(&self) -> String {
        self.scrape_of("").text().to_owned()
    }

    /// With a query.
    pub fn scrape_of(&self, query: &str) -> Answer {
        let answer = get(self.address, &format!("/metrics{query}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer
    }

    /// Scrapes until a sample has a value.
    pub fn wait_for_sample(&self, series: &str, value: f64) {
        let until = Instant::now() + PATIENCE;
        loop {
            let scraped = self.scrape();
            if sample(&scraped, series) == Some(value) {
                return;
            }
            assert!(Instant::now() < until, "{series} never was {value}:\n{scraped}");
        }
    }

    /// All that the host says of a plugin.
    pub fn plugin(&self, plugin: &str) -> serde_json::Value {
        let answer = get(self.address, "/plugins");
        let rows: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        let row = rows.as_array().and_then(|rows| rows.iter().find(|row| row["name"] == plugin));
        row.unwrap_or_else(|| panic!("{plugin} is not in {rows}")).clone()
    }

    /// What the host says of a plugin's state.
    pub fn state(&self, plugin: &str) -> (String, String) {
        let row = self.plugin(plugin);
        (row["state"].as_str().expect("a state").to_owned(), row["reasons"].to_string())
    }

    /// Waits for a state, and says why it is in it.
    pub fn wait_for_state(&mut self, plugin: &str, state: &str) -> String {
        let mut reasons = String::new();
        self.wait_until(&format!("{plugin} is {state}"), |agent| {
            let (is, why) = agent.state(plugin);
            reasons = why;
            is == state
        });
        reasons
    }

    /// SIGTERM, and how it ended.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it is ours") {
                return status;
            }
            assert!(begin.elapsed() < STOPS_WITHIN, "it still runs");
            // The log ends with the agent.
            if let Ok(line) = self.lines.recv_timeout(Duration::from_millis(10)) {
                self.log.push(line);
            }
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            self.log.extend(self.lines.try_iter());
            eprintln!("log of the agent:\n{}", self.log.join("\n"));
        }
    }
}

/// Sections with [`super::isolation`] in them.
fn isolated(plugins: &str) -> String {
    if super::isolation() == "none" {
        return plugins.to_owned();
    }
    let isolation = format!("isolation = \"{}\"", super::isolation());
    let plugins = plugins.replace("isolation = \"none\"", &isolation);
    ["node", "containers", "tcp-ebpf", "taskstats", "oom"].iter().fold(plugins, |plugins, name| {
        let header = format!("[plugins.{name}]\n");
        let section = plugins.split(&header).nth(1).unwrap_or_default();
        if section.split("\n[").next().is_some_and(|section| section.contains("isolation = ")) {
            return plugins;
        }
        plugins.replace(&header, &format!("{header}{isolation}\n"))
    })
}

/// The value of the first sample whose line begins with a text.
pub fn sample(exposition: &str, series: &str) -> Option<f64> {
    let line = exposition.lines().find(|line| line.starts_with(series) && !line.starts_with('#'))?;
    line.rsplit(' ').next()?.parse().ok()
}
