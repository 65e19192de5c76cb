//! Docker's stream of events, line by line. Read here and not by bollard, which
//! keeps a line however long it grows and ends the stream at one that is bad.

use super::client::{Client, EVENTS, http_outcome};
use super::transport::{self, SendError};
use crate::provider::bounds::Loss;
use crate::provider::outcome::Outcome;
use crate::provider::source::Change;
use crate::provider::{Ended, Failed, is_id};
use gantry_plugin_api::serde::Deserialize;
use gantry_plugin_api::serde_json;
use hyper::body::{Body, Bytes, Incoming};
use hyper::{Request, StatusCode};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An event holds the container's labels; of one with longer ones only the event is lost.
const MAX_LINE: usize = 4 << 20;

/// Docker answers a little before it listens. What it then has heard already it
/// sends again, as it remembers the last 256 events.
const OVERLAP: Duration = Duration::from_secs(1);

/// Of containers: all after which its description is another. Of networks: to
/// which one it is attached. Podman filters by its own names: `died`, `remove`.
/// Percent-encoded JSON.
const FILTERS: &str = "%7B%22type%22%3A%5B%22container%22%2C%22network%22%5D%2C%22event%22%3A%5B%22create%22%2C\
    %22start%22%2C%22restart%22%2C%22die%22%2C%22died%22%2C%22destroy%22%2C%22remove%22%2C%22rename%22%2C\
    %22update%22%2C%22connect%22%2C%22disconnect%22%5D%7D";

/// An open stream.
#[derive(Debug)]
pub struct Events {
    body: Incoming,
    lines: Lines,
}

/// Opens the stream. What happens from here on is in it.
///
/// # Errors
/// Where Docker does not answer within the deadline, or refuses.
pub async fn open(client: &Client) -> Result<Events, Ended> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(OVERLAP);
    let path = format!(
        "{}/events?since={}.{:09}&filters={FILTERS}",
        client.version(),
        since.as_secs(),
        since.subsec_nanos()
    );
    let ended = |outcome, detail| {
        client.link().count(EVENTS, outcome);
        Failed { outcome, detail }.into_ended(EVENTS)
    };
    let request = Request::get(path).body(String::new());
    let request = request.map_err(|error| ended(Outcome::Malformed, error.to_string()))?;
    let answer = transport::send(client.door(), request, u64::MAX);
    let answer = match tokio::time::timeout(client.deadline(), answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(SendError::Http(error))) => return Err(ended(http_outcome(&error), error.to_string())),
        Ok(Err(error)) => return Err(ended(Outcome::Failed, error.to_string())),
        Err(_) => return Err(ended(Outcome::Timeout, String::new())),
    };
    if answer.status() != StatusCode::OK {
        return Err(ended(Outcome::Refused, format!("status {}", answer.status().as_u16())));
    }
    client.link().count(EVENTS, Outcome::Ok);
    Ok(Events { body: answer.into_body(), lines: Lines::default() })
}

impl Events {
    /// The next change. May be dropped while it waits; nothing is lost then.
    ///
    /// # Errors
    /// Where the connection ends.
    pub async fn next(&mut self, client: &Client) -> Result<Change, Ended> {
        loop {
            while let Some(line) = self.lines.next() {
                match line.as_deref().map(change) {
                    Some(Some(change)) => {
                        if let Some(change) = change {
                            return Ok(change);
                        }
                    }
                    None | Some(None) => client.link().losses().add(Loss::Event, 1),
                }
            }
            match poll_fn(|context| Pin::new(&mut self.body).poll_frame(context)).await {
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.lines.push(&bytes);
                    }
                }
                Some(Err(error)) => {
                    let failed = Failed { outcome: http_outcome(&error), detail: error.to_string() };
                    return Err(failed.into_ended(EVENTS));
                }
                None => {
                    let detail = "the stream ended".to_owned();
                    return Err(Failed { outcome: Outcome::Failed, detail }.into_ended(EVENTS));
                }
            }
        }
    }
}

/// What is wanted of an event; the rest is passed over.
#[derive(Deserialize)]
#[serde(crate = "gantry_plugin_api::serde")]
struct Event {
    #[serde(rename = "Type", default)]
    kind: String,
    #[serde(rename = "Action", default)]
    action: String,
    #[serde(rename = "Actor")]
    actor: Actor,
}

#[derive(Deserialize)]
#[serde(crate = "gantry_plugin_api::serde")]
struct Actor {
    #[serde(rename = "ID", default)]
    id: String,
    #[serde(rename = "Attributes", default)]
    attributes: Attributes,
}

