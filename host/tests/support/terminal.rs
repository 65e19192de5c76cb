//! A real terminal of the test's own: a shell in tmux, 100 columns by 30 lines.

use super::http::PATIENCE;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// A shell whose prompt is `$ `; ended with all that it started.
pub struct Terminal {
    dir: tempfile::TempDir,
}

impl Terminal {
    /// Where `gantry` is the host with these arguments before all others.
    pub fn new(arguments: &[&str]) -> Self {
        let terminal = Self { dir: super::private_dir() };
        let shell = ["env", "-i", "PS1=$ ", "TERM=screen-256color", "PATH=/usr/bin:/bin", "sh", "-i"];
        terminal
            .tmux(&[&["-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30"], &shell[..]].concat());
        terminal.wait("the prompt", |screen| screen.trim() == "$");
        let host = env!("CARGO_BIN_EXE_gantry");
        terminal.type_line(&format!("alias gantry='{host} {}'", arguments.join(" ")));
        terminal.end();
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("tmux");
        // Its server is nobody else's, and knows nothing of one that the caller may sit in.
        command.arg("-u").arg("-S").arg(self.socket()).env_remove("TMUX").stdin(Stdio::null());
        let output = command.args(arguments).output().expect("tmux runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("tmux")
    }

    fn type_line(&self, line: &str) {
        self.tmux(&["send-keys", "-l", line]);
        self.key("Enter");
    }

    pub fn key(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    /// What is seen: lines that were broken at the border are whole.
    pub fn screen(&self) -> String {
        let screen = self.tmux(&["capture-pane", "-p", "-J"]);
        let lines: Vec<&str> = screen.lines().map(str::trim_end).collect();
        format!("{}\n", lines.join("\n").trim_end())
    }

    /// The same with the sequences for colours.
    pub fn colours(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-e"])
    }

    /// Whether the cursor is to be seen.
    pub fn cursor(&self) -> bool {
        self.tmux(&["display-message", "-p", "#{cursor_flag}"]).trim() == "1"
    }

    /// Waits until what is seen is so.
    pub fn wait(&self, what: &str, holds: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen();
            if holds(&screen) {
                return screen;
            }
            assert!(Instant::now() < until, "{what} never was on the screen:\n{screen}");
            // Asking tmux takes milliseconds.
            std::thread::yield_now();
        }
    }

    /// Begins a command on an empty screen.
    pub fn begin(&self, command: &str) {
        // On one that is empty nothing would tell when it was cleared, and what is
        // typed meanwhile would go with it.
        if self.screen().trim() != "$" {
            self.type_line("clear");
            self.wait("an empty screen", |screen| screen.trim() == "$");
        }
        self.type_line(command);
    }

    /// Waits for the prompt behind a command.
    pub fn end(&self) -> String {
        let ended =
            |screen: &str| screen.lines().count() > 1 && screen.trim_end().lines().last() == Some("$");
        let screen = self.wait("the prompt", ended);
        screen.trim_end().strip_suffix('$').unwrap_or(&screen).to_owned()
    }

    /// A command with all that it says, from an empty screen.
    pub fn run(&self, command: &str) -> String {
        self.begin(command);
        self.end()
    }

    /// The exit code of the last command.
    pub fn exit_code(&self) -> String {
        self.type_line("echo \"exit code $?\"");
        let said = |screen: &str| screen.trim_end().lines().rev().nth(1).map(str::to_owned);
        let screen = self.wait("the exit code", |screen| {
            screen.trim_end().ends_with('$')
                && said(screen).is_some_and(|line| line.starts_with("exit code "))
        });
        said(&screen).unwrap_or_default()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // What runs in the foreground takes the end of its terminal for a hang-up.
        for line in self.tmux_quietly(&["list-panes", "-a", "-F", "#{pane_pid}"]).lines() {
            let children = format!("/proc/{line}/task/{line}/children");
            for child in std::fs::read_to_string(children).unwrap_or_default().split_whitespace() {
                let child = child.parse().ok().and_then(rustix::process::Pid::from_raw);
                // It may have ended by itself.
                let _ =
                    child.map(|child| rustix::process::kill_process(child, rustix::process::Signal::KILL));
            }
        }
        self.tmux_quietly(&["kill-server"]);
    }
}

impl Terminal {
    /// Also while a test fails.
    fn tmux_quietly(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("tmux");
        let output = command.arg("-S").arg(self.socket()).env_remove("TMUX").args(arguments).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
    }
}

/// A text without what varies: `names` are paths and what stands for them.
pub fn normal(text: &str, names: &[(&Path, &str)]) -> String {
    let mut text = text.to_owned();
    for (path, name) in names {
        text = text.replace(&path.display().to_string(), name);
    }
    let lines: Vec<String> = text.lines().map(line).collect();
    align(&lines)
}

/// Numbers that follow a word, and times at the beginning.
fn line(text: &str) -> String {
    let mut text = text.to_owned();
    for (before, number) in [
        ("\"since\":", "1790000000.5"),
        ("\"series\":", "103"),
        ("\"heap\":", "1394688"),
        ("127.0.0.1:", "9464"),
        ("tried again in ", "1"),
    ] {
        if let Some(at) = text.find(before).map(|at| at + before.len()) {
            let digits = text[at..].find(|character: char| !character.is_ascii_digit() && character != '.');
            let end = digits.map_or(text.len(), |digits| at + digits);
            if end > at {
                text.replace_range(at..end, number);
            }
        }
    }
    // A time of the log, behind what the terminal echoes of ctrl-c.
    if let Some(at) = text.find("Z  ").filter(|at| *at >= 26 && text[..*at].contains('T')) {
        text.replace_range(at - 26..at, "2026-11-23T08:00:00.000000");
    }
    text
}

/// A column's cell as it is everywhere.
fn cell(header: &str, cell: &str) -> String {
    let fixed = match header {
        "SINCE" | "LAST READ" | "AT" => "5s ago",
        // A version and a digest.
        "FROM" | "TO" => match cell.split_once(' ') {
            Some((version, _)) => return format!("{version} 0123456789ab"),
            None => return cell.to_owned(),
        },
        "SERIES" if cell.parse().is_ok_and(|series: u32| series > 9) => "103",
        "HEAP" => "1.33 MiB",
        "DEVICE" => "/dev/vda1",
        "FS TYPE" => "ext4",
        "SIZE" => "252 GiB",
        "USED" => "30.4 GiB",
        // Where it is cut depends on the widths of the others.
        "NOTE" | "LAST ERROR" if cell.ends_with('…') => {
            return format!("{}…", cell.chars().take(16).collect::<String>().trim_end());
        }
        _ => return cell.to_owned(),
    };
    if cell == "-" { cell.to_owned() } else { fixed.to_owned() }
}

/// Tables are laid out anew: their columns are as wide as what varies.
fn align(lines: &[String]) -> String {
    const RIGHT: [&str; 5] = ["SERIES", "HEAP", "COLLECTIONS", "SIZE", "USED"];
    let cells = |line: &str| -> Vec<String> {
        line.trim().split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
    };
    let is_header =
        |line: &str| line.contains("  ") && !line.contains(|character: char| character.is_lowercase());
    let mut out = String::new();
    let mut at = 0;
    while at < lines.len() {
        let header = cells(&lines[at]);
        if !is_header(&lines[at]) || header.len() < 2 {
            out.push_str(&lines[at]);
            out.push('\n');
            at += 1;
            continue;
        }
        let mut rows = vec![header.clone()];
        at += 1;
        while at < lines.len() && cells(&lines[at]).len() == header.len() {
            let row = cells(&lines[at]);
            rows.push(header.iter().zip(&row).map(|(header, one)| cell(header, one)).collect());
            at += 1;
        }
        let width =
            |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
        for row in &rows {
            let padded =
                row.iter().enumerate().map(|(column, cell)| match RIGHT.contains(&header[column].as_str()) {
                    true => format!("{cell:>0$}", width(column)),
                    false => format!("{cell:<0$}", width(column)),
                });
            out.push_str(padded.collect::<Vec<_>>().join("  ").trim_end());
            out.push('\n');
        }
    }
    out
}
