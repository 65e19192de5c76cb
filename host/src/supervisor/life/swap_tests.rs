//! Every way that a swap can go, under a clock that only the test moves.

use super::*;

const DEADLINE: Duration = Duration::from_secs(2);

struct Driven {
    life: Life,
    now: Instant,
    todo: Vec<Do>,
    /// The generation that served, and the one that is tried.
    old: u64,
    new: u64,
}

fn fault(why: &str) -> Progress {
    Progress::Failed(Failure::Fault(why.to_owned()))
}

impl Driven {
    fn swapping(exclusive: bool) -> Self {
        let mut life = Life::new(DEADLINE);
        let now = Instant::now();
        life.on(Event::Enable, now);
        let old = life.attempt();
        life.on(Event::Of(old, Progress::Began(Call::Create)), now);
        life.on(Event::Of(old, Progress::Activated(Vec::new())), now);
        let todo = life.on(Event::Swap { exclusive }, now);
        Self { life, now, todo, old, new: old + 1 }
    }
    fn on(&mut self, event: Event) -> &mut Self {
        self.todo = self.life.on(event, self.now);
        self
    }
    fn old(&mut self, progress: Progress) -> &mut Self {
        self.on(Event::Of(self.old, progress))
    }
    fn next_one(&mut self, progress: Progress) -> &mut Self {
        self.on(Event::Of(self.new, progress))
    }
    /// Up to where the new one is ready and the old one is asked to end.
    fn ready(&mut self) -> &mut Self {
        for call in [Call::Create, Call::Probe, Call::Start, Call::Collect] {
            self.next_one(Progress::Began(call)).serves();
        }
        self.next_one(Progress::Ready);
        let part = Do::Part { attempt: self.old, next: self.new, within: STOP_WITHIN };
        assert_eq!(self.todo, [part]);
        self
    }
    fn parted(&mut self) -> &mut Self {
        self.ready().old(Progress::Began(Call::Stop)).old(Progress::Stopped(None));
        assert_eq!(self.todo, [Do::Activate { attempt: self.new }]);
        assert!(self.life.is_current(self.new));
        self
    }
    /// Goes to where the life asks to be told the time.
    fn next(&mut self) -> Duration {
        let span = self.life.next().expect("something is awaited") - self.now;
        self.now += span;
        self.on(Event::Time);
        span
    }
    #[track_caller]
    fn serves(&self) -> &Self {
        assert_eq!(self.life.state(), State::Running, "{:?}", self.life);
        self
    }
    #[track_caller]
    fn refused(&self, why: &str) -> &Self {
        let said = self.todo.iter().find_map(|todo| match todo {
            Do::Swapped(Err(said)) => Some(said),
            _ => None,
        });
        assert!(said.is_some_and(|said| said.contains(why)), "{why}: {:?}", self.todo);
        self
    }
    #[track_caller]
    fn restores(&mut self) -> u64 {
        let [Do::Drop { attempt: gone }, Do::Restore { attempt }] = self.todo[..] else {
            panic!("{:?}", self.todo)
        };
        assert_eq!(gone, self.new);
        self.serves();
        assert!(self.life.is_current(attempt));
        attempt
    }
}

#[test]
fn the_new_one_is_tried_beside_and_takes_the_place() {
    let mut driven = Driven::swapping(false);
    assert_eq!(driven.todo, [Do::Try { attempt: driven.new }]);
    assert!(driven.life.is_live(driven.new) && driven.life.is_current(driven.old));
    driven.ready();
    // A collection that was asked before is carried out first.
    driven
        .old(Progress::Began(Call::Collect))
        .old(Progress::Collected(Vec::new()))
        .old(Progress::Ended)
        .serves();
    driven.old(Progress::Began(Call::Stop)).old(Progress::Stopped(None)).serves();
    assert_eq!(driven.todo, [Do::Activate { attempt: driven.new }]);
    driven.old(fault("its thread ended")).serves();
    assert!(driven.todo.is_empty(), "it is not asked any more");
    driven.next_one(Progress::Began(Call::Activate)).next_one(Progress::Activated(vec!["no BTF".to_owned()]));
    assert_eq!(driven.todo, [Do::Swapped(Ok(()))]);
    assert_eq!(driven.life.state(), State::Degraded);
    driven.next_one(Progress::Collected(vec!["ring full".to_owned()]));
    assert_eq!(driven.life.complaints(), ["ring full"], "what its probe said is known");
    assert!(!driven.life.is_live(driven.old) && driven.life.is_settled());
}

