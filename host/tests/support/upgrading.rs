//! An agent whose plugin is upgraded.

use super::agent::{Agent, sample};
use super::commands::hostile;
use super::versions::build;
use super::{copy_to, library, private_dir};
use std::path::{Path, PathBuf};

pub const NODE: &str = "[plugins.node]\nenabled = true\n";
pub const COLLECTIONS: &str = "hostile_collections_total";

pub struct Site {
    pub agent: Agent,
    pub old: PathBuf,
    pub new: PathBuf,
    /// While it is there, nothing goes wrong.
    pub well: PathBuf,
}

/// An agent with 0.1.0, and 0.2.0 beside it, which misbehaves as the table says.
pub fn site(host: &str, table: &str) -> Site {
    let dir = private_dir();
    let old = copy_to(dir.path(), &library("hostile"));
    let new = build(dir.path(), "0.2.0");
    let well = dir.path().join("well");
    let table = format!("in_version = \"0.2.0\"\nuntil = {well:?}\n{table}");
    let agent = Agent::start_in(dir, host, &format!("{NODE}{}", hostile(&old, &table)));
    Site { agent, old, new, well }
}

impl Site {
    pub fn text(&self) -> String {
        std::fs::read_to_string(self.agent.config()).expect("own file")
    }
    pub fn version(&self) -> String {
        self.agent.row("hostile")["version"].as_str().unwrap_or_default().to_owned()
    }
    pub fn upgrade(&self, file: &Path) -> String {
        self.agent.good(&["upgrade", "hostile", file.to_str().expect("UTF-8")])
    }
    pub fn refused(&self, file: &Path) -> String {
        self.agent.bad(1, &["upgrade", "hostile", file.to_str().expect("UTF-8")])
    }
    pub fn count(&self) -> f64 {
        sample(&self.agent.scrape(), COLLECTIONS).expect("it is shown")
    }
    /// What happened, the newest first.
    pub fn history(&self) -> Vec<String> {
        let rows = self.agent.table(&["history", "hostile"]);
        rows.iter().map(|row| row["what"].as_str().expect("a text").to_owned()).collect()
    }
}
