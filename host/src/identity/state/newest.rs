//! The containers that were made last.

use std::collections::VecDeque;

/// For how long one is among them, in nanoseconds: some milliseconds pass
/// between a directory and its first process.
const SPAN: u64 = 1_000_000_000;

/// The most of them; those beyond are looked at with all others.
const MOST: usize = 4096;

/// In the order in which they were made, or came back.
#[derive(Debug, Default)]
pub struct Newest(VecDeque<(u64, u64)>);

impl Newest {
    pub fn add(&mut self, handle: u64, now: u64) {
        while self.0.front().is_some_and(|(at, _)| now.saturating_sub(*at) > SPAN) || self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back((now, handle));
    }

    pub fn all(&self, now: u64) -> impl Iterator<Item = u64> {
        self.0
            .iter()
            .rev()
            .take_while(move |(at, _)| now.saturating_sub(*at) <= SPAN)
            .map(|(_, handle)| *handle)
    }
}
