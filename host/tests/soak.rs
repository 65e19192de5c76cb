//! A soak: containers that come and go, far more than 10,000 an hour, with
//! upgrades of a plugin and of `containers` in between, and what that costs in
//! memory. [`SECONDS`] of it in a run of all tests; `GANTRY_SOAK=3600` for an hour,
//! `GANTRY_SOAK_ISOLATION=process` for plugins in processes of their own.

mod support;

use std::collections::HashMap;
use std::time::{Duration, Instant};
use support::agent::{Agent, gantry, sample};
use support::cgroup::Cgroup;
use support::commands::hostile;
use support::versions::build;
use support::{copy_to, library, private_dir, process, write_library};

const SECONDS: u64 = 20;

/// Containers between two rows of upgrades.
const A_ROUND: usize = 20;
const UPGRADES: [&str; 5] = ["hostile", "hostile", "containers", "hostile", "hostile"];

const PLUGINS: [&str; 3] = ["node", "containers", "hostile"];

/// Containers that are there at a time.
const TOGETHER: usize = 5;

/// Until then memory is what the agent needs to work at all.
const WARM: f64 = 0.4;

/// Generous: a leak of what a container or an instance is would be more. In a short
/// run a page more or less of an allocator's is much of it.
const BYTES_A_CONTAINER: f64 = 8192.0;
const BYTES_AN_UPGRADE: f64 = 65536.0;

/// In a shorter run allocators have not seen enough generations of `containers` yet
/// to be full of holes that the next one fits into. A whole one would still be more.
const LONG: u64 = 60;
const SHORT_RUN: f64 = 3.0;

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
    let isolation = std::env::var("GANTRY_SOAK_ISOLATION").unwrap_or_else(|_| "none".to_owned());
    let dir = private_dir();
    let old = copy_to(dir.path(), &library("hostile"));
    let new = build(dir.path(), "0.2.0");
    let containers = copy_to(dir.path(), &library("containers"));
    // The same code, and another generation by its digest.
    let again = dir.path().join("containers-again.so");
    write_library(&again, &[std::fs::read(&containers).expect("own file"), vec![0]].concat());
    let mut files =
        HashMap::from([("hostile", [new, old.clone()]), ("containers", [again, containers.clone()])]);
    // Gone ones are forgotten at once, or an hour would be a measurement of `linger`.
    // Others' are none of this one's: what they cost comes and goes.
    let host = format!(
        "[host.identity]\nmin_container_age = \"0s\"\nmetadata_wait = \"0s\"\nlinger = \"1s\"\n\
         allow = [\"^/docker/{:032x}\"]",
        std::process::id()
    );
    // What its manifest asks for, which a file of no vendor's does not get by itself.
    let grant = match isolation.as_str() {
        "none" => "",
        _ => "grant = [\"CAP_SYS_PTRACE\", \"CAP_DAC_READ_SEARCH\"]\n",
    };
    let sections = format!(
        "[plugins.node]\nenabled = true\nisolation = \"none\"\n[plugins.containers]\nenabled = true\npath = {containers:?}\n\
         isolation = \"none\"\n{grant}{}",
        hostile(&old, "")
    );
    let sections = sections.replace("isolation = \"none\"", &format!("isolation = {isolation:?}"));
    let mut agent = Agent::start_by(gantry(), dir, &host, &sections);
    let until = Instant::now() + Duration::from_secs(seconds);
    let begin = Instant::now();
    let (mut made, mut upgrades, mut shown) = (0_usize, 0_usize, 0.0_f64);
    let mut memory = Vec::new();
    while Instant::now() < until {
        for _ in 0..A_ROUND / TOGETHER {
            let some: Vec<_> = (0..TOGETHER).map(|_| Cgroup::new().expect("there was one")).collect();
            let members: Vec<_> = some.iter().map(|one| one.spawn(&["sleep", "1000"])).collect();
            let known = sample(&agent.scrape(), "gantry_identity_containers").expect("the service runs");
            shown = shown.max(known);
            drop(members);
            made += some.len();
        }
        agent.scrape();
        for name in UPGRADES {
            let files = files.get_mut(name).expect("each has two");
            agent.good(&["upgrade", name, files[0].to_str().expect("UTF-8"), "--until-restart"]);
            files.swap(0, 1);
            upgrades += 1;
            agent.scrape();
        }
        // Not those that just end.
        let processes = |agent: &Agent| PLUGINS.map(|name| process::runners(agent.pid(), name));
        let most = usize::from(isolation == "process");
        agent.wait_until("the processes before are gone", |agent| {
            processes(agent).iter().all(|of_one| of_one.len() == most)
        });
        let at = begin.elapsed().as_secs_f64() / seconds as f64;
        let all: Vec<u32> = processes(&agent).into_iter().flatten().chain([agent.pid()]).collect();
        let all: u64 = all.into_iter().map(process::anonymous).sum();
        memory.push((at, made as f64, upgrades as f64, all as f64));
    }
    let took = begin.elapsed();
    let warm: Vec<_> = memory.iter().filter(|(at, ..)| *at >= WARM).collect();
    // Both grow together: each is charged with all of it.
    let by_container =
        slope(&warm.iter().map(|(_, containers, _, bytes)| (*containers, *bytes)).collect::<Vec<_>>());
    let by_upgrade =
        slope(&warm.iter().map(|(_, _, upgrades, bytes)| (*upgrades, *bytes)).collect::<Vec<_>>());
    println!(
        "{made} containers ({:.0} an hour) and {upgrades} upgrades in {took:.0?}; {} rounds measured; memory grew by \
         {by_container:.0} bytes a container or {by_upgrade:.0} an upgrade, whichever it was; {:.1} MiB at the end, {:.1} \
         when warm; threads {}, descriptors {}",
        made as f64 / took.as_secs_f64() * 3600.0,
        warm.len(),
        memory.last().map_or(0.0, |last| last.3) / f64::from(1 << 20),
        warm.first().map_or(0.0, |first| first.3) / f64::from(1 << 20),
        process::threads(agent.pid()).len(),
        std::fs::read_dir(format!("/proc/{}/fd", agent.pid())).expect("it runs").count(),
    );
    assert!(shown >= TOGETHER as f64, "they are seen: {shown}");
    assert!(made as f64 / took.as_secs_f64() * 3600.0 >= 10_000.0, "{made} in {took:?}");
    let room = if seconds < LONG { SHORT_RUN } else { 1.0 };
    assert!(by_container <= room * BYTES_A_CONTAINER, "{by_container} bytes a container");
    assert!(by_upgrade <= room * BYTES_AN_UPGRADE, "{by_upgrade} bytes an upgrade");
    let text = agent.scrape();
    for name in PLUGINS {
        let hung = format!("gantry_plugin_hung_threads{{plugin=\"{name}\"");
        assert_eq!(sample(&text, &hung), Some(0.0), "{name}");
        assert_eq!(agent.plugin(name)["isolation"], *isolation);
        assert_eq!(agent.state(name).0, "running", "{:?}", agent.state(name));
    }
}
