//! Whom to ask when, and what the answers say. Nothing is sent here, and no clock is
//! read: times are nanoseconds of the kernel's clocks that do not and that do jump.

use super::door::Stamp;
use super::echo::Echo;
use ahash::RandomState;
use hashbrown::HashMap;
use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

/// An answer that takes longer is lost. The longest way on earth and back takes some 0.3 s.
pub const PATIENCE: u64 = 2_000_000_000;

/// The part of an interval in which requests go out: their answers come within it too.
const SPREAD: u64 = 4;
const OF: u64 = 5;

/// Requests a second at most, of all namespaces together.
pub const RATE: u64 = 500;

/// Losses in a row after which somebody is taken for one who does not answer, and the
/// rounds until he is asked again: by then a filter may be gone.
const SILENT: u32 = 4;
const REST: u64 = 8;

/// How far the kernel's two clocks may drift apart within one request.
const DRIFT: u64 = 1_000_000;

/// Who is asked, and from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// The network namespace.
    pub netns: u32,
    /// The address.
    pub ip: IpAddr,
}

impl Target {
    /// By which socket.
    pub fn door(&self) -> (u32, bool) {
        (self.netns, self.ip.is_ipv4())
    }
}

/// When something happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moment {
    /// By `CLOCK_MONOTONIC`.
    pub steady: u64,
    /// By `CLOCK_REALTIME`, as the kernel's time stamps have it.
    pub real: u64,
}

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// It was answered after so many seconds.
    Answered(f64),
    /// It was answered, and nobody can say when: a clock was set, or the kernel had no
    /// time stamp.
    Unmeasured,
    /// It was not.
    Lost,
}

#[derive(Debug, Default)]
struct Known {
    /// Losses in a row.
    silent: u32,
    /// The round in which it was asked last.
    round: u64,
}

#[derive(Debug)]
struct Pending {
    target: Target,
    cookie: u64,
    at: Moment,
    /// The kernel's number of it, where that is known.
    number: Option<u32>,
    sent: Stamp,
    came: Option<Stamp>,
}

/// Rounds of requests.
#[derive(Debug)]
pub struct Rounds {
    round: u64,
    known: HashMap<Target, Known, RandomState>,
    due: VecDeque<(u64, Target)>,
    /// By socket and sequence number.
    pending: HashMap<((u32, bool), u16), Pending, RandomState>,
    /// Answers that are nobody's: forged, late, or twice.
    pub strange: u64,
}

impl Default for Rounds {
    fn default() -> Self {
        Self {
            round: 0,
            known: HashMap::with_hasher(RandomState::new()),
            due: VecDeque::new(),
            pending: HashMap::with_hasher(RandomState::new()),
            strange: 0,
        }
    }
}

impl Rounds {
    /// A round begins: these are asked within `interval`, evenly. Those that were asked
    /// longest ago come first, so that all have their turn where there are more than
    /// [`RATE`] allows; how many had none.
    pub fn begin(&mut self, targets: impl Iterator<Item = Target>, interval: Duration, now: u64) -> u64 {
        self.round += 1;
        let (round, known) = (self.round, &mut self.known);
        let mut all: Vec<Target> = targets.collect();
        all.sort_unstable();
        all.dedup();
        known.retain(|target, _| all.binary_search(target).is_ok());
        let mut due: Vec<(u64, Target)> = all
            .into_iter()
            .filter_map(|target| {
                let known = known.entry(target).or_default();
                let rests = known.silent >= SILENT && round < known.round + REST;
                (!rests).then_some((known.round, target))
            })
            .collect();
        due.sort_unstable();
        let span = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX) / OF * SPREAD;
        let most = (span / 1_000_000 * RATE / 1000).max(1);
        let over = (due.len() as u64).saturating_sub(most);
        due.truncate(usize::try_from(most).unwrap_or(usize::MAX));
        let each = span / (due.len() as u64).max(1);
        // What the round before did not come to is begun anew.
        self.due = (0..).zip(due).map(|(index, (_, target))| (now + index * each, target)).collect();
        over
    }

    /// Who is to be asked by now.
    pub fn due(&mut self, now: u64) -> Option<Target> {
        self.due.pop_front_if(|(at, _)| *at <= now).map(|(_, target)| target)
    }

    /// Whether there is anything to do before the next round.
    pub fn is_idle(&self) -> bool {
        self.due.is_empty() && self.pending.is_empty()
    }

    /// Sockets at which something is awaited.
    pub fn awaited(&self) -> HashSet<(u32, bool)> {
        self.pending.keys().map(|(door, _)| *door).collect()
    }

    /// A request went out.
    pub fn asked(&mut self, target: Target, echo: &Echo, number: Option<u32>, at: Moment) {
        self.begun(target);
        let pending = Pending { target, cookie: echo.cookie, at, number, sent: Stamp::default(), came: None };
        self.pending.insert((target.door(), echo.sequence), pending);
    }

    /// It could not be sent.
    pub fn refused(&mut self, target: Target) {
        self.begun(target);
        if let Some(known) = self.known.get_mut(&target) {
            known.silent += 1;
        }
    }

    fn begun(&mut self, target: Target) {
        if let Some(known) = self.known.get_mut(&target) {
            known.round = self.round;
        }
    }

    /// The request of this number left.
    pub fn left(&mut self, door: (u32, bool), number: u32, stamp: Stamp) {
        let is_it = |pending: &&mut Pending| pending.number == Some(number) && pending.target.door() == door;
        if let Some(pending) = self.pending.values_mut().find(is_it) {
            // A card's stamp comes after that of the driver.
            pending.sent.software = pending.sent.software.max(stamp.software);
            pending.sent.hardware = pending.sent.hardware.max(stamp.hardware);
        }
    }

    /// Something came that looks like an answer.
    pub fn came(&mut self, door: (u32, bool), echo: &Echo, from: IpAddr, stamp: Stamp) {
        match self.pending.get_mut(&(door, echo.sequence)) {
            Some(pending)
                if pending.cookie == echo.cookie && pending.target.ip == from && pending.came.is_none() =>
            {
                pending.came = Some(stamp);
            }
            _ => self.strange += 1,
        }
    }

    /// Gives what came of those that were answered, or will not be any more. To be called
    /// when all that came was told.
    pub fn settle(&mut self, now: u64, mut give: impl FnMut(Target, Outcome)) {
        let known = &mut self.known;
        self.pending.retain(|_, pending| {
            let outcome = match pending.came {
                Some(came) => between(pending.sent, came, pending.at, now),
                None if now.saturating_sub(pending.at.steady) > PATIENCE => Outcome::Lost,
                None => return true,
            };
            if let Some(known) = known.get_mut(&pending.target) {
                known.silent = if outcome == Outcome::Lost { known.silent + 1 } else { 0 };
            }
            give(pending.target, outcome);
            false
        });
    }
}

