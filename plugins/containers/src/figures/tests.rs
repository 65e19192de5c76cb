//! Over files of the test's, none of which is kept open: each reading sees
//! which directory lies there, as it does of the kernel's.

use super::*;
use gantry_cgroupfs::fixture::Fixture;
use gantry_cgroupfs::{Mode, Resource};
use std::cell::Cell;
use std::fs;

const PATH: &str = "/docker/web";

struct Machine {
    fixture: Fixture,
    figures: Figures,
    web: ContainerRef,
    next: Cell<u64>,
    _dir: tempfile::TempDir,
}

impl Machine {
    fn new(mode: Mode) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let fixture = Fixture::new(dir.path(), mode).expect("written");
        let figures = Figures::new(fixture.layout().expect("a layout"), 0);
        let web = ContainerRef::from_handle(7).expect("not 0");
        Self { fixture, figures, web, next: Cell::new(1), _dir: dir }
    }

    /// The cgroup used so many seconds.
    fn uses(&self, path: &str, seconds: f64) {
        let mut usage = self.fixture.figures(3);
        usage.cpu.usage = Some((seconds * 1e9) as u64);
        self.fixture.cgroup_of(path, &usage).expect("written");
    }

    /// As the host tells of the container's cgroups.
    fn cgroups(&self, path: &str) -> Vec<Cgroup> {
        let lines = self.fixture.membership(path);
        let cgroup = |line: &str| {
            let mut parts = line.splitn(3, ':');
            let mut next = || parts.next().expect("three parts");
            let hierarchy = next().parse().expect("a number");
            let controllers = next().split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
            let id = self.next.replace(self.next.get() + 1);
            let mut cgroup = Cgroup::default();
            (cgroup.hierarchy, cgroup.controllers, cgroup.path, cgroup.id) =
                (hierarchy, controllers, next().to_owned(), id);
            cgroup
        };
        lines.lines().map(cgroup).collect()
    }

    fn is_in(&mut self, path: &str) {
        let cgroups = self.cgroups(path);
        self.figures.container_is(self.web, &cgroups);
    }

    /// Another cgroup lies at its path. The old one stays elsewhere, so that no
    /// inode is given again.
    fn make_anew(&self, path: &str, number: usize) {
        let mut seen = Vec::new();
        for resource in Resource::ALL {
            let directory = self.fixture.directory(resource, path);
            if !directory.exists() || seen.contains(&directory) {
                continue;
            }
            fs::rename(&directory, directory.with_file_name(format!("old-{number}"))).expect("moved");
            fs::create_dir(&directory).expect("made");
            seen.push(directory);
        }
    }

    /// As a collection does.
    fn is_read_meanwhile(&mut self) {
        let Figures { containers, reader, usage, troubles, .. } = &mut self.figures;
        let watched = containers.get_mut(&self.web).expect("it is there");
        watched.read((reader, When::Meanwhile), usage, troubles, None);
    }

    fn used(&mut self) -> f64 {
        self.figures.read(self.web);
        let watched = &self.figures.containers[&self.web];
        let groups = watched.groups.iter().map(|watch| watch.counters());
        groups
            .chain(watched.past.as_deref())
            .filter_map(|counters| counters.get(kept::Figure::CpuUsage as usize))
            .sum()
    }
}

#[track_caller]
fn near(shown: f64, wanted: f64) {
    assert!((shown - wanted).abs() < 1e-9, "{shown} instead of {wanted}");
}

#[test]
fn a_cgroup_made_anew_counts_on_whether_it_has_less_or_more() {
    for mode in [Mode::V1, Mode::V2, Mode::Hybrid] {
        let mut machine = Machine::new(mode);
        machine.uses(PATH, 0.40);
        machine.is_in(PATH);
        near(machine.used(), 0.40);
        for (number, (seconds, all)) in [(0.41, 0.81), (0.39, 1.20), (0.39, 1.59)].into_iter().enumerate() {
            machine.make_anew(PATH, number);
            machine.uses(PATH, seconds);
            // Whether the host tells of it before it is read, or after.
            if number == 0 {
                machine.is_in(PATH);
            }
            near(machine.used(), all);
            machine.is_in(PATH);
            near(machine.used(), all);
        }
    }
}

