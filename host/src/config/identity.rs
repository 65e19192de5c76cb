//! The section `[host.identity]`: which containers are shown, and when.

use super::keys::{Keys, NotBuilt};
use super::problem::Problems;
use crate::identity::filter::{MAX_PATTERNS, SkipUnits, compile};
use std::ops::Range;
use std::time::Duration;
use toml::de::DeTable;

/// What the operator says of containers. All of it can change while the agent
/// runs; a container that is shown already keeps its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityConfig {
    /// A younger container is counted, and folded if it dies young. May be zero.
    pub min_container_age: Duration,
    /// How long a container waits for its name. May be zero.
    pub metadata_wait: Duration,
    /// How long a gone container's last values are served. May be zero.
    pub linger: Duration,
    /// Regular expressions over container ids, each good; empty allows all.
    pub allow: Vec<String>,
    /// As `allow`; wins over it.
    pub deny: Vec<String>,
    /// Units of systemd that are not shown.
    pub skip_units: SkipUnits,
    /// Whether what users run in their own slices is shown.
    pub user_slices: bool,
}

impl Default for IdentityConfig {
    fn default() -> Self {
        Self {
            min_container_age: Duration::from_secs(30),
            metadata_wait: Duration::from_secs(10),
            linger: Duration::from_secs(300),
            allow: Vec::new(),
            deny: Vec::new(),
            skip_units: SkipUnits::default(),
            user_slices: false,
        }
    }
}

/// What is gone is kept in memory for so long, and counts for as long wait.
const MAX_DURATION: Duration = Duration::from_secs(24 * 60 * 60);

/// No unit's name is longer (`UNIT_NAME_MAX` in systemd's `src/basic/unit-def.h`).
const MAX_UNIT_NAME: usize = 255;

/// The section; what is wrong in it is reported and stands at its default.
pub fn read(table: &DeTable<'_>, problems: &mut Problems) -> IdentityConfig {
    let mut keys = Keys::new("host.identity", table);
    let mut config = IdentityConfig::default();
    for (key, duration) in [
        ("min_container_age", &mut config.min_container_age),
        ("metadata_wait", &mut config.metadata_wait),
        ("linger", &mut config.linger),
    ] {
        match keys.duration_or_zero(key, problems) {
            Some((given, _)) if given <= MAX_DURATION => *duration = given,
            Some((_, span)) => problems.at(span, format!("host.identity.{key} is at most \"1d\"")),
            None => {}
        }
    }
    config.allow = patterns(&mut keys, "allow", problems);
    config.deny = patterns(&mut keys, "deny", problems);
    let units = keys.texts("skip_units", problems);
    if keys.take("skip_units").is_some() {
        config.skip_units = SkipUnits::Named(unit_prefixes(units, problems));
    }
    config.user_slices = keys.bool("user_slices", problems).unwrap_or(config.user_slices);
    keys.finish(&NotBuilt(&[]), problems);
    config
}

/// A list of regular expressions; bad ones are reported and left out.
fn patterns(keys: &mut Keys<'_, '_>, key: &'static str, problems: &mut Problems) -> Vec<String> {
    let texts = keys.texts(key, problems);
    let whole = keys.take(key).map(toml::Spanned::span).unwrap_or_default();
    if texts.len() > MAX_PATTERNS {
        problems.at(
            whole,
            format!(
                "host.identity.{key} has {} expressions; at most {MAX_PATTERNS} are allowed",
                texts.len()
            ),
        );
        return Vec::new();
    }
    let good: Vec<String> =
        texts.into_iter().filter_map(|(text, span)| pattern(key, text, span, problems)).collect();
    if compile(&good).is_err() {
        problems
            .at(whole, format!("host.identity.{key} is too large as a whole; write fewer or shorter ones"));
        return Vec::new();
    }
    good
}

fn pattern(key: &str, text: &str, span: Range<usize>, problems: &mut Problems) -> Option<String> {
    // An empty one matches every id, which nobody means.
    let wrong = if text.is_empty() {
        Some("it is empty".to_owned())
    } else {
        compile(&[text]).err().map(|error| match error {
            regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
            // The last line tells what is wrong, those before it draw where.
            other => {
                let lines = other.to_string();
                let last = lines.lines().last().unwrap_or_default().trim();
                last.strip_prefix("error: ").unwrap_or(last).to_owned()
            }
        })
    };
    match wrong {
        None => Some(text.to_owned()),
        Some(wrong) => {
            let message = format!("host.identity.{key}: {text:?} is no regular expression: {wrong}");
            problems.at(span, message);
            None
        }
    }
}

