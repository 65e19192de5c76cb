//! What is answered where.

use super::answer::{self, Answer, html, json, plain, typed};
use super::landing;
use crate::agent::Agent;
use crate::metrics::Selection;
use crate::supervisor::{Fleet, Unit, ViewError};
use crate::{health, tables};
use bytes::Bytes;
use gantry_exposition::Format;
use std::sync::Arc;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, TRANSFER_ENCODING, VARY,
};
use warp::http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

/// No route reads a body; a client that sends one larger than this is cut off.
const MAX_BODY: u64 = 64 * 1024;

/// All routes; views where they are served.
pub fn all(agent: Arc<Agent>, views: bool) -> BoxedFilter<(Answer,)> {
    let with = warp::any().map(move || agent.clone());
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let metrics = warp::path!("metrics")
        .and(with.clone())
        .and(warp::method())
        .and(query)
        .and(warp::header::headers_cloned())
        .then(metrics);
    let landing =
        warp::path::end().and(with.clone()).map(move |agent: Arc<Agent>| html(landing::page(&agent, views)));
    let healthy = warp::path!("-" / "healthy").and(with.clone()).then(healthy);
    let ready = warp::path!("-" / "ready").and(with.clone()).map(|agent: Arc<Agent>| ready(&agent.fleet));
    let plugins = warp::path!("plugins")
        .and(with.clone())
        .map(|agent: Arc<Agent>| json(StatusCode::OK, &tables::all_of_plugins(&agent.fleet)));
    let view = warp::path!("plugins" / String / String).and(with).then(
        move |plugin: String, view: String, agent: Arc<Agent>| async move {
            if views { self::view(&agent, &plugin, &view).await } else { hidden() }
        },
    );
    let routes = metrics.or(landing).unify().or(healthy).unify().or(ready).unify().or(plugins).unify();
    let routes = routes.or(view).unify();
    let missing =
        warp::any().map(|| plain(StatusCode::NOT_FOUND, "not found; / lists what is here\n".to_owned()));
    let read_only = warp::get().or(warp::head()).unify();
    let other = warp::any().map(|| plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned()));
    let served = read_only.and(routes.or(missing).unify()).or(other).unify();
    too_large().or(served).unify().boxed()
}

/// Answers a request whose body nobody wants.
fn too_large() -> impl Filter<Extract = (Answer,), Error = warp::Rejection> + Clone {
    warp::header::headers_cloned().and_then(|headers: HeaderMap| async move {
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        let unbounded = headers.contains_key(TRANSFER_ENCODING);
        if unbounded || length.is_some_and(|length| length > MAX_BODY) {
            return Ok(plain(StatusCode::PAYLOAD_TOO_LARGE, "no request here has a body\n".to_owned()));
        }
        Err(warp::reject())
    })
}

async fn metrics(agent: Arc<Agent>, method: Method, query: String, headers: HeaderMap) -> Answer {
    let selection = match selection(&query) {
        Ok(selection) => selection,
        Err(message) => return plain(StatusCode::BAD_REQUEST, message),
    };
    if let Some(name) = agent.scraper.unknown(&selection) {
        return plain(StatusCode::BAD_REQUEST, format!("{}\n", agent.no_plugin(name)));
    }
    let values = |name| headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    let format = Format::negotiate(values(ACCEPT));
    if method == Method::HEAD {
        // Nobody would see the samples, and a counter's first zero must be seen.
        return typed(Response::new(Bytes::new()), format.content_type());
    }
    // The sender is only gone when the agent ends.
    let _ = agent.started.subscribe().wait_for(|started| *started).await;
    let gzip = values(ACCEPT_ENCODING).any(accepts_gzip);
    match agent.scraper.scrape(selection, format, gzip).await {
        Ok(body) => {
            let mut response = typed(Response::new(body.bytes), body.format.content_type());
            let head = response.headers_mut();
            head.insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
            if body.gzip {
                head.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            }
            response
        }
        Err(error) => {
            plain(StatusCode::INTERNAL_SERVER_ERROR, format!("the exposition could not be made: {error}\n"))
        }
    }
}

