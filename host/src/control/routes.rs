//! What is answered over the control socket.

use super::{CONFIG, HEADER, PROTOCOL};
use crate::agent::Agent;
use crate::config::{LEVELS, Level};
use crate::http::Answer;
use crate::http::answer::json;
use crate::metrics::own::VERSION;
use crate::reload::{Refused, Report, reload, restart, rollback, switch, upgrade};
use crate::supervisor::Unit;
use crate::tables;
use serde_json::{Value, json as value};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::{HeaderValue, Method, StatusCode};

/// All requests, for those who may.
pub fn all(agent: Arc<Agent>) -> BoxedFilter<(Answer,)> {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::method()
        .and(warp::path::full())
        .and(query)
        .and(warp::header::optional::<String>(CONFIG))
        .then(move |method: Method, path: warp::path::FullPath, query: String, config: Option<String>| {
            let agent = agent.clone();
            async move {
                let other = config.and_then(|config| other_config(&agent, &config));
                signed(match other {
                    Some(why) => error(StatusCode::CONFLICT, [why]),
                    None => answer(&agent, &method, path.as_str(), &query).await,
                })
            }
        })
        .boxed()
}

/// The one answer for those who may not.
pub fn refused(why: String) -> BoxedFilter<(Answer,)> {
    warp::any().map(move || signed(error(StatusCode::FORBIDDEN, [why.clone()]))).boxed()
}

/// Why a request is not for this agent: it is about another configuration.
fn other_config(agent: &Agent, asked: &str) -> Option<String> {
    let bytes: Vec<u8> = percent_encoding::percent_decode_str(asked).collect();
    let asked = PathBuf::from(OsString::from_vec(bytes));
    let real = |path: &PathBuf| path.canonicalize().or_else(|_| std::path::absolute(path));
    let same = real(&asked).ok().zip(real(&agent.file).ok()).is_some_and(|(one, two)| one == two);
    (!same).then(|| {
        format!(
            "this agent runs with {}, not with {}; name the socket of the other with --socket, or its state \
             directory with --state-dir",
            agent.file.display(),
            asked.display()
        )
    })
}

fn signed(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(HEADER, HeaderValue::from_static(VERSION));
    answer
}

fn error(status: StatusCode, why: impl Into<Vec<String>>) -> Answer {
    json(status, &value!({"error": why.into()}))
}

fn good(table: &Value) -> Answer {
    json(StatusCode::OK, table)
}

/// A change, as a task of its own: begun, it is carried out to its end, also
/// when whoever asked does not wait for it.
async fn change<F>(agent: &Arc<Agent>, change: impl FnOnce(Arc<Agent>) -> F) -> Answer
where
    F: Future<Output = Result<Report, Refused>> + Send + 'static,
{
    match tokio::spawn(change(agent.clone())).await {
        Ok(done) => outcome(done),
        Err(fault) => {
            error(StatusCode::INTERNAL_SERVER_ERROR, [format!("{fault}; that is a fault of the host")])
        }
    }
}

fn outcome(outcome: Result<Report, Refused>) -> Answer {
    match outcome {
        Ok(report) => json(StatusCode::OK, &value!(report)),
        Err(why) => error(StatusCode::CONFLICT, why),
    }
}

/// The first question lets the service look at the whole machine.
async fn containers(agent: &Arc<Agent>) -> Answer {
    let identity = agent.fleet.parts().services.identity.clone();
    match tokio::task::spawn_blocking(move || tables::containers(&identity)).await {
        Ok(table) => good(&table),
        Err(why) => error(StatusCode::INTERNAL_SERVER_ERROR, [why.to_string()]),
    }
}

async fn answer(agent: &Arc<Agent>, method: &Method, path: &str, query: &str) -> Answer {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let [PROTOCOL, wanted @ ..] = &parts[..] else {
        return error(StatusCode::NOT_FOUND, [other_protocol(path, parts.first().unwrap_or(&""))]);
    };
    match (method, wanted) {
        (&Method::GET, ["plugins"]) => good(&tables::plugins(&agent.fleet)),
        (&Method::GET, ["containers"]) => containers(agent).await,
        (&Method::GET, ["plugins", name, "views"]) => match agent.fleet.unit(name) {
            Some(unit) => good(&tables::views(&unit)),
            None => no_plugin(agent, name),
        },
        (&Method::GET, ["plugins", name, "views", view]) => match agent.fleet.unit(name) {
            Some(unit) => show(&unit, view).await,
            None => no_plugin(agent, name),
        },
        (&Method::POST, ["reload"]) => change(agent, |agent| async move { reload(&agent).await }).await,
        (&Method::POST, ["plugins", name, "restart"]) => {
            let name = (*name).to_owned();
            change(agent, |agent| async move { restart(&agent, &name).await }).await
        }
        (&Method::POST, ["plugins", name, word @ ("enable" | "disable" | "rollback")]) => {
            // A word that is misspelt must not edit the file.
            let until_restart = match query {
                "" => false,
                "until_restart" | "until_restart=" => true,
                _ => return error(StatusCode::BAD_REQUEST, ["only ?until_restart is known here".to_owned()]),
            };
            let name = (*name).to_owned();
            if *word == "rollback" {
                return change(agent, |agent| async move { rollback(&agent, &name, until_restart).await })
                    .await;
            }
            let on = *word == "enable";
            change(agent, |agent| async move { switch(&agent, &name, on, until_restart).await }).await
        }
        (&Method::POST, ["plugins", name, "upgrade"]) => {
            let Some((file, until_restart)) = file_of(query) else {
                let known = "upgrade takes ?file=PATH, from the root, and &until_restart";
                return error(StatusCode::BAD_REQUEST, [known.to_owned()]);
            };
            let name = (*name).to_owned();
            change(agent, |agent| async move { upgrade(&agent, &name, file, until_restart).await }).await
        }
        (&Method::GET, ["plugins", name, "history"]) => history(agent, name).await,
        (&Method::POST, ["log-level"]) => log_level(agent, query),
        _ => error(
            StatusCode::NOT_FOUND,
            [format!("gantry {VERSION} knows no {method} {path}; use the gantry of this agent's version")],
        ),
    }
}

