//! Clients that misbehave, and what is answered where.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Barrier};
use support::agent::{Agent, gantry, said, sample, write_config};
use support::http::{PATIENCE, get, get_with, raw, read};
use support::private_dir;

const NODE: &str = "[plugins.node]\nenabled = true\n";

#[test]
fn each_route_answers() {
    let agent = Agent::start(NODE);
    let landing = get(agent.address, "/");
    assert!(
        landing.text().contains("href=\"/metrics\"") && landing.text().contains("node"),
        "{}",
        landing.text()
    );
    assert_eq!(get(agent.address, "/-/healthy").status, 200);
    let ready = get(agent.address, "/-/ready");
    assert_eq!((ready.status, ready.text()), (200, "node: running\n"));
    let plugins = get(agent.address, "/plugins");
    assert_eq!(plugins.header("content-type"), Some("application/json"));
    assert_eq!(agent.state("node").0, "running");
    assert_eq!(get(agent.address, "/nothing").status, 404);
    for method in ["POST", "PUT", "DELETE"] {
        let request = format!("{method} /metrics HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
        assert_eq!(raw(agent.address, request.as_bytes()).expect("an answer").status, 405, "{method}");
    }
    let head = raw(agent.address, b"HEAD /metrics HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    let head = head.expect("an answer");
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[test]
fn formats_and_gzip_are_negotiated() {
    let agent = Agent::start(NODE);
    let text = get(agent.address, "/metrics");
    assert_eq!(text.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let prometheus = "Accept: application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                      application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,\
                      text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    let open = get_with(agent.address, "/metrics", &[prometheus]);
    assert_eq!(
        open.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert!(open.text().ends_with("# EOF\n"));
    let zipped = get_with(agent.address, "/metrics", &["Accept-Encoding: gzip"]);
    assert_eq!(zipped.header("content-encoding"), Some("gzip"));
    let mut unzipped = String::new();
    flate2::read::GzDecoder::new(&zipped.body[..]).read_to_string(&mut unzipped).expect("gzip");
    assert!(sample(&unzipped, "node_uptime_seconds").is_some());
    assert!(zipped.body.len() * 3 < unzipped.len());
}

#[test]
fn plugins_are_chosen_by_the_query() {
    let agent = Agent::start(NODE);
    let only = agent.scrape_of("?collect[]=node");
    assert!(sample(only.text(), "node_uptime_seconds").is_some());
    assert!(sample(only.text(), "gantry_build_info").is_none());
    let without = agent.scrape_of("?exclude[]=node");
    assert!(sample(without.text(), "node_uptime_seconds").is_none());
    assert!(sample(without.text(), "gantry_build_info").is_some());
    let unknown = get(agent.address, "/metrics?collect[]=nod");
    assert_eq!(unknown.status, 400);
    assert!(unknown.text().contains("there is no plugin \"nod\""));
    assert_eq!(get(agent.address, "/metrics?collect[]=node&exclude[]=node").status, 400);
}

#[test]
fn slow_heads_are_cut_off_and_hold_nobody_up() {
    let agent = Agent::start(NODE);
    let slow: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut stream = TcpStream::connect(agent.address).expect("it listens");
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: ").expect("it takes a part");
            stream
        })
        .collect();
    assert!(sample(&agent.scrape(), "node_uptime_seconds").is_some());
    for mut stream in slow {
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        // The server closes it, with or without an answer, before our patience ends.
        let ended = stream.read_to_end(&mut Vec::new());
        let timed_out = |error: &std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
        assert!(!ended.as_ref().is_err_and(timed_out), "{ended:?}");
    }
}

/// So many connections with a beginning of a request, or nothing at all.
fn held(agent: &Agent, count: usize, sent: &[u8]) -> Vec<TcpStream> {
    let connect = |_| {
        let mut stream = TcpStream::connect(agent.address).expect("it listens");
        stream.write_all(sent).expect("it takes a part");
        stream
    };
    (0..count).map(connect).collect()
}

#[test]
fn connections_that_ask_nothing_hold_no_scrape_up() {
    let agent = Agent::start(NODE);
    let mut all = Vec::new();
    for sent in [&b""[..], b"GET /metrics HTTP/1.1\r\nHost: "] {
        for _ in 0..20 {
            all.extend(held(&agent, 100, sent));
            // Without a place of its own it would not be there before our patience ends.
            assert!(sample(&agent.scrape(), "node_uptime_seconds").is_some());
        }
    }
    let closed = sample(&agent.scrape(), "gantry_connections_closed_total{door=\"http\",reason=\"room\"");
    assert!(closed.is_some_and(|closed| closed > 3000.0), "{closed:?}");
    drop(all);
}

#[test]
fn a_connection_that_is_answered_stays_when_others_come() {
    let agent = Agent::start(NODE);
    // An answer that is larger than what the kernel takes without a reader.
    let requests = [b"GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n".repeat(400), CLOSES.to_vec()].concat();
    let mut slow = TcpStream::connect(agent.address).expect("it listens");
    slow.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let mut sender = slow.try_clone().expect("a descriptor");
    let sending = std::thread::spawn(move || sender.write_all(&requests));
    let mut first = [0; 12];
    slow.read_exact(&mut first).expect("it is answered");
    let all = held(&agent, 1000, b"");
    assert!(sample(&agent.scrape(), "node_uptime_seconds").is_some());
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).expect("all answers");
    sending.join().expect("no panic").expect("it takes all requests");
    let answers = rest.windows(12).filter(|window| window == b"HTTP/1.1 200").count();
    assert_eq!(answers, 400, "the first one was read before");
    drop(all);
}

const CLOSES: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";

#[test]
fn a_thousand_scrapes_at_once_are_all_answered() {
    let agent = Agent::start(NODE);
    let address = agent.address;
    let (threads, each) = (50, 20);
    let barrier = Arc::new(Barrier::new(threads));
    let scrapers: Vec<_> = (0..threads)
        .map(|_| {
            let barrier = barrier.clone();
            std::thread::spawn(move || {
                barrier.wait();
                // Sent before any is read: all of them are there at once.
                let streams: Vec<TcpStream> = (0..each)
                    .map(|_| {
                        let mut stream = TcpStream::connect(address).expect("it listens");
                        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
                        let request = b"GET /metrics HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
                        stream.write_all(request).expect("it takes a request");
                        stream
                    })
                    .collect();
                streams
                    .into_iter()
                    .map(|stream| read(stream).expect("an answer").status)
                    .filter(|ok| *ok == 200)
                    .count()
            })
        })
        .collect();
    let answered: usize = scrapers.into_iter().map(|scraper| scraper.join().expect("no panic")).sum();
    assert_eq!(answered, threads * each);
}

#[test]
fn a_request_of_a_gibibyte_is_refused_unread() {
    let agent = Agent::start(NODE);
    for head in ["Content-Length: 1073741824", "Transfer-Encoding: chunked"] {
        let mut stream = TcpStream::connect(agent.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let request = format!("GET /metrics HTTP/1.1\r\nHost: t\r\n{head}\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it takes the head");
        // As much as it takes: it stops reading, and the connection breaks.
        let chunk = vec![b'x'; 1 << 20];
        let sent = (0..1024).take_while(|_| stream.write_all(&chunk).is_ok()).count();
        assert!(sent < 1024, "all of it was read");
        let mut answer = Vec::new();
        // The answer may be lost to the reset that follows it.
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 413") || answer.starts_with("HTTP/1.1 400"),
            "{answer}"
        );
    }
    let unread = raw(
        agent.address,
        b"GET /metrics HTTP/1.1\r\nHost: t\r\nContent-Length: 1073741824\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(unread.expect("an answer before the body").status, 413);
    let mut huge = format!("GET /metrics?{} HTTP/1.1\r\n\r\n", "x".repeat(1 << 20)).into_bytes();
    huge.extend_from_slice(b"\r\n");
    assert!(raw(agent.address, &huge).map_or(true, |answer| answer.status >= 400));
    assert!(sample(&agent.scrape(), "node_uptime_seconds").is_some());
}

#[test]
fn a_port_that_is_taken_is_named_and_nothing_is_started() {
    let agent = Agent::start(NODE);
    let dir = private_dir();
    let config = write_config(dir.path(), &format!("[host]\nlisten = \"{}\"\n{NODE}", agent.address));
    let state = dir.path().join("state");
    let output = gantry()
        .arg("run")
        .arg("--config")
        .arg(&config)
        .arg("--state-dir")
        .arg(&state)
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    assert!(
        said.contains(&format!("cannot listen at {}", agent.address)) && said.contains("choose another"),
        "{said}"
    );
    assert!(!state.join("store").exists(), "no plugin was loaded");
}