/// How long it took, by the best clock that both ends were stamped by.
fn between(sent: Stamp, came: Stamp, at: Moment, now: u64) -> Outcome {
    let both = |sent: u64, came: u64| (sent != 0 && came != 0).then(|| came.checked_sub(sent));
    let took = both(sent.hardware, came.hardware)
        .or_else(|| both(sent.software, came.software))
        // The driver stamps nothing: the time before the call is a little early.
        .or_else(|| both(at.real, came.software))
        .flatten();
    match took {
        // Where the clock was set in between, the other one knows that it is too long.
        Some(took) if took <= now.saturating_sub(at.steady) + DRIFT => Outcome::Answered(took as f64 / 1e9),
        _ => Outcome::Unmeasured,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const INTERVAL: Duration = Duration::from_secs(15);

    fn target(number: u32) -> Target {
        Target { netns: 1, ip: std::net::Ipv4Addr::from(0x0a00_0000 + number).into() }
    }

    fn echo(sequence: u16) -> Echo {
        Echo { id: 1, sequence, cookie: 1000 + u64::from(sequence) }
    }

    fn software(at: u64) -> Stamp {
        Stamp { software: at, hardware: 0 }
    }

    fn settled(rounds: &mut Rounds, now: u64) -> Vec<(Target, Outcome)> {
        let mut all = Vec::new();
        rounds.settle(now, |target, outcome| all.push((target, outcome)));
        all
    }

    #[test]
    fn requests_are_spread_over_the_interval_and_each_is_asked_once() {
        let mut rounds = Rounds::default();
        assert_eq!(rounds.begin((0..12).chain(0..12).map(target), INTERVAL, 100), 0);
        let mut asked = Vec::new();
        for second in 0..12 {
            while let Some(target) = rounds.due(100 + second * SECOND) {
                asked.push(target);
            }
            assert_eq!(asked.len() as u64, second + 1);
        }
        asked.sort_unstable();
        assert_eq!(asked, (0..12).map(target).collect::<Vec<_>>());
        assert!(rounds.is_idle());
    }

    #[test]
    fn where_there_are_too_many_all_have_their_turn() {
        let (mut rounds, all) = (Rounds::default(), 10_000);
        let most = 12 * RATE;
        let mut times = std::collections::HashMap::new();
        for round in 0..5 {
            assert_eq!(rounds.begin((0..all).map(target), INTERVAL, 0), u64::from(all) - most);
            while let Some(target) = rounds.due(u64::MAX) {
                rounds.asked(target, &echo(0), None, Moment::default());
                *times.entry(target).or_insert(0) += 1;
            }
            assert!(round < 1 || times.len() == all as usize);
        }
        assert!(times.values().all(|times| *times >= 2), "in each two rounds");
    }

    #[test]
    fn the_kernel_s_times_count_and_the_best_of_them() {
        let at = Moment { steady: 10 * SECOND, real: 1_000 * SECOND };
        for (sent, came, expected) in [
            (software(1_000 * SECOND + 50), software(1_000 * SECOND + 3_050), 3e-6),
            (Stamp::default(), software(1_000 * SECOND + 3_050), 3.05e-6),
            (
                Stamp { software: 1_000 * SECOND + 50, hardware: 500 },
                Stamp { software: 1_000 * SECOND + 9_000, hardware: 2_500 },
                2e-6,
            ),
            // The card stamps one way alone.
            (
                Stamp { software: 1_000 * SECOND + 50, hardware: 0 },
                Stamp { software: 1_000 * SECOND + 1_050, hardware: 2_500 },
                1e-6,
            ),
        ] {
            let mut rounds = Rounds::default();
            rounds.begin([target(1)].into_iter(), INTERVAL, 0);
            rounds.asked(target(1), &echo(1), Some(0), at);
            rounds.left((1, true), 0, sent);
            rounds.came((1, true), &echo(1), target(1).ip, came);
            let [(_, Outcome::Answered(took))] = settled(&mut rounds, at.steady + SECOND)[..] else {
                panic!("{sent:?} {came:?}")
            };
            assert!((took - expected).abs() < 1e-12, "{took} {expected}");
        }
    }

    #[test]
    fn a_clock_that_was_set_makes_no_latency() {
        for (sent, came) in [
            (software(1_000 * SECOND), software(400 * SECOND)),
            (software(1_000 * SECOND), software(4_000 * SECOND)),
            (software(1_000 * SECOND), Stamp::default()),
        ] {
            let mut rounds = Rounds::default();
            rounds.begin([target(1)].into_iter(), INTERVAL, 0);
            rounds.asked(target(1), &echo(1), Some(0), Moment { steady: SECOND, real: 1_000 * SECOND });
            rounds.left((1, true), 0, sent);
            rounds.came((1, true), &echo(1), target(1).ip, came);
            assert_eq!(settled(&mut rounds, 2 * SECOND), [(target(1), Outcome::Unmeasured)]);
            assert!(rounds.is_idle() || !rounds.due.is_empty());
        }
    }

    #[test]
    fn answers_that_are_forged_late_or_twice_are_nobody_s() {
        let mut rounds = Rounds::default();
        let at = Moment { steady: SECOND, real: 1_000 * SECOND };
        rounds.begin([target(1), target(2)].into_iter(), INTERVAL, 0);
        rounds.asked(target(1), &echo(1), Some(0), at);
        rounds.asked(target(2), &echo(2), Some(1), at);
        let stamp = software(at.real + 100);
        let door = (1, true);
        rounds.came(door, &Echo { cookie: 7, ..echo(1) }, target(1).ip, stamp);
        rounds.came(door, &echo(1), target(2).ip, stamp);
        rounds.came((2, true), &echo(1), target(1).ip, stamp);
        rounds.came(door, &echo(9), target(1).ip, stamp);
        assert_eq!(rounds.strange, 4);
        rounds.came(door, &echo(1), target(1).ip, stamp);
        rounds.came(door, &echo(1), target(1).ip, software(at.real + 900));
        assert_eq!(rounds.strange, 5);
        let took = settled(&mut rounds, at.steady + SECOND);
        assert_eq!(took, [(target(1), Outcome::Answered(100e-9))]);
        assert_eq!(settled(&mut rounds, at.steady + PATIENCE + 1), [(target(2), Outcome::Lost)]);
        rounds.came(door, &echo(2), target(2).ip, stamp);
        assert_eq!(rounds.strange, 6);
        assert!(settled(&mut rounds, u64::MAX).is_empty());
    }

    #[test]
    fn who_does_not_answer_is_asked_now_and_then() {
        let mut rounds = Rounds::default();
        let mut asked = 0;
        for round in 0..4 + 4 * REST {
            let now = round * 15 * SECOND;
            rounds.begin([target(1)].into_iter(), INTERVAL, now);
            if let Some(target) = rounds.due(now) {
                asked += 1;
                rounds.asked(target, &echo(1), None, Moment { steady: now, real: now });
                assert_eq!(settled(&mut rounds, now + PATIENCE + 1), [(target, Outcome::Lost)]);
            }
        }
        assert_eq!(asked, 4 + 4);
        // One answer, and all is as before.
        rounds.begin([target(1)].into_iter(), INTERVAL, 0);
        rounds.known.get_mut(&target(1)).expect("known").silent = 0;
        rounds.begin([target(1)].into_iter(), INTERVAL, 0);
        assert!(rounds.due(0).is_some());
    }

    #[test]
    fn who_is_not_wanted_any_more_is_forgotten() {
        let mut rounds = Rounds::default();
        rounds.begin((0..100).map(target), INTERVAL, 0);
        rounds.begin([target(3)].into_iter(), INTERVAL, 0);
        assert_eq!((rounds.known.len(), rounds.due.len()), (1, 1));
    }
}
