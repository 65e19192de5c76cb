//! Two plugins that tell of one container and set one fact: the first in the
//! file is believed, and what the other said is counted.

mod support;

use support::agent::Agent;
use support::cgroup::Cgroup;
use support::series::{scrape_until, value};
use support::{copy_to, library, private_dir};

#[test]
fn of_two_plugins_the_first_in_the_file_is_believed_and_the_other_is_counted() {
    let Some(cgroup) = Cgroup::new() else { return };
    let path = cgroup.path();
    cgroup.remove();
    let runtime_id = path.rsplit('/').next().expect("an id");
    let dir = private_dir();
    // The first in the file is not the first in the alphabet.
    let sections = [("claims-b", "first"), ("claims-a", "second")].map(|(plugin, name)| {
        let file = copy_to(dir.path(), &library(plugin));
        format!(
            "[plugins.{plugin}]\nenabled = true\npath = {file:?}\nisolation = \"none\"\n\
             config = {{ runtime_id = {runtime_id:?}, name = {name:?} }}\n"
        )
    });
    let host = "[host.identity]\nmin_container_age = \"0s\"\nmetadata_wait = \"30s\"";
    let plugins =
        format!("{}[plugins.containers]\nenabled = true\nconfig.docker.enabled = false\n", sections.concat());
    let agent = Agent::start_in(dir, host, &plugins);
    let conflicts = |text: &str, family: &str, plugin: &str| value(text, family, &[("plugin", plugin)]);
    let text = scrape_until(&agent, "both conflicts are counted", |text| {
        let counted = |family: &str| conflicts(text, family, "claims-a").is_some_and(|count| count >= 1.0);
        counted("gantry_identity_conflicts_total") && counted("gantry_node_fact_conflicts_total")
    });
    for family in ["gantry_identity_conflicts_total", "gantry_node_fact_conflicts_total"] {
        assert!(conflicts(&text, family, "claims-b").is_none_or(|count| count == 0.0), "{text}");
    }
    let of = [("plugin", "claims-a"), ("fact", "region")];
    assert!(value(&text, "gantry_node_fact_conflicts_total", &of).is_some(), "{text}");
    // Both told of it before it came: none was shown for being the only one.
    let cgroup = Cgroup::at(&path);
    let _member = cgroup.spawn(&["sleep", "1000"]);
    scrape_until(&agent, "it has the name that the first one tells", |text| {
        value(text, "container_restarts_total", &[("container_id", "/docker/first")]).is_some()
    });
    let name = |agent: &Agent| agent.table(&["containers", "--where", "id=/docker/first"]).len();
    assert_eq!(name(&agent), 1);
    assert!(!agent.scrape().contains("/docker/second"));
}
