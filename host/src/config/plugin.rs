//! A section `[plugins.NAME]`.

use super::keys::{Keys, NotBuilt};
use super::limits::{self, Limits};
use super::problem::Problems;
use super::table::PluginTable;
use crate::isolation::{DEFAULT_MEMORY, MIN_MEMORY, capability};
use gantry_plugin_api::ByteSize;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Where a plugin runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// In the agent itself.
    None,
    /// In a process of its own.
    Process,
}

impl Isolation {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Process => "process",
        }
    }
}

/// What the operator says of one plugin.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginConfig {
    pub name: String,
    pub enabled: bool,
    /// Where its file is; looked for by name where there is none.
    pub path: Option<PathBuf>,
    /// Its digest, 64 lower-case hexadecimal digits.
    pub sha256: Option<String>,
    /// Which versions may run.
    pub version: Option<semver::VersionReq>,
    /// What was written; without it the file decides.
    pub isolation: Option<Isolation>,
    /// Capabilities that it gets in a process of its own, by their names.
    pub grant: Vec<String>,
    /// Writable memory that such a process may have, in bytes.
    pub memory: u64,
    /// Of one collection.
    pub deadline: Duration,
    pub max_series: usize,
    pub limits: Limits,
    /// Its own table.
    pub table: PluginTable,
    /// Line and column of the section.
    pub place: (usize, usize),
}

impl PluginConfig {
    /// A plugin of which the file says nothing.
    pub fn unnamed(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            enabled: false,
            path: None,
            sha256: None,
            version: None,
            isolation: None,
            grant: Vec::new(),
            memory: DEFAULT_MEMORY,
            deadline: DEADLINE,
            max_series: MAX_SERIES,
            limits: Limits::default(),
            table: PluginTable::empty((1, 1)),
            place: (1, 1),
        }
    }

    /// Whether another configuration runs the same file in the same way.
    pub fn same_file(&self, other: &Self) -> bool {
        (&self.path, &self.sha256, &self.version) == (&other.path, &other.sha256, &other.version)
            && self.same_isolation(other)
    }

    /// Whether another configuration runs it in the same place with the same rights.
    pub fn same_isolation(&self, other: &Self) -> bool {
        (self.isolation, &self.grant, self.memory) == (other.isolation, &other.grant, other.memory)
    }

    /// What stands for all that the plugin can notice of its section, but for
    /// whether it is enabled: a digest, as it may hold secrets.
    pub fn fingerprint(&self) -> String {
        let Self {
            path, sha256, version, isolation, grant, memory, deadline, max_series, limits, table, ..
        } = self;
        let table = table.to_json();
        let all = format!(
            "{path:?} {sha256:?} {version:?} {isolation:?} {grant:?} {memory} {deadline:?} {max_series} {limits:?} \
             {table}"
        );
        crate::loader::digest(all.as_bytes())
    }
}

const DEADLINE: Duration = Duration::from_secs(2);
const MAX_SERIES: usize = 200_000;

/// Of signatures.
const NOT_BUILT: NotBuilt = NotBuilt(&["signature", "require_signature", "trusted_key", "trusted_keys"]);

/// The longest deadline: Prometheus itself gives up after 10 s by default, and
/// a stuck collection must be seen some day.
const MAX_DEADLINE: Duration = Duration::from_secs(60);

/// The most that `max_series` may be: some 800 MiB, and what is handed over of
/// their being shown can be read again.
pub const MOST_SERIES: usize = 4_000_000;

pub fn read(
    name: &Spanned<std::borrow::Cow<'_, str>>,
    value: &Spanned<DeValue<'_>>,
    base: &Path,
    problems: &mut Problems,
) -> Option<PluginConfig> {
    let section = format!("plugins.{}", name.get_ref());
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let named = name.get_ref();
    if !named.starts_with(|first: char| first.is_ascii_lowercase())
        || !named.bytes().all(good)
        || named.len() > 64
    {
        problems.at(
            name.span(),
            format!("{named:?} is no plugin's name: lower-case letters, digits and -, at most 64"),
        );
        return None;
    }
    if named == "gantry" {
        problems.at(name.span(), "the name \"gantry\" is the host's own");
        return None;
    }
    let Some(table) = value.get_ref().as_table() else {
        problems.at(value.span(), format!("{section} must be a table: write [{section}]"));
        return None;
    };
    Some(section_of(named, &section, table, problems.place(name.span().start), base, problems))
}

