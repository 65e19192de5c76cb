//! Every transition, under a clock that only the test moves.

use super::*;

const DEADLINE: Duration = Duration::from_secs(2);

/// A life and its clock.
struct Driven {
    life: Life,
    now: Instant,
    todo: Vec<Do>,
}

fn fault(why: &str) -> Progress {
    Progress::Failed(Failure::Fault(why.to_owned()))
}

impl Driven {
    fn new() -> Self {
        Self { life: Life::new(DEADLINE), now: Instant::now(), todo: Vec::new() }
    }
    fn running() -> Self {
        let mut driven = Self::new();
        driven.on(Event::Enable);
        driven.activate();
        driven
    }
    fn on(&mut self, event: Event) -> &mut Self {
        self.todo = self.life.on(event, self.now);
        self
    }
    fn of(&mut self, progress: Progress) -> &mut Self {
        let attempt = self.life.attempt();
        self.on(Event::Of(attempt, progress))
    }
    fn activate(&mut self) -> &mut Self {
        use Progress::{Activated, Began, Created, Probed, Ready, Started, Verified};
        for progress in [Verified, Probed, Began(Call::Create), Created, Began(Call::Start), Started, Ready] {
            self.of(progress);
        }
        self.of(Activated(Vec::new()))
    }
    fn good(&mut self) -> &mut Self {
        self.of(Progress::Began(Call::Collect)).of(Progress::Collected(Vec::new())).of(Progress::Ended);
        self.on(Event::InTime)
    }
    /// Lets time go by; what is due at its end happens.
    fn after(&mut self, span: Duration) -> &mut Self {
        self.now += span;
        self.on(Event::Time)
    }
    /// Goes to where the life asks to be told the time.
    fn next(&mut self) -> Duration {
        let next = self.life.next().expect("something is awaited");
        let span = next - self.now;
        self.after(span);
        span
    }
    fn is(&self, state: State) -> &Self {
        assert_eq!(self.life.state(), state, "{:?}", self.life);
        self
    }
    fn why(&self, text: &str) -> &Self {
        assert!(self.life.reasons().join("; ").contains(text), "{text}: {:?}", self.life.reasons());
        self
    }
    fn launches(&self) -> bool {
        matches!(self.todo[..], [.., Do::Launch { attempt }] if self.life.is_current(attempt))
    }
}

#[test]
fn nothing_is_left_behind_of_what_can_be_killed() {
    let mut driven = Driven::running();
    for round in 0..10 {
        driven.life.runs_apart(driven.life.attempt());
        driven.of(Progress::Began(Call::Collect));
        driven.after(DEADLINE * HUNG_AFTER);
        assert!(matches!(driven.todo[..], [Do::Abandon { .. }]), "{:?}", driven.todo);
        assert_eq!(driven.life.left_behind(), 0);
        assert!(driven.life.reasons()[0].ends_with("its process was killed"), "{:?}", driven.life);
        // Only by its failures in a row.
        assert_eq!(driven.life.state() == State::Quarantined, round >= 7, "{round}: {:?}", driven.life);
        driven.next();
        driven.activate();
    }
}

#[test]
fn over_its_budget_it_ends_in_order_and_the_third_time_is_one_too_many() {
    let mut driven = Driven::running();
    for time in 1..=3 {
        driven.on(Event::Breach("heap".to_owned())).is(State::Stopping);
        assert!(matches!(driven.todo[..], [Do::Stop { .. }]), "it hands over: {:?}", driven.todo);
        driven.of(Progress::Stopped(None));
        driven.why("over its budget: heap");
        if time < 3 {
            driven.is(State::Failed);
            driven.next();
            driven.activate();
        }
    }
    driven.is(State::Quarantined).why("3 times within an hour");
    driven.on(Event::Restart);
    driven.activate();
    driven.on(Event::Breach("heap".to_owned())).of(Progress::Stopped(None));
    driven.is(State::Failed);
    // Disabled meanwhile, it is not tried again for that.
    driven.next();
    driven.activate();
    driven.on(Event::Breach("heap".to_owned())).on(Event::Disable).of(Progress::Stopped(None));
    driven.is(State::Disabled);
    driven.on(Event::Breach("heap".to_owned())).is(State::Disabled);
}

