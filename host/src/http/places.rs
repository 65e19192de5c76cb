//! Who is connected, and who goes when somebody new comes and there is no room:
//! whoever has waited longest for a request to come, and never one whose
//! request is answered, nor one that has just come.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Nobody goes before it had so long to send its request: a client on a busy
/// machine may stand still between its connect and its first byte. With the
/// 256 places of the network, 512 silent connections a second can come and go;
/// a queue of the kernel's 1,024 before a scraper costs it 2 s.
const STAY: Duration = Duration::from_millis(500);

/// The places of a door.
#[derive(Debug)]
pub struct Places {
    most: usize,
    taken: Mutex<Taken>,
    /// Somebody left, waits now, or does not go: whoever wants in looks again.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    guests: HashMap<u64, Guest>,
    /// Counts arrivals and answers: a time that no clock can turn back.
    now: u64,
}

#[derive(Debug)]
struct Guest {
    phase: Phase,
    /// Its arrival or the end of its last answer. A half request changes nothing.
    since: u64,
    /// The same as a time.
    since_time: Instant,
    /// To go, as soon as it is sure that it has sent nothing.
    asked: bool,
    /// It was asked, and something that it sent was not read yet.
    has_sent: bool,
    /// It went for somebody else.
    went: bool,
    waker: Option<Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// For a first or a next request, or for the rest of one.
    Waits,
    /// Its request is answered.
    Answered,
    /// The answer is made, and not yet with the kernel as a whole.
    Written,
}

/// A place that is taken, until this is dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    number: u64,
}

