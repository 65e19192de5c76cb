//! The programs that go through all there is. They write into the ring of events, which
//! is to be read meanwhile: nothing of it is ever in memory as a whole.

use gantry_bpf::{Hash, Iterator};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What `tcp_adopt` looks for: `looks_for` of the object.
const LISTENING: u32 = 0;
const OTHERS: u32 = 1;
const ONCE: u32 = 2;

/// Where an iterator gets no further, since nothing can be kept of a socket or the ring
/// is full: after how long it goes on, how often until a socket is given up, and how
/// often until all of it is.
const REFILL: Duration = Duration::from_millis(5);
const MORE: u32 = 10;
const STUCK: u32 = 400;

/// Places of one namespace where somebody listens, of 16,384 in the kernel.
const MAX_PLACES: usize = 4096;

/// What can be asked.
#[derive(Debug, Default)]
pub struct Asks {
    pub(crate) live: Option<Iterator>,
    pub(crate) adopt: Option<Iterator>,
    /// Where somebody listens, or did a while ago.
    pub(crate) listening: Option<Mutex<Hash>>,
}

/// What happens while one of them runs.
pub trait Meanwhile {
    /// The ring is read; how many records of iterators were, ever and by anybody.
    fn read(&mut self) -> u64;

    /// From here on it looks for something else.
    ///
    /// # Errors
    /// The system call's, as a text.
    fn look_for(&mut self, what: u32) -> Result<(), String>;
}

impl Asks {
    /// Has all told that is open. `false`: there is no program that could.
    ///
    /// # Errors
    /// The system call's, as a text; or the ring stays full.
    pub fn live(&self, meanwhile: &mut dyn Meanwhile) -> Result<bool, String> {
        let Some(live) = &self.live else { return Ok(false) };
        pass(|pauses| live.run(pauses), meanwhile).map(|()| true)
    }

    /// Has all sockets told that listen and that processes hold, once for each descriptor.
    ///
    /// # Errors
    /// As [`Self::live`].
    pub fn listening(&self, meanwhile: &mut dyn Meanwhile) -> Result<bool, String> {
        self.look(LISTENING, meanwhile)
    }

    /// Has all others told that nothing was known of; it is now.
    ///
    /// # Errors
    /// As [`Self::live`].
    pub fn others(&self, meanwhile: &mut dyn Meanwhile) -> Result<bool, String> {
        self.look(OTHERS, meanwhile)
    }

    /// Nobody listens any more where that was seen last before then. Of one namespace so many are
    /// remembered, so that none takes the room of all others.
    ///
    /// # Errors
    /// The system call's, as a text.
    pub fn forget_listening(&self, before: u64) -> Result<(), String> {
        let Some(listening) = &self.listening else { return Ok(()) };
        let mut each: HashMap<u64, usize> = HashMap::new();
        let stays = |place: u64, at: u64| {
            let many = each.entry(place >> 32).or_default();
            *many += 1;
            at >= before && *many <= MAX_PLACES
        };
        listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(stays)
            .map_err(|error| error.to_string())
    }

    fn look(&self, what: u32, meanwhile: &mut dyn Meanwhile) -> Result<bool, String> {
        let Some(adopt) = &self.adopt else { return Ok(false) };
        meanwhile.look_for(what)?;
        pass(|pauses| adopt.run(pauses), meanwhile).map(|()| true)
    }
}

/// All of an iterator, which `run` runs.
fn pass(
    run: impl FnOnce(&mut dyn FnMut() -> ControlFlow<()>) -> Result<bool, gantry_bpf::Error>,
    meanwhile: &mut dyn Meanwhile,
) -> Result<(), String> {
    let (mut before, mut stalls, mut failed) = (meanwhile.read(), 0, None);
    let mut pauses = || {
        let now = meanwhile.read();
        if now != before {
            (before, stalls) = (now, 0);
            return ControlFlow::Continue(());
        }
        stalls += 1;
        if stalls == MORE {
            // Once given up, for the rest of it.
            failed = meanwhile.look_for(ONCE).err();
        }
        if failed.is_some() || stalls == STUCK {
            return ControlFlow::Break(());
        }
        std::thread::park_timeout(REFILL);
        ControlFlow::Continue(())
    };
    if run(&mut pauses).map_err(|error| error.to_string())? {
        return Ok(());
    }
    Err(failed.unwrap_or_else(|| "the ring of events stays full: set a larger `ring`".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads what it is given, by the turn.
    #[derive(Default)]
    struct Reads {
        turn: u32,
        of: Vec<u64>,
        looked_for: Vec<(u32, u32)>,
    }

    impl Meanwhile for Reads {
        fn read(&mut self) -> u64 {
            self.turn += 1;
            self.of.get(self.turn as usize - 1).or(self.of.last()).copied().unwrap_or_default()
        }
        fn look_for(&mut self, what: u32) -> Result<(), String> {
            self.looked_for.push((self.turn, what));
            Ok(())
        }
    }

    /// An iterator that is interrupted so often.
    fn interrupted(times: u32, reads: &mut Reads) -> Result<(), String> {
        let run =
            |pauses: &mut dyn FnMut() -> ControlFlow<()>| Ok((0..times).all(|_| pauses().is_continue()));
        pass(run, reads)
    }

    #[test]
    fn one_that_goes_on_is_never_given_up() {
        let mut reads = Reads { of: (0..10_000).collect(), ..Reads::default() };
        interrupted(10_000, &mut reads).expect("it goes on");
        assert_eq!(reads.looked_for, []);
    }

    #[test]
    fn a_socket_of_which_nothing_can_be_kept_is_given_up_after_a_while() {
        // It stands still twice.
        let mut of = vec![1; 8];
        of.extend([2; 12]);
        let mut reads = Reads { of, ..Reads::default() };
        interrupted(19, &mut reads).expect("it goes on");
        // 8 times for the first one; for the second one it was given up in turn 8 + 1 + 10.
        assert_eq!(reads.looked_for, [(19, ONCE)]);
    }

    #[test]
    fn one_that_stays_interrupted_fails() {
        let mut reads = Reads::default();
        let error = interrupted(u32::MAX, &mut reads).expect_err("it stands still");
        assert!(error.contains("ring"), "{error}");
        assert_eq!(reads.turn, STUCK + 1);
    }
}
