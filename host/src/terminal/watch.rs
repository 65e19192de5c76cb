//! Drawing again and again, until somebody has seen enough.

use super::style::size;
use super::text::width;
use std::io::{self, ErrorKind, Write};
use std::pin::pin;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Why drawing ended before anybody wanted it to.
#[derive(Debug, thiserror::Error)]
pub enum Ended<E> {
    /// What is drawn could not be made.
    #[error(transparent)]
    Make(E),
    /// It could not be written.
    #[error("standard output cannot be written: {0}")]
    Output(io::Error),
}

/// Draws what `make` makes, so long after each draw again, until ctrl-c (or
/// SIGTERM) or until nobody reads any more: both are a good end. On a terminal
/// each draw takes the place of the one before; elsewhere they follow each
/// other with an empty line between. `make` asks for its [`super::Style`]
/// itself, each time.
pub async fn watch<F, Fut, E>(
    every: Duration,
    out: &mut impl Write,
    terminal: bool,
    make: F,
) -> Result<(), Ended<E>>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<String, E>>,
{
    let place = || if terminal { Place::Terminal(size()) } else { Place::Stream };
    draw(out, place, stop(), || tokio::time::sleep(every), make).await
}

/// Where is drawn.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// A terminal, with its columns and lines if they are known.
    Terminal(Option<(u16, u16)>),
    /// A pipe or a file.
    Stream,
}

/// When it is enough. Without SIGTERM a `timeout gantry …` would leave a
/// terminal without its cursor.
async fn stop() {
    // Where no handler can be had, the signal ends the process by itself.
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => signal.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = interrupted => (),
        _ = terminated => (),
    }
}

async fn draw<F, Fut, E, W: Write, Pause: Future<Output = ()>>(
    out: &mut W,
    place: impl Fn() -> Place,
    stop: impl Future<Output = ()>,
    mut pause: impl FnMut() -> Pause,
    mut make: F,
) -> Result<(), Ended<E>>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<String, E>>,
{
    let mut stop = pin!(stop);
    let mut canvas = Canvas { out, begun: false, held: false };
    loop {
        let text = tokio::select! {
            biased;
            () = &mut stop => return Ok(()),
            made = make() => made.map_err(Ended::Make)?,
        };
        match canvas.draw(&text, place()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            drawn => drawn.map_err(Ended::Output)?,
        }
        tokio::select! {
            biased;
            () = &mut stop => return Ok(()),
            () = pause() => (),
        }
    }
}

/// Hides the cursor, and lets lines end at the border instead of going on in
/// the next, which would be counted wrongly.
const HOLD: &str = "\u{1b}[?25l\u{1b}[?7l";
const RELEASE: &str = "\u{1b}[?7h\u{1b}[?25h\n";
const HOME: &str = "\u{1b}[H";
const ERASE_LINE: &str = "\u{1b}[K";
const ERASE_BELOW: &str = "\u{1b}[J";

struct Canvas<'a, W: Write> {
    out: &'a mut W,
    begun: bool,
    /// The terminal is changed, and must be given back as it was.
    held: bool,
}

impl<W: Write> Canvas<'_, W> {
    /// Written at once: what comes in parts is seen in parts.
    fn draw(&mut self, text: &str, place: Place) -> io::Result<()> {
        let frame = match place {
            Place::Terminal(size) => {
                let hold = if self.held { "" } else { HOLD };
                // Before it is written: half of it may arrive.
                self.held = true;
                format!("{hold}{}", frame(text, size))
            }
            Place::Stream => format!("{}{text}", if self.begun { "\n" } else { "" }),
        };
        self.begun = true;
        self.out.write_all(frame.as_bytes())?;
        self.out.flush()
    }
}

/// However it ends, also by a panic or because the future is dropped.
impl<W: Write> Drop for Canvas<'_, W> {
    fn drop(&mut self) {
        if self.held {
            // Nothing is left to be done about a terminal that is gone.
            let _ = self.out.write_all(RELEASE.as_bytes()).and_then(|()| self.out.flush());
        }
    }
}

/// A text in the place of the one before: each line erases what it does not
/// cover, so that nothing is seen empty in between.
fn frame(text: &str, size: Option<(u16, u16)>) -> String {
    let (columns, height) =
        size.map_or((usize::MAX, usize::MAX), |(columns, lines)| (columns.into(), lines.into()));
    let mut lines: Vec<&str> = text.lines().collect();
    let more = match lines.len() > height {
        true => format!("… {} more lines", lines.len() + 1 - height),
        false => String::new(),
    };
    if !more.is_empty() {
        lines.truncate(height - 1);
        lines.push(&more);
    }
    let mut frame = String::from(HOME);
    for (at, line) in lines.iter().enumerate() {
        let last = at + 1 == lines.len();
        // Not behind the last: the cursor may stand on its last character.
        frame.push_str(if last { ERASE_BELOW } else { "" });
        frame.push_str(line);
        if !last {
            // After a full line the cursor still stands on its last character,
            // which would be erased.
            frame.push_str(if seen(line) < columns { ERASE_LINE } else { "" });
            frame.push('\n');
        }
    }
    if lines.is_empty() {
        frame.push_str(ERASE_BELOW);
    }
    frame
}

/// The columns that a line takes, its colours left out.
fn seen(line: &str) -> usize {
    let (first, rest) = line.split_once('\u{1b}').unwrap_or((line, ""));
    width(first)
        + rest
            .split('\u{1b}')
            .map(|part| width(part.split_once('m').map_or("", |(_, text)| text)))
            .sum::<usize>()
}

#[cfg(test)]
mod tests;
