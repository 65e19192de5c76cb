//! Real paths, and what must hold of any.

use super::*;
use crate::identity::naming::{Known, NO_ID, name};
use gantry_cgroupfs::membership;
use std::collections::{BTreeMap, HashMap};

/// Rows: id without metadata, path, source of the fact.
const TABLE: &str = include_str!("table.tsv");

const DIGEST: &str = "3726184226f5d3147c25fdeab5b60097e378e8a720503a5e19ecfdf29f869860";
const OTHER: &str = "3e74d3fd9db4c9dd921ae05c2502fb984d0cde1b36e581b13f79c639da4518a1";

fn rows() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [id, path, source] = fields[..] else { panic!("not three fields: {line}") };
        assert!(!source.is_empty(), "no source: {line}");
        (id, path)
    })
}

fn id_of(place: &Place) -> String {
    let Place::Container(found) = place else { return "-".to_owned() };
    let environment = BTreeMap::new();
    let named = name(found, Known { metadata: None, environment: &environment, now: 0 });
    if named.skipped == Some(NO_ID) { "?".to_owned() } else { named.id }
}

/// The lines of a file, as the service reads them.
fn entries(text: &str) -> Vec<Entry<'_>> {
    let read = membership::entries(text.as_bytes()).filter_map(Result::ok);
    read.filter_map(|line| Some(Entry { controllers: line.controllers, path: line.path.to_str()? })).collect()
}

fn id(path: &str) -> String {
    id_of(&classify(path, UserSlices::Hidden))
}

fn found(path: &str) -> Found {
    match classify(path, UserSlices::Hidden) {
        Place::Container(found) => found,
        Place::Nobody => panic!("nobody's: {path}"),
    }
}

