//! What the linter of Prometheus and Python's strict parsers say of what is
//! served, for the files of tests that have `support` beside this.

use super::support::agent::{Agent, said};
use super::support::cgroup::Cgroup;
use super::support::http::get_with;
use super::support::series::scrape_until;
use super::support::{copy_to, library, needs, private_dir};
use std::io::Write;
use std::process::{Command, Stdio};

pub fn hostile(dir: &std::path::Path, emit: &str) -> String {
    let library = copy_to(dir, &library("hostile"));
    format!(
        "[plugins.node]\nenabled = true\n[plugins.hostile]\nenabled = true\npath = {library:?}\n\
         isolation = \"none\"\nconfig.emit = \"{emit}\"\n"
    )
}

/// Lines of the linter that names kept for compatibility cause.
fn known(line: &str) -> bool {
    // None so far; upstream's histograms that end in _total will come here.
    line.trim().is_empty()
}

#[test]
fn the_linter_of_prometheus_has_nothing_to_say() {
    if !needs::program("promtool") {
        return;
    }
    let agent = Agent::start("[plugins.node]\nenabled = true\n");
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    promtool.stdin.take().expect("piped").write_all(agent.scrape().as_bytes()).expect("it reads");
    let output = promtool.wait_with_output().expect("it ends");
    let said = said(&output);
    let complaints: Vec<_> = said.lines().filter(|line| !known(line)).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn strict_parsers_accept_both_formats() {
    if !needs::python_module("prometheus_client") {
        return;
    }
    let dir = private_dir();
    let plugins = hostile(dir.path(), "numbers");
    let agent = Agent::start_in(dir, "", &plugins);
    for (accept, counted, lines) in parsed(&agent, "sum(len(f.samples) for f in p(sys.stdin.read()))") {
        assert_eq!(counted.parse(), Ok(lines), "{accept}");
    }
}

#[test]
fn strict_parsers_read_a_container_s_odd_name_as_it_is() {
    if !needs::python_module("prometheus_client") {
        return;
    }
    let Some(_may) = Cgroup::new() else { return };
    let name = format!("we\"b\\n\\é{{}},=-{}", std::process::id());
    let cgroup = Cgroup::at(&format!("/lxc.payload.{name}"));
    let _member = cgroup.spawn(&["sleep", "1000"]);
    let agent = Agent::start_in(
        private_dir(),
        "[host.identity]\nmin_container_age = \"0s\"\nmetadata_wait = \"0s\"",
        "[plugins.containers]\nenabled = true\n",
    );
    let family = "container_resources_cpu_usage_seconds";
    scrape_until(&agent, "it is shown", |text| {
        text.lines().any(|line| line.starts_with(family) && line.contains("/lxc/we"))
    });
    let script = "[s.labels['container_id'].encode().hex() for f in p(sys.stdin.read()) for s in f.samples \
                  if s.name == 'container_resources_cpu_usage_seconds_total' \
                  and s.labels['container_id'].startswith('/lxc/we')]";
    let id: String = format!("/lxc/{name}").bytes().map(|byte| format!("{byte:02x}")).collect();
    for (accept, found, _) in parsed(&agent, script) {
        assert_eq!(found, format!("['{id}']"), "{accept}");
    }
}

/// What Python's strict parsers make of both formats: the value of an expression
/// over the families of `p(sys.stdin.read())`, and how many samples the text has.
fn parsed(agent: &Agent, expression: &str) -> Vec<(&'static str, String, usize)> {
    let open = format!(
        "import sys; from prometheus_client.openmetrics.parser import text_string_to_metric_families as p; \
         print({expression})"
    );
    let mut all = Vec::new();
    let text = open.replace("openmetrics.", "");
    for (script, accept) in [(&open, "application/openmetrics-text;version=1.0.0"), (&text, "text/plain")] {
        let answer = get_with(agent.address, "/metrics", &[&format!("Accept: {accept}")]);
        let mut python = Command::new("/usr/bin/python3")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("python starts");
        python.stdin.take().expect("piped").write_all(&answer.body).expect("it reads");
        let output = python.wait_with_output().expect("it ends");
        let said = said(&output);
        assert!(output.status.success(), "{accept}: {said}");
        let lines = answer.text().lines().filter(|line| !line.starts_with('#')).count();
        all.push((accept, said.trim().to_owned(), lines));
    }
    all
}
