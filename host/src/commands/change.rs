//! `gantry reload`, `enable`, `disable`, `upgrade`, `rollback`, `restart` and
//! `log-level`.

use super::look::word;
use super::{Failure, Outcome, print, runtime, say};
use crate::cli::{How, Places};
use crate::config::Level;
use crate::control::Client;
use crate::logging::printable;
use crate::reload::Report;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;
use warp::http::Method;

pub fn reload(places: &Places) -> Outcome {
    change(places, "reload", "the configuration is in force; nothing differed")
}

pub fn switch(places: &Places, plugin: &str, verb: &str, how: &How) -> Outcome {
    let query = if how.until_restart { "?until_restart" } else { "" };
    change(places, &format!("plugins/{}/{verb}{query}", word(plugin, "plugin")?), "nothing differed")
}

pub fn upgrade(places: &Places, plugin: &str, file: &Path, how: &How) -> Outcome {
    let plugin = word(plugin, "plugin")?;
    // The agent has another working directory.
    let file = std::path::absolute(file)
        .map_err(|error| Failure { message: format!("{}: {error}", file.display()), code: super::USAGE })?;
    let file = in_a_query(file.as_os_str().as_bytes());
    let more = if how.until_restart { "&until_restart" } else { "" };
    change(places, &format!("plugins/{plugin}/upgrade?file={file}{more}"), "nothing differed")
}

/// A path as it may stand in a query; the agent reads it as bytes again.
fn in_a_query(bytes: &[u8]) -> String {
    percent_encoding::percent_encode(bytes, percent_encoding::NON_ALPHANUMERIC).to_string()
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

/// Most changes take less; one that hangs in a plugin takes 20 s and holds up those
/// behind it.
const SAY_AFTER: Duration = Duration::from_secs(3);

fn change(places: &Places, what: &str, nothing: &str) -> Outcome {
    let client = Client::new(&places.socket(), places.config.as_deref());
    let report: Report = runtime()?.block_on(async {
        let mut asked = std::pin::pin!(client.ask(Method::POST, what));
        tokio::select! {
            report = &mut asked => return report,
            () = tokio::time::sleep(SAY_AFTER) => {}
        }
        say("gantry: note: no answer yet: the agent makes one change after the other, and this or one before it takes long");
        asked.await
    })?;
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
