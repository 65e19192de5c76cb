//! A plugin is upgraded while it runs: which file is taken, and what the
//! configuration says then.

mod support;

use std::path::Path;
use support::agent::Agent;
use support::commands::hostile;
use support::upgrading::site;
use support::versions::build;
use support::{copy_to, library, needs, private_dir, write_library};

#[test]
fn a_file_that_cannot_be_used_is_refused() {
    let site = site("", "");
    let text = site.text();
    let bad = site.agent.dir.path().join("bad.so");
    write_library(&bad, b"no library");
    assert!(site.refused(&bad).contains("no ELF header"));
    assert!(site.refused(Path::new("/nowhere/x.so")).contains("/nowhere/x.so is not there"));
    assert!(site.refused(&library("node")).contains("it is the plugin \"node\""));
    assert!(site.agent.bad(1, &["upgrade", "hostil", "x.so"]).contains("there is no plugin \"hostil\""));
    site.agent.good(&["disable", "hostile", "--until-restart"]);
    assert!(site.refused(&site.new).contains("hostile is disabled"));
    assert_eq!(site.text(), text);
    let answer = support::commands::request(&site.agent.socket(), "POST", "/v1/plugins/node/upgrade?fil=/x");
    assert_eq!(answer.status, 400);
}

#[test]
fn a_pin_goes_with_the_file() {
    let dir = private_dir();
    let (old, new) = (copy_to(dir.path(), &library("hostile")), build(dir.path(), "0.2.0"));
    let pin = |agent: &Agent| agent.plugin("hostile")["digest"].as_str().expect("a digest").to_owned();
    let agent = Agent::start_in(dir, "", &hostile(&old, ""));
    let first = pin(&agent);
    agent.configure("", &support::commands::hostile_with(&old, &format!("sha256 = \"{first}\" # ours"), ""));
    agent.good(&["reload"]);
    agent.good(&["upgrade", "hostile", new.to_str().expect("UTF-8")]);
    let text = std::fs::read_to_string(agent.config()).expect("own file");
    assert!(text.contains(&format!("sha256 = \"{}\" # ours", pin(&agent))), "{text}");
    agent.good(&["rollback", "hostile"]);
    let text = std::fs::read_to_string(agent.config()).expect("own file");
    assert!(text.contains(&format!("sha256 = \"{first}\" # ours")), "{text}");
}

#[test]
fn until_restart_leaves_the_configuration_and_is_shown() {
    use std::os::unix::fs::PermissionsExt;
    let site = site("", "");
    let text = site.text();
    std::fs::set_permissions(site.agent.config(), std::fs::Permissions::from_mode(0o444)).expect("own file");
    let error = site.refused(&site.new);
    assert!(error.contains("cannot be edited") && error.contains("--until-restart"), "{error}");
    assert_eq!(site.version(), "0.1.0", "what cannot be written does not run");
    let new = site.new.to_str().expect("UTF-8");
    site.agent.good(&["upgrade", "hostile", new, "--until-restart"]);
    assert_eq!((site.version().as_str(), site.text()), ("0.2.0", text.clone()));
    assert!(
        site.agent.row("hostile")["note"]
            .as_str()
            .is_some_and(|note| note.contains("differs from configuration"))
    );
    assert_eq!(site.agent.good(&["reload"]), "the configuration is in force; nothing differed\n");
    assert_eq!(site.version(), "0.2.0", "it survives a reload");
    site.agent.good(&["rollback", "hostile", "--until-restart"]);
    assert_eq!((site.version().as_str(), site.text()), ("0.1.0", text));
}

