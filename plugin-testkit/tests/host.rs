//! What the plugin sees of the fake host, and what the host saw of it.

use gantry_plugin_api::error::ErrorKind;
use gantry_plugin_api::host::Clock;
use gantry_plugin_api::identity::{Cursor, EventKind, Metadata, Observation, Process};
use gantry_plugin_api::{Error, Family, Host, Manifest, NoConfig, Plugin, tracing};
use gantry_plugin_testkit::{Kit, NewContainer, Tree};
use std::sync::mpsc;
use std::time::Duration;

/// Follows events on a thread of its own.
struct Follower;

impl Plugin for Follower {
    const MANIFEST: Manifest = Manifest::new("follower", "1.0.0", "Follows events")
        .provides_identity(&["docker"])
        .provides_facts(&["az"]);
    type Config = NoConfig;

    fn families() -> &'static [&'static Family] {
        &[]
    }
    fn start(_: NoConfig, host: Host) -> Result<Self, Error> {
        tracing::debug!(answer = 42, "in the call");
        std::thread::spawn(move || {
            let mut cursor = Cursor::default();
            while host.wait_events(cursor, Duration::from_secs(20)) {
                let events = host.events(cursor, 10);
                cursor = events.next;
                for event in events.events {
                    tracing::info!(
                        "{:?} {:?} lost {}",
                        event.kind,
                        event.process.map(|of| of.pid),
                        events.lost
                    );
                    if event.kind == EventKind::ProcessExited {
                        return;
                    }
                }
            }
        });
        Ok(Self)
    }
}

const PROCESS: Process = Process { pid: 10, start: 100 };

#[test]
fn a_plugin_s_thread_is_woken_by_events() {
    let kit = Kit::of::<Follower>();
    let running = kit.start("").unwrap();
    let web = kit.identity().appear(NewContainer::new("/docker/web"));
    kit.identity().process_starts(Some(web), PROCESS);
    for expected in ["ContainerAppeared None lost 0", "ProcessStarted Some(10) lost 0"] {
        kit.log().wait_for(|line| line.message == expected).unwrap();
    }
    kit.identity().process_exits(PROCESS);
    kit.log().wait_for(|line| line.message.starts_with("ProcessExited")).unwrap();
    let lines = kit.log().all();
    assert_eq!((lines[0].level, lines[0].target.as_str()), (4, "host"));
    assert_eq!(lines[0].message, "in the call answer=42");
    drop(running);
    let quiet = Kit::of::<Follower>().log_level(3);
    drop(quiet.start("").unwrap());
    assert!(!quiet.log().any(|line| line.message.starts_with("in the call")));
}

#[test]
fn containers_are_found_in_each_way() {
    let kit = Kit::of::<Follower>();
    let host = kit.host();
    let web = kit.identity().declare(
        NewContainer::new("/docker/web")
            .runtime("docker", "abc")
            .cgroup("/docker/abc", 77)
            .cgroup_v1(4, &["memory"], "/docker/abc", 78)
            .network_namespace(4_026)
            .process(10, 100)
            .process(11, 110)
            .with(|container| container.image = "nginx".to_owned()),
    );
    assert_eq!(host.events(Cursor::default(), 10).events, [], "it was there before");
    assert_eq!(host.containers(), [web]);
    for start in [100, 0] {
        assert_eq!(host.container_of_pid(10, start), Some(web));
    }
    assert_eq!(host.container_of_pid(10, 99), None, "a pid that was used again");
    assert_eq!(host.container_of_cgroup(0, 77), Some(web));
    assert_eq!(host.container_of_cgroup(4, 78), Some(web));
    assert_eq!(host.container_of_cgroup(4, 77), None);
    assert_eq!(host.container_of_network_namespace(4_026), Some(web));
    assert_eq!(host.container_of_network_namespace(0), None);
    let known = host.container(web).unwrap();
    assert_eq!((known.image.as_str(), known.init), ("nginx", Some(PROCESS)));
    assert_eq!(host.processes(web).iter().map(|process| process.pid).collect::<Vec<_>>(), [10, 11]);
    assert_eq!(host.open_files(PROCESS), None);
    kit.identity().open_files(PROCESS, &["/var/log/x"]);
    kit.identity().listening(PROCESS, &["0.0.0.0:80"]);
    assert_eq!(host.open_files(PROCESS).unwrap(), ["/var/log/x"]);
    assert_eq!(host.listening(PROCESS).unwrap(), ["0.0.0.0:80"]);
    kit.identity().change(web, |container| container.image = "nginx:2".to_owned());
    kit.identity().process_executes(PROCESS);
    kit.identity().want_metadata(web);
    kit.identity().vanish(web);
    let kinds: Vec<EventKind> =
        host.events(Cursor::default(), 10).events.iter().map(|event| event.kind).collect();
    assert_eq!(
        kinds,
        [
            EventKind::ContainerChanged,
            EventKind::ProcessExecuted,
            EventKind::MetadataWanted,
            EventKind::ContainerGone
        ]
    );
    assert!(host.containers().is_empty() && host.processes(web).is_empty());
    assert_eq!(host.container(web).unwrap().image, "nginx:2", "its last values are shown for a while");
}

