//! Answers of either door.

use crate::supervisor::Rows;
use crate::tables;
use bytes::Bytes;
use warp::http::header::CONTENT_TYPE;
use warp::http::{HeaderValue, Response, StatusCode};

pub type Answer = Response<Bytes>;

pub fn plain(status: StatusCode, text: String) -> Answer {
    let mut response = Response::new(Bytes::from(text));
    *response.status_mut() = status;
    typed(response, "text/plain; charset=utf-8")
}

pub fn json(status: StatusCode, value: &serde_json::Value) -> Answer {
    typed(plain(status, format!("{value}\n")), "application/json")
}

/// A view's rows: up to 8 MiB of text, written away from the network's thread.
pub async fn rows(rows: Rows) -> Answer {
    let written = tokio::task::spawn_blocking(move || json(StatusCode::OK, &tables::of_view(rows)));
    written.await.unwrap_or_else(|fault| {
        plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{fault}; that is a fault of the host\n"))
    })
}

pub fn html(page: String) -> Answer {
    typed(plain(StatusCode::OK, page), "text/html; charset=utf-8")
}

pub fn typed(mut response: Answer, kind: &'static str) -> Answer {
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