#[test]
fn a_file_on_a_read_only_file_system_is_left_alone() {
    if !needs::root() {
        return;
    }
    let site = site("", "");
    let mounted = site.agent.dir.path().join("etc");
    std::fs::create_dir(&mounted).expect("own directory");
    let mount = |arguments: &[&str]| {
        let status = std::process::Command::new("mount").args(arguments).arg(&mounted).status();
        assert!(status.expect("mount runs").success(), "{arguments:?}");
    };
    mount(&["-t", "tmpfs", "gantry-test"]);
    std::fs::copy(site.agent.config(), mounted.join("plugins.toml")).expect("own directory");
    mount(&["-o", "remount,ro"]);
    std::fs::remove_file(site.agent.config()).expect("own file");
    std::os::unix::fs::symlink("etc/plugins.toml", site.agent.config()).expect("a link");
    let error = site.refused(&site.new);
    let version = site.version();
    let unmounted = std::process::Command::new("umount").arg("-l").arg(&mounted).status();
    assert!(unmounted.expect("umount runs").success());
    assert!(error.contains("its file system is read-only") && error.contains("--until-restart"), "{error}");
    assert_eq!(version, "0.1.0");
}

#[test]
fn a_range_of_versions_chooses_among_the_files_that_are_there() {
    let dir = private_dir();
    let plugins = dir.path().join("plugins");
    std::fs::create_dir(&plugins).expect("own directory");
    let put = |version: &str| {
        let built = build(dir.path(), version);
        std::fs::rename(built, plugins.join(format!("libgantry_hostile-{version}.so")))
            .expect("own directory");
    };
    for version in ["1.3.9", "1.4.0", "1.5.2", "2.0.0"] {
        put(version);
    }
    let host = format!("plugin_dirs = [{plugins:?}]\n");
    let section = |range: &str| {
        format!("[plugins.hostile]\nenabled = true\nisolation = \"none\"\nversion = \"{range}\"\n")
    };
    let agent = Agent::start_in(dir, &host, &section(">=1.4, <2"));
    assert_eq!(agent.row("hostile")["version"], "1.5.2");
    let half = plugins.join("libgantry_hostile-1.6.0.so");
    write_library(&half, b"half of it");
    for command in ["check", "reload"] {
        let said = agent.ask(&[command]);
        let said = [said.stdout, said.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains("passed over") && said.contains("libgantry_hostile-1.6.0.so: "), "{said}");
    }
    assert_eq!(agent.row("hostile")["version"], "1.5.2");
    std::fs::remove_file(half).expect("own file");
    std::fs::remove_file(plugins.join("libgantry_hostile-1.5.2.so")).expect("own file");
    assert_eq!(agent.good(&["reload"]), "hostile: running (1.4.0)\n");
    agent.configure(&host, &section("~3"));
    let error = agent.bad(1, &["reload"]);
    for words in [
        "no file of hostile in",
        "is of version = \"~3\"",
        "1.3.9 (",
        "2.0.0 (",
        "install one, or change version",
    ] {
        assert!(error.contains(words), "lacks {words}: {error}");
    }
    assert_eq!(agent.row("hostile")["version"], "1.4.0", "what runs goes on");
    agent.configure(&host, &section("newest"));
    assert!(agent.bad(1, &["reload"]).contains("is no range of versions"));
}

#[test]
fn a_file_from_elsewhere_that_runs_elsewhere_is_said_to() {
    let dir = private_dir();
    let new = build(dir.path(), "0.2.0");
    // Beside the binary, which is a vendor directory.
    let agent = Agent::start_in(dir, "", "[plugins.hostile]\nenabled = true\n");
    assert_eq!(agent.row("hostile")["isolation"], "none");
    let said = agent.good(&["upgrade", "hostile", new.to_str().expect("UTF-8")]);
    assert!(
        said.starts_with("hostile: running (0.2.0)\nhostile: it runs in a process of its own from now on"),
        "{said}"
    );
    assert_eq!(agent.row("hostile")["isolation"], "process");
    let said = agent.good(&["rollback", "hostile"]);
    assert!(said.contains("hostile: it runs in the agent's own process from now on"), "{said}");
    assert_eq!(agent.row("hostile")["isolation"], "none");
    agent.good(&["disable", "hostile", "--until-restart"]);
    assert_eq!(agent.row("hostile")["isolation"], "none", "where it ran");
}
