//! Against a socket that plays systemd.

use super::*;
use crate::logging::tests::logged;

/// A manager's socket, and the name that the environment would have.
fn manager(abstract_name: bool) -> (UnixDatagram, OsString, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("notify");
    let (address, name) = if abstract_name {
        let name = path.as_os_str().as_bytes();
        let mut with_at = b"@".to_vec();
        with_at.extend(name);
        let address = SocketAddr::from_abstract_name(name).expect("short");
        (address, OsStr::from_bytes(&with_at).to_owned())
    } else {
        (SocketAddr::from_pathname(&path).expect("short"), path.into_os_string())
    };
    let socket = UnixDatagram::bind_addr(&address).expect("a free name");
    socket.set_nonblocking(true).expect("a flag");
    (socket, name, dir)
}

/// What was sent; it is there at once, or never.
fn heard(manager: &UnixDatagram) -> String {
    let mut buffer = [0; 4096];
    let size = manager.recv(&mut buffer).expect("a message");
    String::from_utf8(buffer[..size].to_vec()).expect("text")
}

#[test]
fn each_state_is_told_at_sockets_of_both_kinds() {
    for kind in [false, true] {
        let (manager, name, _dir) = manager(kind);
        let notifier = Notifier::new(Some(&name), Some(Duration::from_secs(30)));
        notifier.ready("3 plugins run");
        assert_eq!(heard(&manager), "READY=1\nSTATUS=3 plugins run");
        notifier.alive();
        assert_eq!(heard(&manager), "WATCHDOG=1");
        notifier.status("2 of 3 plugins run");
        assert_eq!(heard(&manager), "STATUS=2 of 3 plugins run");
        notifier.stopping();
        assert_eq!(heard(&manager), "STOPPING=1");
        assert_eq!(notifier.watchdog_interval(), Some(Duration::from_secs(15)));
        assert_eq!(manager.recv(&mut [0; 16]).expect_err("no more").kind(), io::ErrorKind::WouldBlock);
    }
}

#[test]
fn a_reload_carries_the_time_of_systemds_clock() {
    let (manager, name, _dir) = manager(false);
    let now = || {
        let now = clock_gettime(ClockId::Monotonic);
        i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000
    };
    let before = now();
    Notifier::new(Some(&name), None).reloading();
    let heard = heard(&manager);
    let time = heard.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("both in one message");
    let time: i128 = time.parse().expect("a number");
    assert!((before..=now()).contains(&time), "{before} {time}");
}

#[test]
fn a_status_is_one_line_and_bounded() {
    let (manager, name, _dir) = manager(false);
    let notifier = Notifier::new(Some(&name), None);
    notifier.status("a\nREADY=1\u{1b}[2J é");
    assert_eq!(heard(&manager), "STATUS=a\\nREADY=1\\u{1b}[2J é");
    for long in ["é".repeat(10_000), "\n".repeat(10_000), format!("{}€", "x".repeat(MAX_STATUS - 1))] {
        notifier.ready(&long);
        let heard = heard(&manager);
        assert!(heard.len() < MAX_STATUS + 32 && heard.ends_with('…'), "{}", heard.len());
        assert_eq!(heard.lines().count(), 2);
    }
}

#[test]
fn the_watchdog_is_for_the_process_that_is_named() {
    let of = |micros: Option<&str>, pid: Option<&str>| {
        watchdog(micros.map(OsString::from), pid.map(OsString::from), 42)
    };
    let half_minute = Some(Duration::from_secs(30));
    assert_eq!(of(Some("30000000"), None), half_minute);
    assert_eq!(of(Some("30000000"), Some("42")), half_minute);
    assert_eq!(of(Some("30000000"), Some("43")), None);
    assert_eq!(of(Some("30000000"), Some("x")), None);
    for bad in [None, Some("0"), Some("-5"), Some("soon"), Some("99999999999999999999999")] {
        assert_eq!(of(bad, None), None);
    }
}

#[test]
fn a_manager_that_is_not_there_is_said_once_and_harms_nobody() {
    let (manager, name, dir) = manager(false);
    let log = logged(|| {
        let notifier = Notifier::new(Some(&name), None);
        drop((manager, dir));
        notifier.ready("up");
        notifier.alive();
        notifier.stopping();
    });
    assert_eq!(log.matches("could not be told").count(), 1, "{log}");
    assert!(log.contains("WARN") && log.contains("NOTIFY_SOCKET"), "{log}");
    let none = logged(|| Notifier::new(None, None).ready("up"));
    assert_eq!(none, "");
    for odd in ["vsock:2:1234", "relative", &format!("/{}", "x".repeat(200))] {
        let log = logged(|| Notifier::new(Some(OsStr::new(odd)), None).ready("up"));
        assert_eq!(log.matches("could not be told").count(), 1, "{odd}: {log}");
    }
}

#[test]
fn a_manager_that_reads_nothing_does_not_hold_the_agent() {
    let (_manager, name, _dir) = manager(false);
    let log = logged(|| {
        let notifier = Notifier::new(Some(&name), None);
        // Until its queue is full; how much it holds is the kernel's affair.
        while !notifier.failed.load(Relaxed) {
            notifier.alive();
        }
    });
    assert_eq!(log.matches("could not be told").count(), 1, "{log}");
}

#[test]
fn a_child_is_started_without_what_is_said_to_the_agent() {
    let mut command = Command::new("true");
    withhold(&mut command);
    let removed: Vec<_> =
        command.get_envs().filter(|(_, value)| value.is_none()).map(|(name, _)| name).collect();
    assert!(ENVIRONMENT.iter().all(|name| removed.contains(&OsStr::new(name))), "{removed:?}");
}