impl Places {
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, taken: Mutex::default(), changed: Notify::new() })
    }

    /// Takes a place, for which somebody may have to go. For one caller at a time.
    pub async fn take(self: &Arc<Self>) -> Place {
        loop {
            if let Some(place) = self.free() {
                return place;
            }
            match self.ask(Instant::now()) {
                Some(wait) => {
                    // Sooner if somebody leaves.
                    let _ = tokio::time::timeout(wait, self.changed.notified()).await;
                }
                None => self.changed.notified().await,
            }
        }
    }

    /// Waits until everybody has gone.
    pub async fn empty(&self) {
        while !self.taken().guests.is_empty() {
            self.changed.notified().await;
        }
    }

    fn free(self: &Arc<Self>) -> Option<Place> {
        let mut taken = self.taken();
        if taken.guests.len() >= self.most {
            return None;
        }
        taken.now += 1;
        let number = taken.now;
        let guest = Guest {
            phase: Phase::Waits,
            since: number,
            since_time: Instant::now(),
            asked: false,
            has_sent: false,
            went: false,
            waker: None,
        };
        taken.guests.insert(number, guest);
        Some(Place { places: self.clone(), number })
    }

    /// Asks the one that has waited longest to go; one after the other. Where it
    /// has not waited long enough for that: after what time it has.
    fn ask(&self, now: Instant) -> Option<Duration> {
        let mut taken = self.taken();
        if taken.guests.values().any(|guest| guest.asked) {
            return None;
        }
        let waiting =
            taken.guests.values_mut().filter(|guest| guest.phase == Phase::Waits && !guest.has_sent);
        let guest = waiting.min_by_key(|guest| guest.since)?;
        let missing = STAY.saturating_sub(now.saturating_duration_since(guest.since_time));
        if !missing.is_zero() {
            return Some(missing);
        }
        guest.asked = true;
        if let Some(waker) = &guest.waker {
            waker.wake_by_ref();
        }
        None
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn change<T>(&self, change: impl FnOnce(&mut Guest, &mut bool) -> T, otherwise: T) -> T {
        let mut news = false;
        let changed = match self.places.taken().guests.get_mut(&self.number) {
            Some(guest) => change(guest, &mut news),
            None => otherwise,
        };
        if news {
            self.places.changed.notify_one();
        }
        changed
    }

    /// Its request is there as a whole.
    pub fn begins(&self) {
        self.change(
            |guest, news| {
                guest.phase = Phase::Answered;
                *news = std::mem::take(&mut guest.asked);
            },
            (),
        );
    }

    /// The answer is made.
    pub fn ends(&self) {
        self.change(|guest, _| guest.phase = Phase::Written, ());
    }

    /// All that was made is with the kernel.
    pub fn flushed(&self) {
        let mut taken = self.places.taken();
        taken.now += 1;
        let now = taken.now;
        if let Some(guest) = taken.guests.get_mut(&self.number).filter(|guest| guest.phase == Phase::Written)
        {
            (guest.phase, guest.since, guest.since_time) = (Phase::Waits, now, Instant::now());
            drop(taken);
            self.places.changed.notify_one();
        }
    }

    /// Something that it sent was read.
    pub fn read(&self) {
        self.change(|guest, news| *news = std::mem::take(&mut guest.has_sent), ());
    }

    /// There is nothing to read. Whether it goes: it was asked to, and it is
    /// sure now (`has_sent`) that no request of it is on its way to us.
    pub fn goes(&self, waker: &Waker, has_sent: impl FnOnce() -> bool) -> bool {
        self.change(
            |guest, news| {
                if !guest.waker.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
                    guest.waker = Some(waker.clone());
                }
                if !guest.asked {
                    return false;
                }
                if has_sent() {
                    (guest.asked, guest.has_sent, *news) = (false, true, true);
                    return false;
                }
                guest.went = true;
                true
            },
            false,
        )
    }

    /// It went for somebody else.
    pub fn went(&self) -> bool {
        self.change(|guest, _| guest.went, false)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken().guests.remove(&self.number);
        self.places.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> (Arc<Places>, Vec<Place>) {
        let places = Places::new(3);
        let taken: Vec<Place> = (0..3).filter_map(|_| places.free()).collect();
        assert!(taken.len() == 3 && places.free().is_none());
        (places, taken)
    }

    /// When all have had their time.
    fn later() -> Instant {
        Instant::now() + STAY
    }

    /// The one that was asked, and has sent nothing.
    fn goes(places: &[Place]) -> Option<usize> {
        places.iter().position(|place| place.goes(Waker::noop(), || false))
    }

    #[test]
    fn the_one_that_waited_longest_goes() {
        let (places, taken) = full();
        assert_eq!(goes(&taken), None, "nobody was asked");
        // The first one is answered: from then on it waits anew.
        taken[0].begins();
        taken[0].ends();
        taken[0].flushed();
        places.ask(later());
        places.ask(later());
        assert_eq!(goes(&taken), Some(1), "one alone");
        assert!(taken[1].went() && !taken[0].went());
    }

    #[test]
    fn whoever_has_just_come_has_time_to_send() {
        let (places, taken) = full();
        let early = taken[0].places.taken().guests.values().map(|guest| guest.since_time).min();
        let early = early.expect("three guests");
        assert_eq!(places.ask(early), Some(STAY));
        assert_eq!(places.ask(early + STAY / 2), Some(STAY / 2));
        assert_eq!(goes(&taken), None);
        assert_eq!(places.ask(early + STAY), None);
        assert_eq!(goes(&taken), Some(0));
    }

    #[test]
    fn whoever_is_answered_stays_until_all_of_it_is_sent() {
        let (places, taken) = full();
        taken.iter().for_each(Place::begins);
        taken[2].flushed();
        taken[1].ends();
        places.ask(later());
        assert_eq!(goes(&taken), None);
        taken[1].flushed();
        places.ask(later());
        assert_eq!(goes(&taken), Some(1));
    }

    #[test]
    fn a_request_that_came_meanwhile_is_read_first() {
        let (places, taken) = full();
        places.ask(later());
        assert!(!taken[0].goes(Waker::noop(), || true));
        places.ask(later());
        assert_eq!(goes(&taken), Some(1), "the next one");
        // It was half a request: it counts from its beginning.
        let (places, taken) = full();
        places.ask(later());
        assert!(!taken[0].goes(Waker::noop(), || true));
        taken[0].read();
        places.ask(later());
        assert_eq!(goes(&taken), Some(0));
        // Or a whole one that was asked too late.
        let (places, taken) = full();
        places.ask(later());
        taken[0].begins();
        assert_eq!(goes(&taken), None);
        places.ask(later());
        assert_eq!(goes(&taken), Some(1));
    }
}