#[derive(Deserialize, Default)]
#[serde(crate = "gantry_plugin_api::serde")]
struct Attributes {
    /// Of an event of a network.
    #[serde(default)]
    container: String,
}

/// What a line asks for, if anything; `None` where it makes no sense.
fn change(line: &[u8]) -> Option<Option<Change>> {
    if line.trim_ascii().is_empty() {
        return Some(None);
    }
    let event: Event = serde_json::from_slice(line).ok()?;
    let of_container = event.kind == "container";
    // Of a network's own events there is no container.
    let id = if of_container { event.actor.id } else { event.actor.attributes.container };
    if id.is_empty() && !of_container {
        return Some(None);
    }
    if !is_id(&id) {
        return None;
    }
    Some(Some(match (of_container, event.action.as_str()) {
        (true, "destroy" | "remove") => Change::Removed(id),
        _ => Change::Look(id),
    }))
}

/// Bytes as they come, cut into lines.
#[derive(Debug, Default)]
struct Lines {
    whole: VecDeque<Option<Vec<u8>>>,
    part: Vec<u8>,
    /// The line that is coming is too long.
    over: bool,
}

impl Lines {
    fn push(&mut self, bytes: &Bytes) {
        let mut parts = bytes.split(|byte| *byte == b'\n');
        // There is always a last one, which has no end yet.
        let rest = parts.next_back().unwrap_or_default();
        for part in parts {
            self.extend(part);
            let line = std::mem::take(&mut self.part);
            self.whole.push_back((!std::mem::take(&mut self.over)).then_some(line));
        }
        self.extend(rest);
    }

    fn extend(&mut self, part: &[u8]) {
        if self.over || self.part.len() + part.len() > MAX_LINE {
            self.over = true;
            self.part = Vec::new();
        } else {
            self.part.extend_from_slice(part);
        }
    }

    /// A line, or `None` for one that was too long.
    fn next(&mut self) -> Option<Option<Vec<u8>>> {
        self.whole.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn event(kind: &str, action: &str, id: &str, container: &str) -> Option<Option<Change>> {
        let line = format!(
            r#"{{"Type":"{kind}","Action":"{action}","Actor":{{"ID":"{id}","Attributes":{{"container":"{container}","x":"y"}}}},"time":1,"scope":"local"}}"#
        );
        change(line.as_bytes())
    }

    #[test]
    fn events_say_what_to_look_at() {
        let look = || Some(Some(Change::Look(ID.to_owned())));
        assert_eq!(event("container", "start", ID, ""), look());
        assert_eq!(event("container", "of a newer Docker", ID, ""), look());
        for end in ["destroy", "remove"] {
            assert_eq!(event("container", end, ID, ""), Some(Some(Change::Removed(ID.to_owned()))));
        }
        assert_eq!(event("network", "connect", "n", ID), look());
        assert_eq!(event("network", "destroy", "n", ""), Some(None));
        for bad in ["", "../../x", "ABC", &ID[1..], &format!("{ID}0")] {
            assert_eq!(event("container", "start", bad, ""), None, "{bad:?}");
        }
        for bad in ["x", "{}", "[]", r#"{"Actor":1}"#, "\u{0}"] {
            assert_eq!(change(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(change(b"\xff\xfe"), None);
        assert_eq!(change(b"\r"), Some(None));
    }

    #[test]
    fn lines_come_in_any_pieces() {
        let text = b"one\ntwo\n\nthree\nrest";
        for size in 1..=text.len() {
            let mut lines = Lines::default();
            text.chunks(size).for_each(|piece| lines.push(&Bytes::copy_from_slice(piece)));
            let all: Vec<_> = std::iter::from_fn(|| lines.next()).map(Option::unwrap).collect();
            assert_eq!(all, [&b"one"[..], b"two", b"", b"three"], "{size}");
        }
    }

    #[test]
    fn a_line_without_end_is_not_kept() {
        let mut lines = Lines::default();
        let piece = Bytes::from(vec![b'x'; 64 << 10]);
        for _ in 0..100 {
            lines.push(&piece);
            assert!(lines.part.capacity() <= 2 * MAX_LINE);
        }
        lines.push(&Bytes::from_static(b"\nnext\n"));
        assert_eq!(lines.next(), Some(None));
        assert_eq!(lines.next(), Some(Some(b"next".to_vec())));
        assert_eq!(lines.next(), None);
    }
}
