//! `gantry plugins`, `containers`, `show` and `history`: tables of the running agent.

use super::{Failure, Outcome, runtime, say};
use crate::cli::Places;
use crate::control::Client;
use crate::terminal::{Ended, Style, TRUNCATED, Table, TableArgs, show as shown, watch};
use std::io::{ErrorKind, IsTerminal, Write};
use warp::http::Method;

pub fn plugins(places: &Places, args: &TableArgs) -> Outcome {
    look(places, "plugins", args)
}

pub fn containers(places: &Places, args: &TableArgs) -> Outcome {
    look(places, "containers", args)
}

pub fn history(places: &Places, plugin: &str, args: &TableArgs) -> Outcome {
    look(places, &format!("plugins/{}/history", word(plugin, "plugin")?), args)
}

pub fn show(places: &Places, plugin: &str, view: Option<&str>, args: &TableArgs) -> Outcome {
    let plugin = word(plugin, "plugin")?;
    match view {
        Some(view) => look(places, &format!("plugins/{plugin}/views/{}", word(view, "view")?), args),
        None => look(places, &format!("plugins/{plugin}/views"), args),
    }
}

/// A name as it may stand in a request.
pub fn word<'a>(name: &'a str, what: &str) -> Result<&'a str, Failure> {
    // No agent has a plugin with a dot in its name.
    let marks: &[u8] = if what == "plugin" { b"-_" } else { b"-_." };
    let good = |byte: u8| byte.is_ascii_alphanumeric() || marks.contains(&byte);
    if !name.is_empty() && name.bytes().all(good) {
        return Ok(name);
    }
    Err(Failure { message: format!("{name:?} is no {what}'s name"), code: super::USAGE })
}

fn look(places: &Places, what: &str, args: &TableArgs) -> Outcome {
    let client = Client::new(&places.socket(), places.config.as_deref());
    runtime()?.block_on(async {
        let text = || async {
            let table: Table = client.ask(Method::GET, what).await?;
            if args.json && table.truncated {
                say(TRUNCATED);
            }
            // The terminal may be another size by now.
            let usage = |message| Failure { message, code: super::USAGE };
            shown(table, args, &Style::for_stdout()).map_err(usage)
        };
        let mut out = std::io::stdout();
        match args.watch {
            None => match out.write_all(text().await?.as_bytes()) {
                // A reader that went away (`| head -1`) has had enough.
                Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(unwritten(&error)),
                _ => Ok(()),
            },
            Some(every) => {
                let terminal = out.is_terminal();
                watch(every, &mut out, terminal, text).await.map_err(|ended| match ended {
                    Ended::Make(failure) => failure,
                    Ended::Output(error) => unwritten(&error),
                })
            }
        }
    })
}

fn unwritten(error: &std::io::Error) -> Failure {
    Failure::no(format!("standard output: {error}"))
}