fn unit_prefixes(texts: Vec<(&str, Range<usize>)>, problems: &mut Problems) -> Vec<String> {
    let mut prefixes = Vec::new();
    for (text, span) in texts {
        if text.is_empty() || text.len() > MAX_UNIT_NAME || text.contains('/') {
            problems.at(
                span,
                format!("host.identity.skip_units: {text:?} is not the beginning of a unit's name, such as \"getty@\""),
            );
        } else {
            prefixes.push(text.to_owned());
        }
    }
    prefixes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn read_text(text: &str) -> (IdentityConfig, Vec<String>) {
        let mut problems = Problems::new(Path::new("p.toml"), text);
        let table = DeTable::parse(text).expect("it is TOML");
        let config = read(table.get_ref(), &mut problems);
        (config, problems.into_sorted().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn nothing_said_is_the_default() {
        let (config, problems) = read_text("");
        assert_eq!(problems, [""; 0]);
        assert_eq!(config, IdentityConfig::default());
        assert_eq!(config.skip_units, SkipUnits::Noisy);
    }

    #[test]
    fn all_keys_are_read() {
        let (config, problems) = read_text(
            "min_container_age = \"0s\"\nmetadata_wait = \"1m\"\nlinger = \"1d\"\nallow = \"^/docker/\"\n\
             deny = ['secret', '^/k8s/kube-system/']\nskip_units = [\"acme-\"]\nuser_slices = true\n",
        );
        assert_eq!(problems, [""; 0]);
        let expected = IdentityConfig {
            min_container_age: Duration::ZERO,
            metadata_wait: Duration::from_secs(60),
            linger: Duration::from_secs(24 * 60 * 60),
            allow: vec!["^/docker/".to_owned()],
            deny: vec!["secret".to_owned(), "^/k8s/kube-system/".to_owned()],
            skip_units: SkipUnits::Named(vec!["acme-".to_owned()]),
            user_slices: true,
        };
        assert_eq!(config, expected);
    }

    #[test]
    fn an_empty_list_of_units_skips_none() {
        assert_eq!(read_text("skip_units = []").0.skip_units, SkipUnits::Named(Vec::new()));
    }

    #[test]
    fn every_problem_has_its_place_and_the_default_stays() {
        let (config, problems) = read_text(
            "min_container_age = 30\nlinger = \"2d\"\nallow = [\"good\", \"(\", \"\", 5]\n\
             deny = \"(\\\\w{1000}){1000}\"\nskip_units = [\"a/b\"]\nuser_slices = \"yes\"\nalow = []\n",
        );
        let expected = [
            "p.toml:1:21: host.identity.min_container_age must be a duration such as \"30s\", not 30",
            "p.toml:2:10: host.identity.linger is at most \"1d\"",
            "p.toml:3:18: host.identity.allow: \"(\" is no regular expression: unclosed group",
            "p.toml:3:23: host.identity.allow: \"\" is no regular expression: it is empty",
            "p.toml:3:27: host.identity.allow must hold texts only, not 5",
            "p.toml:4:8: host.identity.deny: \"(\\\\w{1000}){1000}\" is no regular expression: it is too large",
            "p.toml:5:15: host.identity.skip_units: \"a/b\" is not the beginning of a unit's name, such as \"getty@\"",
            "p.toml:6:15: host.identity.user_slices must be true or false, not a text",
            "p.toml:7:1: unknown key \"alow\" in [host.identity]; did you mean \"allow\"?",
        ];
        assert_eq!(problems, expected);
        assert_eq!(config.min_container_age, Duration::from_secs(30));
        assert_eq!(config.allow, ["good"]);
    }

    #[test]
    fn lists_are_bounded() {
        let many = format!("allow = [{}]", "\"x\",".repeat(MAX_PATTERNS + 1));
        assert!(read_text(&many).1[0].contains("at most 256"));
        let large = format!("deny = [{}]", "'\\w{20}',".repeat(MAX_PATTERNS));
        assert!(read_text(&large).1[0].contains("too large as a whole"), "{:?}", read_text(&large).1);
    }
}
