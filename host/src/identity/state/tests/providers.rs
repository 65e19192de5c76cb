//! Whose runtimes are asked, and what their word is good for.

use super::super::provided::MOST_USERS;
use super::*;

fn of_user(uid: &str, letter: char, name: &str) -> Metadata {
    let mut told = named(letter, name);
    told.container.names.insert("user".to_owned(), uid.to_owned());
    told
}

fn users_podman(letter: char) -> Placement {
    let raw = raw(letter);
    let path = format!("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{raw}.scope");
    place(0, &path, 90)
}

fn provider(runtimes: &[&str]) -> Provider {
    let runtimes = runtimes.iter().map(|&name| name.to_owned()).collect();
    Provider { plugin: "containers".into(), order: 0, runtimes, users: vec![], listed: vec![], active: true }
}

fn about(user: Option<&str>, removed: bool) -> Metadata {
    let mut container = Container::default();
    container.names.extend(user.map(|uid| ("user".to_owned(), uid.to_owned())));
    Metadata { runtime_id: String::new(), container, removed }
}

#[test]
fn a_user_s_runtime_is_believed_of_that_user_s_containers_alone() {
    let mut machine = Machine::new().provider("containers", 0);
    let users = machine.start(10, &users_podman('a'));
    let root = machine.start(11, &docker('b'));
    // It is told of root's container, and root's runtime of the user's.
    machine.provide("containers", of_user("1000", 'b', "stolen"));
    machine.provide("containers", named('a', "foreign"));
    machine.provide("containers", of_user("1001", 'a', "another's"));
    assert_eq!(machine.id(users), format!("/podman/user-1000/{}", raw('a')));
    assert_eq!(machine.id(root), format!("/docker/{}", raw('b')));
    machine.provide("containers", of_user("1000", 'a', "web"));
    assert_eq!(machine.id(users), "/podman/user-1000/web");
    let mut infra = of_user("1000", 'a', "infra");
    infra.container.names.insert("sandbox".to_owned(), "shop".to_owned());
    machine.provide("containers", infra);
    assert_eq!(machine.state.record(users).expect("there").named.skipped, Some("pause"));
}

#[test]
fn what_a_user_s_runtime_told_early_waits_for_that_user_s_container() {
    let mut machine = Machine::new().provider("containers", 0);
    machine.provide("containers", of_user("1000", 'a', "web"));
    machine.provide("containers", named('a', "foreign"));
    let users = machine.start(10, &users_podman('a'));
    assert_eq!(machine.id(users), "/podman/user-1000/web");
}

#[test]
fn only_names_of_runtimes_that_are_asked_are_waited_for() {
    let mut asked = provider(&["docker", "podman"]);
    let (docker, podman) =
        (classify(&docker('a').cgroups[0].path), classify(&users_podman('a').cgroups[0].path));
    let (docker, podman) = (docker.expect("a container"), podman.expect("a container"));
    assert!(asked.knows(&docker) && !asked.knows(&podman));
    asked.is_asked("docker", &about(None, true));
    assert!(!asked.knows(&docker), "it is switched off");
    let anywhere = classify(&format!("/shop/{}", raw('c'))).expect("a container");
    assert!(
        !provider(&["systemd"]).knows(&anywhere) && provider(&["containerd"]).knows(&anywhere),
        "or Docker's"
    );
    asked.is_asked("docker", &about(None, false));
    assert!(asked.knows(&docker));
    asked.is_asked("podman", &about(Some("1001"), false));
    assert!(!asked.knows(&podman), "another user's");
    asked.is_asked("podman", &about(Some("1000"), false));
    assert!(asked.knows(&podman));
    asked.is_asked("podman", &about(Some("1000"), true));
    assert!(!asked.knows(&podman));
    // What users may be there is bounded.
    (1..10_000).for_each(|uid| asked.is_asked("podman", &about(Some(&uid.to_string()), false)));
    assert_eq!(asked.users.len(), MOST_USERS);
}

#[test]
fn at_the_start_names_are_waited_for_while_somebody_is_about_to_tell_them() {
    let mut asked = provider(&["docker", "containerd"]);
    let mut machine = Machine::new();
    machine.state.set_provider(asked.clone());
    let handle = machine.start(10, &docker('a'));
    assert!(machine.state.awaits_names());
    let mut listed = about(None, false);
    listed.container.names.insert("listed".to_owned(), "yes".to_owned());
    for (runtime, awaits) in [("containerd", true), ("docker", false), ("docker", false)] {
        asked.is_asked(runtime, &listed);
        machine.state.set_provider(asked.clone());
        assert_eq!(machine.state.awaits_names(), awaits, "{runtime} is listed");
    }
    assert_eq!(asked.listed.len(), 2);
    // It is held all the same: its name may come later.
    assert_eq!(machine.presence(handle), Some(Presence::Held));
    machine.after(9);
    assert_eq!(machine.presence(handle), Some(Presence::Held));
    machine.provide("containers", named('a', "web"));
    assert_eq!(machine.id(handle), "/docker/web");
}