#[test]
fn a_slow_reader_is_told_its_loss() {
    let kit = Kit::of::<Follower>();
    let host = kit.host();
    let begin = host.events(Cursor::default(), 10).next;
    kit.identity().remember(2);
    (1..=5).for_each(|pid| kit.identity().process_starts(None, Process { pid, start: 1 }));
    // With so small a memory those of no container wake as well.
    let read = host.events(begin, 10);
    assert_eq!((read.lost, read.events.len()), (3, 2));
    assert_eq!(read.events[0].process.map(|process| process.pid), Some(4));
    assert!(!host.wait_events(read.next, Duration::ZERO));
    let (sender, woken) = mpsc::channel();
    std::thread::scope(|scope| {
        let host = &host;
        scope.spawn(move || sender.send(host.wait_events(read.next, Duration::from_secs(20))));
        kit.identity().process_exits(Process { pid: 5, start: 1 });
        assert!(woken.recv().unwrap());
    });
}

#[test]
fn clocks_stand_until_they_are_turned() {
    let kit = Kit::of::<Follower>();
    let host = kit.host();
    let all = || [Clock::Realtime, Clock::Monotonic, Clock::Boottime].map(|clock| host.now(clock));
    let before = all();
    assert_eq!(before[0].as_secs(), 1_700_000_000);
    assert_eq!(all(), before);
    let second = Duration::from_secs(1);
    kit.clock().advance(second);
    kit.clock().suspend(second);
    assert_eq!(all(), [before[0] + 2 * second, before[1] + second, before[2] + 2 * second]);
    kit.clock().set_realtime(second);
    assert_eq!(host.now(Clock::Realtime), second);
    kit.identity().process_starts(None, PROCESS);
    let at = host.events(Cursor::default(), 1).events[0].at;
    assert_eq!(Duration::from_nanos(at), host.now(Clock::Boottime));
}

#[test]
fn paths_are_the_test_s_own() {
    let kit = Kit::of::<Follower>();
    let (host, root) = (kit.host(), kit.tree().root().to_owned());
    assert_eq!(
        [host.root(), host.proc(), host.sys(), host.cgroup()],
        [root.clone(), root.join("proc"), root.join("sys"), root.join("sys/fs/cgroup")]
    );
    let state = host.state_dir().unwrap();
    assert!(state.is_dir() && kit.state_dir() == Some(state.clone()) && !state.starts_with(&root));
    let kit = kit.with_tree(Tree::at("/")).with_path("cgroup", "/elsewhere").without_state_dir();
    assert_eq!([host.proc(), host.cgroup()], ["/proc", "/elsewhere"].map(Into::<std::path::PathBuf>::into));
    assert_eq!(host.state_dir(), None);
    assert!(!host.has("later"));
    let _kit = kit.offer("later");
    assert!(host.has("later"));
}

#[test]
fn facts_are_set_by_those_who_may() {
    let kit = Kit::of::<Follower>();
    let host = kit.host();
    kit.facts().set("region", Some("eu"));
    assert_eq!(host.node_fact("region").as_deref(), Some("eu"));
    host.expect_node_fact("az").unwrap();
    host.set_node_fact("az", Some("a")).unwrap();
    assert_eq!(
        (kit.facts().get("az").as_deref(), kit.facts().expected()),
        (Some("a"), vec!["az".to_owned()])
    );
    host.set_node_fact("az", None).unwrap();
    assert_eq!(kit.facts().set_by_plugin()["az"], None);
    let refused = host.set_node_fact("region", Some("us")).unwrap_err();
    assert_eq!(
        refused.message(),
        "the manifest of follower does not name the node fact \"region\"; add it to provides_facts"
    );
    assert!(host.expect_node_fact("region").is_err());
}

#[test]
fn what_the_plugin_tells_is_noted() {
    let kit = Kit::of::<Follower>();
    let host = kit.host();
    let metadata = Metadata { runtime_id: "abc".to_owned(), ..Metadata::default() };
    host.provide("docker", std::slice::from_ref(&metadata)).unwrap();
    assert_eq!(kit.provided().last().unwrap().metadata, [metadata]);
    let refused = host.provide("podman", &[]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Failed);
    assert!(refused.message().ends_with("add it to provides_identity"), "{refused}");
    let seen = Observation {
        kind: EventKind::ProcessStarted,
        process: PROCESS,
        hierarchy: 0,
        cgroup: 77,
        network_namespace: 4_026,
    };
    host.observe(&[seen]);
    assert_eq!(kit.observed().all(), [seen]);
    host.report("bpf_map_bytes", 4096.0);
    assert_eq!(kit.reported().all(), [("bpf_map_bytes".to_owned(), 4096.0)]);
}
