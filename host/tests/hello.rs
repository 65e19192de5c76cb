//! The example plugin, built outside the workspace as a third party would,
//! in the host.

mod support;

use std::path::PathBuf;
use std::process::Command;
use support::agent::{Agent, run, said, sample};
use support::{built, copy_to, private_dir};

/// Builds the example in its own workspace, where `cargo xtask test` builds it too.
fn hello() -> PathBuf {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/hello-plugin/Cargo.toml");
    let target = built().parent().expect("the target directory").join("examples");
    let output = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--manifest-path", manifest, "--target-dir"])
        .arg(&target)
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", said(&output));
    target.join("release/libgantry_hello.so")
}

#[test]
fn a_third_party_s_plugin_runs_in_the_host() {
    let dir = private_dir();
    let file = copy_to(dir.path(), &hello());
    let plugins = format!(
        "[plugins.hello]\nenabled = true\npath = {file:?}\nisolation = \"none\"\nconfig.name = \"Ada \\\"L\\\"\"\n"
    );
    let checked = run(dir.path(), &plugins, &["check"]);
    assert!(checked.status.success(), "{}", said(&checked));
    let mut agent = Agent::start_in(dir, "", &plugins);
    agent.wait_for_log("ready to greet");
    let first = agent.scrape();
    assert_eq!(sample(&first, r#"hello_greeting_info{name="Ada \"L\""#), Some(1.0), "{first}");
    // Its first greeting is shown as 0, so that the second is seen as an increase.
    let greetings = |text: &str| sample(text, "hello_greetings_total").expect("the counter");
    assert_eq!(greetings(&first), 0.0);
    assert_eq!(greetings(&agent.scrape()), 2.0, "the trial collection counts nothing");
}

#[test]
fn its_typing_errors_are_found_before_it_runs() {
    let dir = private_dir();
    let file = copy_to(dir.path(), &hello());
    let plugins = format!(
        "[plugins.hello]\nenabled = true\npath = {file:?}\nisolation = \"none\"\nconfig.nam = \"x\"\n"
    );
    let checked = run(dir.path(), &plugins, &["check"]);
    assert_eq!(checked.status.code(), Some(1));
    assert!(said(&checked).contains("unknown key \"nam\""), "{}", said(&checked));
    assert!(said(&checked).contains("did you mean \"name\"?"), "{}", said(&checked));
}
