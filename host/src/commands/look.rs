//! `gantry plugins`, `containers` and `show`: tables of the running agent.

use super::{Failure, Outcome, print, runtime};
use crate::cli::Places;
use crate::control::{Asked, Client};
use crate::terminal::{Style, Table, TableArgs, show as shown, watch};
use warp::http::Method;

pub fn plugins(places: &Places, args: &TableArgs) -> Outcome {
    look(places, "plugins", args)
}

pub fn containers(places: &Places, args: &TableArgs) -> Outcome {
    look(places, "containers", args)
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
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !name.is_empty() && name.bytes().all(good) {
        return Ok(name);
    }
    Err(Failure { message: format!("{name:?} is no {what}'s name"), code: super::USAGE })
}

fn look(places: &Places, what: &str, args: &TableArgs) -> Outcome {
    let client = Client::new(&places.socket());
    let style = Style::for_stdout();
    runtime()?.block_on(async {
        let text = || async {
            let table: Table = client.ask(Method::GET, what).await?;
            shown(table, args, &style).map_err(|why| Asked::No(vec![why]))
        };
        match args.watch {
            None => {
                print(text().await?.trim_end_matches('\n'));
                Ok(())
            }
            Some(every) => Ok(watch(every, text).await?),
        }
    })
}
