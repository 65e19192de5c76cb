//! The section `[host]`.

use super::identity::{self, IdentityConfig};
use super::keys::{Keys, NotBuilt, suggestion};
use super::problem::Problems;
use crate::isolation::capability;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::DeTable;

/// What the operator says of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostConfig {
    pub listen: Vec<SocketAddr>,
    pub log: LogLevels,
    pub log_format: LogFormat,
    /// How long a late plugin's last samples are served.
    pub stale: Duration,
    /// Where plugins are looked for besides the vendor directories.
    pub plugin_dirs: Vec<PathBuf>,
    /// A file that is put into one of the directories of plugins is taken over.
    pub watch_plugins: bool,
    /// Capabilities that are kept though no plugin that is named asks for them.
    pub keep_capabilities: Vec<String>,
    /// How long an upgrade is on probation.
    pub probation: Duration,
    pub views: ViewsOverHttp,
    pub paths: Paths,
    pub identity: IdentityConfig,
}

/// Where views are served over HTTP: they show more than metrics do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ViewsOverHttp {
    /// Where only this machine can ask: on loopback addresses.
    Local,
    Always,
    Never,
}

/// Where the machine's own file systems are, for an agent in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    pub proc: PathBuf,
    pub sys: PathBuf,
    pub cgroup: PathBuf,
    pub root: PathBuf,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    Text,
    Json,
}

/// Which log lines are written: a level for all, and others for single plugins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLevels {
    pub all: Level,
    pub plugins: BTreeMap<String, Level>,
}

/// A log level; the numbers are those of the plugin api.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Level {
    Off = 0,
    Error = 1,
    Warn = 2,
    Info = 3,
    Debug = 4,
    Trace = 5,
}

/// Their names, for messages.
pub const LEVELS: &str = "off, error, warn, info, debug, trace";

impl Level {
    /// # Errors
    /// What was wrong, with all levels.
    pub fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "off" => Self::Off,
            "error" => Self::Error,
            "warn" => Self::Warn,
            "info" => Self::Info,
            "debug" => Self::Debug,
            "trace" => Self::Trace,
            other => {
                let near = suggestion(&other.to_lowercase(), LEVELS.split(", "));
                return Err(format!("{other:?} is no level; the levels are {LEVELS}{near}"));
            }
        })
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl LogLevels {
    pub fn of(&self, plugin: &str) -> Level {
        self.plugins.get(plugin).copied().unwrap_or(self.all)
    }
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 9464))],
            log: LogLevels { all: Level::Info, plugins: BTreeMap::new() },
            log_format: LogFormat::Auto,
            stale: Duration::from_secs(60),
            plugin_dirs: Vec::new(),
            watch_plugins: false,
            keep_capabilities: Vec::new(),
            probation: Duration::from_secs(600),
            views: ViewsOverHttp::Local,
            paths: Paths {
                proc: "/proc".into(),
                sys: "/sys".into(),
                cgroup: "/sys/fs/cgroup".into(),
                root: "/".into(),
            },
            identity: IdentityConfig::default(),
        }
    }
}

const NOT_BUILT: NotBuilt = NotBuilt(&["require_signature", "trusted_keys"]);

/// The library that would be rolled back to stays mapped anyway; what goes wrong
/// later than this has another cause.
const MAX_PROBATION: Duration = Duration::from_secs(7 * 86_400);

/// How much is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thoroughness {
    /// Whether the file is good by itself.
    File,
    /// And whether what it names is there on this machine.
    Machine,
}