#[test]
fn a_start_goes_through_all_its_states() {
    let mut driven = Driven::new();
    driven.is(State::Disabled);
    assert!(driven.life.is_settled());
    driven.on(Event::Enable).is(State::Discovered);
    assert!(driven.launches() && !driven.life.is_settled());
    driven.of(Progress::Verified).is(State::Verified);
    driven.of(Progress::Probed).is(State::Probed);
    driven.of(Progress::Began(Call::Create)).of(Progress::Created).is(State::Created);
    driven.of(Progress::Began(Call::Start)).of(Progress::Started).is(State::Started);
    driven.of(Progress::Ready).is(State::Ready);
    assert!(!driven.life.is_settled());
    driven.of(Progress::Activated(Vec::new())).is(State::Running);
    assert!(driven.life.is_settled());
    assert_eq!(driven.life.next(), None, "nothing wakes an idle plugin");
    driven.on(Event::Enable).is(State::Running);
    assert!(driven.todo.is_empty(), "it runs already");
}

#[test]
fn what_is_missing_makes_it_degraded_until_it_is_there() {
    let mut driven = Driven::new();
    driven.on(Event::Enable).of(Progress::Activated(vec!["no pressure files".to_owned()]));
    driven.is(State::Degraded).why("no pressure files");
    driven.of(Progress::Collected(vec!["ring full".to_owned()])).why("no pressure files; ring full");
    let mut driven = Driven::running();
    driven.of(Progress::Collected(vec!["ring full".to_owned()])).is(State::Degraded).why("ring full");
    driven.good().is(State::Running);
}

#[test]
fn three_late_collections_in_a_row_degrade() {
    let mut driven = Driven::running();
    for _ in 0..2 {
        driven.on(Event::Late).after(DEADLINE).is(State::Running);
    }
    driven.good();
    for _ in 0..2 {
        driven.on(Event::Late).after(DEADLINE).is(State::Running);
    }
    driven.on(Event::Late).is(State::Degraded).why("took longer than 2s");
    let reasons = driven.life.reasons().to_vec();
    driven.after(DEADLINE).on(Event::Late);
    assert_eq!(driven.life.reasons(), reasons, "a fourth is no news");
    driven.good().is(State::Running);
}

#[test]
fn scrapes_side_by_side_miss_one_collection() {
    let mut driven = Driven::running();
    for _ in 0..5 {
        driven.on(Event::Late);
    }
    driven.is(State::Running);
}

#[test]
fn a_late_collection_that_comes_back_is_no_failure() {
    let mut driven = Driven::running();
    driven.of(Progress::Began(Call::Collect)).after(DEADLINE * 9).is(State::Running);
    driven.of(Progress::Collected(Vec::new())).of(Progress::Ended).after(DEADLINE * 9).is(State::Running);
    assert_eq!(driven.life.failures(), 0);
}

#[test]
fn every_call_that_does_not_come_back_is_hung_and_made_anew() {
    for call in [
        Call::Create,
        Call::Probe,
        Call::Start,
        Call::Activate,
        Call::Collect,
        Call::Health,
        Call::Snapshot,
        Call::View,
        Call::Reconfigure,
        Call::LogLevel,
    ] {
        let mut driven = Driven::running();
        let attempt = driven.life.attempt();
        driven.of(Progress::Began(call));
        assert_eq!(driven.next(), DEADLINE * HUNG_AFTER);
        driven.is(State::Hung).why(&format!("{} did not come back within 20s", call.as_str()));
        assert_eq!(driven.todo, [Do::Abandon { attempt }]);
        assert_eq!(driven.life.left_behind(), 1);
        assert_eq!(driven.next(), Duration::from_secs(1), "the first back-off");
        assert!(driven.is(State::Discovered).launches());
        driven.activate().is(State::Running);
        driven.on(Event::Of(attempt, Progress::Collected(vec!["late".to_owned()]))).is(State::Running);
        driven.on(Event::Of(attempt, fault("from the one that hung"))).is(State::Running);
        driven.life.returned(attempt);
        assert_eq!(driven.life.left_behind(), 0);
    }
}

