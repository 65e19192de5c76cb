//! Clients of the control socket that misbehave: commands and scrapes go on.

mod support;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use support::agent::{Agent, gantry, said, sample};
use support::commands::{raw, request};
use support::http::PATIENCE;

const NODE: &str = "[plugins.node]\nenabled = true\n";

fn scrapes(agent: &Agent) {
    assert!(sample(&agent.scrape(), "node_uptime_seconds").is_some());
}

#[test]
fn garbage_costs_its_connection_alone() {
    let agent = Agent::start(NODE);
    for garbage in [
        &b"\x00\x01\x02\x03\r\n\r\n"[..],
        b"\xff\xfe\xff\xfe\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /v1/plugins\r\n\r\n",
        b"GET /v1/plugins HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /v1/reload HTTP/1.1\r\nHost: t\r\nContent-Length: x\r\n\r\n",
        b"{\"jsonrpc\": \"2.0\"}\n\n",
        b"GET /v1/plugins/\xc3\x28/views HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
        b"GET /v1/../../../etc/passwd HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
    ] {
        // An answer that says no, or none.
        if let Ok(answer) = raw(&agent.socket(), garbage) {
            assert!(answer.status >= 400, "{garbage:?}: {}", answer.head);
        }
        assert_eq!(agent.row("node")["state"], "running");
    }
    scrapes(&agent);
}

#[test]
fn names_in_a_request_are_names_and_not_paths() {
    let agent = Agent::start(NODE);
    for path in [
        "/v1/plugins/..%2f..%2fx/views",
        "/v1/plugins//views",
        "/v1/plugins/node/views/%1b[2J",
        "/v1/plugins/node/views/../../x",
    ] {
        let answer = request(&agent.socket(), "GET", path);
        assert_eq!(answer.status, 404, "{path}");
        assert!(!answer.text().contains('\u{1b}'), "{}", answer.text());
    }
    let before = std::fs::read(agent.config()).expect("own file");
    for name in ["..%2fx", "x%0ay", "A", "[x]", "node%20"] {
        let answer = request(&agent.socket(), "POST", &format!("/v1/plugins/{name}/enable"));
        assert!(answer.status >= 400, "{name}: {}", answer.text());
        let answer = request(&agent.socket(), "POST", &format!("/v1/plugins/{name}/enable?until_restart"));
        assert!(answer.status >= 400, "{name}: {}", answer.text());
    }
    assert_eq!(std::fs::read(agent.config()).expect("own file"), before);
    assert_eq!(agent.table(&["plugins"]).len(), 1);
}

#[test]
fn a_head_of_a_gibibyte_is_not_read() {
    let agent = Agent::start(NODE);
    let before = agent.resident();
    for begin in [&b"GET /v1/"[..], b"GET /v1/plugins HTTP/1.1\r\nX: "] {
        let mut stream = UnixStream::connect(agent.socket()).expect("it listens");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.write_all(begin).expect("it takes a part");
        let chunk = vec![b'x'; 1 << 20];
        let sent = (0..1024).take_while(|_| stream.write_all(&chunk).is_ok()).count();
        assert!(sent < 16, "{sent} MiB were read");
        // The answer may be lost to the end of the connection that follows it.
        let _ = stream.read_to_end(&mut Vec::new());
    }
    assert_eq!(agent.row("node")["state"], "running");
    scrapes(&agent);
    let grown = agent.resident().saturating_sub(before);
    assert!(grown < 32 << 10, "{grown} KiB more");
}

#[test]
fn a_body_that_nobody_wants_is_not_read() {
    let agent = Agent::start(NODE);
    // What a reload and a scrape need by themselves.
    agent.good(&["reload"]);
    scrapes(&agent);
    let before = agent.resident();
    for length in ["Content-Length: 1073741824", "Transfer-Encoding: chunked"] {
        let mut stream = UnixStream::connect(agent.socket()).expect("it listens");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let head = format!("POST /v1/reload HTTP/1.1\r\nHost: t\r\n{length}\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("it takes the head");
        let chunk = vec![b'x'; 1 << 20];
        let sent = (0..1024).take_while(|_| stream.write_all(&chunk).is_ok()).count();
        assert!(sent < 16, "{sent} MiB were read");
    }
    assert_eq!(agent.row("node")["state"], "running");
    scrapes(&agent);
    let grown = agent.resident().saturating_sub(before);
    assert!(grown < 32 << 10, "{grown} KiB more");
}

/// A connection that the kernel takes now, or none: its queue is full.
fn knock(socket: &Path) -> Option<UnixStream> {
    let address = SocketAddrUnix::new(socket).expect("a short path");
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let client = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).expect("a descriptor");
    connect(&client, &address).ok()?;
    Some(UnixStream::from(client))
}

