//! Commands that ask a running agent: their answers, errors and exit codes.

mod support;

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use support::agent::{Agent, gantry, said};
use support::commands::{hostile, request};
use support::{copy_to, library, private_dir};

const NODE: &str = "[plugins.node]\nenabled = true\n";

/// An agent with `node` and the fixture.
fn both() -> Agent {
    let dir = private_dir();
    let file = copy_to(dir.path(), &library("hostile"));
    let plugins = format!("{NODE}{}", hostile(&file, ""));
    Agent::start_in(dir, "", &plugins)
}

#[test]
fn tables_are_given_to_people_and_to_programs() {
    let agent = both();
    agent.scrape();
    let plugins = agent.good(&["plugins"]);
    let mut lines = plugins.lines();
    assert!(
        lines.next().is_some_and(|header| header.starts_with("NAME     VERSION  API  STATE")),
        "{plugins}"
    );
    assert!(
        lines.next().is_some_and(|row| row.starts_with("node     ") && row.contains("running")),
        "{plugins}"
    );
    let rows = agent.table(&["plugins"]);
    let names: Vec<_> = rows.iter().map(|row| row["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["node", "hostile"], "the order is the file's");
    assert!(rows[0]["series"].as_f64().is_some_and(|series| series > 10.0), "{rows:?}");
    assert!(rows[0]["heap"].as_f64().is_some_and(|bytes| bytes > 0.0), "{rows:?}");
    let sorted = agent.table(&["plugins", "--sort", "name", "--top", "1"]);
    assert_eq!((sorted.len(), &sorted[0]["name"]), (1, &"hostile".into()));
    assert_eq!(agent.table(&["plugins", "--where", "state=failed"]).len(), 0);
    let none = agent.good(&["containers", "--where", "runtime=none"]);
    // Whether the machine has containers is its own affair.
    let answers = ["no rows in containers\n", "none of ", "the only row is not "];
    assert!(answers.iter().any(|answer| none.starts_with(answer)), "{none:?}");
    let views = agent.table(&["show", "node"]);
    assert!(views.iter().any(|view| view["view"] == "filesystems"), "{views:?}");
    let state = agent.table(&["show", "hostile", "state"]);
    assert_eq!(state[0]["fault"], "None\u{1b}[31m");
    assert_eq!(state[0]["collections"], 1.0);
    let shown = agent.good(&["show", "hostile", "state"]);
    assert!(shown.contains("None\\u{1b}[31m") && !shown.contains('\u{1b}'), "{shown:?}");
}

#[test]
fn series_are_unknown_before_the_first_scrape_as_heap_is() {
    let agent = both();
    for known in [false, true] {
        for row in agent.table(&["plugins"]) {
            assert_eq!((row["series"].is_number(), row["heap"].is_number()), (known, known), "{row}");
        }
        agent.scrape();
    }
}

#[test]
fn changes_say_what_was_done() {
    let agent = both();
    for (command, answer) in [
        (&["reload"][..], "the configuration is in force; nothing differed\n"),
        (&["restart", "hostile"], "hostile: running (0.1.0)\n"),
        (&["disable", "hostile"], "hostile: disabled\n"),
        (&["disable", "hostile"], "hostile: disabled, as it was already\n"),
        (&["enable", "hostile"], "hostile: running (0.1.0)\n"),
        (&["enable", "hostile"], "hostile: enabled, as it was already\n"),
        (&["log-level", "debug"], "all: logs from debug on, until the agent ends or host.log changes\n"),
        (
            &["log-level", "node", "error"],
            "node: logs from error on, until the agent ends or host.log changes\n",
        ),
    ] {
        assert_eq!(agent.good(command), answer, "{command:?}");
    }
}

#[test]
fn what_cannot_be_is_one_line_with_the_remedy_and_exit_code_1() {
    let agent = both();
    agent.good(&["disable", "hostile"]);
    for (command, what, remedy) in [
        (&["show", "nod"][..], "there is no plugin \"nod\"", "did you mean \"node\"?"),
        (
            &["show", "node", "file-systems"],
            "node has no view \"file-systems\"",
            "did you mean \"filesystems\"?",
        ),
        (&["show", "hostile", "state"], "hostile is disabled", ""),
        (&["restart", "nod"], "there is no plugin \"nod\"", "there are: node, hostile"),
        (&["restart", "hostile"], "hostile is disabled", "`gantry enable hostile` starts it"),
        (
            &["enable", "no-such"],
            "libgantry_no_such.so is in none of",
            "install it there, or name it with path",
        ),
        (&["disable", "no-such"], "there is no plugin \"no-such\"", "there are: node"),
        (&["disable", "nod"], "there is no plugin \"nod\"", "did you mean \"node\"?"),
        (&["once", "nod"], "there is no plugin \"nod\"; there are: node, hostile", "did you mean \"node\"?"),
        (&["disable", "no-such", "--until-restart"], "there is no plugin \"no-such\"", "there are: node"),
        (
            &["log-level", "nod", "debug"],
            "there is no plugin \"nod\"",
            "there are: node, hostile; did you mean \"node\"?",
        ),
    ] {
        let error = agent.bad(1, command);
        assert_eq!(error.lines().count(), 1, "{command:?}: {error}");
        assert!(error.starts_with("gantry: "), "{command:?}: {error}");
        assert!(error.contains(what) && error.contains(remedy), "{command:?}: {error}");
    }
    assert_eq!(agent.state("node").0, "running");
}

#[test]
fn wrong_usage_is_one_line_that_names_what_is_wrong_and_exit_code_2() {
    let agent = both();
    for (command, what) in [
        (&["plugins", "--sort", "heep"][..], "did you mean \"heap\"?"),
        (&["plugins", "--where", "series=many"], "\"many\" is nothing that column series holds"),
        (&["plugins", "--top", "0"], "above 0"),
        (&["show"], "<PLUGIN>"),
        (&["show", "../x"], "\"../x\" is no plugin's name"),
        (&["show", "node", "a view"], "\"a view\" is no view's name"),
        (&["enable"], "<PLUGIN>"),
        (&["reload", "node"], "'node'"),
        (&["log-level"], "LEVEL"),
        (&["log-level", "loud"], "off, error, warn, info, debug, trace"),
        (&["log-level", "node", "loud"], "off, error, warn, info, debug, trace"),
        (&["log-level", "DEBUG"], "; did you mean \"debug\"?"),
        (&["once", "node", "--for", "0"], "above zero"),
        (&["once", "node", "--for", "soon"], "500ms"),
        (&["plugins", "--watch=0.5"], "500ms"),
    ] {
        let error = agent.bad(2, command);
        assert_eq!(error.lines().count(), 1, "{command:?}: {error}");
        assert!(error.contains(what), "{command:?}: {error}");
    }
}

/// Asks at a socket of the test's.
fn plugins_at(socket: &std::path::Path) -> (Option<i32>, String) {
    let output = gantry().arg("plugins").arg("--socket").arg(socket).output().expect("it runs");
    assert_eq!(said(&output).lines().count(), 1, "{}", said(&output));
    (output.status.code(), said(&output))
}

#[test]
fn where_no_agent_answers_the_exit_code_is_2() {
    let dir = private_dir();
    let (code, error) = plugins_at(&dir.path().join("gantry.sock"));
    assert_eq!(code, Some(2));
    assert!(error.contains("no agent answers at") && error.contains("start it with `gantry run`"), "{error}");
    let file = dir.path().join("file");
    std::fs::write(&file, b"").expect("temporary file");
    let (code, error) = plugins_at(&file);
    assert_eq!(code, Some(2));
    assert!(error.contains("no agent answers at"), "{error}");
    for command in
        [&["reload"][..], &["show", "node"], &["enable", "node"], &["log-level", "info"], &["containers"]]
    {
        let output = gantry().args(command).arg("--state-dir").arg(dir.path()).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{command:?}: {}", said(&output));
    }
}

/// One answer at a socket of the test's, whatever is asked.
fn answering(
    answer: &'static [u8],
    ask: impl FnOnce(&std::path::Path) -> (Option<i32>, String),
) -> (i32, String) {
    let dir = private_dir();
    let socket = dir.path().join("gantry.sock");
    let listener = UnixListener::bind(&socket).expect("temporary directory");
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody asks");
        let mut request = [0; 4096];
        let read = stream.read(&mut request).expect("a request");
        // Whoever has heard enough has gone.
        let _ = stream.write_all(answer);
        String::from_utf8_lossy(&request[..read]).into_owned()
    });
    let (code, said) = ask(&socket);
    let request = server.join().expect("no panic");
    assert!(request.starts_with("GET /v1/plugins HTTP/1.1\r\n"), "{request}");
    (code.expect("it was not killed"), said)
}