#[test]
fn failures_wait_longer_each_time_and_end_in_quarantine() {
    let mut driven = Driven::running();
    let mut waits = Vec::new();
    for _ in 0..7 {
        driven.of(fault("collect: panicked: x")).is(State::Failed).why("collect: panicked: x");
        waits.push(driven.next().as_secs());
        assert!(driven.launches());
        driven.activate().good().is(State::Running);
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64], "a good collection alone ends no row");
    driven.of(fault("once more")).is(State::Quarantined).why("once more; it failed 8 times in a row");
    assert!(driven.life.is_settled());
    driven.after(Duration::from_secs(3599)).is(State::Quarantined);
    driven.after(Duration::from_secs(1)).is(State::Discovered);
    assert!(driven.launches());
    driven.of(fault("still")).is(State::Quarantined);
    assert_eq!(driven.next().as_secs(), 3600, "one try an hour");
    driven.activate().good().after(STABLE).good();
    driven.of(fault("much later")).is(State::Failed);
    assert_eq!(driven.next().as_secs(), 1, "a minute of work ended the row");
}

#[test]
fn restart_leads_out_of_everything_with_a_clean_record() {
    let quarantined = |driven: &mut Driven| {
        for _ in 0..8 {
            driven.of(fault("x"));
            driven.next();
        }
        driven.of(fault("x")).is(State::Quarantined);
    };
    let failed = |driven: &mut Driven| {
        driven.of(fault("x")).is(State::Failed);
    };
    let hung = |driven: &mut Driven| {
        driven.of(Progress::Began(Call::Collect)).next();
        driven.is(State::Hung);
    };
    let unsupported = |driven: &mut Driven| {
        driven.of(Progress::Failed(Failure::Unsupported("no BTF".to_owned())));
        driven.is(State::Unsupported).why("no BTF");
    };
    let into: [&dyn Fn(&mut Driven); 4] = [&quarantined, &failed, &hung, &unsupported];
    for into in into {
        let mut driven = Driven::running();
        into(&mut driven);
        driven.on(Event::Restart).is(State::Discovered);
        assert!(driven.launches() && !driven.life.is_settled());
        assert_eq!(driven.life.failures(), 0);
        driven.activate().is(State::Running);
    }
}

#[test]
fn restart_of_a_running_one_stops_it_first() {
    let mut driven = Driven::running();
    let attempt = driven.life.attempt();
    driven.on(Event::Restart).is(State::Stopping);
    assert_eq!(driven.todo, [Do::Stop { attempt, within: STOP_WITHIN }]);
    driven.on(Event::Restart).is(State::Stopping);
    assert!(driven.todo.is_empty(), "it is asked once");
    driven.on(Event::Of(attempt, Progress::Stopped(None))).is(State::Discovered);
    assert!(driven.launches());
}

#[test]
fn restart_while_it_loads_or_starts_begins_anew() {
    let mut driven = Driven::new();
    driven.on(Event::Enable);
    let first = driven.life.attempt();
    driven.on(Event::Restart).is(State::Discovered);
    assert!(driven.launches());
    driven.on(Event::Of(first, Progress::Verified)).is(State::Discovered);
    driven.of(Progress::Verified).of(Progress::Probed).of(Progress::Began(Call::Create));
    driven.of(Progress::Began(Call::Start)).on(Event::Restart).is(State::Stopping);
    driven.of(Progress::Started).of(Progress::Began(Call::Collect)).of(Progress::Ready).is(State::Stopping);
    driven.of(Progress::Activated(Vec::new())).is(State::Stopping);
    driven.of(Progress::Stopped(None)).is(State::Discovered);
}

