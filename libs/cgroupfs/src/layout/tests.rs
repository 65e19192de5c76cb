use super::*;
use crate::fixture::Fixture;
use std::fs;

fn fixture(mode: Mode) -> (tempfile::TempDir, Fixture) {
    let dir = tempfile::tempdir().expect("a directory");
    let fixture = Fixture::new(dir.path(), mode).expect("written");
    (dir, fixture)
}

fn directory(layout: &Layout, line: &str) -> Option<PathBuf> {
    let entry = membership::entries(line.as_bytes()).next().expect("a line").expect("of the kernel's form");
    layout.directory(&entry)
}

fn served_in(layout: &Layout, resource: Resource) -> Option<PathBuf> {
    layout.serving(resource).and_then(|index| layout.hierarchies()[index].directory.clone())
}

#[test]
fn modes_are_told_apart_by_directories_alone() {
    for mode in [Mode::V1, Mode::V2, Mode::Hybrid] {
        let (_dir, fixture) = fixture(mode);
        let layout = fixture.layout().expect("a layout");
        assert_eq!(layout.mode(), mode);
        for resource in Resource::ALL {
            let expected = match (mode, resource) {
                (Mode::V1, Resource::Pressure) => None,
                _ => Some(fixture.directory(resource, "/").canonicalize().expect("there")),
            };
            assert_eq!(served_in(&layout, resource), expected, "{mode:?} {resource:?}");
        }
    }
}

#[test]
fn what_v1_does_not_bind_v2_serves() {
    let (_dir, fixture) = fixture(Mode::Hybrid);
    fs::write(fixture.proc().join("self/cgroup"), "3:memory:/\n5:pids:/\n0::/\n").expect("written");
    fs::remove_dir_all(fixture.cgroup().join("pids")).expect("removed");
    let layout = fixture.layout().expect("a layout");
    let unified = Some(fixture.cgroup().join("unified"));
    assert_eq!(served_in(&layout, Resource::Memory), Some(fixture.cgroup().join("memory")));
    assert_eq!(served_in(&layout, Resource::Cpu), unified);
    assert_eq!(served_in(&layout, Resource::Io), unified);
    assert_eq!(served_in(&layout, Resource::Pids), None, "bound to v1, but not mounted");
}

#[test]
fn directories_are_found_by_each_name_that_is_usual() {
    let cases: [(&str, &[&str], &str); 4] = [
        ("cpu,cpuacct", &["cpuacct,cpu"], "cpuacct,cpu"),
        ("cpu,cpuacct", &["cpu"], "cpu"),
        ("net_cls,net_prio", &["net_prio"], "net_prio"),
        ("name=systemd", &["systemd"], "systemd"),
    ];
    for (controllers, made, found) in cases {
        let (dir, fixture) = fixture(Mode::V1);
        let cgroup = dir.path().join("other");
        for name in made {
            fs::create_dir_all(cgroup.join(name)).expect("made");
        }
        fs::create_dir_all(cgroup.join("memory")).expect("made");
        let own = format!("2:{controllers}:/\n3:memory:/\n");
        fs::write(fixture.proc().join("self/cgroup"), own).expect("written");
        let layout = Layout::read(&fixture.proc(), &cgroup).expect("a layout");
        let line = format!("2:{controllers}:/x");
        assert_eq!(directory(&layout, &line), Some(cgroup.join(found).join("x")), "{controllers} {made:?}");
    }
}

#[test]
fn a_link_that_leads_out_is_not_followed() {
    let (dir, fixture) = fixture(Mode::V1);
    let cpu = fixture.cgroup().join("cpu,cpuacct");
    fs::rename(&cpu, dir.path().join("elsewhere")).expect("moved");
    std::os::unix::fs::symlink(dir.path().join("elsewhere"), &cpu).expect("linked");
    assert_eq!(fixture.layout().expect("a layout").serving(Resource::Cpu), None);
}

#[test]
fn mounts_say_what_part_is_there() {
    // A container on v1 without a namespace: absolute paths, and its own part mounted.
    let (_dir, fixture) = fixture(Mode::V1);
    let root = fixture.cgroup().canonicalize().expect("there");
    let at = root.display();
    let mountinfo = format!(
        "1 0 0:1 / {at} rw - tmpfs tmpfs rw\n\
         2 1 0:2 /docker/abc {at}/memory ro master:3 - cgroup cgroup rw,memory\n\
         3 1 0:3 / {at}/cpu,cpuacct ro - cgroup cgroup rw,cpuacct,cpu\n"
    );
    fs::write(fixture.proc().join("self/mountinfo"), mountinfo).expect("written");
    let layout = fixture.layout().expect("a layout");
    assert_eq!(directory(&layout, "3:memory:/docker/abc/in"), Some(root.join("memory/in")));
    assert_eq!(directory(&layout, "3:memory:/docker/abc"), Some(root.join("memory")));
    assert_eq!(directory(&layout, "3:memory:/docker/abcd"), None, "not visible");
    assert_eq!(directory(&layout, "3:memory:/"), None);
    assert_eq!(directory(&layout, "2:cpu,cpuacct:/docker/x"), Some(root.join("cpu,cpuacct/docker/x")));
    assert_eq!(layout.serving(Resource::Io), None, "not mounted, though there is a directory");
}

