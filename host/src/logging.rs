//! The agent's log, on standard error.

use crate::config::{Level, LogFormat, LogLevels};
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::Duration;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// What plugins say goes under this target; their own levels are set inside
/// their libraries, so that a disabled line costs nothing.
const PLUGIN: &str = "plugin";

/// The longest line of a plugin; the rest is cut.
const MAX_LINE: usize = 8 * 1024;

/// Begins to log. A second call changes nothing.
pub fn start(format: LogFormat, levels: &LogLevels) {
    let terminal = std::io::stderr().is_terminal();
    let json = match format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let colours = terminal && std::env::var_os("NO_COLOR").is_none();
    let targets = Targets::new().with_default(filter(levels.all)).with_target(PLUGIN, LevelFilter::TRACE);
    let (queue, items) = mpsc::sync_channel(QUEUE);
    let thread = std::thread::Builder::new().name("log".to_owned());
    // Without the thread, or the second time, the queue is not used.
    if thread.spawn(move || write_queued(&items)).is_ok() {
        let _ = QUEUED.set(queue);
    }
    let registry = tracing_subscriber::registry().with(targets);
    // Only a second subscriber fails, and the first one stays.
    let _ = if json {
        let layer = tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(|| Output)
            .log_internal_errors(false);
        registry.with(layer).try_init()
    } else {
        let layer = tracing_subscriber::fmt::layer()
            .with_target(false)
            .with_ansi(colours)
            .with_writer(|| Output)
            .log_internal_errors(false);
        registry.with(layer).try_init()
    };
}

/// Lines that could not be written.
static LOST: AtomicU64 = AtomicU64::new(0);

/// How many lines of the log were lost: its disk was full, or its reader gone.
pub fn lost() -> u64 {
    LOST.load(Relaxed)
}

/// Lines that may wait for a slow standard error; with 200 bytes each, 800 KiB.
const QUEUE: usize = 4096;

/// The end of the agent waits so long for lines that are not written yet.
const FLUSH_WAIT: Duration = Duration::from_millis(500);

static QUEUED: OnceLock<SyncSender<Item>> = OnceLock::new();

enum Item {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

/// Writes what is queued, on a thread of its own: a standard error that nobody
/// reads blocks it, and must block nothing else.
fn write_queued(items: &Receiver<Item>) {
    while let Ok(item) = items.recv() {
        match item {
            Item::Line(line) => {
                if io::stderr().write_all(&line).is_err() {
                    LOST.fetch_add(1, Relaxed);
                }
            }
            // Whoever waited may have gone.
            Item::Flush(done) => drop(done.try_send(())),
        }
    }
}

/// Waits a little until what was logged is written.
pub fn flush() {
    let Some(queue) = QUEUED.get() else { return };
    let (done, written) = mpsc::sync_channel(1);
    if queue.try_send(Item::Flush(done)).is_ok() {
        // After the time-out what is left is lost with the process.
        let _ = written.recv_timeout(FLUSH_WAIT);
    }
}

/// The queue's end. A line that cannot be queued is counted and costs nothing
/// else: the agent must neither end nor stand still because its log does.
struct Output;

impl Write for Output {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let queued = QUEUED.get().is_some_and(|queue| queue.try_send(Item::Line(line.to_vec())).is_ok());
        if !queued {
            LOST.fetch_add(1, Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn filter(level: Level) -> LevelFilter {
    match level {
        Level::Off => LevelFilter::OFF,
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    }
}

/// A line of a plugin. Control characters are escaped: a terminal must not
/// obey what a container wrote, and a line stays one line.
pub fn from_plugin(plugin: &str, level: u32, target: &str, message: &str) {
    let message = printable(&message[..message.floor_char_boundary(MAX_LINE)]);
    let module = printable(&target[..target.floor_char_boundary(256)]);
    match level {
        1 => tracing::error!(target: PLUGIN, plugin, module, "{message}"),
        2 => tracing::warn!(target: PLUGIN, plugin, module, "{message}"),
        3 => tracing::info!(target: PLUGIN, plugin, module, "{message}"),
        4 => tracing::debug!(target: PLUGIN, plugin, module, "{message}"),
        _ => tracing::trace!(target: PLUGIN, plugin, module, "{message}"),
    }
}

/// A text that a terminal neither obeys nor shows in another order or place
/// than it is written: what could do that is escaped.
pub fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|character| {
            let steering = steers(character);
            let escaped = steering.then(|| character.escape_default());
            let plain = (!steering).then_some(character);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

/// Control characters, and those of Unicode that are not seen but reorder,
/// hide or break what is. The two joiners (U+200C, U+200D) stay: Persian,
/// Indic scripts and emoji are wrong without them, and they move nothing.
pub fn steers(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}' // soft hyphen
                | '\u{61c}' // Arabic letter mark
                | '\u{180e}' // Mongolian vowel separator
                | '\u{200b}' // zero width space
                | '\u{200e}' | '\u{200f}' // direction marks
                | '\u{2028}'..='\u{202e}' // line and paragraph separators, embeddings, overrides
                | '\u{2060}'..='\u{206f}' // word joiner, invisible operators, isolates, deprecated
                | '\u{feff}' // byte order mark
                | '\u{fff9}'..='\u{fffb}' // interlinear annotations
                | '\u{e0000}'..='\u{e007f}' // tags
        )
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn a_line_cannot_steer_a_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nc é"), "a\\u{1b}[2Jb\\nc é");
        assert_eq!(printable("\t\r\u{0}\u{7f}\u{9b}31m"), "\\t\\r\\u{0}\\u{7f}\\u{9b}31m");
    }

    #[test]
    fn nothing_unseen_reorders_hides_or_breaks_a_line() {
        for unseen in ('\u{200e}'..='\u{200f}')
            .chain('\u{2028}'..='\u{202e}')
            .chain('\u{2060}'..='\u{2069}')
            .chain(['\u{ad}', '\u{61c}', '\u{200b}', '\u{feff}', '\u{fffa}', '\u{e0041}'])
        {
            assert_eq!(printable(&format!("a{unseen}b")), format!("a\\u{{{:x}}}b", u32::from(unseen)));
        }
    }

    #[test]
    fn people_s_own_scripts_stay_as_they_are() {
        for text in
            ["naïve", "日本語", "می\u{200c}خواهم", "👩\u{200d}👩\u{200d}👧", "e\u{301}", "❤\u{fe0f}", "\\n"]
        {
            assert_eq!(printable(text), text);
        }
    }
}
