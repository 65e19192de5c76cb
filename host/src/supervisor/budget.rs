//! How much a plugin may take: warned of at first, and ended where it goes on.
//!
//! [`Budget`] is a function of what was measured and of the time that the
//! caller brings, as a plugin's life is. What cannot be measured breaches nothing.

use crate::config::Limits;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How often it is looked. A question wakes the plugin's thread and costs some
/// 20 µs.
pub const EVERY: Duration = Duration::from_secs(10);

/// Over so many looks in a row, and it is ended.
const ENDED_AFTER: u32 = 3;

/// The share of CPU is of so many looks, a minute: work that comes in bursts is no breach.
const CPU_OVER: u32 = 6;

/// What it takes just now; `None` is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Taken {
    pub heap: Option<u64>,
    /// CPU time since it was enabled.
    pub cpu: Option<Duration>,
    pub bpf: Option<u64>,
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Good,
    /// It is over since now.
    Warn(String),
    /// It was over for too long.
    Breach(String),
}

/// What is remembered of one plugin.
#[derive(Debug)]
pub struct Budget {
    /// Time from look to look.
    every: Duration,
    /// Looks in a row at which it was over.
    over: u32,
    /// CPU time at earlier looks, the newest last.
    cpu: VecDeque<(Instant, Duration)>,
}

impl Budget {
    pub fn new(every: Duration) -> Self {
        Self { every, over: 0, cpu: VecDeque::new() }
    }

    /// Another instance: what the one before took is no matter.
    pub fn begin(&mut self) {
        *self = Self::new(self.every);
    }

    /// At a look.
    pub fn look(&mut self, taken: Taken, limits: Limits, now: Instant) -> Verdict {
        let mut over = Vec::new();
        if let Some(heap) = taken.heap.filter(|heap| *heap > limits.heap) {
            over.push(format!("heap {}, of {}", mebibytes(heap), mebibytes(limits.heap)));
        }
        if let Some(share) = self.share(taken.cpu, now).filter(|share| *share > limits.cpu) {
            let span = (self.every * CPU_OVER).as_secs_f64();
            over.push(format!("CPU {share:.2} of a core over {span:.0} s, of {}", limits.cpu));
        }
        if let Some(bpf) = taken.bpf.filter(|bpf| *bpf > limits.bpf) {
            over.push(format!("BPF maps {}, of {}", mebibytes(bpf), mebibytes(limits.bpf)));
        }
        if over.is_empty() {
            self.over = 0;
            return Verdict::Good;
        }
        self.over += 1;
        let what = over.join("; ");
        match self.over {
            1 => Verdict::Warn(what),
            // Each time from then on: the first one may have come at a bad moment.
            ENDED_AFTER.. => Verdict::Breach(what),
            _ => Verdict::Good,
        }
    }

    /// Its share of a core over the last looks; `None` before there were so many.
    fn share(&mut self, cpu: Option<Duration>, now: Instant) -> Option<f64> {
        let Some(cpu) = cpu else {
            self.cpu.clear();
            return None;
        };
        if self.cpu.back().is_some_and(|(_, before)| cpu < *before) {
            // Counted anew.
            self.cpu.clear();
        }
        self.cpu.push_back((now, cpu));
        let over = self.every * CPU_OVER;
        // The oldest one is so old at least, where there is one.
        while self.cpu.get(1).is_some_and(|(at, _)| now.saturating_duration_since(*at) >= over) {
            self.cpu.pop_front();
        }
        let (since, before) = self.cpu.front()?;
        let span = now.saturating_duration_since(*since);
        (span >= over).then(|| cpu.saturating_sub(*before).as_secs_f64() / span.as_secs_f64())
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { heap: 100 << 20, cpu: 0.5, bpf: 1 << 20 };

    fn heap(mebibytes: u64) -> Taken {
        Taken { heap: Some(mebibytes << 20), ..Taken::default() }
    }

    #[test]
    fn it_is_warned_of_and_then_ended_and_what_is_over_passes() {
        let mut budget = Budget::new(EVERY);
        let now = Instant::now();
        let mut look = |taken| budget.look(taken, LIMITS, now);
        assert_eq!(look(heap(100)), Verdict::Good, "all of it may be taken");
        let what = "heap 101.0 MiB, of 100.0 MiB".to_owned();
        assert_eq!(look(heap(101)), Verdict::Warn(what.clone()));
        assert_eq!(look(heap(101)), Verdict::Good, "it was said");
        assert_eq!(look(heap(90)), Verdict::Good);
        assert_eq!(look(heap(101)), Verdict::Warn(what.clone()), "anew");
        assert_eq!(look(heap(101)), Verdict::Good);
        assert_eq!(look(heap(101)), Verdict::Breach(what));
        budget.begin();
        let both = Taken { bpf: Some(2 << 20), ..heap(200) };
        let Verdict::Warn(what) = budget.look(both, LIMITS, now) else { panic!("over") };
        assert!(what.contains("heap 200.0 MiB") && what.contains("BPF maps 2.0 MiB"), "{what}");
        assert_eq!(
            budget.look(Taken::default(), LIMITS, now),
            Verdict::Good,
            "what is not known breaches nothing"
        );
    }

    #[test]
    fn the_share_of_cpu_is_over_a_minute() {
        let mut budget = Budget::new(EVERY);
        let begin = Instant::now();
        // Busy for 20 s, then quiet: a third of a minute.
        let cpu = |second: u64| Duration::from_secs(second.min(20));
        for second in (0..=120).step_by(10) {
            let taken = Taken { cpu: Some(cpu(second)), ..Taken::default() };
            let verdict = budget.look(taken, LIMITS, begin + Duration::from_secs(second));
            assert_eq!(verdict, Verdict::Good, "{second}");
        }
        budget.begin();
        let verdicts: Vec<Verdict> = (0..=90)
            .step_by(10)
            .map(|second| {
                let taken = Taken { cpu: Some(Duration::from_secs(second)), ..Taken::default() };
                budget.look(taken, LIMITS, begin + Duration::from_secs(second))
            })
            .collect();
        let first = verdicts.iter().position(|verdict| *verdict != Verdict::Good);
        assert_eq!(first, Some(6), "{verdicts:?}");
        assert!(matches!(&verdicts[6], Verdict::Warn(what) if what.starts_with("CPU 1.00 of a core")));
        assert!(matches!(verdicts[8], Verdict::Breach(_)), "{verdicts:?}");
        // Its counter began anew: nothing is known for a minute.
        let taken = Taken { cpu: Some(Duration::ZERO), ..Taken::default() };
        assert_eq!(budget.look(taken, LIMITS, begin + Duration::from_secs(100)), Verdict::Good);
    }
}
