//! Each command in a real terminal, compared with golden texts, which the guide
//! for operators shows. `GANTRY_BLESS=1` writes them, and the guide, anew.

mod support;

use std::path::{Path, PathBuf};
use support::agent::{Agent, write_config};
use support::cgroup::Cgroup;
use support::commands::{hostile, hostile_with};
use support::terminal::{Terminal, normal};
use support::versions::build;
use support::{copy_to, library, needs, private_dir};

const NODE: &str = "[plugins.node]\nenabled = true\n";

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/terminal")
}

fn bless() -> bool {
    std::env::var_os("GANTRY_BLESS").is_some_and(|value| value == "1")
}

/// A terminal beside an agent with `node` and the fixture.
struct Desk {
    agent: Agent,
    terminal: Terminal,
    file: PathBuf,
}

impl Desk {
    /// `None` where there is no tmux.
    fn new() -> Option<Self> {
        if !needs::program("tmux") {
            return None;
        }
        let dir = private_dir();
        let file = copy_to(dir.path(), &library("hostile"));
        let plugins = format!("{NODE}{}", hostile(&file, ""));
        let agent = Agent::start_in(dir, "", &plugins);
        // Series and heap are known from the first scrape on.
        agent.scrape();
        let config = agent.config().display().to_string();
        let state = agent.dir.path().join("state").display().to_string();
        let terminal = Terminal::new(&["--config", &config, "--state-dir", &state]);
        Some(Self { agent, terminal, file })
    }

    /// What a command says, as the golden text has it.
    #[track_caller]
    fn shows(&self, golden: &str, command: &str) {
        let said = self.terminal.run(command);
        self.is(golden, &said);
    }

    /// The same of one that ends with that exit code.
    #[track_caller]
    fn fails(&self, golden: &str, code: u8, command: &str) {
        self.shows(golden, command);
        assert_eq!(self.terminal.exit_code(), format!("exit code {code}"), "{command}");
    }

    #[track_caller]
    fn is(&self, golden: &str, screen: &str) {
        is(golden, screen, self.agent.dir.path());
    }
}