#[test]
fn a_socket_of_something_else_is_told_from_an_agent() {
    for answer in [
        &b"SSH-2.0-OpenSSH_9.6\r\n"[..],
        b"",
        b"\xff\xfe\x00",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nGantry-Version: 0.1.0\r\nContent-Length: 5\r\n\r\n[1,2]",
        b"HTTP/1.1 200 OK\r\nGantry-Version: 0.1.0\r\nContent-Length: 500\r\n\r\n{\"view\"",
    ] {
        let (code, error) = answering(answer, plugins_at);
        assert_eq!(code, 2, "{error}");
        let closed =
            answer.is_empty() && error.contains("ended, or closed the connection, before it answered");
        let odd = error.starts_with("gantry: the answer at ") && error.contains("makes no sense");
        assert!(odd || closed, "{error}");
    }
}

#[test]
fn an_agent_of_another_version_says_so() {
    // What a newer agent may answer: the form of a refusal is what stays.
    let newer = b"HTTP/1.1 404 Not Found\r\nGantry-Version: 9.0.0\r\nContent-Length: 62\r\n\r\n\
                  {\"error\":[\"this agent is gantry 9.0.0 and speaks v9, not v1\"]}";
    let (code, error) = answering(newer, plugins_at);
    assert_eq!((code, error.as_str()), (1, "gantry: this agent is gantry 9.0.0 and speaks v9, not v1\n"));
}

