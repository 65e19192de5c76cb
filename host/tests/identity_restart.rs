//! A container that was shown is shown at once by the next agent, under the same
//! id, also where its runtime never answers.

mod support;

use support::agent::Agent;
use support::cgroup::Cgroup;
use support::private_dir;
use support::series::{scrape_until, value};

const FIGURE: &str = "container_resources_cpu_usage_seconds_total";

fn rules(wait: &str) -> String {
    format!("[host.identity]\nmin_container_age = \"0s\"\nmetadata_wait = {wait:?}")
}

fn shown(text: &str, id: &str) -> Option<f64> {
    value(text, FIGURE, &[("container_id", id)])
}

#[test]
fn what_was_shown_does_not_wait_for_a_name_again() {
    let Some(cgroup) = Cgroup::new() else { return };
    let _member = cgroup.spawn(&["/bin/sleep", "1000"]);
    let dir = private_dir();
    let nowhere = dir.path().join("docker.sock");
    let plugins = format!(
        "[plugins.containers]\nenabled = true\n[plugins.containers.config.docker]\nsocket = {nowhere:?}\n"
    );
    let mut agent = Agent::start_in(dir, &rules("100ms"), &plugins);
    let id = cgroup.path();
    scrape_until(&agent, "it is shown", |text| shown(text, &id).is_some());
    let ids = agent.dir.path().join("state/identity/ids.json");
    agent.wait_until("it is kept", |_| std::fs::read_to_string(&ids).is_ok_and(|text| text.contains(&id)));
    // From here on a name would be waited for longer than any test.
    let config = Agent::configuration(&rules("1h"), &plugins);
    std::fs::write(agent.config(), config).expect("own file");
    for end in ["crash", "crash before it wrote anything", "order"] {
        if end == "order" {
            assert!(agent.terminate().success());
        } else {
            agent.kill();
        }
        agent.again();
        assert!(shown(&agent.scrape(), &id).is_some(), "after an end by {end}");
    }
    // One that nobody ever showed waits.
    let other = Cgroup::new().expect("the first one could be made");
    let _other = other.spawn(&["/bin/sleep", "1000"]);
    agent.wait_until("it is seen", |agent| {
        agent.table(&["containers"]).iter().any(|row| row["id"] == other.path())
    });
    let rows = agent.table(&["containers", "--where", &format!("id={}", other.path())]);
    assert_eq!(rows[0]["shown"], "not yet: no name", "{rows:?}");
    assert_eq!(shown(&agent.scrape(), &other.path()), None);
    // Of another boot nothing is remembered.
    assert!(agent.terminate().success());
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("Linux");
    let text = std::fs::read_to_string(&ids).expect("it is kept");
    assert!(text.contains(boot.trim()));
    std::fs::write(&ids, text.replace(boot.trim(), "another")).expect("own file");
    agent.again();
    assert_eq!(shown(&agent.scrape(), &id), None, "it waits for its name");
}
