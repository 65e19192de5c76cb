//! Collections, on the plugin's thread.

use super::Worker;
use crate::supervisor::keepsake::SNAPSHOT_EVERY;
use crate::supervisor::life::{Call, Progress};
use crate::supervisor::lock;
use crate::supervisor::losses;
use crate::supervisor::sink::ArenaSink;
use crate::supervisor::unit::OVER_CAP;
use gantry_exposition::{Arena, Taken};
use gantry_plugin_api::error::ErrorKind;
use gantry_plugin_api::{Error, Health};
use gantry_pluginfile::Instance;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Instant, SystemTime};

/// A collection may emit more samples than it may have series (duplicates,
/// refusals), but not without bound.
const SAMPLES_PER_SERIES: usize = 2;

/// More reasons than these are counted together.
const MAX_REASONS: usize = 32;

impl Worker {
    pub(super) fn collect(&mut self) {
        let begin = Instant::now();
        let filled = self.filled().and_then(|arena| {
            // Before the samples are shown: an instance made anew from this
            // snapshot then never counts from less than what was shown.
            self.keep_snapshot().map(|()| arena)
        });
        match filled {
            Ok(mut arena) => {
                self.take_over(&arena);
                arena.rest();
                self.arena = arena;
                self.settle();
            }
            Err(error) => self.fail(&error),
        }
        self.unit.parts.own.collected(self.unit.name(), begin.elapsed());
    }

    /// The arena with what one collection of the plugin's put into it.
    pub(super) fn filled(&mut self) -> Result<Arena, Error> {
        let mut arena = self.arena();
        arena.clear();
        let mut sink = ArenaSink(&mut arena);
        self.call(Call::Collect, |instance| instance.collect(sink.crossing()))?;
        Ok(arena)
    }

    fn arena(&mut self) -> Arena {
        // Until it has the place, its own section is not in force.
        let max_series = if self.activated { self.unit.config().max_series } else { self.config.max_series };
        let arena = std::mem::replace(&mut self.arena, Arena::with_limit(0));
        if self.max_series == max_series {
            return arena;
        }
        self.max_series = max_series;
        Arena::with_limit(max_series.saturating_mul(SAMPLES_PER_SERIES).saturating_add(1024))
    }

    /// Where nobody scrapes it counts all the same. Asked at the look at what it
    /// takes; `false`: it failed.
    pub(super) fn snapshot_where_due(&mut self) -> bool {
        let is_recent = self.snapshot_at.is_some_and(|at| at.elapsed() < SNAPSHOT_EVERY);
        if is_recent || !self.activated {
            return true;
        }
        match self.keep_snapshot() {
            Ok(()) => self.say(Progress::Ended),
            Err(error) => {
                self.fail(&error);
                return false;
            }
        }
        true
    }

    fn keep_snapshot(&mut self) -> Result<(), Error> {
        self.snapshot_at = Some(Instant::now());
        let kept = match self.call(Call::Snapshot, Instance::snapshot) {
            Ok(bytes) => {
                let kept = self.unit.keep(self.attempt, &bytes);
                // Of one that was left behind nothing is shown either.
                let fits = kept.ok_or_else(|| Error::new("it was given up"))?;
                if !fits {
                    self.unit.parts.own.handover_lost(self.unit.name(), "too_large");
                }
                fits.then_some(()).ok_or("it is too large".to_owned())
            }
            Err(error) if error.kind() == ErrorKind::Panicked || !self.is_current() => return Err(error),
            Err(error) => Err(error.message().to_owned()),
        };
        if let Err(why) = kept
            && !std::mem::replace(&mut self.snapshot_complained, true)
        {
            tracing::warn!(
                "plugin {}: no snapshot can be kept ({why}); after a crash it begins where the last one was",
                self.unit.name()
            );
        }
        Ok(())
    }

    fn take_over(&mut self, arena: &Arena) {
        let unit = self.unit.clone();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let labels = unit.parts.labels.now();
        let taken = {
            let mut table = unit.series.table();
            // One that was left behind shows nothing any more.
            let Some(table) = table.as_mut().filter(|_| unit.series.owner() == self.attempt) else { return };
            table.take(arena, &*labels, now, true)
        };
        unit.series.filled();
        unit.collected_on_probation();
        self.count(arena, &taken);
        let heap = self.instance.as_ref().map(Instance::heap_bytes);
        unit.change(|status| {
            status.samples = taken.samples;
            status.series = Some(taken.kept);
            status.heap_bytes = heap;
        });
    }

    fn count(&mut self, arena: &Arena, taken: &Taken) {
        let own = &self.unit.parts.own;
        let name = self.unit.name();
        for (reason, count) in &taken.refused {
            own.refused(name, reason.as_str(), *count);
        }
        let mut reasons = lock(&self.unit.skip_reasons);
        for (reason, count) in arena.skipped_by_reason() {
            let known = reasons.contains(reason)
                || (reasons.len() < MAX_REASONS && reasons.insert(reason.to_owned()));
            own.skipped(name, if known { reason } else { "other" }, count);
        }
        drop(reasons);
        let losses: Vec<_> =
            arena.skipped_by_reason().filter(|(reason, _)| losses::is_loss(reason)).collect();
        if !losses.is_empty() {
            self.unit.lost(&losses);
        }
        let over_cap =
            taken.refused.iter().any(|(reason, _)| *reason == gantry_exposition::Reason::SeriesCap);
        let was_over = self.unit.over_cap.swap(over_cap, Relaxed);
        if over_cap && !self.unit.breached(OVER_CAP) && !was_over {
            tracing::warn!(
                "plugin {name}: {OVER_CAP} ({}); those beyond are refused and counted until there are fewer, or \
                 max_series in its section is larger",
                self.max_series
            );
        }
        if let Some(example) = &taken.example {
            tracing::debug!("plugin {name}: refused samples, the first: {example}");
        }
    }

    /// A good collection is over, or the activation: how is it?
    pub(super) fn settle(&mut self) {
        match self.call(Call::Health, |instance| instance.health()) {
            Ok(Health::Degraded(reasons)) => self.say(Progress::Collected(reasons)),
            Ok(_) => self.say(Progress::Collected(Vec::new())),
            Err(error) => return self.fail(&error),
        }
        self.say(Progress::Ended);
    }
}
