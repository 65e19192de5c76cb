//! `/-/healthy`, `/-/ready`, the landing page and views over HTTP.

mod support;

use support::agent::{Agent, gantry, sample};
use support::commands::{hostile, hostile_with};
use support::http::{PATIENCE, get};
use support::{copy_to, library, private_dir};

const NODE: &str = "[plugins.node]\nenabled = true\n";

/// The agent with the fixture, whose table may hold `until = FILE`.
fn with(keys: &str, table: impl Fn(&std::path::Path) -> String) -> (Agent, std::path::PathBuf) {
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("hostile"));
    let until = dir.path().join("mended");
    let plugins = format!("{NODE}{}", hostile_with(&file, keys, &table(&until)));
    (Agent::start_in(dir, "", &plugins), until)
}

/// Asks until the answer is that one.
fn becomes(agent: &Agent, status: u16, line: &str) {
    let until = std::time::Instant::now() + PATIENCE;
    loop {
        let answer = get(agent.address, "/-/ready");
        if answer.status == status && answer.text().lines().any(|said| said.starts_with(line)) {
            return;
        }
        assert!(std::time::Instant::now() < until, "{} {}", answer.status, answer.text());
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
}

#[test]
fn not_ready_while_a_plugin_starts_and_ready_when_it_has() {
    // Longer than the agent waits with its first scrape.
    let (agent, until) =
        with("deadline = \"10s\"", |until| format!("fault = \"hang\"\nat = \"start\"\nuntil = {until:?}"));
    let ready = get(agent.address, "/-/ready");
    assert_eq!((ready.status, ready.text()), (503, "node: running\nhostile: created\n"));
    let healthy = get(agent.address, "/-/healthy");
    assert_eq!((healthy.status, healthy.text()), (200, "healthy\nnode: running\nhostile: created\n"));
    assert!(sample(&agent.scrape(), "node_uptime_seconds").is_some(), "the others are served");
    std::fs::write(until, b"").expect("own directory");
    becomes(&agent, 200, "hostile: running");
}

#[test]
fn a_plugin_that_failed_is_known_and_stays_ready_through_its_waits() {
    let (agent, until) = with("", |until| format!("fault = \"error\"\nat = \"start\"\nuntil = {until:?}"));
    becomes(&agent, 200, "hostile: failed: an error on request in Start");
    assert_eq!(get(agent.address, "/-/healthy").status, 200, "a plugin is no reason");
    std::fs::write(until, b"").expect("own directory");
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let answer = get(agent.address, "/-/ready");
        assert_eq!(answer.status, 200, "{}", answer.text());
        if answer.text().contains("hostile: running") {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{}", answer.text());
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
}

#[test]
fn a_restart_on_request_is_waited_for() {
    let (agent, until) = with("deadline = \"10s\"", |until| {
        format!("fault = \"hang\"\nat = \"activate\"\nafter = 99\nuntil = {until:?}")
    });
    assert_eq!(get(agent.address, "/-/ready").status, 200);
    let file = agent.dir.path().join("libgantry_hostile.so");
    // Taken while it runs: it is the next instance that hangs.
    let hang = format!("applies = true\nfault = \"hang\"\nat = \"activate\"\nuntil = {until:?}");
    let section = hostile_with(&file, "deadline = \"10s\"", &hang);
    agent.configure("", &format!("{NODE}{section}"));
    agent.good(&["reload"]);
    let mut restart = gantry()
        .args(["restart", "hostile", "--socket"])
        .arg(agent.socket())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("it starts");
    becomes(&agent, 503, "hostile: ready");
    std::fs::write(until, b"").expect("own directory");
    assert!(restart.wait().expect("it ends").success());
    assert_eq!(get(agent.address, "/-/ready").status, 200);
}

#[test]
fn a_disabled_plugin_is_ready() {
    let agent = Agent::start("[plugins.node]\nenabled = false\n");
    let ready = get(agent.address, "/-/ready");
    assert_eq!((ready.status, ready.text()), (200, "node: disabled\n"));
    let agent = Agent::start("");
    assert_eq!(get(agent.address, "/-/ready").status, 200);
}

#[test]
fn the_landing_page_links_the_views_where_they_are_served() {
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("hostile"));
    let plugins = format!("{NODE}{}", hostile(&file, ""));
    let agent = Agent::start_in(dir, "", &plugins);
    let page = get(agent.address, "/");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    for link in [
        "/metrics",
        "/plugins",
        "/-/healthy",
        "/-/ready",
        "/plugins/hostile/state",
        "/plugins/node/filesystems",
    ] {
        assert!(page.text().contains(&format!("href=\"{link}\"")), "lacks {link}: {}", page.text());
        assert_eq!(get(agent.address, link).status, 200, "{link}");
    }
    let view = get(agent.address, "/plugins/hostile/state");
    assert_eq!(view.header("content-type"), Some("application/json"));
    let table: serde_json::Value = serde_json::from_slice(&view.body).expect("JSON");
    assert_eq!(table["view"], "state");
    assert_eq!(table["columns"][1]["kind"], "number");
    assert_eq!(table["rows"][0]["fault"], "None\u{1b}[31m");
    assert_eq!(get(agent.address, "/plugins/hostile/nothing").status, 404);
    assert_eq!(get(agent.address, "/plugins/nothing/state").status, 404);
}

#[test]
fn views_are_served_as_the_configuration_says() {
    for (host, status) in
        [("views = \"never\"", 403), ("views = \"always\"", 200), ("views = \"local\"", 200)]
    {
        let agent = Agent::start_in(private_dir(), host, NODE);
        let view = get(agent.address, "/plugins/node/filesystems");
        assert_eq!(view.status, status, "{host}: {}", view.text());
        let linked = get(agent.address, "/").text().contains("/plugins/node/filesystems");
        assert_eq!(linked, status == 200, "{host}");
        assert_eq!(agent.table(&["show", "node"]).len(), 3, "the control socket gives them");
    }
    // On all addresses others could ask.
    for (views, status) in [("local", 403), ("always", 200)] {
        let config =
            format!("[host]\nlisten = \"0.0.0.0:0\"\nlog_format = \"text\"\nviews = \"{views}\"\n{NODE}");
        let agent = Agent::start_over(gantry(), private_dir(), &config);
        let view = get(agent.address, "/plugins/node/filesystems");
        assert_eq!(view.status, status, "{views}: {}", view.text());
    }
}
