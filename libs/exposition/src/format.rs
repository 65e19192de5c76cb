//! The two text formats, and which of them a client wants.

/// A text format.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Format {
    /// Prometheus text 0.0.4.
    Text,
    /// OpenMetrics text 1.0.0.
    OpenMetrics,
}

/// How much of all `Accept` headers together is read, in bytes. Prometheus
/// sends some 200, browsers 130.
const MAX_ACCEPT: usize = 4096;

/// How much of a client's wish a media range expresses: the first number says
/// how exactly it names the format, the second its `q`.
#[derive(Clone, Copy, Default)]
struct Wish {
    exactness: u8,
    q: f32,
}

/// As exact as a media range without a version; wildcards are below.
const NAMED: u8 = 3;

impl Format {
    /// The format for a client that sent these `Accept` headers. Quality
    /// values count, a more exact media range before a wildcard; OpenMetrics is
    /// given only to a client that names it, or takes nothing else. Without
    /// any, or with nothing that makes sense or that we have, it is 0.0.4.
    pub fn negotiate<'a>(accept: impl Iterator<Item = &'a str>) -> Format {
        let (mut text, mut open) = (Wish::default(), Wish::default());
        let mut left = MAX_ACCEPT;
        for header in accept {
            let header = header.get(..left.min(header.len())).unwrap_or("");
            left -= header.len();
            for range in header.split(',') {
                let Some((for_text, for_open, q)) = read(range) else { continue };
                text.take(for_text, q);
                open.take(for_open, q);
            }
        }
        if open.q > text.q || (open.q == text.q && open.q > 0.0 && open.exactness >= NAMED) {
            Format::OpenMetrics
        } else {
            Format::Text
        }
    }

    /// The value of `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

impl Wish {
    fn take(&mut self, exactness: u8, q: f32) {
        if exactness > self.exactness {
            *self = Wish { exactness, q };
        } else if exactness == self.exactness && exactness > 0 {
            self.q = self.q.max(q);
        }
    }
}

/// How exactly the media range names either format (0: not at all), and its
/// quality. A range whose `q` makes no sense is passed over.
fn read(range: &str) -> Option<(u8, u8, f32)> {
    let mut parts = range.split(';');
    let name = parts.next()?.trim().to_ascii_lowercase();
    let (mut version, mut q) = (None, 1.0);
    for part in parts {
        let Some((key, value)) = part.split_once('=') else { continue };
        let value = value.trim().trim_matches('"');
        match key.trim().to_ascii_lowercase().as_str() {
            "version" => version = Some(value),
            "q" => q = value.parse().ok().filter(|q| (0.0..=1.0).contains(q))?,
            _ => {}
        }
    }
    let (text, open) = match name.as_str() {
        "*/*" => (1, 1),
        "text/*" => (2, 0),
        "application/*" => (0, 2),
        // A client of a newer text format reads this one too.
        "text/plain" => (if version == Some("0.0.4") { NAMED + 1 } else { NAMED }, 0),
        "application/openmetrics-text" => match version {
            None => (0, NAMED),
            Some("1.0.0") => (0, NAMED + 1),
            // Drafts and later versions are other formats.
            Some(_) => (0, 0),
        },
        _ => (0, 0),
    };
    Some((text, open, q))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negotiates() {
        use Format::{OpenMetrics, Text};
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
            application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
            text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let prometheus_text_first = "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.6,\
            text/plain;version=0.0.4;q=0.5,application/openmetrics-text;version=1.0.0;q=0.4,*/*;q=0.2";
        for (accept, format) in [
            (prometheus_3, OpenMetrics),
            (prometheus_text_first, Text),
            ("", Text),
            ("rubbish;;;=,,q", Text),
            ("*/*", Text),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Text),
            ("application/openmetrics-text", OpenMetrics),
            ("Application/OpenMetrics-Text; Version=\"1.0.0\"; charset=utf-8", OpenMetrics),
            ("application/openmetrics-text;version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", Text),
            ("application/openmetrics-text;version=2.0.0", Text),
            ("text/plain;version=1.0.0", Text),
            ("application/openmetrics-text;q=0.2,text/plain;q=0.9", Text),
            ("application/openmetrics-text;q=0.9,text/plain;q=0.2", OpenMetrics),
            ("application/openmetrics-text;q=0,*/*", Text),
            ("application/openmetrics-text;q=0.5,text/plain;q=0", OpenMetrics),
            ("application/openmetrics-text;q=0.5,text/plain;q=2", OpenMetrics),
            ("application/openmetrics-text;q=NaN", Text),
            ("application/openmetrics-text;q=0.2,*/*;q=0.8", Text),
            ("application/openmetrics-text;q=0", Text),
            ("text/plain;q=0.9,text/plain;q=0.1,application/openmetrics-text;q=0.5", Text),
            ("text/*;q=0.1,*/*;q=0.9,application/openmetrics-text;q=0.5", OpenMetrics),
        ] {
            assert_eq!(Format::negotiate([accept].into_iter()), format, "{accept}");
        }
        assert_eq!(Format::negotiate(std::iter::empty()), Text);
        let two = ["text/plain;q=0.1", "application/openmetrics-text"];
        assert_eq!(Format::negotiate(two.into_iter()), OpenMetrics);
    }

    #[test]
    fn reads_no_more_than_it_should() {
        let long = format!("{}application/openmetrics-text", "x,".repeat(MAX_ACCEPT / 2));
        assert_eq!(Format::negotiate([long.as_str()].into_iter()), Format::Text);
        let characters = "ü".repeat(MAX_ACCEPT);
        assert_eq!(Format::negotiate([&characters[..], "\u{2028}"].into_iter()), Format::Text);
    }
}