#[test]
fn disable_stops_and_enable_while_it_stops_starts_again() {
    let mut driven = Driven::running();
    driven.on(Event::Disable).is(State::Stopping);
    driven.of(Progress::Stopped(None)).is(State::Disabled);
    assert_eq!(driven.life.next(), None);
    driven.on(Event::Restart).is(State::Disabled);
    assert!(driven.todo.is_empty(), "what is disabled is not restarted");
    driven.on(Event::Enable);
    driven.activate().on(Event::Disable).on(Event::Enable).is(State::Stopping);
    driven.of(Progress::Stopped(None)).is(State::Discovered);
    assert!(driven.launches());
    driven.activate().on(Event::Disable).on(Event::Enable).on(Event::Disable);
    driven.of(Progress::Stopped(None)).is(State::Disabled);
}

#[test]
fn disable_in_any_state_without_a_thread_is_done_at_once() {
    let mut driven = Driven::new();
    driven.on(Event::Enable).on(Event::Disable).is(State::Disabled);
    let mut driven = Driven::running();
    driven.of(fault("x")).on(Event::Disable).is(State::Disabled);
    assert_eq!((driven.life.next(), driven.life.failures()), (None, 0));
}

#[test]
fn a_stop_that_hangs_leaves_the_thread_behind() {
    let mut driven = Driven::running();
    let attempt = driven.life.attempt();
    driven.on(Event::Disable);
    assert_eq!(driven.next(), STOP_WITHIN);
    driven.is(State::Disabled).why("stop did not come back within 5s; its thread was left behind");
    assert_eq!(driven.todo, [Do::Abandon { attempt }]);
    let mut driven = Driven::running();
    driven.on(Event::Restart).next();
    driven.is(State::Discovered);
    assert!(matches!(driven.todo[..], [Do::Abandon { .. }, Do::Launch { .. }]));
}

#[test]
fn a_stop_that_fails_is_a_stop() {
    let mut driven = Driven::running();
    driven.on(Event::Disable).of(fault("stop: panicked")).is(State::Disabled).why("stop: panicked");
}

#[test]
fn the_end_stops_in_every_state() {
    let end = Event::End { within: Duration::from_secs(8) };
    Driven::new().on(end.clone()).is(State::Disabled);
    let mut driven = Driven::new();
    driven.on(Event::Enable).on(end.clone()).is(State::Stopped);
    let mut driven = Driven::running();
    driven.on(end.clone()).is(State::Stopping);
    driven.of(Progress::Stopped(None)).is(State::Stopped);
    assert_eq!(driven.life.next(), None);
    let mut driven = Driven::running();
    driven.of(fault("x")).on(end).is(State::Stopped);
    let mut driven = Driven::running();
    driven.on(Event::Restart).after(Duration::from_secs(4));
    driven.on(Event::End { within: Duration::from_secs(3) }).is(State::Stopping);
    assert_eq!(driven.next(), Duration::from_secs(3), "the end's own patience counts");
    driven.is(State::Hung).why("left behind");
    assert_eq!(driven.life.next(), None, "nothing begins after the end");
}

#[test]
fn loading_that_does_not_end_is_a_failure_and_leaves_no_thread() {
    let mut driven = Driven::new();
    driven.on(Event::Enable);
    let attempt = driven.life.attempt();
    assert_eq!(driven.next(), LOAD_WITHIN);
    driven.is(State::Failed).why("load did not come back");
    assert_eq!(driven.life.left_behind(), 0);
    driven.on(Event::Of(attempt, Progress::Verified)).is(State::Failed);
    driven.next();
    driven.is(State::Discovered);
}

#[test]
fn an_instance_that_ends_unasked_has_failed() {
    let mut driven = Driven::running();
    driven.of(Progress::Stopped(None)).is(State::Failed).why("ended by itself");
}

#[test]
fn unsupported_is_no_failure_and_is_looked_at_again_in_an_hour() {
    let mut driven = Driven::new();
    driven.on(Event::Enable).of(Progress::Failed(Failure::Unsupported("no BTF".to_owned())));
    driven.is(State::Unsupported).why("no BTF");
    assert_eq!(driven.life.failures(), 0);
    assert_eq!(driven.next().as_secs(), 3600);
    driven.is(State::Discovered);
}

