//! The whole of `plugins.toml`.

use super::host::{self, HostConfig, Thoroughness};
use super::keys::{Keys, NotBuilt, suggestion};
use super::plugin::{self, PluginConfig};
use super::problem::{Problem, Problems};
use rustix::fs::OFlags;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use toml::de::DeTable;

/// A checked configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub file: PathBuf,
    pub host: HostConfig,
    /// In the order of the file, which is the order of precedence where two
    /// plugins want the same name.
    pub plugins: Vec<PluginConfig>,
}

/// A larger file is no configuration.
const MAX_BYTES: u64 = 1 << 20;

/// A node has some tens of plugins. Each section is a row of every table and
/// 20 series, and a file of 1 MiB has room for tens of thousands.
const MOST_PLUGINS: usize = 1000;

/// Reads and checks a file. Every problem is reported, in the order of the file.
pub fn load(path: &Path) -> Result<Config, Vec<Problem>> {
    let (config, problems) = examine_as(path, Thoroughness::File);
    config.filter(|_| problems.is_empty()).ok_or(problems)
}

/// As [`load`], of a text that may not be the file's yet.
pub fn check(path: &Path, text: &str) -> Result<Config, Vec<Problem>> {
    let (config, problems) = examine_text(path, text, Thoroughness::File);
    config.filter(|_| problems.is_empty()).ok_or(problems)
}

/// As [`load`], and whether what it names is there on this machine. What can
/// be read in spite of problems is given too: without the plugins whose
/// sections have any, and nothing at all where the file is no TOML.
pub fn examine(path: &Path) -> (Option<Config>, Vec<Problem>) {
    examine_as(path, Thoroughness::Machine)
}

fn examine_as(path: &Path, thoroughness: Thoroughness) -> (Option<Config>, Vec<Problem>) {
    match read(path) {
        Ok(text) => examine_text(path, &text, thoroughness),
        Err(message) => (None, vec![Problem { file: path.to_owned(), place: None, message }]),
    }
}

fn examine_text(path: &Path, text: &str, thoroughness: Thoroughness) -> (Option<Config>, Vec<Problem>) {
    let mut problems = Problems::new(path, text);
    let config = parse(path, text, thoroughness, &mut problems);
    (config, problems.into_sorted())
}

/// The text of a file, or why there is none.
pub fn read(path: &Path) -> Result<String, String> {
    let remedy = "name another file with --config";
    // A FIFO without a writer would hold the command for ever.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = opened.map_err(|error| format!("cannot be opened: {error}; {remedy}"))?;
    let metadata = file.metadata().map_err(|error| format!("cannot be read: {error}"))?;
    if !metadata.is_file() {
        return Err(format!("is not a regular file; {remedy}"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err("is larger than 1 MiB; that is no configuration".to_owned());
    }
    String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        format!("is not UTF-8 in line {}; save it as UTF-8", line + 1)
    })
}

fn parse(path: &Path, text: &str, thoroughness: Thoroughness, problems: &mut Problems) -> Option<Config> {
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        // The error's own Display quotes the line, which may hold a secret.
        let message = error.message().lines().next().unwrap_or("malformed").to_owned();
        problems.at(error.span().unwrap_or_default(), format!("malformed TOML: {message}"));
    }
    let base = path.parent().unwrap_or(Path::new("."));
    let base = std::path::absolute(base).unwrap_or_else(|_| base.to_owned());
    let mut names = Vec::new();
    let mut config = Config { file: path.to_owned(), host: HostConfig::default(), plugins: Vec::new() };
    let mut keys = Keys::new("", document.get_ref());
    if let Some((table, _)) = keys.table("host", problems) {
        config.host = host::read(table, &base, thoroughness, problems);
    }
    if let Some((table, _)) = keys.table("plugins", problems) {
        let mut sections: Vec<_> = table.iter().collect();
        sections.sort_by_key(|(name, _)| name.span().start);
        let count = sections.len();
        if let Some((name, _)) = sections.get(MOST_PLUGINS) {
            let many = format!(
                "{count} sections [plugins.NAME] are more than the {MOST_PLUGINS} that one agent takes"
            );
            problems.at(
                name.span(),
                format!("{many}; take out those that are not used, from here on at the latest"),
            );
            sections.truncate(MOST_PLUGINS);
        }
        config.plugins = sections
            .into_iter()
            .filter_map(|(name, value)| {
                let before = problems.len();
                plugin::read(name, value, &base, problems).map(|plugin| (plugin, problems.len() == before))
            })
            .filter_map(|(plugin, sound)| {
                names.push(plugin.name.clone());
                sound.then_some(plugin)
            })
            .collect();
    }
    // After a syntax error a section may be missing its header, and every key
    // of it would be reported once more.
    if errors.is_empty() {
        keys.finish(&NotBuilt(&[]), problems);
        known_plugins(&config, &names, text, problems);
    }
    errors.is_empty().then_some(config)
}