#[test]
fn a_command_of_another_version_gets_a_clear_answer() {
    let agent = Agent::start(NODE);
    let socket = agent.socket();
    for version in ["v0", "v9", "v2"] {
        let answer = request(&socket, "GET", &format!("/{version}/plugins"));
        assert_eq!(answer.status, 404);
        assert_eq!(answer.header("gantry-version"), Some(env!("CARGO_PKG_VERSION")));
        let refusal: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        let expected = format!(
            "this agent is gantry {} and speaks control protocol v1, not {version}; use the gantry of its version",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(refusal["error"], serde_json::json!([expected]));
    }
    for (method, path) in
        [("POST", "/v1/upgrade"), ("GET", "/v1/reload"), ("DELETE", "/v1/plugins"), ("GET", "/v1")]
    {
        let answer = request(&socket, method, path);
        assert_eq!(answer.status, 404, "{method} {path}");
        assert!(answer.text().contains("use the gantry of this agent's version"), "{}", answer.text());
    }
    for (method, path) in [("POST", "/metrics"), ("GET", "/"), ("GET", "/V1/plugins"), ("GET", "/vx")] {
        let answer = request(&socket, method, path);
        assert_eq!(answer.status, 404, "{method} {path}");
        assert!(
            answer.text().contains(&format!("there is no {path} on the control socket")),
            "{}",
            answer.text()
        );
    }
    assert_eq!(request(&socket, "GET", "/v1/plugins").status, 200);
}

#[test]
fn a_wrong_log_level_is_a_bad_request() {
    let agent = Agent::start(NODE);
    for (query, what) in [
        ("level=loud", "the levels are off"),
        ("level=DEBUG", "did you mean \\\"debug\\\""),
        ("plugin=node", "lacks ?level=LEVEL"),
        ("", "takes ?level=LEVEL"),
    ] {
        let answer = request(&agent.socket(), "POST", &format!("/v1/log-level?{query}"));
        assert_eq!(answer.status, 400, "{query}: {}", answer.text());
        assert!(answer.text().contains(what), "{query}: {}", answer.text());
    }
    assert_eq!(request(&agent.socket(), "POST", "/v1/log-level?plugin=nod&level=info").status, 404);
}

#[test]
fn what_cannot_be_printed_is_no_success() {
    let agent = Agent::start(NODE);
    for arguments in [&["reload"][..], &["check"], &["plugins"], &["--help"], &["--version"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("it is there");
        let mut command = gantry();
        command.args(arguments).arg("--config").arg(agent.config()).arg("--socket").arg(agent.socket());
        let output = command.stdout(full).output().expect("it runs");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", said(&output));
        assert!(said(&output).starts_with("gantry: standard output: "), "{arguments:?}: {}", said(&output));
    }
}

#[test]
fn a_socket_s_path_that_is_too_long_is_one_line_at_both_ends() {
    let long = std::path::PathBuf::from(format!("/tmp/{}.sock", "x".repeat(120)));
    let expected = format!(
        "the control socket's path has 130 bytes and may have 107; name a shorter one with --socket: {}",
        long.display()
    );
    assert_eq!(plugins_at(&long), (Some(2), format!("gantry: {expected}\n")));
    let mut command = gantry();
    command.arg("--socket").arg(&long);
    let mut agent = Agent::start_by(command, support::private_dir(), "", NODE);
    let line = agent.wait_for_log("no control socket");
    assert!(line.ends_with(&format!("no control socket: {expected}")), "{line}");
}

#[test]
fn a_request_that_is_misspelt_edits_nothing() {
    let agent = Agent::start(NODE);
    let before = std::fs::read(agent.config()).expect("own file");
    for query in ["until-restart", "until_restart=1", "until_restart&x", "x"] {
        let answer = request(&agent.socket(), "POST", &format!("/v1/plugins/node/disable?{query}"));
        assert_eq!(answer.status, 400, "{query}: {}", answer.text());
        assert!(answer.text().contains("only ?until_restart is known here"), "{}", answer.text());
    }
    assert_eq!(agent.state("node").0, "running");
    for query in ["until_restart", "until_restart="] {
        let answer = request(&agent.socket(), "POST", &format!("/v1/plugins/node/disable?{query}"));
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    }
    assert_eq!(agent.state("node").0, "disabled");
    assert_eq!(std::fs::read(agent.config()).expect("own file"), before);
}

#[test]
fn a_command_about_another_configuration_is_refused() {
    let agent = Agent::start("");
    let other = private_dir();
    let state = agent.dir.path().join("state");
    let ask = |config: &std::path::Path| {
        let mut command = gantry();
        command.args(["reload", "--config"]).arg(config).arg("--state-dir").arg(&state);
        command.output().expect("the host runs")
    };
    let output = ask(&other.path().join("plugins.toml"));
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("this agent runs with "), "{}", said(&output));
    assert!(said(&output).contains("name the socket of the other with --socket"), "{}", said(&output));
    // By another way to the same file.
    std::os::unix::fs::symlink(agent.config(), other.path().join("link.toml")).expect("own directory");
    assert!(ask(&other.path().join("link.toml")).status.success());
}

#[test]
fn what_no_agent_would_know_is_wrong_usage() {
    let agent = Agent::start("");
    for name in ["a.b", "../../x", "", "a b"] {
        assert!(agent.bad(2, &["enable", name]).contains("is no plugin's name"), "{name:?}");
    }
    assert!(agent.bad(1, &["disable", "nod"]).contains("there is no plugin \"nod\""));
}
