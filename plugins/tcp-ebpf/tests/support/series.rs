//! What the series say of a destination, and waiting until they do.

use gantry_plugin_testkit::{Collected, Failure, Running};
use gantry_tcp_ebpf::reason::Reason;
use std::net::SocketAddr;

/// The value of a family for a destination; 0 where there is none.
pub fn of(collected: &Collected, family: &str, destination: &str) -> f64 {
    let series = format!("container_net_tcp_{family}{{destination={destination:?}}}");
    collected.find(&series).unwrap_or(0.0)
}

/// Connects, what is open, and bytes sent and received.
pub fn numbers(collected: &Collected, to: SocketAddr) -> [f64; 4] {
    ["successful_connects_total", "active_connections", "bytes_sent_total", "bytes_received_total"]
        .map(|family| of(collected, family, &to.to_string()))
}

/// Waits until these are the numbers of a destination: an event that another
/// processor is in the middle of keeps those behind it from one collection. And they
/// stay so: nothing comes twice.
#[track_caller]
pub fn until_numbers(running: &mut Running, to: SocketAddr, expected: [f64; 4]) {
    until(running, |collected| match numbers(collected, to) {
        all if all == expected => Ok(()),
        other => Err(format!("{to}: {other:?} and not {expected:?}")),
    });
    assert_eq!(numbers(&running.collect().expect("it collects"), to), expected, "{to}, a moment later");
}

/// How often a ledger is kept until nothing was lost while it was.
const ATTEMPTS: usize = 10;

/// What the programs themselves pass over (`recursion`) may be any of what a ledger has, and is nobody's
/// fault. So it is kept again until nothing was, and is compared exactly then. `attempt` says whether
/// it was exact; where it was not, that is for such a loss.
#[track_caller]
pub fn until_exact(mut attempt: impl FnMut() -> bool) {
    assert!((0..ATTEMPTS).any(|_| attempt()), "something was lost in each of {ATTEMPTS} attempts");
}

/// What the programs passed over. Nothing else may be lost.
#[track_caller]
pub fn passed_over(collected: &Collected) -> f64 {
    let passed = collected.get("tcp_ebpf_lost_total{reason=\"recursion\"}");
    assert_eq!(collected.sum("tcp_ebpf_lost_total"), passed, "nothing else is lost");
    passed
}

/// Waits until a ledger is right: so many connections that are over, each of so many
/// bytes both ways, and so many that were refused elsewhere. Whether it is so exactly: else
/// no more is missing than was passed over.
#[track_caller]
#[must_use]
pub fn until_ledger(
    running: &mut Running,
    made: (SocketAddr, f64),
    each: f64,
    refused: (SocketAddr, f64),
) -> bool {
    let is_right = |collected: &Collected| {
        let passed = passed_over(collected);
        let [connects, active, sent, received] = numbers(collected, made.0);
        let failed = failures(collected, refused.0, "refused");
        let missing = [made.1 - connects, made.1 - sent / each, made.1 - received / each, refused.1 - failed];
        let is_right = active == 0.0 && missing.iter().all(|missing| (0.0..=passed).contains(missing));
        let said = format!("{missing:?} missing, {active} active, {passed} passed over");
        if is_right { Ok(missing == [0.0; 4]) } else { Err(said) }
    };
    until(running, is_right);
    is_right(&running.collect().expect("it collects")).expect("it stays so")
}

/// Connects that failed for a reason.
pub fn failures(collected: &Collected, to: SocketAddr, reason: &str) -> f64 {
    let labels = format!("{{destination=\"{to}\",reason={reason:?}}}");
    collected.find(&format!("container_net_tcp_connect_failures_total{labels}")).unwrap_or(0.0)
}

/// Waits until so many failed for each reason, of all that there are, and no others.
#[track_caller]
pub fn until_failures(running: &mut Running, to: SocketAddr, expected: &[(&str, f64)]) {
    let all = |collected: &Collected| -> Vec<(&str, f64)> {
        let of = Reason::ALL.iter().map(|reason| reason.as_str());
        of.map(|reason| (reason, failures(collected, to, reason))).filter(|(_, count)| *count > 0.0).collect()
    };
    until(running, |collected| match all(collected) {
        found if found == expected => Ok(()),
        other => Err(format!("{to}: {other:?} and not {expected:?}")),
    });
    assert_eq!(all(&running.collect().expect("it collects")), expected, "{to}, a moment later");
}

/// Collects until something is so.
#[track_caller]
pub fn until<T>(running: &mut Running, mut is: impl FnMut(&Collected) -> Result<T, String>) -> T {
    gantry_plugin_testkit::eventually(|| {
        let collected = running.collect().map_err(|failure: Failure| failure.to_string())?;
        is(&collected)
    })
    .expect("it comes")
}