/// `collect[]=NAME` and `exclude[]=NAME`, as often as wanted but not both.
fn selection(query: &str) -> Result<Selection, String> {
    let mut selection = Selection::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        // Brackets may come escaped; names of plugins need no escapes.
        match key.replace("%5B", "[").replace("%5b", "[").replace("%5D", "]").replace("%5d", "]").as_str() {
            "collect[]" => selection.collect.push(value.to_owned()),
            "exclude[]" => selection.exclude.push(value.to_owned()),
            _ => return Err("only collect[]= and exclude[]= are known here\n".to_owned()),
        }
    }
    if !selection.collect.is_empty() && !selection.exclude.is_empty() {
        return Err("collect[] and exclude[] cannot be used together\n".to_owned());
    }
    Ok(selection)
}

/// Whether `gzip` is among the codings and not excluded by `q=0` (RFC 9110, 12.5.3).
fn accepts_gzip(header: &str) -> bool {
    header.split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let refused = parts.filter_map(|part| part.strip_prefix("q=")).any(|q| q.parse() == Ok(0.0));
        named && !refused
    })
}

/// Never 503 for a plugin; what each is, is said all the same.
async fn healthy(agent: Arc<Agent>) -> Answer {
    let stalled = health::stalled(&agent).await;
    if stalled.is_empty() {
        return plain(StatusCode::OK, format!("healthy\n{}", lines(&agent.fleet)));
    }
    plain(StatusCode::SERVICE_UNAVAILABLE, format!("{}\n{}", stalled.join("\n"), lines(&agent.fleet)))
}

/// 200 when it is known of each plugin how its start went. Each line is a plugin.
fn ready(fleet: &Fleet) -> Answer {
    let ready = fleet.units().iter().all(|unit| unit.is_settled());
    plain(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, lines(fleet))
}

fn lines(fleet: &Fleet) -> String {
    let line = |unit: &Arc<Unit>| {
        let status = unit.status();
        let why = crate::logging::printable(&status.reasons.join("; "));
        let colon = if why.is_empty() { "" } else { ": " };
        format!("{}: {}{colon}{why}\n", unit.name(), status.state.as_str())
    };
    fleet.units().iter().map(line).collect()
}

async fn view(agent: &Agent, plugin: &str, view: &str) -> Answer {
    let Some(unit) = agent.fleet.unit(plugin) else {
        return plain(StatusCode::NOT_FOUND, format!("{}\n", agent.no_plugin(plugin)));
    };
    match unit.view(view).await {
        Ok(rows) => answer::rows(rows).await,
        Err(error) => {
            plain(view_status(&error), format!("{}\n", crate::logging::printable(&error.to_string())))
        }
    }
}

/// What an error about a view means over HTTP.
pub fn view_status(error: &ViewError) -> StatusCode {
    match error {
        ViewError::Unknown => StatusCode::NOT_FOUND,
        ViewError::NotRunning(_) => StatusCode::SERVICE_UNAVAILABLE,
        ViewError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        ViewError::Late(_) => StatusCode::GATEWAY_TIMEOUT,
    }
}

fn hidden() -> Answer {
    let why = "views are not served here (host.views); ask with `gantry show`, or from this machine\n";
    plain(StatusCode::FORBIDDEN, why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selections_are_read_from_the_query() {
        let both = selection("collect[]=node&collect%5B%5D=logs").expect("two names");
        assert_eq!(both.collect, ["node", "logs"]);
        assert_eq!(selection("").expect("none"), Selection::default());
        assert!(selection("collect[]=a&exclude[]=b").is_err());
        assert!(selection("colect[]=a").is_err());
    }

    #[test]
    fn gzip_is_used_only_where_it_is_wanted() {
        assert!(accepts_gzip("gzip"));
        assert!(accepts_gzip("br, GZIP;q=0.5"));
        assert!(!accepts_gzip("gzip;q=0"));
        assert!(!accepts_gzip("br, deflate"));
    }
}
