//! A small client of the control socket: one request a connection.

use super::agent::Agent;
use super::commands::raw;
use super::http::Answer;
use std::path::Path;

/// Asks the agent at a socket.
pub fn ask(socket: &Path, method: &str, path: &str) -> std::io::Result<Answer> {
    let request = format!("{method} /v1/{path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    raw(socket, request.as_bytes())
}

impl Agent {
    /// A view, over the control socket.
    pub fn view(&self, plugin: &str, view: &str) -> Answer {
        ask(&self.socket(), "GET", &format!("plugins/{plugin}/views/{view}")).expect("an answer")
    }

    /// What is commanded and what came of it: `reload`, `plugins/NAME/restart`.
    pub fn command(&self, what: &str) -> Answer {
        ask(&self.socket(), "POST", what).expect("an answer")
    }
}