#[test]
fn whatever_fails_in_the_trial_leaves_the_old_one() {
    for call in [Call::Create, Call::Probe, Call::Start, Call::Collect] {
        let mut driven = Driven::swapping(false);
        driven.next_one(Progress::Began(call)).next_one(fault("panicked")).refused("panicked").serves();
        assert_eq!(driven.todo[0], Do::Drop { attempt: driven.new });
        driven.life.returned(driven.new);
        assert_eq!((driven.life.left_behind(), driven.life.failures()), (0, 0));
        assert!(driven.life.is_current(driven.old) && driven.life.next().is_none());
        driven.on(Event::Swap { exclusive: false });
        assert_eq!(driven.todo, [Do::Try { attempt: driven.new + 1 }], "it may be tried again");
    }
    let mut driven = Driven::swapping(false);
    driven.next_one(Progress::Failed(Failure::Unsupported("no BTF".to_owned()))).refused("no BTF").serves();
}

#[test]
fn a_trial_that_hangs_is_left_behind() {
    for call in [Call::Create, Call::Probe, Call::Start, Call::Collect] {
        let mut driven = Driven::swapping(false);
        driven.next_one(Progress::Began(call));
        assert_eq!(driven.next(), DEADLINE * HUNG_AFTER);
        driven.refused(&format!("{} did not come back within 20s", call.as_str())).serves();
        assert_eq!(driven.life.left_behind(), 1);
        // It comes back late, and nobody listens.
        driven.next_one(Progress::Ready).serves();
        assert!(driven.todo.is_empty());
        driven.life.returned(driven.new);
        assert_eq!(driven.life.left_behind(), 0);
    }
}

#[test]
fn a_trial_that_hangs_in_a_process_of_its_own_is_killed() {
    let mut driven = Driven::swapping(false);
    driven.life.runs_apart(driven.new);
    driven.next_one(Progress::Began(Call::Start));
    driven.next();
    driven.refused("its process was killed").serves();
    let new = driven.new;
    assert!(driven.todo.starts_with(&[Do::Abandon { attempt: new }, Do::Drop { attempt: new }]));
    assert_eq!(driven.life.left_behind(), 0);
}

#[test]
fn an_activation_that_fails_restores_the_old_one() {
    let unsupported = Progress::Failed(Failure::Unsupported("no ring".to_owned()));
    for failure in [fault("no ring"), unsupported, Progress::Stopped(Some("no ring".to_owned()))] {
        let mut driven = Driven::swapping(false);
        driven.parted().next_one(failure);
        let again = driven.restores();
        driven.next_one(fault("its thread ended")).serves();
        assert!(driven.todo.is_empty() && !driven.life.is_live(driven.new), "it said why before");
        for progress in [Progress::Began(Call::Create), Progress::Created, Progress::Started, Progress::Ready]
        {
            driven.on(Event::Of(again, progress)).serves();
        }
        driven.on(Event::Of(again, Progress::Activated(Vec::new()))).refused("no ring").serves();
        assert_eq!(driven.life.failures(), 0);
    }
    let mut driven = Driven::swapping(false);
    driven.parted().next_one(Progress::Began(Call::Activate));
    assert_eq!(driven.next(), DEADLINE * HUNG_AFTER);
    assert_eq!(driven.todo.remove(0), Do::Abandon { attempt: driven.new });
    let again = driven.restores();
    assert_eq!(driven.life.left_behind(), 1);
    driven
        .on(Event::Of(again, Progress::Activated(Vec::new())))
        .refused("activate did not come back")
        .serves();
}

#[test]
fn one_that_cannot_be_restored_has_failed() {
    let mut driven = Driven::swapping(false);
    driven.parted().next_one(fault("no ring"));
    let again = driven.restores();
    driven
        .on(Event::Of(again, fault("no memory")))
        .refused("no ring; and the generation before could not be restored: no memory");
    assert_eq!(driven.life.state(), State::Failed);
    assert_eq!(driven.next(), Duration::from_secs(1), "it is tried again");
    assert!(matches!(driven.todo[..], [Do::Launch { .. }]));
}

