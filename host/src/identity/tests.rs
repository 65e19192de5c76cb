//! The service as a whole, where its beginning is in question.

use super::*;
use std::path::PathBuf;

fn identity(proc: &str) -> Identity {
    let [proc, sys, cgroup, root] = [proc, "/sys", "/sys/fs/cgroup", "/"].map(PathBuf::from);
    Identity::new(&Paths { proc, sys, cgroup, root }, &IdentityConfig::default())
}

#[test]
fn what_is_set_while_it_begins_is_known() {
    for _ in 0..20 {
        let identity = identity("/proc");
        identity.set_provider("before", &[]);
        std::thread::scope(|scope| {
            scope.spawn(|| identity.of_pid(std::process::id(), 0));
            for number in 0..50 {
                identity.set_provider(&format!("meanwhile-{number}"), &[]);
                std::thread::yield_now();
            }
            identity.set_rules(&IdentityConfig { deny: vec!["^/".to_owned()], ..IdentityConfig::default() });
            identity.providers_are_known();
        });
        let running = identity.begun().expect("it was asked");
        assert_eq!(running.shared.read(|state| state.providers().len()), 51);
        assert!(identity.containers().is_empty(), "all are denied");
        assert!(!running.shared.read(State::awaits_names));
    }
}

#[test]
fn one_that_cannot_begin_says_so_and_is_tried_again_later() {
    let identity = identity("/nowhere");
    assert!(identity.figures().is_none(), "nobody asked");
    for _ in 0..3 {
        assert_eq!((identity.of_pid(1, 0), identity.containers().len()), (0, 0));
        let figures = identity.figures().expect("somebody asked");
        assert_eq!(figures.lost.get("begin"), Some(&1), "not with each question");
    }
    lock(&identity.begins).next = Some(Instant::now());
    identity.of_pid(1, 0);
    assert_eq!(identity.figures().expect("figures").lost.get("begin"), Some(&2));
}
