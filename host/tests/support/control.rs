//! A small client of the control socket: one request a connection.

use super::agent::Agent;
use super::http::{Answer, PATIENCE, read};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Asks the agent at a socket.
pub fn ask(socket: &Path, method: &str, path: &str) -> std::io::Result<Answer> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = format!("{method} /v1/{path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    read(stream)
}

impl Agent {
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("state/gantry.sock")
    }

    /// A view, over the control socket.
    pub fn view(&self, plugin: &str, view: &str) -> Answer {
        ask(&self.socket(), "GET", &format!("plugins/{plugin}/views/{view}")).expect("an answer")
    }

    /// What is commanded and what came of it: `reload`, `plugins/NAME/restart`.
    pub fn command(&self, what: &str) -> Answer {
        ask(&self.socket(), "POST", what).expect("an answer")
    }
}
