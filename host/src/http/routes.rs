//! What is answered where.

use super::landing;
use crate::metrics::{Scraper, Selection};
use crate::supervisor::{Fleet, State};
use bytes::Bytes;
use gantry_exposition::Format;
use serde_json::json;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::watch;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING, VARY,
};
use warp::http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

/// What the routes need of the agent.
#[derive(Debug)]
pub struct Agent {
    pub fleet: Arc<Fleet>,
    pub scraper: Arc<Scraper>,
    /// Turns true when every enabled plugin's start is over, or was waited for
    /// long enough.
    pub started: watch::Receiver<bool>,
}

/// No route reads a body; a client that sends one larger than this is cut off.
const MAX_BODY: u64 = 64 * 1024;

type Answer = Response<Bytes>;

/// All routes.
pub fn all(agent: Arc<Agent>) -> BoxedFilter<(Answer,)> {
    let with = warp::any().map(move || agent.clone());
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let metrics = warp::path!("metrics")
        .and(with.clone())
        .and(warp::method())
        .and(query)
        .and(warp::header::headers_cloned())
        .then(metrics);
    let landing = warp::path::end().and(with.clone()).map(|agent: Arc<Agent>| html(landing::page(&agent)));
    let healthy = warp::path!("-" / "healthy").map(|| plain(StatusCode::OK, "healthy\n".to_owned()));
    let ready = warp::path!("-" / "ready").and(with.clone()).map(|agent: Arc<Agent>| ready(&agent.fleet));
    let plugins = warp::path!("plugins").and(with).map(|agent: Arc<Agent>| plugins(&agent.fleet));
    let routes = metrics.or(landing).unify().or(healthy).unify().or(ready).unify().or(plugins).unify();
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
        return plain(
            StatusCode::BAD_REQUEST,
            format!("there is no plugin {:?}\n", crate::logging::printable(name)),
        );
    }
    let values = |name| headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    let format = Format::negotiate(values(ACCEPT));
    if method == Method::HEAD {
        // Nobody would see the samples, and a counter's first zero must be seen.
        return typed(Response::new(Bytes::new()), format.content_type());
    }
    // The sender is only gone when the agent ends.
    let _ = agent.started.clone().wait_for(|started| *started).await;
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

fn ready(fleet: &Fleet) -> Answer {
    let mut text = String::new();
    let mut ready = true;
    for unit in fleet.units() {
        let status = unit.status();
        ready &= status.state.settled();
        text.push_str(&format!("{}: {}", unit.name(), status.state.as_str()));
        if !status.reasons.is_empty() {
            text.push_str(&format!(": {}", crate::logging::printable(&status.reasons.join("; "))));
        }
        text.push('\n');
    }
    plain(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text)
}

fn plugins(fleet: &Fleet) -> Answer {
    let seconds =
        |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let rows: Vec<_> = fleet
        .units()
        .iter()
        .map(|unit| {
            let status = unit.status();
            let enabled = status.state != State::Disabled;
            json!({
                "name": unit.name(),
                "version": status.manifest.as_ref().map(|manifest| &manifest.version),
                "api": status.manifest.as_ref().map(|manifest| &manifest.api),
                "state": status.state.as_str(),
                "since": seconds(status.since),
                "series": enabled.then_some(status.series),
                "heap": status.heap_bytes,
                "isolation": "none",
                "digest": status.digest,
                "source": status.source,
                "reasons": status.reasons,
                "last_error": status.last_error,
            })
        })
        .collect();
    typed(plain(StatusCode::OK, format!("{}\n", serde_json::Value::from(rows))), "application/json")
}

fn plain(status: StatusCode, text: String) -> Answer {
    let mut response = Response::new(Bytes::from(text));
    *response.status_mut() = status;
    typed(response, "text/plain; charset=utf-8")
}

fn typed(mut response: Answer, kind: &'static str) -> Answer {
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn html(page: String) -> Answer {
    typed(plain(StatusCode::OK, page), "text/html; charset=utf-8")
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