fn section_of(
    name: &str,
    section: &str,
    table: &DeTable<'_>,
    place: (usize, usize),
    base: &Path,
    problems: &mut Problems,
) -> PluginConfig {
    let mut keys = Keys::new(section, table);
    let enabled = keys.bool("enabled", problems).unwrap_or(false);
    let path = keys.text("path", problems).and_then(|(text, span)| {
        if text.is_empty() {
            problems.at(
                span,
                format!("{section}.path is empty; name a file, or take it out to look in the usual places"),
            );
            return None;
        }
        Some(base.join(text))
    });
    let mut sha256 = None;
    if let Some((text, span)) = keys.text("sha256", problems) {
        let digest = text.to_ascii_lowercase();
        if digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            sha256 = Some(digest);
        } else {
            problems.at(
                span,
                format!("{section}.sha256 must be 64 hexadecimal digits, as sha256sum prints them"),
            );
        }
    }
    let mut version = None;
    if let Some((text, span)) = keys.text("version", problems) {
        match semver::VersionReq::parse(text) {
            Ok(range) => version = Some(range),
            Err(error) => problems.at(
                span,
                format!("{section}.version {text:?} is no range of versions such as \">=1.4, <2\": {error}"),
            ),
        }
    }
    let isolation = isolation_of(&mut keys, section, problems);
    let grant = grants(&mut keys, section, problems);
    let memory = memory_of(&mut keys, section, problems);
    if isolation == Some(Isolation::None) {
        // A bound that nobody keeps would be worse than none.
        for key in ["grant", "memory"] {
            if let Some(value) = keys.take(key) {
                let why = "in the agent's own process it has all of the agent's";
                problems.at(value.span(), format!("{section}.{key} does nothing with isolation = \"none\": {why}; remove it, or write isolation = \"process\""));
            }
        }
    }
    let deadline = keys.duration("deadline", problems).unwrap_or(DEADLINE);
    if deadline > MAX_DEADLINE {
        let span = keys.take("deadline").map(Spanned::span).unwrap_or_default();
        problems.at(span, format!("{section}.deadline is at most \"1m\""));
    }
    let max_series = keys.count("max_series", problems).unwrap_or(MAX_SERIES);
    if max_series > MOST_SERIES {
        let span = keys.take("max_series").map(Spanned::span).unwrap_or_default();
        problems.at(span, format!("{section}.max_series is at most {MOST_SERIES}"));
    }
    let limits = limits::read(&mut keys, section, problems);
    let mut own = PluginTable::empty(place);
    if let Some((table, span)) = keys.table("config", problems) {
        own = PluginTable::read(table, problems.place(span.start), section, problems);
    }
    keys.finish(&NOT_BUILT, problems);
    PluginConfig {
        name: name.to_owned(),
        enabled,
        path,
        sha256,
        version,
        isolation,
        grant,
        memory: memory.unwrap_or(DEFAULT_MEMORY),
        deadline,
        max_series,
        limits,
        table: own,
        place,
    }
}

fn isolation_of(keys: &mut Keys<'_, '_>, section: &str, problems: &mut Problems) -> Option<Isolation> {
    let (text, span) = keys.text("isolation", problems)?;
    let found = [Isolation::None, Isolation::Process].into_iter().find(|one| one.as_str() == text);
    if found.is_none() {
        problems.at(span, format!("{section}.isolation is {text:?}; it must be \"none\" or \"process\""));
    }
    found
}

fn grants(keys: &mut Keys<'_, '_>, section: &str, problems: &mut Problems) -> Vec<String> {
    let mut granted = Vec::new();
    for (name, span) in keys.texts("grant", problems) {
        if capability(name).is_some() {
            granted.push(name.to_owned());
        } else {
            problems.at(
                span,
                format!("{section}.grant: {name:?} is no capability; write names as capabilities(7) does, such as \"CAP_BPF\""),
            );
        }
    }
    granted.sort();
    granted.dedup();
    granted
}

/// More than any node has for one collector.
const MOST_MEMORY: u64 = 1 << 40;

fn memory_of(keys: &mut Keys<'_, '_>, section: &str, problems: &mut Problems) -> Option<u64> {
    let (size, span) = keys.size("memory", problems)?;
    if size < MIN_MEMORY {
        problems.at(span, format!("{section}.memory must be at least {}", ByteSize(MIN_MEMORY)));
        return None;
    }
    if size > MOST_MEMORY {
        problems
            .at(span, format!("{section}.memory is at most {}: more bounds nothing", ByteSize(MOST_MEMORY)));
        return None;
    }
    Some(size)
}
