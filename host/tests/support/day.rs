//! A bad day: the hostile fixture beside `node`, while somebody scrapes.

use super::agent::{Agent, sample};
use super::control::ask;
use super::http::{Answer, get};
use super::watch::{Rule, Watch};
use super::{copy_to, library, private_dir};
use std::path::PathBuf;

pub struct Day {
    // Ends before the agent does.
    watch: Option<Watch>,
    pub agent: Agent,
    pub file: PathBuf,
    go_on: PathBuf,
}

/// The keys of a fault in a call, with more of the fixture's keys.
pub fn fault(fault: &str, at: &str, more: &str) -> String {
    format!("fault = \"{fault}\"\nat = \"{at}\"\n{more}")
}

/// The fault in a call is not there in the first ones, so that there is
/// something to lose, or it is there from the beginning.
pub fn after(at: &str) -> &'static str {
    match at {
        "collect" | "health" | "snapshot" => "after = 4\n",
        _ => "",
    }
}

impl Day {
    /// With a deadline, and a table for the fixture.
    pub fn new(deadline: &str, config: &str) -> Self {
        Self::watched(deadline, config, "/metrics", Rule::NeverBack)
    }

    pub fn watched(deadline: &str, config: &str, path: &'static str, rule: Rule) -> Self {
        let dir = private_dir();
        let file = copy_to(dir.path(), &library("hostile"));
        Self::of_file(dir, file, "", deadline, config, path, rule)
    }

    /// Of another library, with keys of the host.
    pub fn of_file(
        dir: tempfile::TempDir,
        file: PathBuf,
        host: &str,
        deadline: &str,
        config: &str,
        path: &'static str,
        rule: Rule,
    ) -> Self {
        let go_on = dir.path().join("go-on");
        let sections = sections(&file, &go_on, deadline, config);
        let agent = Agent::start_in(dir, host, &sections);
        let watch = Some(Watch::start(agent.address, path, rule));
        Self { watch, agent, file, go_on }
    }

    /// Another deadline or table in the file; nothing is told to the agent.
    pub fn write(&self, deadline: &str, config: &str) {
        self.agent.rewrite(&sections(&self.file, &self.go_on, deadline, config));
    }

    pub fn reload(&self) -> Answer {
        self.agent.command("reload")
    }

    /// From now on the fault is over.
    pub fn go_on(&self) {
        std::fs::write(&self.go_on, b"").expect("a temporary file");
    }

    /// Brings the plugin to a call that it does not come to by itself. What is
    /// answered depends on the fault.
    pub fn provoke(&self, at: &str, deadline: &str, config: &str) -> Option<Answer> {
        match at {
            "view" => Some(self.agent.view("hostile", "state")),
            "reconfigure" => {
                self.write(deadline, &format!("{config}count = 7\n"));
                Some(self.reload())
            }
            "stop" | "drop" => Some(self.agent.command("plugins/hostile/restart")),
            _ => None,
        }
    }

    /// The fixture's counter of collections, which it keeps.
    pub fn collections(&self) -> f64 {
        sample(&self.agent.scrape(), "hostile_collections_total").unwrap_or(0.0)
    }

    /// Waits until it runs and collects well, and its counter has gone on.
    pub fn recovers_from(&mut self, collections: f64) {
        self.agent.wait_for_state("hostile", "running");
        self.agent.wait_until("its counter goes on", |agent| {
            sample(&agent.scrape(), "hostile_collections_total").is_some_and(|now| now > collections)
        });
    }

    /// Rows of the fixture's view, of which there are as many as its `count` says.
    pub fn rows(&self) -> usize {
        let answer = get(self.agent.address, "/plugins/hostile/state");
        let view: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        view["rows"].as_array().map_or(0, Vec::len)
    }

    /// No more scrapes; those that there were must have been good.
    pub fn rest(&mut self) {
        self.watch = None;
    }

    /// SIGTERM: the agent ends in time and well, and leaves nothing behind.
    pub fn ends_well(&mut self) {
        self.rest();
        let children = super::process::children(self.agent.pid());
        let socket = self.agent.socket();
        assert!(socket.exists(), "it has a socket");
        let status = self.agent.terminate();
        assert!(status.success(), "{status}");
        assert!(!socket.exists(), "the socket was left behind");
        assert!(ask(&socket, "GET", "plugins").is_err());
        for child in children {
            self.agent.wait_until("its children end", |_| !super::process::lives(child));
        }
    }
}

fn sections(file: &std::path::Path, go_on: &std::path::Path, deadline: &str, config: &str) -> String {
    // A test may have a fault without an end.
    let until = if config.contains("until = ") { String::new() } else { format!("until = {go_on:?}\n") };
    format!(
        "[plugins.node]\nenabled = true\ndeadline = \"20s\"\n[plugins.hostile]\nenabled = true\npath = {file:?}\n\
         isolation = \"none\"\ndeadline = \"{deadline}\"\n[plugins.hostile.config]\n{until}{config}\n"
    )
}

/// Tries all cases at once: most of their time they wait.
pub fn side_by_side<T: Sync>(cases: &[T], one: impl Fn(&T) + Sync) {
    std::thread::scope(|scope| {
        cases.iter().for_each(|case| drop(scope.spawn(|| one(case))));
    });
}