#[test]
fn a_file_that_vanishes_doubles_nothing_and_one_that_comes_back_counts_on() {
    let mut machine = Machine::new(Mode::V2);
    machine.uses(PATH, 3.0);
    machine.is_in(PATH);
    near(machine.used(), 3.0);
    let directory = machine.fixture.directory(Resource::Io, PATH);
    for file in ["io.stat", "cpu.max", "memory.stat"] {
        fs::remove_file(directory.join(file)).expect("there");
        near(machine.used(), 3.0);
    }
    machine.uses(PATH, 3.5);
    near(machine.used(), 3.5);
}

#[test]
fn each_restart_of_a_pod_s_container_counts_and_leaves_nothing() {
    let mut machine = Machine::new(Mode::V2);
    let path = |number: usize| format!("/kubepods/pod/{number}");
    machine.uses(&path(0), 1.0);
    machine.is_in(&path(0));
    near(machine.used(), 1.0);
    for number in 1..=100 {
        machine.uses(&path(number), 1.0);
        machine.is_in(&path(number));
        near(machine.used(), number as f64 + 1.0);
        fs::remove_dir_all(machine.fixture.directory(Resource::Cpu, &path(number - 1))).expect("there");
        near(machine.used(), number as f64 + 1.0);
        assert_eq!(machine.figures.containers[&machine.web].groups.len(), 1);
    }
    assert_eq!(machine.figures.troubles, Troubles::default());
    // The next instance goes on from there.
    let past = machine.figures.past();
    assert_eq!(past.len(), 1, "nothing for each that is gone");
    let mut next =
        Machine { figures: Figures::new(machine.fixture.layout().expect("a layout"), 0), ..machine };
    next.is_in(&path(100));
    next.figures.set_past(past);
    near(next.used(), 101.0);
}

#[test]
fn what_the_host_forgets_without_a_collection_is_forgotten() {
    let mut machine = Machine::new(Mode::V2);
    machine.uses(PATH, 1.0);
    for handle in 1..3 * SWEEP_FROM as u64 {
        let container = ContainerRef::from_handle(handle).expect("not 0");
        let cgroups = machine.cgroups(PATH);
        machine.figures.container_is(container, &cgroups);
        machine.figures.container_goes(container);
        // The host knows the last hundred.
        machine.figures.sweep(&|other, _| other.handle() + 100 > handle);
        assert!(machine.figures.containers.len() <= SWEEP_FROM, "{}", machine.figures.containers.len());
    }
}

#[test]
fn what_goes_before_its_end_was_read_is_counted_once() {
    let lives = |read_at_end: bool, goes_on: bool| {
        let mut machine = Machine::new(Mode::V2);
        machine.uses(PATH, 1.0);
        machine.is_in(PATH);
        machine.is_read_meanwhile();
        if read_at_end {
            machine.figures.read(machine.web);
        }
        if goes_on {
            machine.uses(PATH, 2.0);
            machine.is_read_meanwhile();
        }
        fs::remove_dir_all(machine.fixture.directory(Resource::Cpu, PATH)).expect("there");
        (0..3).for_each(|_| machine.figures.container_goes(machine.web));
        let once = machine.figures.troubles.unread_end;
        // It was made anew at its path, and went before anybody looked.
        machine.is_in(PATH);
        (0..3).for_each(|_| machine.figures.container_goes(machine.web));
        assert_eq!(machine.figures.troubles.unread_end, once + 1);
        once
    };
    assert_eq!(lives(false, false), 1);
    assert_eq!(lives(true, false), 0, "its last process used nothing more");
    assert_eq!(lives(true, true), 1, "another process began in it");
}