/// The section; what is wrong in it is reported and stands at its default.
/// Relative paths count from `base`.
pub fn read(
    table: &DeTable<'_>,
    base: &Path,
    thoroughness: Thoroughness,
    problems: &mut Problems,
) -> HostConfig {
    let mut keys = Keys::new("host", table);
    let mut config = HostConfig::default();
    let listen = keys.texts("listen", problems);
    if let Some(value) =
        keys.take("listen").filter(|value| value.get_ref().as_array().is_some_and(|list| list.is_empty()))
    {
        problems.at(value.span(), "host.listen is empty; take it out, or name an address");
    }
    if !listen.is_empty() {
        config.listen = addresses(listen, problems);
    }
    if let Some((text, span)) = keys.text("log", problems) {
        config.log = levels(text, span, problems).unwrap_or(config.log);
    }
    if let Some((text, span)) = keys.text("log_format", problems) {
        match text {
            "auto" => config.log_format = LogFormat::Auto,
            "text" => config.log_format = LogFormat::Text,
            "json" => config.log_format = LogFormat::Json,
            other => problems
                .at(span, format!("host.log_format is {other:?}; it must be \"auto\", \"text\" or \"json\"")),
        }
    }
    config.stale = keys.duration("stale", problems).unwrap_or(config.stale);
    config.watch_plugins = keys.bool("watch_plugins", problems).unwrap_or(false);
    if let Some((probation, span)) = keys.duration_or_zero("probation", problems) {
        config.probation = probation;
        if probation > MAX_PROBATION {
            problems.at(span, "host.probation is at most \"7d\"");
        }
    }
    for (name, span) in keys.texts("keep_capabilities", problems) {
        match capability(name) {
            Some(_) => config.keep_capabilities.push(name.to_owned()),
            None => problems.at(
                span,
                format!("host.keep_capabilities: {name:?} is no capability; write names as capabilities(7) does, such as \"CAP_BPF\""),
            ),
        }
    }
    for (dir, span) in keys.texts("plugin_dirs", problems) {
        let path = base.join(dir);
        if thoroughness == Thoroughness::Machine
            && let Err(error) = std::fs::read_dir(&path)
        {
            problems
                .at(span, format!("host.plugin_dirs: {dir:?}: {error}; make the directory, or take it out"));
        }
        config.plugin_dirs.push(path);
    }
    if let Some((text, span)) = keys.text("views", problems) {
        match text {
            "local" => config.views = ViewsOverHttp::Local,
            "always" => config.views = ViewsOverHttp::Always,
            "never" => config.views = ViewsOverHttp::Never,
            other => problems
                .at(span, format!("host.views is {other:?}; it must be \"local\", \"always\" or \"never\"")),
        }
    }
    if let Some((paths, _)) = keys.table("paths", problems) {
        read_paths(paths, &mut config.paths, thoroughness, problems);
    }
    if let Some((table, _)) = keys.table("identity", problems) {
        config.identity = identity::read(table, problems);
    }
    keys.finish(&NOT_BUILT, problems);
    config
}

fn read_paths(table: &DeTable<'_>, paths: &mut Paths, thoroughness: Thoroughness, problems: &mut Problems) {
    let mut keys = Keys::new("host.paths", table);
    for (key, path) in [
        ("proc", &mut paths.proc),
        ("sys", &mut paths.sys),
        ("cgroup", &mut paths.cgroup),
        ("root", &mut paths.root),
    ] {
        let Some((text, span)) = keys.text(key, problems) else { continue };
        if !Path::new(text).is_absolute() {
            problems.at(span, format!("host.paths.{key} must be an absolute path, not {text:?}"));
            continue;
        }
        *path = text.into();
        if thoroughness == Thoroughness::Machine
            && let Err(error) = std::fs::read_dir(&*path)
        {
            problems.at(
                span,
                format!("host.paths.{key}: {text:?}: {error}; mount the node's own there, or mend the path"),
            );
        }
    }
    keys.finish(&NotBuilt(&[]), problems);
}

fn addresses(listen: Vec<(&str, Range<usize>)>, problems: &mut Problems) -> Vec<SocketAddr> {
    let mut found: Vec<SocketAddr> = Vec::new();
    for (text, span) in listen {
        let Some(address) = address((text, span.clone()), problems) else { continue };
        // Each 0 is another port.
        if address.port() != 0 && found.contains(&address) {
            problems.at(span, format!("host.listen names {address} twice; take one out"));
        }
        found.push(address);
    }
    found
}

fn address((text, span): (&str, Range<usize>), problems: &mut Problems) -> Option<SocketAddr> {
    let parsed = text.parse().ok();
    if parsed.is_none() {
        problems.at(
            span,
            format!(
                "host.listen: {text:?} is no address and port such as \"127.0.0.1:9464\" or \"[::1]:9464\""
            ),
        );
    }
    parsed
}

fn levels(text: &str, span: Range<usize>, problems: &mut Problems) -> Option<LogLevels> {
    let mut levels = LogLevels { all: Level::Info, plugins: BTreeMap::new() };
    for part in text.split(',').map(str::trim) {
        let (plugin, level) =
            part.split_once('=').map_or((None, part), |(plugin, level)| (Some(plugin), level));
        let Ok(parsed) = Level::parse(level) else {
            let hint = suggestion(level, LEVELS.split(", "));
            problems.at(span, format!("host.log: {level:?} is no level ({LEVELS}){hint}"));
            return None;
        };
        match plugin {
            Some(plugin) => drop(levels.plugins.insert(plugin.to_owned(), parsed)),
            None => levels.all = parsed,
        }
    }
    Some(levels)
}
