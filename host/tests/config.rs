//! Bad configurations: every problem with its line, nothing started.

mod support;

use support::agent::{run, said};
use support::{copy_to, library, private_dir};

#[test]
fn all_problems_of_a_file_are_printed_at_once() {
    let dir = private_dir();
    let config = "[host]\nlisten = \"nowhere\"\nrequire_signature = true\n[plugins.node]\nenabld = true\ndeadline = 5\n";
    for command in [&["check"][..], &["run"], &["probe"], &["once", "node"]] {
        let output = run(dir.path(), config, command);
        assert_eq!(output.status.code(), Some(1), "{command:?}: {}", said(&output));
        let said = said(&output);
        for expected in [
            "plugins.toml:2:10: host.listen",
            "plugins.toml:3:1: host.require_signature is not built yet",
            "plugins.toml:5:1: unknown key \"enabld\" in [plugins.node]; did you mean \"enabled\"?",
            "plugins.toml:6:12: plugins.node.deadline must be a duration",
            "4 problems in",
        ] {
            assert!(said.contains(expected), "{command:?} lacks {expected:?}:\n{said}");
        }
    }
}

#[test]
fn files_that_are_no_configuration_are_named() {
    let dir = private_dir();
    std::fs::create_dir(dir.path().join("plugins.toml")).expect("temporary directory");
    let gantry = |config: &std::path::Path| {
        let output =
            support::agent::gantry().arg("check").arg("--config").arg(config).output().expect("it runs");
        assert_eq!(output.status.code(), Some(1));
        said(&output)
    };
    assert!(gantry(&dir.path().join("plugins.toml")).contains("is not a regular file"));
    assert!(gantry(&dir.path().join("nothing.toml")).contains("nothing.toml: cannot be opened"));
    let binary = dir.path().join("binary.toml");
    std::fs::write(&binary, b"[host]\n\xff\xfe").expect("temporary file");
    assert!(gantry(&binary).contains("is not UTF-8 in line 2"));
    let huge = dir.path().join("huge.toml");
    std::fs::write(&huge, vec![b'#'; (1 << 20) + 1]).expect("temporary file");
    assert!(gantry(&huge).contains("larger than 1 MiB"));
}

#[test]
fn a_plugin_s_own_table_is_checked_against_its_schema() {
    let dir = private_dir();
    let library = copy_to(dir.path(), &library("hostile"));
    let config = format!(
        "[plugins.hostile]\nenabled = true\npath = {library:?}\nisolation = \"none\"\n[plugins.hostile.config]\n\
         coumt = 5\nemit = \"no such thing\"\ncount = \"many\"\nsecret = 12345\n"
    );
    let output = run(dir.path(), &config, &["check"]);
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    for expected in [
        "plugins.toml:6:1: unknown key \"coumt\"",
        "plugins.toml:7:1:",
        "plugins.toml:8:1:",
        "plugins.toml:9:1:",
    ] {
        assert!(said.contains(expected), "lacks {expected:?}:\n{said}");
    }
    assert!(said.contains("did you mean \"count\"?"), "{said}");
    assert!(!said.contains("12345"), "a secret's value is printed:\n{said}");
}

#[test]
fn a_plugin_s_own_words_are_said_all_at_once() {
    let dir = private_dir();
    // Durations by the schema, and not what the plugin takes.
    let config = "[plugins.containers]\n[plugins.containers.config]\ndocker.deadline = \"1ms\"\n\
                  cri.deadline = \"5m\"\nsystemd.deadline = 5\npodman.socket = \"relative\"\n";
    let output = run(dir.path(), config, &["check"]);
    let said = said(&output);
    for expected in [
        "plugins.toml:3:8: [plugins.containers.config]: docker.deadline: must be between 100ms and 60s",
        "plugins.toml:4:5: [plugins.containers.config]: cri.deadline: must be between",
        "plugins.toml:5:9: plugins.containers.config.systemd.deadline must be a text",
        "plugins.toml:6:8: [plugins.containers.config]: podman.socket: a socket is an absolute path",
        "4 problems in",
    ] {
        assert!(said.contains(expected), "lacks {expected:?}:\n{said}");
    }
}

