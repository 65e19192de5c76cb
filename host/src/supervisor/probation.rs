//! An upgrade is on probation: what goes wrong meanwhile rolls it back.
//!
//! [`Probation`] is a function of what happens and of the time that the caller
//! brings, as a plugin's life is.

use super::lock;
use crate::records::OnProbation;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;

/// A family that had samples and has none in so many collections has vanished.
const VANISHED_AFTER: u32 = 3;

/// Events that are lost in one collection may be a burst's, which the generation
/// before would have lost as well.
const LOST_IN: u32 = 3;

/// A plugin complains of what is not there yet when the agent starts, or cannot begin
/// without it, as may have been so with the file before: what lasts as long as this
/// counts, or half of what is left of its time.
const LASTS: Duration = Duration::from_secs(60);

/// More of them say nothing new.
const NAMED: usize = 5;

/// Of what an earlier agent kept: a clock that was set back must not make it last.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

fn epoch(now: SystemTime) -> f64 {
    now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// What a generation was like before an upgrade took its place.
#[derive(Debug, Default)]
pub struct Before {
    /// What was wrong with it, in its words.
    pub complaints: Vec<String>,
    /// Families that had samples, and that the new one declares too.
    pub families: BTreeSet<String>,
    /// Reasons by which it lost events, of late.
    pub losses: BTreeSet<String>,
}

/// The time after an upgrade.
#[derive(Debug)]
pub struct Probation {
    /// Of the file that is on probation.
    pub digest: String,
    since: Instant,
    until: Instant,
    /// Of its families those that have not been seen since.
    before: Before,
    collections: u32,
    /// Events that were lost by reasons that are new, and in how many collections.
    lost: BTreeMap<String, u64>,
    lossy: u32,
    /// How long a complaint that is new must last, and since when each does. Before
    /// it is over no instance need begin to serve.
    patience: Duration,
    complains: Vec<(String, Instant)>,
    /// It was told once.
    told: bool,
}

/// Something that happened to a plugin.
#[derive(Debug, Clone, Copy)]
pub enum Trouble<'a> {
    /// An instance is over, by itself.
    Ended(&'a str),
    /// The same of one that never served, as none of its file did in this agent.
    NeverBegan(&'a str),
    /// What is wrong with it, by its own word or because it is late.
    Complains(&'a [String]),
    /// It took more of something than it may.
    Breach(&'a str),
}

impl Probation {
    pub fn new(digest: &str, (now, span): (Instant, Duration), before: Before) -> Self {
        let (digest, until) = (digest.to_owned(), now + span);
        let (lost, complains) = (BTreeMap::new(), Vec::new());
        let patience = Duration::ZERO;
        let (collections, lossy, told) = (0, 0, false);
        Self { digest, since: now, until, before, collections, lost, lossy, patience, complains, told }
    }

    /// Of an upgrade that comes with a start, or is gone on with at one.
    pub fn begun_by_a_start(self) -> Self {
        Self { patience: LASTS.min(self.until.saturating_duration_since(self.since) / 2), ..self }
    }

    /// From when on one that cannot begin is rolled back.
    pub fn patient_until(&self) -> Instant {
        self.since + self.patience
    }

    /// Goes on with what an earlier agent began, if that is of this file and not
    /// over. Families that vanish were that agent's to see: what is shown after a
    /// start comes one by one.
    pub fn resumed(kept: OnProbation, digest: &str, now: (Instant, SystemTime)) -> Option<Self> {
        let left = Duration::try_from_secs_f64(kept.until - epoch(now.1)).ok()?;
        let goes_on = kept.digest == digest && !left.is_zero() && left <= LONGEST;
        let before = Before { complaints: kept.known, families: BTreeSet::new(), losses: kept.losses };
        goes_on.then(|| Self::new(digest, (now.0, left), before).begun_by_a_start())
    }

    /// As [`Self::kept`], at this moment.
    pub fn kept_now(&self) -> OnProbation {
        self.kept((Instant::now(), SystemTime::now()))
    }

    /// For the next agent.
    pub fn kept(&self, now: (Instant, SystemTime)) -> OnProbation {
        let left = self.until.saturating_duration_since(now.0);
        let until = epoch(now.1) + left.as_secs_f64();
        let (known, losses) = (self.before.complaints.clone(), self.before.losses.clone());
        OnProbation { digest: self.digest.clone(), until, known, losses }
    }

    /// Why it is to be rolled back, once.
    pub fn on(&mut self, trouble: Trouble<'_>, now: Instant) -> Option<String> {
        let why = match trouble {
            Trouble::NeverBegan(_) if now < self.patient_until() => return None,
            Trouble::Ended(why) | Trouble::NeverBegan(why) => why.to_owned(),
            // What was so before is not the upgrade's doing.
            Trouble::Breach(what) if self.before.complaints.iter().any(|known| known == what) => return None,
            Trouble::Breach(what) => what.to_owned(),
            Trouble::Complains(complaints) => self.lasting(complaints, now)?,
        };
        self.tell(why, now)
    }

    /// A complaint that is new, in the same words for long enough.
    fn lasting(&mut self, complaints: &[String], now: Instant) -> Option<String> {
        let earlier = std::mem::take(&mut self.complains);
        let since = |complaint: &String| {
            earlier.iter().find(|(known, _)| known == complaint).map_or(now, |(_, since)| *since)
        };
        let news = complaints.iter().filter(|complaint| !self.before.complaints.contains(complaint));
        self.complains = news.map(|complaint| (complaint.clone(), since(complaint))).collect();
        let lasts = |since: &Instant| now.saturating_duration_since(*since) >= self.patience;
        self.complains.iter().find(|(_, since)| lasts(since)).map(|(complaint, _)| complaint.clone())
    }

    /// After a collection that showed these families.
    pub fn collected<'a>(&mut self, shown: impl Iterator<Item = &'a str>, now: Instant) -> Option<String> {
        if self.collections >= VANISHED_AFTER {
            return None;
        }
        let missing = &mut self.before.families;
        shown.for_each(|family| {
            missing.remove(family);
        });
        self.collections += 1;
        if self.collections < VANISHED_AFTER || missing.is_empty() {
            return None;
        }
        let more = missing.len().saturating_sub(NAMED);
        let names: Vec<&str> = missing.iter().take(NAMED).map(String::as_str).collect();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let why = format!("no samples any more of {}{more}", names.join(", "));
        self.tell(why, now)
    }

    /// After a collection that said by which reasons so many events are lost.
    pub fn lost(&mut self, losses: &[(&str, u64)], now: Instant) -> Option<String> {
        let mut news = losses.iter().filter(|(reason, _)| !self.before.losses.contains(*reason)).peekable();
        if self.told || news.peek().is_none() {
            return None;
        }
        for (reason, count) in news {
            let total = self.lost.entry((*reason).to_owned()).or_default();
            *total = total.saturating_add(*count);
        }
        self.lossy += 1;
        if self.lossy < LOST_IN {
            return None;
        }
        let named = self.lost.iter().take(NAMED).map(|(reason, count)| format!("{reason} {count}"));
        let why = format!("events are lost: {}", named.collect::<Vec<_>>().join(", "));
        self.tell(why, now)
    }

    fn tell(&mut self, why: String, now: Instant) -> Option<String> {
        let told = std::mem::replace(&mut self.told, true);
        (!told && now < self.until).then_some(why)
    }
}

/// From plugins in trouble to whoever rolls them back.
#[derive(Debug)]
pub struct Troubles {
    span: Mutex<Duration>,
    sender: mpsc::UnboundedSender<InTrouble>,
    /// Until the agent takes it.
    taken: Mutex<Option<mpsc::UnboundedReceiver<InTrouble>>>,
}

/// A plugin that is to be rolled back.
#[derive(Debug)]
pub struct InTrouble {
    pub plugin: String,
    /// Of the file that is in trouble: another may run when this is heard.
    pub digest: String,
    pub why: String,
    /// How often it was tried before.
    pub tries: u32,
}

impl Troubles {
    pub fn new(span: Duration) -> Self {
        let (sender, taken) = mpsc::unbounded_channel();
        Self { span: Mutex::new(span), sender, taken: Mutex::new(Some(taken)) }
    }

    /// How long an upgrade is on probation from now on.
    pub fn set_span(&self, span: Duration) {
        *lock(&self.span) = span;
    }

    pub fn span(&self) -> Duration {
        *lock(&self.span)
    }

    /// A plugin is to be rolled back; at most once an upgrade.
    pub fn tell(&self, plugin: &str, digest: &str, why: String) {
        let (plugin, digest) = (plugin.to_owned(), digest.to_owned());
        drop(self.sender.send(InTrouble { plugin, digest, why, tries: 0 }));
    }

    /// It could not be rolled back.
    pub fn tell_again(&self, trouble: InTrouble) {
        drop(self.sender.send(InTrouble { tries: trouble.tries + 1, ..trouble }));
    }

    /// Names and reasons, for the one that rolls back.
    pub fn take(&self) -> Option<mpsc::UnboundedReceiver<InTrouble>> {
        lock(&self.taken).take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Duration = Duration::from_secs(600);

    fn probation(now: Instant) -> Probation {
        let before = Before {
            complaints: vec!["no pressure files".to_owned()],
            families: ["a", "b"].map(str::to_owned).into(),
            losses: ["old_lost".to_owned()].into(),
        };
        Probation::new("digest", (now, SPAN), before)
    }

    #[test]
    fn what_goes_wrong_in_its_time_is_told_once() {
        let now = Instant::now();
        for trouble in [
            Trouble::Ended("collect: panicked"),
            Trouble::NeverBegan("start: no such thing"),
            Trouble::Breach("series"),
            Trouble::Complains(&["late".to_owned()]),
        ] {
            let mut early = probation(now);
            assert!(early.on(trouble, now + SPAN - Duration::from_secs(1)).is_some(), "{trouble:?}");
            assert_eq!(early.on(trouble, now), None, "it was told");
            assert_eq!(probation(now).on(trouble, now + SPAN), None, "its time is over");
        }
    }

    #[test]
    fn what_was_wrong_before_is_no_news() {
        let now = Instant::now();
        let mut probation = probation(now);
        let old = "no pressure files".to_owned();
        assert_eq!(probation.on(Trouble::Complains(&[]), now), None);
        assert_eq!(probation.on(Trouble::Complains(std::slice::from_ref(&old)), now), None);
        let new = probation.on(Trouble::Complains(&[old, "ring full".to_owned()]), now);
        assert_eq!(new.as_deref(), Some("ring full"));
    }

    #[test]
    fn after_a_start_a_complaint_counts_when_it_lasts() {
        let now = Instant::now();
        let kept = probation(now).kept((now, SystemTime::now()));
        let resumed =
            Probation::resumed(kept, "digest", (now, SystemTime::now())).expect("all of it is left");
        for mut probation in [probation(now).begun_by_a_start(), resumed] {
            let mut hears = |text: &str, seconds: u64| {
                let complaints = ["no pressure files".to_owned(), text.to_owned()];
                let said: &[String] = if text.is_empty() { &[] } else { &complaints };
                probation.on(Trouble::Complains(said), now + Duration::from_secs(seconds))
            };
            assert_eq!(hears("it does not answer", 0), None, "what it needs starts as well");
            assert_eq!(hears("it does not answer", 59), None);
            assert_eq!(hears("", 60), None, "it answers");
            assert_eq!(hears("it does not answer", 61), None, "it was over in between");
            for second in 62..200 {
                assert_eq!(hears(&format!("{second} errors"), second), None, "never in the same words");
            }
            assert_eq!(hears("ring full", 200), None);
            assert_eq!(hears("ring full", 259), None);
            assert_eq!(hears("ring full", 260).as_deref(), Some("ring full"));
        }
        let mut begun = probation(now).begun_by_a_start();
        assert!(begun.on(Trouble::Ended("collect: panicked"), now).is_some(), "that needs no patience");
    }

    #[test]
    fn after_a_start_one_that_cannot_begin_has_a_minute_or_half_of_what_is_left() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let fails = Trouble::NeverBegan("start: it does not answer");
        for (left, patience) in [(SPAN, LASTS), (LASTS, LASTS / 2), (second, second / 2)] {
            let begun = || Probation::new("digest", (now, left), Before::default()).begun_by_a_start();
            let mut early = begun();
            assert_eq!(early.patient_until(), now + patience);
            assert_eq!(early.on(fails, now), None, "what it needs starts as well");
            assert_eq!(early.on(fails, now + patience - Duration::from_millis(1)), None);
            assert!(early.on(fails, now + patience).is_some(), "it lasts");
            assert!(begun().on(Trouble::Ended("start: it does not answer"), now).is_some(), "it had served");
        }
    }

    #[test]
    fn it_goes_on_in_the_next_agent_for_the_rest_of_its_time() {
        let (now, clock) = (Instant::now(), SystemTime::now());
        let later = (now + SPAN / 2, clock + SPAN / 2);
        let kept = probation(now).kept((now, clock));
        assert!(Probation::resumed(kept.clone(), "another", later).is_none());
        let resumed = || Probation::resumed(kept.clone(), "digest", later).expect("half of it is left");
        let panicked = Trouble::Ended("collect: panicked");
        let second = Duration::from_secs(1);
        assert!(resumed().on(panicked, now + SPAN - second).is_some());
        assert_eq!(resumed().on(panicked, now + SPAN + second), None);
        let known = ["no pressure files".to_owned()];
        assert_eq!(resumed().on(Trouble::Complains(&known), later.0), None, "it is no news");
        let mut lossy = resumed();
        assert!((0..9).all(|_| lossy.lost(&[("old_lost", 1)], later.0).is_none()), "nor is that");
        assert!(Probation::resumed(kept.clone(), "digest", (now, clock + SPAN + second)).is_none());
        let set_back = SystemTime::UNIX_EPOCH;
        assert!(Probation::resumed(kept, "digest", (now, set_back)).is_none(), "the clock was set back");
    }

    #[test]
    fn events_are_lost_in_three_collections_by_a_reason_that_is_new() {
        let now = Instant::now();
        let mut loses = probation(now);
        assert_eq!(loses.lost(&[("ring_lost", 2)], now), None);
        assert_eq!(loses.lost(&[("ring_lost", u64::MAX), ("old_lost", 9)], now), None);
        let why = loses.lost(&[("map_lost", 1)], now);
        assert_eq!(why.as_deref(), Some(&*format!("events are lost: map_lost 1, ring_lost {}", u64::MAX)));
        assert_eq!(loses.lost(&[("ring_lost", 2)], now), None, "it was told");
        let mut as_before = probation(now);
        for _ in 0..9 {
            assert_eq!(as_before.lost(&[("old_lost", 5)], now), None, "no news");
        }
        let mut late = probation(now);
        assert!((0..9).all(|_| late.lost(&[("ring_lost", 1)], now + SPAN).is_none()), "its time is over");
    }

    #[test]
    fn families_vanish_in_three_collections() {
        let now = Instant::now();
        let mut vanishes = probation(now);
        assert_eq!(vanishes.collected(["a"].into_iter(), now), None);
        assert_eq!(vanishes.collected([].into_iter(), now), None);
        assert_eq!(vanishes.collected(["a"].into_iter(), now).as_deref(), Some("no samples any more of b"));
        let mut well = probation(now);
        assert_eq!(well.collected(["a"].into_iter(), now), None);
        assert_eq!(well.collected(["b"].into_iter(), now), None);
        for _ in 0..9 {
            assert_eq!(well.collected([].into_iter(), now), None, "one that was there may go");
        }
    }
}