/// An agent in `/kubepods/pod1/agent`, in a namespace of its own, to which the
/// node's `/proc` and cgroup tree are shown.
fn namespaced(mode: Mode) -> (tempfile::TempDir, Fixture) {
    let (dir, fixture) = fixture(mode);
    fixture.process("1", "/../../../init.scope").expect("written");
    for path in ["/kubepods/pod1/agent", "/kubepods/pod1/other", "/system.slice/a/b"] {
        fixture.cgroup_of(path, &fixture.figures(1)).expect("written");
        for resource in Resource::ALL {
            let directory = fixture.directory(resource, path);
            if directory.is_dir() {
                let pids = if path.ends_with("agent") { "17\n4711\n" } else { "1\n471\n47110\n" };
                fs::write(directory.join("cgroup.procs"), pids).expect("written");
            }
        }
    }
    (dir, fixture)
}

#[test]
fn paths_from_within_a_namespace_are_turned_absolute() {
    for mode in [Mode::V1, Mode::V2] {
        let (_dir, fixture) = namespaced(mode);
        let layout = Layout::read_as(&fixture.proc(), &fixture.cgroup(), 4711).expect("a layout");
        let index = layout.serving(Resource::Memory).expect("served");
        let memory = &layout.hierarchies()[index];
        assert_eq!(memory.base(), Some(Path::new("/kubepods/pod1/agent")));
        assert_eq!(memory.absolute(Path::new("/../other")), Some(PathBuf::from("/kubepods/pod1/other")));
        let line = fixture.membership("/../../pod2/web");
        let line =
            line.lines().find(|line| line.contains("memory") || line.starts_with("0::")).expect("there");
        let at = fixture.directory(Resource::Memory, "/kubepods/pod2/web");
        assert_eq!(directory(&layout, line), Some(at.clone()));
        assert_eq!(directory(&layout, &line.replace("/../../pod2", "/../../../..")), None, "above the root");
    }
}

#[test]
fn an_agent_that_was_moved_below_its_namespace_s_root_finds_it() {
    let (_dir, fixture) = namespaced(Mode::V2);
    let procs = |path: &str| fixture.directory(Resource::Cpu, path).join("cgroup.procs");
    fs::write(procs("/kubepods/pod1/agent"), "").expect("written");
    fs::create_dir(fixture.directory(Resource::Cpu, "/kubepods/pod1/agent/init")).expect("made");
    fs::write(procs("/kubepods/pod1/agent/init"), "4711\n").expect("written");
    fixture.process("self", "/init").expect("written");
    let layout = Layout::read_as(&fixture.proc(), &fixture.cgroup(), 4711).expect("a layout");
    assert_eq!(layout.hierarchies()[0].base(), Some(Path::new("/kubepods/pod1/agent")));
}

#[test]
fn without_a_name_for_the_namespace_s_root_what_needs_none_works() {
    let (_dir, fixture) = namespaced(Mode::V2);
    let layout = Layout::read_as(&fixture.proc(), &fixture.cgroup(), 99).expect("a layout");
    assert_eq!(layout.hierarchies()[0].base(), None);
    let cgroup = fixture.cgroup();
    assert_eq!(directory(&layout, "0::/../../../kubepods/x"), Some(cgroup.join("kubepods/x")));
    assert_eq!(directory(&layout, "0::/../other"), None);
    assert_eq!(directory(&layout, "0::/"), None);
    // With the namespace's own mount, what is inside of it is found all the same.
    let root = cgroup.canonicalize().expect("there");
    let mountinfo = format!("1 0 0:1 / {} rw - cgroup2 cgroup rw\n", root.display());
    fs::write(fixture.proc().join("self/mountinfo"), mountinfo).expect("written");
    let layout = Layout::read_as(&fixture.proc(), &cgroup, 4711).expect("a layout");
    assert_eq!(layout.hierarchies()[0].base(), None);
    assert_eq!(directory(&layout, "0::/init"), Some(root.join("init")));
    assert_eq!(directory(&layout, "0::/../other"), None);
}

#[test]
fn what_is_missing_is_named() {
    let (dir, fixture) = fixture(Mode::V2);
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).expect("made");
    let error = Layout::read(&fixture.proc(), &empty).expect_err("no hierarchy");
    assert!(matches!(&error, Error::NoHierarchy { root } if *root == empty), "{error}");
    let error = Layout::read(&fixture.proc(), &dir.path().join("gone")).expect_err("no root");
    assert!(error.to_string().contains("/gone"), "{error}");
    let error = Layout::read(&empty, &fixture.cgroup()).expect_err("no proc");
    assert!(error.to_string().contains("self/cgroup"), "{error}");
}

#[test]
fn without_init_and_mounts_the_agent_is_taken_to_be_in_the_node_s_namespace() {
    let (_dir, fixture) = fixture(Mode::V2);
    fs::remove_file(fixture.proc().join("self/mountinfo")).expect("removed");
    fs::remove_dir_all(fixture.proc().join("1")).expect("removed");
    let layout = fixture.layout().expect("a layout");
    assert_eq!(layout.hierarchies()[0].base(), Some(Path::new("/")));
    assert_eq!(directory(&layout, "0::/a"), Some(fixture.cgroup().join("a")));
    assert_eq!(directory(&layout, "0::/../a"), None);
}