#[test]
fn an_old_one_that_ends_badly_gives_its_place_all_the_same() {
    let mut driven = Driven::swapping(false);
    driven.ready().old(fault("collect: panicked")).serves();
    assert_eq!(driven.todo, [Do::Activate { attempt: driven.new }]);
    let mut driven = Driven::swapping(false);
    driven.ready().old(Progress::Began(Call::Stop));
    assert_eq!(driven.next(), STOP_WITHIN);
    let (old, new) = (driven.old, driven.new);
    assert_eq!(driven.todo, [Do::Abandon { attempt: old }, Do::Activate { attempt: new }]);
    driven.next_one(Progress::Activated(Vec::new())).serves();
    assert_eq!(driven.life.left_behind(), 1);
    // A collection may take longer than a stop.
    let mut driven = Driven::swapping(false);
    driven.ready().old(Progress::Began(Call::Collect));
    assert_eq!(driven.next(), DEADLINE * HUNG_AFTER);
    assert!(matches!(driven.todo[..], [Do::Abandon { .. }, Do::Activate { .. }]));
}

#[test]
fn a_failure_of_the_old_one_meanwhile_ends_the_trial() {
    let mut driven = Driven::swapping(false);
    driven
        .next_one(Progress::Began(Call::Start))
        .old(fault("panicked"))
        .refused("failed meanwhile: panicked");
    assert_eq!(driven.todo[0], Do::Drop { attempt: driven.new });
    assert_eq!(driven.life.state(), State::Failed);
    let mut driven = Driven::swapping(false);
    driven.old(Progress::Began(Call::View));
    driven.next();
    driven.refused("hangs: view did not come back");
    assert_eq!(driven.life.state(), State::Hung);
}

#[test]
fn of_two_that_must_not_run_together_the_old_one_parts_first() {
    let mut driven = Driven::swapping(true);
    let (old, new) = (driven.old, driven.new);
    assert_eq!(driven.todo, [Do::Part { attempt: old, next: new, within: STOP_WITHIN }]);
    driven.old(Progress::Began(Call::Stop)).old(Progress::Stopped(None)).serves();
    assert_eq!(driven.todo, [Do::Try { attempt: new }, Do::Activate { attempt: new }]);
    for progress in
        [Progress::Began(Call::Create), Progress::Created, Progress::Began(Call::Start), Progress::Started]
    {
        driven.next_one(progress).serves();
    }
    driven.next_one(Progress::Ready).next_one(Progress::Activated(Vec::new())).serves();
    assert_eq!(driven.todo, [Do::Swapped(Ok(()))]);
    let mut driven = Driven::swapping(true);
    driven.old(Progress::Stopped(None)).next_one(fault("the port is taken"));
    let again = driven.restores();
    driven.on(Event::Of(again, Progress::Activated(Vec::new()))).refused("the port is taken").serves();
}

#[test]
fn what_stops_a_plugin_ends_its_swap() {
    for event in [Event::Disable, Event::End { within: STOP_WITHIN }, Event::Restart] {
        let mut driven = Driven::swapping(false);
        driven.on(event.clone()).refused("stopped meanwhile");
        let (old, new) = (driven.old, driven.new);
        assert_eq!(driven.todo.last(), Some(&Do::Stop { attempt: old, within: STOP_WITHIN }), "{event:?}");
        assert!(driven.todo.contains(&Do::Drop { attempt: new }));
        let mut driven = Driven::swapping(false);
        driven.ready().on(event.clone()).refused("stopped meanwhile");
        assert!(
            !driven.todo.iter().any(|todo| matches!(todo, Do::Stop { .. })),
            "it was asked: {:?}",
            driven.todo
        );
        driven.old(Progress::Stopped(None));
        assert_ne!(driven.life.state(), State::Stopping, "{event:?}");
        let mut driven = Driven::swapping(false);
        driven.parted().on(event.clone()).refused("stopped meanwhile");
        assert_eq!(driven.todo.last(), Some(&Do::Stop { attempt: new, within: STOP_WITHIN }), "{event:?}");
    }
}

#[test]
fn one_swap_at_a_time_and_of_what_runs_alone() {
    let mut driven = Driven::swapping(false);
    driven.on(Event::Swap { exclusive: false }).refused("another generation is about to take its place");
    driven.ready().old(Progress::Stopped(None)).next_one(Progress::Activated(Vec::new())).serves();
    assert_eq!(driven.todo, [Do::Swapped(Ok(()))], "the first goes on");
    driven.next_one(fault("x")).on(Event::Swap { exclusive: false }).refused("it is failed");
}