#[test]
fn half_requests_give_their_places_back() {
    let agent = Agent::start(NODE);
    // Twice as many as there are places.
    let held: Vec<UnixStream> = (0..128)
        .map(|at| {
            let mut stream = UnixStream::connect(agent.socket()).expect("it listens");
            if at % 2 == 0 {
                stream.write_all(b"GET /v1/plugins HTTP/1.1\r\nHo").expect("it takes a part");
            }
            stream
        })
        .collect();
    scrapes(&agent);
    assert_eq!(agent.row("node")["state"], "running", "asked behind all of them");
    for mut stream in held {
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        // The agent closes it, with or without an answer, before our patience ends.
        let ended = stream.read_to_end(&mut Vec::new());
        let timed_out = |error: &std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
        assert!(!ended.as_ref().is_err_and(timed_out), "{ended:?}");
    }
}

#[test]
fn commands_are_answered_beside_connections_that_ask_nothing() {
    let agent = Agent::start(NODE);
    let mut held: Vec<UnixStream> = Vec::new();
    for at in 0..2000 {
        let mut stream = UnixStream::connect(agent.socket()).expect("it listens");
        if at % 2 == 0 {
            stream.write_all(b"GET /v1/plugins HTTP/1.1\r\nHo").expect("it takes a part");
        }
        held.push(stream);
        if at % 100 == 99 {
            assert_eq!(agent.row("node")["state"], "running", "after {at}");
        }
    }
    scrapes(&agent);
}

#[test]
fn ten_thousand_connections_hold_up_neither_commands_nor_scrapes() {
    let agent = Agent::start(NODE);
    scrapes(&agent);
    let before = agent.resident();
    let mut knocked = 0;
    while knocked < 10_000 {
        let mut held = Vec::new();
        for at in 0..1000 {
            // A queue that is full keeps us out, as it should.
            let Some(mut stream) = knock(&agent.socket()) else { continue };
            let sent: &[u8] = match at % 4 {
                0 => b"",
                1 => b"GET /v1/plug",
                2 => b"GET /v1/plugins HTTP/1.1\r\nHost: t\r\n\r\n",
                _ => b"\x00\xff\r\n\r\n",
            };
            // The agent may have closed it by now.
            let _ = stream.write_all(sent);
            held.push(stream);
        }
        knocked += 1000;
        scrapes(&agent);
        drop(held);
        assert_eq!(agent.row("node")["state"], "running", "after {knocked}");
    }
    scrapes(&agent);
    let grown = agent.resident().saturating_sub(before);
    assert!(grown < 32 << 10, "{grown} KiB more");
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", agent.pid())).expect("it runs").count();
    assert!(descriptors < 128, "{descriptors} descriptors");
}

#[test]
fn a_command_waits_for_its_turn_where_the_queue_is_full() {
    let agent = Agent::start(NODE);
    // It takes what comes at once, unless it is kept from it.
    agent.signal(Signal::STOP);
    let held: Vec<UnixStream> = std::iter::from_fn(|| knock(&agent.socket())).take(5000).collect();
    assert!(held.len() < 5000, "the queue has an end");
    let mut command = gantry()
        .args(["plugins", "--socket"])
        .arg(agent.socket())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    // It sleeps in its event loop: it has knocked.
    let knocked = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let sleeps = stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" S"));
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let mut links = descriptors.filter_map(|entry| entry.path().read_link().ok());
        sleeps && links.any(|link| link.to_string_lossy().contains("eventpoll"))
    };
    while command.try_wait().expect("it is ours").is_none() && !knocked(command.id()) {
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
    agent.signal(Signal::CONT);
    scrapes(&agent);
    let output = command.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    drop(held);
}
