//! The numbers of a series.

use crate::destination::Destination;
use crate::reason::{REASONS, Reason};

/// The numbers of a series.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Numbers {
    /// Handshakes that were completed.
    pub connects: u64,
    /// How long they took, in nanoseconds.
    pub connect_time: u64,
    /// Connects that failed, by reason.
    pub failures: [u64; REASONS],
    /// Bytes that were sent.
    pub sent: u64,
    /// Bytes that were received.
    pub received: u64,
    /// Segments that were sent again.
    pub retransmits: u64,
}

impl Numbers {
    /// Adds what another counted.
    pub fn add(&mut self, other: &Self) {
        self.connects += other.connects;
        self.connect_time += other.connect_time;
        self.failures.iter_mut().zip(other.failures).for_each(|(own, other)| *own += other);
        self.sent += other.sent;
        self.received += other.received;
        self.retransmits += other.retransmits;
    }

    /// Connects that failed, as coroot-node-agent counts them: with those that
    /// the application gave up, or without.
    pub fn failed(&self, with_aborted: bool) -> u64 {
        let all: u64 = self.failures.iter().sum();
        if with_aborted { all } else { all.saturating_sub(self.failures[Reason::Aborted as usize]) }
    }
}

/// A series: what one account does with one destination.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Series {
    /// Whose it is.
    pub account: u32,
    /// To where.
    pub to: Destination,
    /// What was counted.
    pub numbers: Numbers,
    /// Connections that are open, as of the last scan.
    pub active: u32,
    /// The sum of their round trip times, in microseconds.
    pub rtt: u64,
    /// Connections of the table that refer to it.
    pub held: u32,
    /// When something happened, in nanoseconds.
    pub used: u64,
    /// Connects at the last look, and how many a second there were before it.
    pub rate: Rate,
}

/// How often something happens.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rate {
    pub(super) before: u64,
    /// A second.
    pub rate: f64,
}

impl Series {
    /// One at nothing.
    pub(super) fn new(account: u32, to: Destination, now: u64) -> Self {
        Self {
            account,
            to,
            numbers: Numbers::default(),
            active: 0,
            rtt: 0,
            held: 0,
            used: now,
            rate: Rate::default(),
        }
    }

    /// Takes over all that another one has.
    pub(super) fn join(&mut self, other: &Self) {
        self.numbers.add(&other.numbers);
        self.active += other.active;
        self.rtt += other.rtt;
        self.held += other.held;
        self.used = self.used.max(other.used);
        self.rate.before += other.rate.before;
        self.rate.rate += other.rate.rate;
    }
}