#[test]
fn a_check_goes_on_behind_problems_of_the_host() {
    let dir = private_dir();
    let library = copy_to(dir.path(), &library("hostile"));
    let config = format!(
        "[host]\nlisten = [\"127.0.0.1:9464\", \"[::1]:9464\", \"127.0.0.1:9464\"]\nlogg = \"info\"\n\
         [host.paths]\nproc = \"/no/such/proc\"\nsys = {library:?}\nroot = \"/\"\n\
         [plugins.node]\nmax_series = -5\n[plugins.node.config]\nnever = \"asked\"\n\
         [plugins.hostile]\nisolation = \"none\"\npath = {library:?}\n[plugins.hostile.config]\ncoumt = 5\n"
    );
    let output = run(dir.path(), &config, &["check"]);
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    for expected in [
        "plugins.toml:2:43: host.listen names 127.0.0.1:9464 twice",
        "plugins.toml:3:1: unknown key \"logg\" in [host]; did you mean \"log\"?",
        "plugins.toml:5:8: host.paths.proc: \"/no/such/proc\": No such file",
        "plugins.toml:6:7: host.paths.sys:",
        "plugins.toml:9:14: plugins.node.max_series must be a whole number above 0, not -5",
        "plugins.toml:16:1: unknown key \"coumt\"",
    ] {
        assert!(said.contains(expected), "lacks {expected:?}:\n{said}");
    }
    assert!(!said.contains("never"), "its section is not read to the end:\n{said}");
    // What the machine lacks is no reason not to read a file.
    let config = "[host.paths]\ncgroup = \"/no/such/cgroup\"\n[plugins.node]\nenabled = true\n";
    let output = run(dir.path(), config, &["probe"]);
    assert!(output.status.success(), "{}", support::agent::said(&output));
    let output = run(dir.path(), config, &["check"]);
    assert!(support::agent::said(&output).contains("1 problem in"), "{}", support::agent::said(&output));
    let output = run(dir.path(), "[plugins.node]\n", &["check"]);
    assert!(support::agent::said(&output).contains("good; 1 plugin\n"), "{}", support::agent::said(&output));
}

#[test]
fn containers_without_a_provider_of_names_are_said() {
    let dir = private_dir();
    let library = copy_to(dir.path(), &library("hostile"));
    let hostile = format!("[plugins.hostile]\nenabled = true\nisolation = \"none\"\npath = {library:?}\n");
    let provided = format!("{hostile}[plugins.containers]\nenabled = true\nconfig.metrics = false\n");
    for command in ["check", "probe"] {
        let says = |config: &str| {
            said(&run(dir.path(), config, &[command])).contains("provides names of containers")
        };
        assert!(says(&hostile), "{command}: {}", said(&run(dir.path(), &hostile, &[command])));
        assert!(!says(&provided), "{command}");
        assert!(!says("[plugins.node]\nenabled = true\n"), "{command}: nobody tells of containers");
    }
}

#[test]
fn wrong_usage_is_one_line_and_exit_code_2() {
    for arguments in [&["frobnicate"][..], &[], &["run", "--listen", "nowhere"], &["once"]] {
        let output = support::agent::gantry().args(arguments).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(said(&output).lines().count(), 1, "{arguments:?}: {}", said(&output));
    }
}

#[test]
fn what_would_do_nothing_is_said() {
    let dir = private_dir();
    let output = run(dir.path(), "[host]\nplugin_dirs = [\"/nowhere\"]\n", &["check"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("host.plugin_dirs: \"/nowhere\": No such file"), "{}", said(&output));
    // Its file lies beside the binary: it runs in the agent's own process.
    let section = "[plugins.node]\ngrant = [\"CAP_BPF\"]\nmemory = \"64MiB\"\n";
    let output = run(dir.path(), section, &["check"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    for key in ["grant", "memory"] {
        let note = format!("gantry: note: {key} in [plugins.node] does nothing");
        assert!(said(&output).contains(&note), "{}", said(&output));
    }
}