#[test]
fn what_a_node_lacks_at_the_start_is_looked_for_once_more_where_patience_is_asked_for() {
    let lacks = || Progress::Failed(Failure::Unsupported("no BTF".to_owned()));
    let mut driven = Driven::new();
    driven.on(Event::Enable);
    driven.life.be_patient_until(driven.now + Duration::from_secs(60));
    driven.after(Duration::from_secs(1)).of(lacks()).is(State::Unsupported);
    assert_eq!(driven.next().as_secs(), 59);
    driven.is(State::Discovered);
    driven.of(lacks()).is(State::Unsupported);
    assert_eq!(driven.next().as_secs(), 3600);
}

#[test]
fn threads_left_behind_are_bounded() {
    let mut driven = Driven::running();
    for hung in 1..=8 {
        // Each lives long enough to end the row.
        driven.good().after(STABLE).good().of(Progress::Began(Call::Collect)).next();
        assert_eq!(driven.life.left_behind(), hung);
        driven.is(if hung < 8 { State::Hung } else { State::Quarantined });
        driven.next();
        driven.activate();
    }
    driven.of(Progress::Began(Call::View)).next();
    driven.is(State::Quarantined).why("9 of its threads hang");
}

#[test]
fn a_new_deadline_holds_from_the_next_call_on() {
    let mut driven = Driven::running();
    driven.life.set_deadline(Duration::from_millis(100));
    driven.of(Progress::Began(Call::Collect));
    assert_eq!(driven.next(), Duration::from_secs(1));
    driven.is(State::Hung);
}

#[test]
fn readiness_stays_through_what_it_does_by_itself() {
    let mut driven = Driven::running();
    driven.of(fault("x")).next();
    assert!(driven.is(State::Discovered).life.is_settled(), "a retry is no new start");
    driven.activate().on(Event::Disable).of(Progress::Stopped(None)).on(Event::Enable);
    assert!(!driven.life.is_settled(), "what was wished for is waited for");
}

#[test]
fn nothing_leads_back_from_the_end() {
    let end = Event::End { within: Duration::from_secs(8) };
    for mut driven in [Driven::new(), Driven::running()] {
        driven.on(end.clone());
        for event in [Event::Enable, Event::Restart, Event::Disable, Event::Enable] {
            assert!(driven.on(event).todo.is_empty(), "{:?}", driven.life);
        }
        if driven.life.state() == State::Stopping {
            driven.of(Progress::Stopped(None));
        }
        assert!(driven.life.state().ended() && driven.life.next().is_none(), "{:?}", driven.life);
    }
}

#[test]
fn how_the_last_instance_ended_is_said_by_the_next_one() {
    let mut driven = Driven::running();
    driven.on(Event::Restart).next();
    driven.is(State::Discovered).why("stop did not come back within 5s; its thread was left behind");
    driven.of(Progress::Verified);
    assert!(driven.life.reasons().is_empty());
}

#[test]
fn what_a_plugin_says_at_length_is_cut() {
    let long = "é".repeat(1 << 20);
    let many = vec![long.clone(); 1000];
    let mut driven = Driven::running();
    for progress in [Progress::Collected(many.clone()), Progress::Activated(many), fault(&long)] {
        driven.of(progress);
        let words: usize = driven.life.reasons().iter().map(String::len).sum();
        assert!((4000..200_000).contains(&words), "{words} bytes");
        assert!(driven.life.reasons().len() <= 33);
    }
}

#[test]
fn stops_that_hang_are_bounded_too() {
    let mut driven = Driven::running();
    for hung in 1..8 {
        driven.on(Event::Restart).next();
        assert_eq!((driven.life.left_behind(), driven.life.state()), (hung, State::Discovered));
        driven.activate();
    }
    driven.on(Event::Restart).next();
    driven.is(State::Quarantined).why("8 of its threads hang");
    assert_eq!(driven.next(), Duration::from_secs(3600));
    driven.activate().on(Event::Disable).next();
    driven.is(State::Disabled);
}
