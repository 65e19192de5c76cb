//! How a table is to look: what the terminal allows, asked once a draw.

use rustix::termios::tcgetwinsize;
use std::ffi::OsStr;
use std::io::IsTerminal;
use std::time::SystemTime;

/// How a table is to look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Style {
    /// The columns of the terminal; without, nothing is cut.
    pub width: Option<u16>,
    /// Whether colours may be used.
    pub colours: bool,
    /// Seconds since the epoch, from which ages are told.
    pub now: f64,
}

impl Style {
    /// For standard output as it is now. Ask again for each draw: the time
    /// goes on, and people change the size of their terminals.
    pub fn for_stdout() -> Self {
        let variable = |name| std::env::var_os(name);
        let style = Self::of(
            std::io::stdout().is_terminal(),
            size().map(|(columns, _)| columns),
            variable("COLUMNS").as_deref(),
            variable("NO_COLOR").as_deref(),
            variable("TERM").as_deref(),
        );
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        // A clock before 1970 is as good as one that stands there.
        Self { now: since.unwrap_or_default().as_secs_f64(), ..style }
    }

    /// COLUMNS is what people set to overrule their terminal. Elsewhere than on
    /// one it is passed over: an exported one would cut what a script reads.
    fn of(
        terminal: bool,
        asked: Option<u16>,
        columns: Option<&OsStr>,
        no_color: Option<&OsStr>,
        term: Option<&OsStr>,
    ) -> Self {
        let set =
            columns.and_then(OsStr::to_str).and_then(|text| text.parse().ok()).filter(|width| *width > 0);
        // Set but empty means nothing, as no-color.org has it.
        let refused = no_color.is_some_and(|value| !value.is_empty()) || term == Some(OsStr::new("dumb"));
        Self { width: set.or(asked).filter(|_| terminal), colours: terminal && !refused, now: 0.0 }
    }
}

/// Columns and lines of the terminal at standard output. A serial console says
/// 0, which is nothing known.
pub fn size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

/// The few looks that a table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    Bold,
    Dim,
    Green,
    Yellow,
    Red,
}

impl Paint {
    /// The look of a state, by its first word: the rest may say why.
    pub fn of_state(state: &str) -> Option<Self> {
        let word = state.split(|character: char| !character.is_ascii_alphabetic()).next()?;
        match word {
            "running" | "ready" | "stopped" => Some(Self::Green),
            "discovered" | "verified" | "probed" | "created" | "started" | "stopping" | "degraded"
            | "unsupported" => Some(Self::Yellow),
            "failed" | "hung" | "quarantined" => Some(Self::Red),
            "disabled" => Some(Self::Dim),
            _ => None,
        }
    }

    /// The text in that look.
    pub fn on(self, text: &str) -> String {
        let code = match self {
            Self::Bold => 1,
            Self::Dim => 2,
            Self::Red => 31,
            Self::Green => 32,
            Self::Yellow => 33,
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn style(
        terminal: bool,
        columns: Option<&str>,
        no_color: Option<&str>,
        term: &str,
    ) -> (Option<u16>, bool) {
        let style = Style::of(
            terminal,
            terminal.then_some(80),
            columns.map(OsStr::new),
            no_color.map(OsStr::new),
            Some(OsStr::new(term)),
        );
        (style.width, style.colours)
    }

    #[test]
    fn a_terminal_has_a_width_and_colours() {
        assert_eq!(style(true, None, None, "xterm"), (Some(80), true));
        assert_eq!(style(true, Some("132"), None, "xterm"), (Some(132), true));
        for bad in ["", "0", "-1", "wide", "99999"] {
            assert_eq!(style(true, Some(bad), None, "xterm"), (Some(80), true), "{bad:?}");
        }
    }

    #[test]
    fn elsewhere_nothing_is_cut_or_coloured() {
        assert_eq!(style(false, None, None, "xterm"), (None, false));
        assert_eq!(style(false, Some("40"), None, "xterm"), (None, false));
    }

    #[test]
    fn colours_are_refused_by_the_variable_and_by_dumb_terminals() {
        assert!(!style(true, None, Some("1"), "xterm").1);
        assert!(style(true, None, Some(""), "xterm").1);
        assert!(!style(true, None, None, "dumb").1);
    }

    #[test]
    fn a_state_is_known_by_its_first_word() {
        assert_eq!(Paint::of_state("running"), Some(Paint::Green));
        assert_eq!(Paint::of_state("degraded: no BTF"), Some(Paint::Yellow));
        assert_eq!(Paint::of_state("failed (3 times)"), Some(Paint::Red));
        assert_eq!(Paint::of_state("disabled"), Some(Paint::Dim));
        assert_eq!(Paint::of_state("runningly"), None);
        assert_eq!(Paint::of_state(""), None);
    }
}
