//! A soak: containers that come and go, far more than 10,000 an hour, with
//! upgrades in between, and what that costs in memory. [`SECONDS`] of it in a run
//! of all tests; `GANTRY_SOAK=3600` for an hour.

mod support;

use std::time::{Duration, Instant};
use support::agent::{Agent, gantry, sample};
use support::cgroup::Cgroup;
use support::commands::hostile;
use support::versions::build;
use support::{copy_to, library, private_dir, process};

const SECONDS: u64 = 20;

/// Containers between two rows of upgrades.
const A_ROUND: usize = 20;
const UPGRADES: usize = 4;

/// Containers that are there at a time.
const TOGETHER: usize = 5;

/// Until then memory is what the agent needs to work at all.
const WARM: f64 = 0.4;

/// Generous: a leak of what a container or an instance is would be more. In a short
/// run a page more or less of an allocator's is much of it.
const BYTES_A_CONTAINER: f64 = 8192.0;
const BYTES_AN_UPGRADE: f64 = 65536.0;

/// A straight line's slope through points, by least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let up: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let along: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    if along == 0.0 { 0.0 } else { up / along }
}

#[test]
fn containers_and_upgrades_by_the_thousand_cost_no_memory_that_stays() {
    let asked = std::env::var("GANTRY_SOAK").ok();
    let seconds = asked.map_or(SECONDS, |text| text.parse().expect("GANTRY_SOAK is a number of seconds"));
    if Cgroup::new().is_none() {
        return;
    }
    let dir = private_dir();
    let old = copy_to(dir.path(), &library("hostile"));
    let new = build(dir.path(), "0.2.0");
    // Gone ones are forgotten at once, or an hour would be a measurement of `linger`.
    let host = "[host.identity]\nmin_container_age = \"0s\"\nmetadata_wait = \"0s\"\nlinger = \"1s\"";
    let sections = format!(
        "[plugins.node]\nenabled = true\n[plugins.containers]\nenabled = true\n{}",
        hostile(&old, "")
    );
    let agent = Agent::start_by(gantry(), dir, host, &sections);
    let until = Instant::now() + Duration::from_secs(seconds);
    let begin = Instant::now();
    let (mut containers, mut upgrades, mut shown) = (0_usize, 0_usize, 0.0_f64);
    let mut memory = Vec::new();
    while Instant::now() < until {
        for _ in 0..A_ROUND / TOGETHER {
            let some: Vec<_> = (0..TOGETHER).map(|_| Cgroup::new().expect("there was one")).collect();
            let members: Vec<_> = some.iter().map(|one| one.spawn(&["sleep", "1000"])).collect();
            let known = sample(&agent.scrape(), "gantry_identity_containers").expect("the service runs");
            shown = shown.max(known);
            drop(members);
            containers += some.len();
        }
        agent.scrape();
        for at in 0..UPGRADES {
            let file = if at % 2 == 0 { &new } else { &old };
            agent.good(&["upgrade", "hostile", file.to_str().expect("UTF-8"), "--until-restart"]);
            upgrades += 1;
            agent.scrape();
        }
        let at = begin.elapsed().as_secs_f64() / seconds as f64;
        memory.push((at, containers as f64, upgrades as f64, process::anonymous(agent.pid()) as f64));
    }
    let took = begin.elapsed();
    let warm: Vec<_> = memory.iter().filter(|(at, ..)| *at >= WARM).collect();
    // Both grow together: each is charged with all of it.
    let by_container =
        slope(&warm.iter().map(|(_, containers, _, bytes)| (*containers, *bytes)).collect::<Vec<_>>());
    let by_upgrade =
        slope(&warm.iter().map(|(_, _, upgrades, bytes)| (*upgrades, *bytes)).collect::<Vec<_>>());
    println!(
        "{containers} containers ({:.0} an hour) and {upgrades} upgrades in {took:.0?}; {} rounds measured; memory grew by \
         {by_container:.0} bytes a container or {by_upgrade:.0} an upgrade, whichever it was; {:.1} MiB at the end, {:.1} \
         when warm; threads {}, descriptors {}",
        containers as f64 / took.as_secs_f64() * 3600.0,
        warm.len(),
        memory.last().map_or(0.0, |last| last.3) / f64::from(1 << 20),
        warm.first().map_or(0.0, |first| first.3) / f64::from(1 << 20),
        process::threads(agent.pid()).len(),
        std::fs::read_dir(format!("/proc/{}/fd", agent.pid())).expect("it runs").count(),
    );
    assert!(shown >= TOGETHER as f64, "they are seen: {shown}");
    assert!(containers as f64 / took.as_secs_f64() * 3600.0 >= 10_000.0, "{containers} in {took:?}");
    assert!(by_container <= BYTES_A_CONTAINER, "{by_container} bytes a container");
    assert!(by_upgrade <= BYTES_AN_UPGRADE, "{by_upgrade} bytes an upgrade");
    let text = agent.scrape();
    assert_eq!(sample(&text, "gantry_plugin_hung_threads{plugin=\"hostile\""), Some(0.0));
}
