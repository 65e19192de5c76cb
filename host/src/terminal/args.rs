//! The options of every command that prints a table.

use super::select::Selection;
use gantry_plugin_api::HumanDuration;
use std::time::Duration;

/// Options of a table.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct TableArgs {
    /// Print an array of JSON objects, values in base units.
    #[arg(long)]
    pub json: bool,
    /// Sort: numbers and times largest first, texts from A; -COLUMN reverses.
    #[arg(long, value_name = "COLUMN", value_parser = sort, allow_hyphen_values = true)]
    pub sort: Option<String>,
    /// Show only the first N rows, after sorting.
    #[arg(long, value_name = "N", value_parser = top)]
    pub top: Option<usize>,
    /// Show only rows whose column holds that value; may be given again.
    #[arg(long = "where", value_name = "COLUMN=VALUE", value_parser = filter)]
    pub filters: Vec<(String, String)>,
    /// Draw again and again, until ctrl-c [default: every 2s].
    #[arg(long, value_name = "EVERY", value_parser = every, num_args = 0..=1, require_equals = true, default_missing_value = "2s")]
    pub watch: Option<Duration>,
}

impl TableArgs {
    /// Which rows were asked for.
    pub fn selection(&self) -> Selection {
        Selection { sort: self.sort.clone(), top: self.top, filters: self.filters.clone() }
    }
}

fn sort(text: &str) -> Result<String, String> {
    let column = text.strip_prefix('-').unwrap_or(text);
    // `--sort --json` forgot its column.
    if column.is_empty() || column.starts_with('-') {
        return Err("a column is expected, or -COLUMN".to_owned());
    }
    Ok(text.to_owned())
}

fn top(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| *count > 0)
        .ok_or_else(|| "a whole number above 0 is expected".to_owned())
}

fn filter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((column, value)) if !column.is_empty() => Ok((column.to_owned(), value.to_owned())),
        _ => Err("COLUMN=VALUE is expected".to_owned()),
    }
}

/// The shortest time between two draws: each asks the agent.
const SHORTEST: Duration = Duration::from_millis(100);

fn every(text: &str) -> Result<Duration, String> {
    let duration = HumanDuration::parse(text)?.0;
    if duration < SHORTEST {
        return Err("at least 100ms is expected: each draw asks the agent".to_owned());
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Command {
        view: Option<String>,
        #[command(flatten)]
        table: TableArgs,
    }

    fn parse(line: &str) -> Result<Command, String> {
        let words = std::iter::once("gantry").chain(line.split_whitespace());
        Command::try_parse_from(words).map_err(|error| error.to_string().lines().next().unwrap().to_owned())
    }

    #[test]
    fn nothing_given_asks_for_nothing() {
        let args = parse("").unwrap().table;
        assert_eq!(args.selection(), Selection::default());
        assert!(!args.json && args.watch.is_none());
    }

    #[test]
    fn all_that_can_be_given() {
        let line = "connections --json --sort -rtt --top 5 --where a=b=c --where owner= --watch=5s";
        let command = parse(line).unwrap();
        let filters = vec![("a".to_owned(), "b=c".to_owned()), ("owner".to_owned(), String::new())];
        assert_eq!(
            command.table.selection(),
            Selection { sort: Some("-rtt".to_owned()), top: Some(5), filters }
        );
        assert!(command.table.json);
        assert_eq!(command.table.watch, Some(Duration::from_secs(5)));
    }

    #[test]
    fn watch_needs_no_time_and_takes_no_argument_for_one() {
        let command = parse("--watch connections").unwrap();
        assert_eq!(command.table.watch, Some(Duration::from_secs(2)));
        assert_eq!(command.view.as_deref(), Some("connections"));
    }

    #[test]
    fn wrong_usage_is_told_in_one_line() {
        for (line, told) in [
            ("--top 0", "above 0"),
            ("--top -3", "-3"),
            ("--top many", "above 0"),
            ("--where rtt", "COLUMN=VALUE"),
            ("--where =1", "COLUMN=VALUE"),
            ("--sort --json", "a column is expected"),
            ("--sort -", "a column is expected"),
            ("--watch=0s", "100ms"),
            ("--watch=soon", "not a duration"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(told), "{line}: {error}");
        }
    }
}