/// `host.log` names plugins that there are.
fn known_plugins(config: &Config, names: &[String], text: &str, problems: &mut Problems) {
    for name in config.host.log.plugins.keys() {
        if !names.contains(name) {
            let hint = suggestion(name, names.iter().map(String::as_str));
            let at = text.find(&format!("{name}=")).unwrap_or_default();
            problems.at(at..at, format!("host.log: there is no section [plugins.{name}]{hint}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems_of(text: &str) -> Vec<String> {
        let mut problems = Problems::new(Path::new("p.toml"), text);
        parse(Path::new("p.toml"), text, Thoroughness::File, &mut problems);
        problems.into_sorted().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_good_file_has_no_problem() {
        let text = r#"
[host]
listen = ["127.0.0.1:0", "[::1]:9464"]
log = "warn,node=debug"
stale = "90s"
[plugins.zeta]
[plugins.node]
enabled = true
deadline = "1s500ms"
config.a.b = [1, 2.5, "x"]
"#;
        let mut problems = Problems::new(Path::new("p.toml"), text);
        let config = parse(Path::new("p.toml"), text, Thoroughness::File, &mut problems).expect("it is TOML");
        assert_eq!(problems.into_sorted(), []);
        assert_eq!(config.plugins[0].name, "zeta", "the order is the file's");
        assert!(!config.plugins[0].enabled, "nothing runs that is not asked for");
        assert_eq!(config.plugins[1].deadline.as_millis(), 1500);
        assert_eq!(config.plugins[1].table.to_json(), r#"{"a":{"b":[1,2.5,"x"]}}"#);
        assert_eq!(config.plugins[1].table.place_of("/a/b/2"), (10, 23));
    }

    #[test]
    fn every_problem_is_reported_with_its_place() {
        let found = problems_of(
            "[host]\nlisten = \"nowhere\"\nlogg = \"info\"\nstale = 5\ntrusted_keys = []\n[plugins.node]\nenabled = \"yes\"\n\
             sha256 = \"abc\"\nmax_heap = \"1 lump\"\nisolation = \"jail\"\n[plugins.Bad]\n[plgins.x]\n",
        );
        let expected = [
            ("p.toml:2:10:", "no address and port"),
            ("p.toml:3:1:", "did you mean \"log\"?"),
            ("p.toml:4:9:", "must be a duration"),
            ("p.toml:5:1:", "not built yet"),
            ("p.toml:7:11:", "must be true or false, not a text"),
            ("p.toml:8:10:", "64 hexadecimal digits"),
            ("p.toml:9:12:", "plugins.node.max_heap"),
            ("p.toml:10:13:", "must be \"none\" or \"process\""),
            ("p.toml:11:10:", "no plugin's name"),
            ("p.toml:12:2:", "did you mean \"plugins\"?"),
        ];
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (found, (place, message)) in found.iter().zip(expected) {
            assert!(found.starts_with(place) && found.contains(message), "{found} / {place} {message}");
        }
    }

    #[test]
    fn the_number_of_sections_is_bounded() {
        let sections = |count| (0..count).map(|at| format!("[plugins.p{at}]\n")).collect::<Vec<_>>().concat();
        assert_eq!(problems_of(&sections(MOST_PLUGINS)), [""; 0]);
        let found = problems_of(&format!("[host]\nlogg = 1\n{}", sections(20_000)));
        assert_eq!(found.len(), 2, "the rest is said too, and not 19,000 times: {:?}", &found[..2]);
        assert!(found[1].starts_with("p.toml:1003:10: 20000 sections"), "{}", found[1]);
        assert!(found[1].contains("the 1000 that one agent takes"), "{}", found[1]);
    }

    #[test]
    fn malformed_toml_is_reported_without_its_text() {
        let found = problems_of("[plugins.x]\nconfig.password = \"hunter2\nenabled = maybe\n");
        assert!(found.len() >= 2, "both lines: {found:?}");
        assert!(
            found.iter().all(|one| one.contains("malformed TOML") || one.contains("must be")),
            "{found:?}"
        );
        assert!(!found.concat().contains("hunter2"), "{found:?}");
    }

    #[test]
    fn bounds_that_bound_nothing_are_errors() {
        for (keys, expected) in [
            ("max_series = 4000001", "max_series is at most 4000000"),
            ("max_heap = \"0MiB\"", "max_heap must be at least 1MiB"),
            ("max_heap = \"1B\"", "max_heap must be at least 1MiB"),
            ("max_bpf_memory = \"1B\"", "max_bpf_memory must be at least 4KiB"),
            ("max_cpu = 1e300", "max_cpu must be above 0 and at most 4096, in cores"),
            ("max_cpu = 0", "max_cpu must be above 0 and at most 4096, in cores"),
            ("memory = \"100TiB\"", "memory is at most 1TiB"),
            ("path = \"\"", "path is empty"),
            ("caps = [\"CAP_BPF\"]", "unknown key \"caps\" in [plugins.x]; did you mean \"grant\"?"),
            ("signature = \"x\"", "signature is not built yet"),
        ] {
            let found = problems_of(&format!("[plugins.x]\n{keys}\n"));
            assert!(found.len() == 1 && found[0].contains(expected), "{keys}: {found:?}");
        }
        assert_eq!(
            problems_of("[plugins.x]\nmax_series = 4000000\nmax_cpu = 4096\nmax_heap = \"1MiB\"\n"),
            [""; 0]
        );
    }

    #[test]
    fn contradictions_are_errors() {
        assert!(problems_of("[plugins.x]\nenabled = true\nenabled = false\n")[0].contains("duplicate"));
        assert!(
            problems_of("[host]\nlog = \"info,nod=debug\"\n[plugins.node]\n")[0]
                .contains("did you mean \"node\"?")
        );
        assert_eq!(problems_of("plugins = 5"), ["p.toml:1:11: plugins must be a table, not 5"]);
        assert_eq!(
            problems_of("plgins = 5"),
            ["p.toml:1:1: unknown key \"plgins\"; did you mean \"plugins\"?"]
        );
        for (value, found) in
            [("0", "0"), ("-5", "-5"), ("1.5", "1.5"), ("\"many\"", "a text"), ("[]", "a list")]
        {
            let expected = format!("max_series must be a whole number above 0, not {found}");
            assert!(
                problems_of(&format!("[plugins.x]\nmax_series = {value}"))[0].ends_with(&expected),
                "{value}"
            );
        }
    }
}