#[test]
fn what_a_runtime_was_told_counts_where_no_process_can_be_read() {
    let mut machine = Machine::new().provider("containers", 0);
    let handle = machine.start(10, &docker('a'));
    let mut told = named('a', "web");
    told.container.environment.insert("GANTRY_DISABLE".to_owned(), "containers, logs".to_owned());
    told.container.environment.insert("COROOT_EBPF_TRACES".to_owned(), "disabled".to_owned());
    machine.provide("containers", told);
    let opted_out = machine.state.record(handle).expect("there").container().opted_out;
    assert_eq!(opted_out, ["containers", "logs", "traces"]);
}

/// What a runtime tells of a container that another one has too.
fn told_by(runtime: &str, raw_id: &str, name: &str) -> Metadata {
    let mut container = Container::default();
    container.runtime = runtime.to_owned();
    container.names.insert("name".to_owned(), name.to_owned());
    Metadata { runtime_id: raw_id.to_owned(), container, removed: false }
}

/// Of a container of a pod.
fn pod_by(runtime: &str, raw_id: &str) -> Metadata {
    let mut told = told_by(runtime, raw_id, "nginx");
    for (kind, name) in [("namespace", "shop"), ("pod", "web-0"), ("container", "nginx")] {
        told.container.names.insert(kind.to_owned(), name.to_owned());
    }
    told
}

/// Containers that two runtimes show, what each of them tells, and which id it has then.
fn rivals() -> Vec<(Placement, [Metadata; 2], &'static str)> {
    let raw = raw('a');
    let slice = "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod0a_1b.slice";
    let pod = |path: &str| place(0, path, 91);
    let podman = || told_by("podman", &raw, "k8s_nginx_web-0");
    vec![
        // CRI-O and Podman share a store.
        (
            pod(&format!("{slice}/crio-{raw}.scope")),
            [pod_by("crio", &raw), podman()],
            "/k8s/shop/web-0/nginx",
        ),
        (
            pod(&format!("/machine.slice/libpod-{raw}.scope")),
            [told_by("podman", &raw, "web"), told_by("crio", &raw, "other")],
            "/podman/web",
        ),
        // Where the path does not say whose it is.
        (
            pod(&format!("/kubepods/besteffort/pod0a1b/{raw}")),
            [pod_by("crio", &raw), podman()],
            "/k8s/shop/web-0/nginx",
        ),
        // One containerd at two sockets, which say the same.
        (
            pod(&format!("{slice}/cri-containerd-{raw}.scope")),
            [pod_by("containerd", &raw), pod_by("containerd", &raw)],
            "/k8s/shop/web-0/nginx",
        ),
        // Docker, and somebody who shows the same of the pod.
        (docker('a'), [told_by("docker", &raw, "web"), told_by("containerd", &raw, "moby")], "/docker/web"),
    ]
}

#[test]
fn of_two_runtimes_that_show_one_container_the_same_is_believed_in_both_orders() {
    for (placement, told, expected) in rivals() {
        for order in [[0, 1], [1, 0]] {
            for is_early in [true, false] {
                let mut machine = Machine::new().provider("containers", 0);
                let mut lost = 0;
                let mut handle = None;
                if !is_early {
                    handle = Some(machine.start(10, &placement));
                }
                for which in order {
                    lost += machine.provide("containers", told[which].clone());
                }
                let handle = handle.unwrap_or_else(|| machine.start(10, &placement));
                let what = format!("{expected}, {order:?}, early: {is_early}");
                assert_eq!(machine.id(handle), expected, "{what}");
                let are_rivals = told[0].container.runtime != told[1].container.runtime;
                assert_eq!(lost, u64::from(are_rivals), "{what}");
                // Told again, as after a reconnect: nothing changes, and the loser is counted.
                for which in order {
                    lost += machine.provide("containers", told[which].clone());
                }
                machine.after(40);
                assert_eq!(machine.id(handle), expected, "{what}");
                assert_eq!(lost, 2 * u64::from(are_rivals), "{what}");
                let believed = machine.state.record(handle).expect("there").container();
                assert_eq!(believed.names["name"], told[0].container.names["name"], "{what}");
            }
        }
    }
}

#[test]
fn what_one_runtime_tells_anew_is_taken_whatever_another_said() {
    let mut machine = Machine::new().provider("containers", 0);
    let handle = machine.start(10, &docker('a'));
    machine.provide("containers", told_by("containerd", &raw('a'), "moby"));
    machine.provide("containers", told_by("docker", &raw('a'), "web"));
    let name =
        |machine: &Machine| machine.state.record(handle).expect("there").container().names["name"].clone();
    assert_eq!(machine.provide("containers", told_by("docker", &raw('a'), "renamed")), 0);
    assert_eq!(name(&machine), "renamed");
    assert_eq!(machine.provide("containers", told_by("containerd", &raw('a'), "moby")), 1);
    assert_eq!(name(&machine), "renamed");
}
