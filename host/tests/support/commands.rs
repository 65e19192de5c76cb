//! Commands to an agent of the test's own, and its control socket.

use super::agent::{Agent, gantry, said, write_config};
use super::http::{Answer, PATIENCE, read};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Instant;

impl Agent {
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("plugins.toml")
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("state/gantry.sock")
    }

    /// What a command says to this agent.
    pub fn ask(&self, arguments: &[&str]) -> Output {
        let state = self.dir.path().join("state");
        let mut command = gantry();
        command.args(arguments).arg("--config").arg(self.config()).arg("--state-dir").arg(state);
        command.output().expect("the host runs")
    }

    /// The standard output of a command that goes well and complains of nothing.
    pub fn good(&self, arguments: &[&str]) -> String {
        let output = self.ask(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", said(&output));
        assert!(output.stderr.is_empty(), "{arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).expect("text")
    }

    /// The standard error of a command that ends with that exit code.
    pub fn bad(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.ask(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", said(&output));
        String::from_utf8(output.stderr).expect("text")
    }

    /// Another configuration in the place of the present one.
    pub fn configure(&self, host: &str, plugins: &str) {
        write_config(self.dir.path(), &Self::configuration(host, plugins));
    }

    /// A table of a command, as programs get it.
    pub fn table(&self, arguments: &[&str]) -> Vec<serde_json::Value> {
        let text = self.good(&[arguments, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// What `gantry plugins` says of a plugin.
    pub fn row(&self, plugin: &str) -> serde_json::Value {
        let rows = self.table(&["plugins", "--where", &format!("name={plugin}")]);
        rows.into_iter().next().unwrap_or_else(|| panic!("{plugin} is not there"))
    }

    /// What changes when a plugin is touched: the thread that calls it, and
    /// since when it is in its state.
    pub fn identity(&self, plugin: &str) -> (Option<u32>, String) {
        (self.thread_of(plugin), self.row(plugin)["since"].to_string())
    }

    /// The thread that calls a plugin. One that has said its last word may take
    /// a moment to end.
    pub fn thread_of(&self, plugin: &str) -> Option<u32> {
        self.threads_when(plugin, |threads| threads.len() <= 1).pop()
    }

    /// Waits until no thread calls a plugin.
    pub fn wait_for_no_thread(&self, plugin: &str) {
        self.threads_when(plugin, |threads| threads.is_empty());
    }

    fn threads_when(&self, plugin: &str, holds: impl Fn(&[u32]) -> bool) -> Vec<u32> {
        // What the kernel keeps of a name.
        let name: String = format!("p:{plugin}").chars().take(15).collect();
        let until = Instant::now() + PATIENCE;
        loop {
            let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).expect("it runs");
            let found = tasks.filter_map(|task| {
                let path = task.ok()?.path();
                let comm = std::fs::read_to_string(path.join("comm")).ok()?;
                (comm.trim() == name).then(|| path.file_name()?.to_str()?.parse().ok())?
            });
            let found: Vec<u32> = found.collect();
            if holds(&found) {
                return found;
            }
            assert!(Instant::now() < until, "{plugin} has the threads {found:?}");
            std::thread::park_timeout(std::time::Duration::from_millis(5));
        }
    }

    /// SIGHUP, and what the log says until the reload is over, which ends with
    /// a line that holds `end`.
    pub fn hang_up(&mut self, end: &str) -> String {
        self.forget_log();
        self.signal(rustix::process::Signal::HUP);
        self.wait_for_log(end);
        self.log.join("\n")
    }

    /// Forgets all that was logged up to now. What the agent says to a command is
    /// logged before it answers, so a command that changes nothing is a mark.
    pub fn forget_log(&mut self) {
        static MARKS: AtomicU32 = AtomicU32::new(0);
        let mark = format!("mark-{}", MARKS.fetch_add(1, Relaxed));
        self.bad(1, &["disable", &mark, "--until-restart"]);
        self.wait_for_log(&format!("disable {mark}: refused"));
        self.log.clear();
    }

    /// Everything that the log says before its line with `end`.
    pub fn said_before(&mut self, end: &str) -> String {
        self.wait_for_log(end);
        self.log.join("\n")
    }

    /// Memory that the kernel counts as the agent's, in KiB.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("the kernel says so");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
    }
}

/// The section of the fixture, with keys of its own table.
pub fn hostile(file: &Path, table: &str) -> String {
    hostile_with(file, "", table)
}

/// With keys of the section as well.
pub fn hostile_with(file: &Path, keys: &str, table: &str) -> String {
    format!(
        "[plugins.hostile]\nenabled = true\npath = {file:?}\nisolation = \"none\"\n{keys}\n\
         [plugins.hostile.config]\n{table}\n"
    )
}

/// Sends bytes to a control socket, and reads to the end of the connection.
pub fn raw(socket: &Path, request: &[u8]) -> std::io::Result<Answer> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(request)?;
    read(stream)
}

/// One request to a control socket.
pub fn request(socket: &Path, method: &str, path: &str) -> Answer {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    raw(socket, request.as_bytes()).expect("an answer")
}
