//! The whole agent beside a real Docker whose containers somebody else has made:
//! Swarm, ECS and Nomad, known by the labels and variables that they give.

mod support;

use gantry_test_docker::Docker;
use support::agent::Agent;
use support::private_dir;
use support::series::{scrape_until, value};

const USAGE: &str = "container_resources_cpu_usage_seconds_total";
const ALLOCATION: &str = "5b1c7a52-1f3e-4d53-9f0e-2e6d0d3a8f11";

fn agent(docker: &Docker) -> Agent {
    let socket = docker.socket();
    let plugins = format!(
        "[plugins.containers]\nenabled = true\nconfig.docker = {{ socket = {socket:?}, deadline = \"20s\" }}\n\
         config.podman.enabled = false\nconfig.cri.enabled = false\nconfig.containerd.enabled = false\n\
         config.systemd.enabled = false\n"
    );
    let host = "[host.identity]\nmetadata_wait = \"30s\"\nmin_container_age = \"0s\"";
    Agent::start_in(private_dir(), host, &plugins)
}

/// A container of this name, with labels or variables: by its id.
fn run(docker: &Docker, name: &str, option: &str, pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut options = vec!["--network", "none", "--name", name];
    pairs.iter().for_each(|pair| options.extend([option, pair]));
    docker.container(&options)
}

#[test]
fn containers_have_the_names_that_their_orchestrators_gave_them() {
    let Some(docker) = Docker::start() else { return };
    let agent = agent(&docker);
    let swarm = run(
        &docker,
        "shop_web.3.w0g2kv1k3c0vd1zgqo3jq2m1n",
        "--label",
        &[
            ("com.docker.stack.namespace", "shop"),
            ("com.docker.swarm.node.id", "node1"),
            ("com.docker.swarm.service.id", "8q1f3n2zr7x0"),
            ("com.docker.swarm.service.name", "shop_web"),
            ("com.docker.swarm.task", ""),
            ("com.docker.swarm.task.id", "w0g2kv1k3c0vd1zgqo3jq2m1n"),
            ("com.docker.swarm.task.name", "shop_web.3.w0g2kv1k3c0vd1zgqo3jq2m1n"),
        ],
    );
    let ecs = |container: &'static str| {
        [
            ("com.amazonaws.ecs.cluster", "arn:aws:ecs:eu-west-1:123456789012:cluster/prod"),
            ("com.amazonaws.ecs.container-name", container),
            (
                "com.amazonaws.ecs.task-arn",
                "arn:aws:ecs:eu-west-1:123456789012:task/prod/5a0d5ceddf6c44c1928d367a815d890f",
            ),
            ("com.amazonaws.ecs.task-definition-family", "web"),
            ("com.amazonaws.ecs.task-definition-version", "7"),
        ]
    };
    let nginx = run(&docker, "ecs-web-7-nginx-a0b1c2", "--label", &ecs("nginx"));
    let pause = run(&docker, "ecs-web-7-internalecspause-d0", "--label", &ecs("~internal~ecs~pause"));
    let task = run(
        &docker,
        &format!("web-{ALLOCATION}"),
        "-e",
        &[
            ("NOMAD_NAMESPACE", "default"),
            ("NOMAD_JOB_NAME", "shop"),
            ("NOMAD_GROUP_NAME", "front"),
            ("NOMAD_ALLOC_ID", ALLOCATION),
            ("NOMAD_TASK_NAME", "web"),
        ],
    );
    let nomad = format!("/nomad/default/shop/front/{ALLOCATION}/web");
    let all = [
        ("/swarm/shop/web/3", "/swarm/shop/web"),
        ("/ecs/prod/web/5a0d5ceddf6c44c1928d367a815d890f/nginx", "/ecs/prod/web/nginx"),
        (nomad.as_str(), ""),
    ];
    let text = scrape_until(&agent, "all three are shown", |text| {
        all.iter().all(|(id, app)| {
            let labels = [("container_id", *id), ("app_id", *app)];
            value(text, USAGE, &labels[..if app.is_empty() { 1 } else { 2 }]).is_some()
        })
    });
    for (id, _) in all {
        let runtime = [("container_id", id), ("runtime", "docker")];
        assert_eq!(value(&text, "container_runtime_info", &runtime), Some(1.0), "{id}: {text}");
        assert_eq!(value(&text, "container_restarts_total", &[("container_id", id)]), Some(0.0), "{id}");
    }
    for own in [&*swarm, &nginx, &pause, &task, "shop_web.3.", "ecs-web-7-", "web-"] {
        let own = format!("container_id=\"/docker/{own}");
        assert!(!text.contains(&own), "by none of Docker's own names: {text}");
    }
    // What ECS has for a task's network is known, and not shown.
    scrape_until(&agent, "the pause container is known for what it is", |_| {
        let rows = agent.table(&["containers", "--where", "runtime=docker"]);
        rows.iter().any(|row| row["shown"].as_str().is_some_and(|shown| shown.contains("pause")))
    });
}
