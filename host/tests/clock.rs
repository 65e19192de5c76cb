//! The whole agent while somebody sets the machine's clock: in the kernels of
//! `cargo xtask kernels`, whose clock is nobody else's.

mod support;

use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};
use support::agent::Agent;
use support::cgroup::Cgroup;
use support::private_dir;
use support::series::{scrape_until, value};

const DAY: i64 = 86_400;

fn step(seconds: i64) {
    let now = clock_gettime(ClockId::Realtime);
    let then = Timespec { tv_sec: now.tv_sec + seconds, ..now };
    clock_settime(ClockId::Realtime, then).expect("root of a machine of its own sets its clock");
}

/// CPU seconds of a container.
fn used(text: &str, id: &str) -> Option<f64> {
    value(text, "container_resources_cpu_usage_seconds_total", &[("container_id", id)])
}

#[test]
#[ignore = "sets the clock of the machine"]
fn a_clock_that_is_set_changes_nothing() {
    let Some(cgroup) = Cgroup::new() else { return };
    let gone = Cgroup::new().expect("as the other one");
    let (id, gone_id) = (cgroup.path(), gone.path());
    // Not all the time: the agent has the same processor, which is slow.
    let busy = ["sh", "-c", "while :; do sleep 0.1; done"];
    let _member = cgroup.spawn(&busy);
    let ending = gone.spawn(&busy);
    let agent = Agent::start_in(
        private_dir(),
        "[host.identity]\nmin_container_age = \"1s\"\nmetadata_wait = \"1s\"",
        "[plugins.node]\nenabled = true\n[plugins.containers]\nenabled = true\n",
    );
    let text = scrape_until(&agent, "both are shown", |text| {
        used(text, &id).is_some_and(|used| used > 0.0) && used(text, &gone_id).is_some_and(|used| used > 0.0)
    });
    let (mut last, kept) = (used(&text, &id), used(&text, &gone_id));
    drop(ending);
    gone.remove();
    scrape_until(&agent, "its end is seen", |_| {
        agent.table(&["containers", "--where", &format!("id={gone_id}")]).is_empty()
    });
    for seconds in [DAY, -2 * DAY, 400 * DAY, -399 * DAY] {
        step(seconds);
        let text = scrape_until(&agent, "its counter goes on", |text| {
            let now = used(text, &id);
            assert!(now >= last, "after {seconds} s: {now:?} after {last:?}");
            now > last
        });
        last = used(&text, &id);
        // The time for which last values are served goes by another clock.
        assert!(used(&text, &gone_id) >= kept, "after {seconds} s: {text}");
        for plugin in ["node", "containers"] {
            let up = value(&text, "gantry_plugin_up", &[("plugin", plugin)]);
            assert_eq!(up, Some(1.0), "after {seconds} s: {text}");
        }
        // So does the age at which one is shown.
        let newcomer = Cgroup::new().expect("as the others");
        let _member = newcomer.spawn(&busy);
        scrape_until(&agent, "one that comes after it is shown", |text| {
            used(text, &newcomer.path()).is_some()
        });
    }
}