/// `file=PATH`, and whether the file of the configuration stays as it is.
fn file_of(query: &str) -> Option<(PathBuf, bool)> {
    let (mut file, mut until_restart) = (None, false);
    for pair in query.split('&') {
        match pair.split_once('=').unwrap_or((pair, "")) {
            ("file", path) => {
                let bytes = percent_encoding::percent_decode_str(path).collect::<Vec<u8>>();
                file = Some(PathBuf::from(OsString::from_vec(bytes)));
            }
            ("until_restart", "") => until_restart = true,
            // A word that is misspelt must not edit the file.
            _ => return None,
        }
    }
    file.filter(|file| file.is_absolute()).map(|file| (file, until_restart))
}

/// Also of a plugin that is not configured any more.
async fn history(agent: &Arc<Agent>, name: &str) -> Answer {
    let (parts, plugin) = (agent.fleet.parts().clone(), name.to_owned());
    // From the disk, where nothing happened to it yet.
    let entries = tokio::task::spawn_blocking(move || {
        let known = parts.records.known().contains(&plugin);
        known.then(|| parts.records.history(&plugin))
    });
    match entries.await {
        Ok(None) if agent.fleet.unit(name).is_none() => no_plugin(agent, name),
        Ok(entries) => good(&tables::history(&entries.unwrap_or_default())),
        Err(why) => error(StatusCode::INTERNAL_SERVER_ERROR, [why.to_string()]),
    }
}

fn no_plugin(agent: &Agent, name: &str) -> Answer {
    error(StatusCode::NOT_FOUND, [agent.no_plugin(name)])
}

async fn show(unit: &Arc<Unit>, view: &str) -> Answer {
    match unit.view(view).await {
        Ok(rows) => crate::http::answer::rows(rows).await,
        Err(crate::supervisor::ViewError::Unknown) => {
            let status = unit.status();
            let names: Vec<&str> = status.views().iter().map(|view| view.name.as_str()).collect();
            let there_are = crate::config::there_are(view, names.into_iter());
            error(StatusCode::NOT_FOUND, [format!("{} has no view {view:?}; {there_are}", unit.name())])
        }
        Err(why) => error(crate::http::view_status(&why), [why.to_string()]),
    }
}

/// A path that does not begin with the protocol that is spoken here.
fn other_protocol(path: &str, first: &str) -> String {
    let number = first.strip_prefix('v').filter(|number| !number.is_empty());
    if number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit())) {
        return format!(
            "this agent is gantry {VERSION} and speaks control protocol {PROTOCOL}, not {first}; use the gantry of its version"
        );
    }
    format!(
        "there is no {path} on the control socket; paths begin with /{PROTOCOL}/ here, and metrics are served over TCP, \
         at host.listen"
    )
}

fn log_level(agent: &Agent, query: &str) -> Answer {
    let (mut plugin, mut level) = (None, None);
    let wrong = |why: String| error(StatusCode::BAD_REQUEST, [why]);
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("plugin", name)) => plugin = Some(name),
            Some(("level", name)) => match Level::parse(name) {
                Ok(known) => level = Some(known),
                Err(why) => return wrong(why),
            },
            _ => return wrong("log-level takes ?level=LEVEL, and &plugin=NAME for one alone".to_owned()),
        }
    }
    let Some(level) = level else {
        return wrong(format!("log-level lacks ?level=LEVEL; the levels are {LEVELS}"));
    };
    let mut levels = agent.fleet.parts().log_levels();
    let mut report = Report::default();
    match plugin {
        Some(name) if agent.fleet.unit(name).is_none() => {
            return no_plugin(agent, name);
        }
        Some(name) => {
            levels.plugins.insert(name.to_owned(), level);
            report.good(format!(
                "{name}: logs from {} on, until the agent ends or host.log changes",
                level.as_str()
            ));
        }
        None => {
            levels.all = level;
            report.good(format!(
                "all: logs from {} on, until the agent ends or host.log changes",
                level.as_str()
            ));
        }
    }
    tracing::info!("log-level: {}", report.lines[0].text);
    agent.set_log_levels(&levels);
    outcome(Ok(report))
}