#[test]
fn every_real_path_has_its_id() {
    assert!(rows().count() >= 100);
    let wrong: Vec<String> = rows()
        .filter(|(expected, path)| id(path) != *expected)
        .map(|(expected, path)| format!("{path}\n  is   {}\n  must be {expected}", id(path)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_runtime_is_in_the_table() {
    let seen: Vec<Runtime> = rows()
        .filter_map(|(_, path)| match classify(path, UserSlices::Hidden) {
            Place::Container(found) => Some(found.runtime),
            Place::Nobody => None,
        })
        .collect();
    for runtime in Runtime::ALL {
        assert!(seen.contains(&runtime), "{runtime:?}");
        assert_eq!(Runtime::parse(runtime.as_str()), Some(runtime));
    }
}

#[test]
fn one_id_is_one_container() {
    let mut keys: HashMap<String, Key> = HashMap::new();
    let environment = BTreeMap::new();
    for (_, path) in rows().filter(|(id, _)| !matches!(*id, "-" | "?")) {
        let found = found(path);
        let named = name(&found, Known { metadata: None, environment: &environment, now: 0 });
        let before = keys.insert(named.id, found.key.clone());
        assert!(named.shared || before.is_none_or(|before| before == found.key), "{path}");
    }
}

#[test]
fn a_pod_s_uid_comes_with_its_containers() {
    let slice = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod2942c55e_c9cb_428a_93f4_eaf89c1f3ce0.slice";
    let expected = Some("2942c55e-c9cb-428a-93f4-eaf89c1f3ce0");
    assert_eq!(found(&format!("{slice}/crio-{DIGEST}.scope")).pod_uid.as_deref(), expected);
    let colons =
        "/system.slice/containerd.service/kubepods-burstable-pod2942c55e_c9cb_428a_93f4_eaf89c1f3ce0.slice";
    assert_eq!(found(&format!("{colons}:cri-containerd:{DIGEST}")).pod_uid.as_deref(), expected);
    let fixed = format!("/kubepods/burstable/pod9729a196c4723b60ab401eaff722982d/{DIGEST}");
    assert_eq!(found(&fixed).pod_uid.as_deref(), Some("9729a196c4723b60ab401eaff722982d"));
    assert_eq!(found(&format!("/docker/{DIGEST}")).pod_uid, None);
}

#[test]
fn a_sandbox_learns_its_id_from_its_command() {
    let pod = "/kubepods/besteffort/pod88bcf96e-7b92-4ce5-a3c0-2a6d098a1c33";
    let command = ["/usr/local/bin/runsc-sandbox", "--root=/run/runsc", "boot", "--bundle=/x", DIGEST];
    let sandbox = found(pod);
    assert!(sandbox.sandbox && sandbox.raw_id.is_empty());
    let id = sandbox_of_command(command.into_iter()).expect("gVisor's");
    let sandbox = sandbox.in_sandbox(id);
    assert_eq!(&*sandbox.raw_id, DIGEST);
    assert_eq!(sandbox.key, found(&format!("{pod}/{DIGEST}")).key, "one container, wherever it lies");
    // With systemd it lies in the pause container's scope.
    let scope = found(&format!(
        "/kubepods.slice/kubepods-pod88bcf96e_7b92_4ce5_a3c0_2a6d098a1c33.slice/cri-containerd-{OTHER}.scope"
    ));
    let scope = scope.in_sandbox(OTHER);
    assert!(scope.sandbox);
    assert_eq!(&*scope.raw_id, OTHER, "the path's own id stays");
    for other in [&["nginx", DIGEST][..], &["runsc"], &[], &["runsc", "boot"]] {
        assert_eq!(sandbox_of_command(other.iter().copied()), None, "{other:?}");
    }
    assert!(!found(&format!("/docker/{DIGEST}")).in_sandbox(id).sandbox, "no pod's");
}

#[test]
fn user_slices_are_shown_on_request() {
    let shown = |path: &str| id_of(&classify(path, UserSlices::Shown));
    let manager = "/user.slice/user-1000.slice/user@1000.service";
    for (path, expected) in [
        (format!("{manager}/app.slice/foo.service"), "/user.slice/user-1000.slice/foo.service"),
        (
            format!("{manager}/app.slice/app-my\\x2dapp@1.service/x"),
            "/user.slice/user-1000.slice/app-my-app@1.service",
        ),
        (format!("{manager}/app.slice/app-firefox-1234.scope"), "/user.slice/user-1000.slice"),
        (format!("{manager}/init.scope"), "/user.slice/user-1000.slice"),
        ("/user.slice/user-1000.slice/session-3.scope".to_owned(), "/user.slice/user-1000.slice"),
        (
            "/user.slice/user-1000.slice/user-runtime-dir@1000.service".to_owned(),
            "/user.slice/user-1000.slice",
        ),
        ("/user.slice".to_owned(), "-"),
        (
            format!("{manager}/user.slice/libpod-{DIGEST}.scope"),
            "/podman/user-1000/3726184226f5d3147c25fdeab5b60097e378e8a720503a5e19ecfdf29f869860",
        ),
    ] {
        assert_eq!(shown(&path), expected, "{path}");
    }
}

#[test]
fn a_user_s_container_is_never_one_of_the_node() {
    let node = found(&format!("/system.slice/docker-{DIGEST}.scope"));
    let forged = found(&format!("/user.slice/user-1000.slice/user@1000.service/docker-{DIGEST}.scope"));
    let other = found(&format!("/user.slice/user-1001.slice/user@1001.service/docker-{DIGEST}.scope"));
    assert_eq!(forged.owner, Some(1000));
    assert_ne!(node.key, forged.key);
    assert_ne!(other.key, forged.key);
    let root = found(&format!("/user.slice/user-0.slice/user@0.service/docker-{DIGEST}.scope"));
    assert_eq!(node.key, root.key, "root's are the node's");
}

/// What the test below builds paths of.
const PIECES: [&str; 34] = [
    "/",
    "//",
    "..",
    ".",
    "kubepods",
    "kubepods.slice",
    "-pod",
    "pod",
    ".slice",
    ".scope",
    ".service",
    ":",
    "-",
    "docker",
    "docker-",
    "libpod-",
    "conmon-",
    "crio-",
    "cri-containerd",
    DIGEST,
    OTHER,
    "lxc",
    "lxc.payload.",
    "lxc.monitor",
    "machine-",
    "qemu-1-",
    "\\x2d",
    "user.slice",
    "user-1000.slice",
    "nomad.slice",
    "garden",
    "ecs",
    " (deleted)",
    "é\n\u{0}\u{fffd}",
];

/// A small generator with a fixed start, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % limit as u64).expect("below a usize")
    }
}

#[test]
fn any_text_is_something() {
    let mut random = Random(1);
    for _ in 0..200_000 {
        let count = random.below(14);
        let path: String = (0..count).map(|_| PIECES[random.below(PIECES.len())]).collect();
        for users in [UserSlices::Hidden, UserSlices::Shown] {
            let place = classify(&path, users);
            if let Place::Container(found) = &place {
                // The kernel's begin with a slash.
                assert!(found.raw_id.len() <= path.len() + 1, "{path:?}");
                let id = id_of(&place);
                assert!(id == "?" || id.starts_with('/') && id.len() <= 512, "{path:?} is {id:?}");
                assert!(!id.contains('\n'), "{path:?} is {id:?}");
            }
        }
        let text = format!("1:cpu:{path}\n0::{path}\n{path}");
        identify(&entries(&text), UserSlices::Shown);
    }
}

#[test]
fn a_path_that_the_kernel_cannot_print_is_nobody_s() {
    assert_eq!(
        classify(&format!("/docker/{DIGEST}/{}", "x/".repeat(3000)), UserSlices::Hidden),
        Place::Nobody
    );
    let deep = format!("/docker/{DIGEST}/{}", "x/".repeat(1900));
    assert_eq!(&*found(&deep).raw_id, DIGEST);
}

/// The id and the path that a whole `/proc/PID/cgroup` comes to.
fn of_file(text: &str) -> (String, String) {
    let entries = entries(text);
    let (path, place) = identify(&entries, UserSlices::Hidden);
    (id_of(&place), path.to_owned())
}

#[test]
fn the_path_that_counts_is_chosen() {
    let docker = format!("/docker/{DIGEST}");
    let pod = format!("/kubepods/burstable/pod9729a196c4723b60ab401eaff722982d/{DIGEST}");
    for (file, id, path) in [
        // v2 alone.
        (format!("0::{docker}\n"), docker.as_str(), docker.as_str()),
        ("0::/init.scope\n".to_owned(), "-", "/"),
        ("0::/\n".to_owned(), "-", "/"),
        (String::new(), "-", "/"),
        // v1 alone.
        (format!("9:name=systemd:{docker}\n4:memory:{docker}\n2:cpu,cpuacct:{docker}\n"), &docker, &docker),
        // Docker with v1, systemd's services in v2: its daemon's is not the container's.
        (
            format!(
                "4:memory:{docker}\n2:cpu,cpuacct:{docker}\n1:name=systemd:{docker}\n0::/system.slice/containerd.service\n"
            ),
            &docker,
            &docker,
        ),
        // kubernetes#18202.
        (
            format!("4:memory:{docker}\n2:cpu:{docker}\n1:name=systemd:/system.slice/docker.service\n"),
            &docker,
            &docker,
        ),
        // Docker with v1, and a v2 that nobody uses.
        (format!("4:memory:{docker}\n2:cpu:{docker}\n1:name=systemd:/\n0::/\n"), &docker, &docker),
        // The kubelet's, wherever: as upstream does.
        (
            format!("4:memory:{pod}\n2:cpu,cpuacct:{pod}\n0::/system.slice/k.service\n"),
            &format!("/kubernetes/{DIGEST}"),
            &pod,
        ),
        // opentelemetry-java#4507: two paths of one container; v1's cpu goes first.
        (
            format!(
                "8:cpuset:/kubepods-besteffort-podb1e2d3c4_b64a_4868_8f5b_94b56cbab864.slice:cri-containerd:{DIGEST}\n\
                 2:cpu:/system.slice/containerd.service/kubepods-besteffort-podb1e2d3c4_b64a_4868_8f5b_94b56cbab864.slice:cri-containerd:{DIGEST}\n"
            ),
            &format!("/containerd/{DIGEST}"),
            &format!(
                "/system.slice/containerd.service/kubepods-besteffort-podb1e2d3c4_b64a_4868_8f5b_94b56cbab864.slice:cri-containerd:{DIGEST}"
            ),
        ),
        // A service without accounting: its slice in v1, itself in systemd's.
        (
            "2:cpu:/system.slice\n4:memory:/system.slice/a.service\n1:name=systemd:/system.slice/a.service\n"
                .to_owned(),
            "/system.slice/a.service",
            "/system.slice/a.service",
        ),
        // A rootless container, which has no controller of v1.
        (
            format!(
                "4:memory:/user.slice\n2:cpu:/user.slice\n1:name=systemd:/user.slice/user-1000.slice/user@1000.service/libpod-{DIGEST}.scope\n0::/\n"
            ),
            &format!("/podman/user-1000/{DIGEST}"),
            &format!("/user.slice/user-1000.slice/user@1000.service/libpod-{DIGEST}.scope"),
        ),
        // A removed container's zombie.
        (format!("0::{docker} (deleted)\n"), &docker, &docker),
    ] {
        assert_eq!(of_file(&file), (id.to_owned(), path.to_owned()), "{file}");
    }
}

#[test]
fn one_odd_controller_does_not_count() {
    let docker = format!("/docker/{DIGEST}");
    let service = "/system.slice/a.service";
    // A tool that moves a process in the memory hierarchy alone.
    let odd = "9:name=systemd:/\n8:pids:/\n4:memory:/process_api/bc56f0c2\n2:cpuacct:/\n1:cpu:/\n0::/\n";
    assert_eq!(of_file(odd), ("-".to_owned(), "/process_api/bc56f0c2".to_owned()));
    let odd = format!("8:pids:/\n4:memory:/sandbox/{OTHER}\n1:cpu:/\n0::/\n");
    assert_eq!(of_file(&odd).0, "-", "a container that one controller alone claims");
    let odd = format!("8:pids:{docker}\n4:memory:/sandbox/{OTHER}\n1:cpu:{docker}\n0::/\n");
    assert_eq!(of_file(&odd), (docker.clone(), docker.clone()), "against the others");
    let odd = format!("4:memory:/sandbox/{OTHER}\n1:cpu:/\n1:name=systemd:{service}\n0::{service}\n");
    assert_eq!(of_file(&odd), (service.to_owned(), service.to_owned()), "against the manager");
    // nomad#11289: a cpuset of its own.
    let odd = format!("6:cpuset:/nomad/shared\n4:memory:{docker}\n1:cpu:{docker}\n");
    assert_eq!(of_file(&odd), (docker.clone(), docker.clone()));
    // The only hierarchy with a controller is not odd.
    assert_eq!(of_file(&format!("4:memory:{docker}\n0::/\n")), (docker.clone(), docker.clone()));
    // Two that agree are not odd either; a session is no service's, whatever they say.
    let session = "4:memory:/system.slice/a.service\n1:cpu:/system.slice/a.service\n0::/user.slice/user-1000.slice/session-1.scope\n";
    assert_eq!(of_file(session).0, "-");
    assert_eq!(of_file(&format!("4:memory:{docker}\n1:cpu:{docker}\n0::{service}\n")).0, docker);
}

#[test]
fn of_several_answers_the_order_of_the_file_chooses_none() {
    let cpu = format!("/docker/{DIGEST}");
    let lines = [
        format!("3:cpu:{cpu}\n2:memory:{cpu}\n"),
        format!("5:pids:/docker/{OTHER}\n4:devices:/docker/{OTHER}\n"),
    ];
    assert_eq!(of_file(&lines.concat()).1, cpu);
    assert_eq!(of_file(&format!("{}{}", lines[1], lines[0])).1, cpu);
    // A manager's word counts wherever in the file it stands.
    let told = "2:pids:/system.slice/a.service\n1:name=systemd:/system.slice/a.service\n0::/mine\n";
    assert_eq!(of_file(told).0, "/system.slice/a.service");
}

#[test]
fn a_unit_s_name_has_at_most_255_bytes() {
    let of = |length: usize| {
        let name = format!("{}.service", "x".repeat(length - ".service".len()));
        (classify(&format!("/system.slice/{name}"), UserSlices::Hidden), name)
    };
    let (longest, name) = of(255);
    assert!(
        matches!(longest, Place::Container(found) if *found.raw_id == *name && found.runtime == Runtime::Systemd)
    );
    // In a slice whose children are services anyway it is one without a unit's name.
    let slice = |(_, name): (Place, String)| classify(&format!("/my.slice/{name}"), UserSlices::Hidden);
    assert!(matches!(slice(of(255)), Place::Container(_)));
    assert_eq!(slice(of(256)), Place::Nobody);
}