#[track_caller]
fn is(golden: &str, screen: &str, dir: &Path) {
    let (state, config) = (dir.join("state"), dir.join("plugins.toml"));
    let binary = support::built();
    let names = [
        (state.as_path(), "/run/gantry"),
        (config.as_path(), "/etc/gantry/plugins.toml"),
        (dir, "/opt/acme"),
        (binary.as_path(), "/usr/bin"),
    ];
    let text = normal(screen, &names);
    let file = goldens().join(format!("{golden}.txt"));
    if bless() {
        std::fs::write(&file, &text).expect("the golden texts can be written");
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(text, expected, "{} (GANTRY_BLESS=1 writes it anew)", file.display());
}

#[test]
fn tables_look_as_people_see_them() {
    let Some(desk) = Desk::new() else { return };
    desk.shows("plugins", "gantry plugins");
    let colours = desk.terminal.colours();
    assert!(
        colours.contains("\u{1b}[32m") && colours.contains("running"),
        "a terminal has colours: {colours:?}"
    );
    desk.shows("plugins-sort", "gantry plugins --sort name");
    desk.shows("plugins-top", "gantry plugins --sort series --top 1");
    desk.shows("plugins-where", "gantry plugins --where name=node");
    desk.shows("plugins-where-nothing", "gantry plugins --where state=failed");
    desk.shows("plugins-json", "gantry plugins --where name=node --json");
    if let Some(cgroup) = Cgroup::new().map(|_| Cgroup::at("/lxc.payload.web-1")) {
        let _member = cgroup.spawn(&["sleep", "1000"]);
        let there = "gantry containers --where runtime=lxc";
        let until = std::time::Instant::now() + support::http::PATIENCE;
        while !desk.terminal.run(there).contains("/lxc/web-1") && std::time::Instant::now() < until {}
        desk.shows("containers", there);
    }
    desk.shows("show", "gantry show node");
    desk.shows("show-view", "gantry show node filesystems --where mount_point=/");
}

#[test]
fn no_text_of_a_plugin_steers_the_terminal() {
    let Some(desk) = Desk::new() else { return };
    desk.shows("show-hostile", "gantry show hostile state");
    // The text asks for red; the terminal shows what it asks instead.
    let colours = desk.terminal.colours();
    assert!(!colours.contains("\u{1b}[31m"), "{colours:?}");
    let json = desk.terminal.run("gantry show hostile state --json");
    assert!(json.contains("None\\u001b[31m"), "{json}");
    assert!(!desk.terminal.colours().contains("\u{1b}[31m"));
}

#[test]
fn changes_say_what_was_done() {
    let Some(desk) = Desk::new() else { return };
    desk.shows("reload-nothing", "gantry reload");
    let section = hostile_with(&desk.file, "deadline = \"1s\"", "count = 2");
    desk.agent.configure("stale = \"2m\"", &format!("{NODE}max_series = 5000\n{section}"));
    desk.shows("reload", "gantry reload");
    desk.agent.configure("stael = \"2m\"", &format!("{NODE}max_series = -1\n{section}"));
    desk.fails("reload-refused", 1, "gantry reload");
    desk.agent.configure("stale = \"2m\"", &format!("{NODE}max_series = 5000\n{section}"));
    desk.shows("restart", "gantry restart hostile");
    desk.shows("disable", "gantry disable hostile");
    desk.fails("restart-disabled", 1, "gantry restart hostile");
    desk.shows("enable", "gantry enable hostile");
    desk.shows("log-level", "gantry log-level debug");
    desk.shows("log-level-one", "gantry log-level node error");
    desk.shows("disable-until-restart", "gantry disable hostile --until-restart");
    desk.shows("plugins-differs", "gantry plugins");
    std::fs::write(&desk.file, b"no library").expect("own file");
    desk.fails("enable-broken", 1, "gantry enable hostile");
}

#[test]
fn a_plugin_that_fails_is_seen_with_why() {
    let Some(desk) = Desk::new() else { return };
    let section = hostile(&desk.file, "fault = \"error\"\nat = \"start\"");
    desk.agent.configure("", &format!("{NODE}{section}"));
    desk.fails("reload-failed", 1, "gantry reload");
}

#[test]
fn an_upgrade_and_its_history_are_seen() {
    let Some(desk) = Desk::new() else { return };
    let (dir, well) = (desk.agent.dir.path(), desk.agent.dir.path().join("well"));
    let new = build(dir, "0.2.0");
    let upgrade = format!("gantry upgrade hostile {}", new.display());
    let table = format!("in_version = \"0.2.0\"\nfault = \"error\"\nat = \"start\"\nuntil = {well:?}");
    desk.agent.configure("", &format!("{NODE}{}", hostile(&desk.file, &table)));
    desk.agent.good(&["reload"]);
    desk.fails("upgrade-failed", 1, &upgrade);
    std::fs::write(&well, "").expect("own directory");
    desk.shows("upgrade", &upgrade);
    desk.shows("rollback", "gantry rollback hostile");
    desk.shows("history", "gantry history hostile --top 2");
    desk.fails("rollback-nothing", 1, "gantry rollback hostile");
}

#[test]
fn wrong_usage_is_one_line() {
    let Some(desk) = Desk::new() else { return };
    desk.fails("usage-no-command", 2, "gantry");
    desk.fails("usage-unknown", 2, "gantry plugin");
    desk.fails("usage-column", 2, "gantry plugins --sort heep");
    desk.fails("no-plugin", 1, "gantry show nod");
    desk.fails("no-view", 1, "gantry show node file-systems");
}

#[test]
fn a_table_is_drawn_again_until_ctrl_c() {
    let Some(desk) = Desk::new() else { return };
    desk.terminal.begin("gantry plugins --watch=100ms");
    let header = |screen: &str| screen.starts_with("NAME ") && screen.contains("hostile");
    let screen = desk.terminal.wait("the table", header);
    desk.is("watch", &screen);
    assert!(!desk.terminal.cursor(), "the cursor would jump about");
    desk.agent.good(&["disable", "hostile"]);
    desk.terminal.wait("the change", |screen| screen.contains("disabled"));
    desk.terminal.key("C-c");
    desk.terminal.end();
    assert!(desk.terminal.cursor(), "the terminal is given back as it was");
    assert_eq!(desk.terminal.exit_code(), "exit code 0");
}

#[test]
fn without_an_agent_it_is_said_where_none_is() {
    if !needs::program("tmux") {
        return;
    }
    let dir = private_dir();
    let state = dir.path().join("state").display().to_string();
    let terminal = Terminal::new(&["--state-dir", &state]);
    is("no-agent", &terminal.run("gantry plugins"), dir.path());
    assert_eq!(terminal.exit_code(), "exit code 2");
}

#[test]
fn an_agent_runs_in_a_terminal_and_ends_with_ctrl_c() {
    if !needs::program("tmux") {
        return;
    }
    let dir = private_dir();
    let config = write_config(dir.path(), &format!("[host]\nlisten = \"127.0.0.1:0\"\n{NODE}"));
    let state = dir.path().join("state").display().to_string();
    let terminal = Terminal::new(&["--config", &config.display().to_string(), "--state-dir", &state]);
    is("check", &terminal.run("gantry check"), dir.path());
    terminal.begin("gantry run");
    terminal.wait("the start", |screen| screen.contains("enabled plugins are running"));
    terminal.key("C-c");
    is("run", &terminal.end(), dir.path());
    assert_eq!(terminal.exit_code(), "exit code 0");
    write_config(dir.path(), "[host]\nlisten = \"nowhere\"\n[plugins.node]\nenabld = true\n");
    is("check-problems", &terminal.run("gantry check"), dir.path());
    assert_eq!(terminal.exit_code(), "exit code 1");
}

/// Blocks of the guide are marked with the golden text that they show.
#[test]
fn the_guide_shows_what_the_terminal_shows() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operators.md");
    let guide = std::fs::read_to_string(&path).expect("the guide is there");
    let (mut shown, mut whole) = (Vec::new(), String::new());
    let mut parts = guide.split("<!-- golden: ");
    whole.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (name, rest) = part.split_once(" -->\n```text\n").expect("a block follows its mark");
        let (_, rest) = rest.split_once("```\n").expect("a block ends");
        let golden = std::fs::read_to_string(goldens().join(format!("{name}.txt"))).expect(name);
        whole.push_str(&format!("<!-- golden: {name} -->\n```text\n{golden}```\n{rest}"));
        shown.push(name.to_owned());
    }
    if bless() && whole != guide {
        std::fs::write(&path, &whole).expect("the guide can be written");
    } else {
        assert!(whole == guide, "docs/operators.md shows other texts; GANTRY_BLESS=1 writes them anew");
    }
    let texts = std::fs::read_dir(goldens()).expect("the golden texts are there");
    let mut missing: Vec<String> = texts
        .filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_str()?.to_owned()))
        .filter(|name| !shown.contains(name))
        .collect();
    missing.sort();
    assert!(missing.is_empty(), "not in docs/operators.md: {missing:?}");
}
