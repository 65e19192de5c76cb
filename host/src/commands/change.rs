//! `gantry reload`, `enable`, `disable`, `restart` and `log-level`.

use super::look::word;
use super::{Failure, Outcome, print, runtime, say};
use crate::cli::{How, Places};
use crate::config::Level;
use crate::control::Client;
use crate::logging::printable;
use crate::reload::Report;
use warp::http::Method;

pub fn reload(places: &Places) -> Outcome {
    change(places, "reload", "the configuration is in force; nothing differed")
}

pub fn switch(places: &Places, plugin: &str, verb: &str, how: &How) -> Outcome {
    let query = if how.until_restart { "?until_restart" } else { "" };
    change(places, &format!("plugins/{}/{verb}{query}", word(plugin, "plugin")?), "nothing differed")
}

pub fn restart(places: &Places, plugin: &str) -> Outcome {
    change(places, &format!("plugins/{}/restart", word(plugin, "plugin")?), "nothing differed")
}

pub fn log_level(places: &Places, words: &[String]) -> Outcome {
    let usage = |message| Failure { message, code: super::USAGE };
    let level_of = |text: &str| Level::parse(text).map(Level::as_str).map_err(usage);
    let request = match words {
        [level] => format!("log-level?level={}", level_of(level)?),
        [plugin, level] => format!("log-level?plugin={}&level={}", word(plugin, "plugin")?, level_of(level)?),
        _ => return Err(usage("log-level takes [PLUGIN] LEVEL".to_owned())),
    };
    change(places, &request, "nothing differed")
}

fn change(places: &Places, what: &str, nothing: &str) -> Outcome {
    let client = Client::new(&places.socket());
    let report: Report = runtime()?.block_on(client.ask(Method::POST, what))?;
    if report.lines.is_empty() {
        print(nothing);
    }
    let mut bad = 0;
    for line in &report.lines {
        let text = printable(&line.text);
        if line.bad {
            bad += 1;
            say(&text);
        } else {
            print(&text);
        }
    }
    match bad {
        0 => Ok(()),
        _ => Err(Failure::no("not all is as it was asked for; the lines above say why")),
    }
}
