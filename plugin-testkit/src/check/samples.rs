//! Checks of one collection's samples. What the host refuses is found by the
//! host's own table, sample by sample; here each is put into words.

use super::counters::{self, Previous};
use super::lasting::Lasting;
use super::{Check, Problem};
use crate::collected::shown;
use crate::host::Labelled;
use crate::record::{Raw, Recorder};
use crate::sample::Sample;
use gantry_exposition::{Arena, Declared, MAX_LABEL_BYTES, Reason, Table};
use gantry_plugin_api::description::Kind;
use std::collections::HashMap;
use std::sync::Arc;

/// More of one collection are counted and not listed.
const MAX_PROBLEMS: usize = 50;

/// What one collection came to.
pub(crate) struct Examined {
    /// What the host would show.
    pub(crate) samples: Vec<Sample>,
    pub(crate) table: Table,
    pub(crate) found: Vec<Problem>,
    pub(crate) notes: Vec<Problem>,
    /// For the next collection.
    pub(crate) now: Previous,
    /// For the next collection.
    pub(crate) lasting: Lasting,
}

/// Checks a collection against the declarations and the collection before.
pub(crate) fn examine(
    recorded: &mut Recorder,
    declared: &Arc<[Declared]>,
    labelled: &Labelled,
    max_series: usize,
    previous: &Previous,
    lasting: &Lasting,
) -> Examined {
    let name = |raw: &Raw| declared.get(raw.family as usize).map(|family| family.info.name.as_str());
    // Deterministic, whatever order a plugin's maps have.
    let order = |one: &Raw, two: &Raw| {
        let texts = || labelled.text(one.container).cmp(&labelled.text(two.container));
        name(one).cmp(&name(two)).then_with(texts).then_with(|| one.labels.cmp(&two.labels))
    };
    recorded.samples.sort_by(order);
    let mut arena = Arena::with_limit(recorded.samples.len());
    let mut table = Table::new(Arc::clone(declared), max_series);
    let stay = lasting.stay(&recorded.samples, labelled);
    if !stay.is_empty() {
        // A table has its series in the order in which they came first.
        let mut before = [stay.clone(), recorded.samples.clone()].concat();
        before.sort_by(order);
        let mut both = Arena::with_limit(before.len());
        before.iter().for_each(|raw| raw.fill(&mut both));
        table.take(&both, labelled, 0.0, false);
    }
    recorded.samples.iter().for_each(|raw| raw.fill(&mut arena));
    let taken = table.take(&arena, labelled, 0.0, false);
    let refused: HashMap<Reason, u64> = taken.refused.iter().copied().collect();

    let mut found = Vec::new();
    let bad = if refused.is_empty() { HashMap::new() } else { refusals(recorded, declared, labelled) };
    let mut seen = HashMap::<(u64, String), u64>::new();
    let mut samples = Vec::new();
    for (place, raw) in recorded.samples.iter().enumerate() {
        let family = declared.get(raw.family as usize);
        match (bad.get(&place), family) {
            (None, Some(family)) => {
                let sample = Sample::of(raw, &family.info, labelled);
                // Containers that share an id are summed.
                let times = seen.entry((raw.container, sample.series.clone())).or_default();
                *times += 1;
                match *times {
                    1 => samples.push(sample),
                    2 => found.push(Problem::new(
                        Check::Duplicate,
                        sample.series,
                        "was emitted more than once in one collection; emit each series once",
                    )),
                    _ => {}
                }
            }
            (Some(reason), family) => {
                found.extend(word(*reason, raw, family, declared.len(), labelled));
            }
            // The table refuses what is of no family.
            (None, None) => {}
        }
    }
    caps(&refused, recorded.overflow, max_series, &mut found);
    let now = counters::went_back(&samples, declared, previous, &mut found);
    for sample in samples.iter().filter(|sample| sample.family.ends_with("_info") && sample.number() != 1.0) {
        let message = format!("is {} and says by its name that it is always 1; emit 1", sample.number());
        found.push(Problem::new(Check::Value, &sample.series, message));
    }
    for (reason, count) in &recorded.skipped {
        let message = format!(
            "the plugin skipped {count} under this reason; mend the fixture, or Kit::allow(Check::Skipped, \"\")"
        );
        found.push(Problem::new(Check::Skipped, reason, message));
    }
    if found.len() > MAX_PROBLEMS {
        let more = found.len() - MAX_PROBLEMS;
        found.truncate(MAX_PROBLEMS);
        let last = found.last().map_or(Check::Cap, Problem::check);
        found.push(Problem::new(last, "…", format!("and {more} problems more; mend these first")));
    }
    let notes = gone(&samples, labelled);
    let good = recorded.samples.iter().enumerate().filter(|(place, _)| !bad.contains_key(place));
    let lasting = Lasting::of(good.map(|(_, raw)| raw), stay);
    Examined { samples, table, found, notes, now, lasting }
}

/// By place, why the host refuses a sample that is alone.
fn refusals(recorded: &Recorder, declared: &Arc<[Declared]>, labelled: &Labelled) -> HashMap<usize, Reason> {
    let mut alone = Table::new(Arc::clone(declared), usize::MAX);
    let mut arena = Arena::with_limit(1);
    let reason = |(place, raw): (usize, &Raw)| {
        arena.clear();
        raw.fill(&mut arena);
        let taken = alone.take(&arena, labelled, 0.0, false);
        taken.refused.first().map(|(reason, _)| (place, *reason))
    };
    recorded.samples.iter().enumerate().filter_map(reason).collect()
}

/// One refusal in words; `None` where the declaration's own problem says it.
fn word(
    reason: Reason,
    raw: &Raw,
    family: Option<&Declared>,
    families: usize,
    labelled: &Labelled,
) -> Option<Problem> {
    let Some(family) = family else {
        let subject = format!("family {}", raw.family);
        let message = format!("is none of the {families} declared; list it in Plugin::families()");
        return Some(Problem::new(Check::UnknownFamily, subject, message));
    };
    if family.refused.is_some() {
        return None;
    }
    let info = &family.info;
    let texts = raw.labels.iter().map(|label| label[..label.len().min(100)].escape_ascii().to_string());
    let labels: Vec<(String, String)> =
        info.labels.iter().cloned().chain(std::iter::repeat("?".to_owned())).zip(texts).collect();
    let subject = shown(&info.name, &labels, raw.container, labelled);
    let (check, message) = match reason {
        Reason::Labels => (
            Check::Labels,
            format!(
                "has {} label values for the {} labels [{}]; give one for each, in that order",
                raw.labels.len(),
                info.labels.len(),
                info.labels.join(", ")
            ),
        ),
        Reason::Utf8 => {
            let wrong = info.labels.iter().zip(&raw.labels);
            let wrong = wrong.filter(|(_, value)| std::str::from_utf8(value).is_err()).map(|(name, _)| name);
            let wrong: Vec<&String> = wrong.collect();
            (Check::Utf8, format!("label values of {wrong:?} are not UTF-8; pass String::from_utf8_lossy"))
        }
        Reason::LabelTooLong => {
            (Check::Labels, format!("a label value is longer than {MAX_LABEL_BYTES} bytes; cut it"))
        }
        Reason::Value => (
            Check::Value,
            format!("is {} and a counter; a counter is a finite number of at least 0: skip it", raw.value),
        ),
        Reason::Scope if raw.container == 0 => {
            (Check::Scope, "is per_container() and has no container; use sink.container".to_owned())
        }
        Reason::Scope => (
            Check::Scope,
            "is a family of the node with a container; declare it per_container() or use sink.node"
                .to_owned(),
        ),
        Reason::UnknownContainer => (
            Check::UnknownContainer,
            "the host knows no such container; take handles from the host".to_owned(),
        ),
        Reason::Histogram => (Check::Histogram, histogram(raw, info.kind)),
        other => (Check::Refused, format!("is refused by the host: {}", other.as_str())),
    };
    Some(Problem::new(check, subject, message))
}

/// What is wrong with a histogram, or with the shape of a sample.
fn histogram(raw: &Raw, kind: Kind) -> String {
    let Some(given) = &raw.histogram else {
        return "is a histogram and was emitted as a number; use sink.histogram".to_owned();
    };
    if kind != Kind::Histogram {
        return format!("is a {} and was emitted as a histogram; use sink.node", kind.as_str());
    }
    let (bounds, counts) = (&given.bounds, &given.cumulative);
    let what = if bounds.len() != counts.len() {
        format!("{} counts for {} bounds; give one a bound, without +Inf", counts.len(), bounds.len())
    } else if raw.value.is_nan() {
        "its sum is NaN; leave NaN out of what is observed".to_owned()
    } else if !bounds.windows(2).all(|pair| pair[0] < pair[1]) {
        format!("its bounds {bounds:?} do not rise; sort them, each once")
    } else if !counts.is_sorted() {
        format!("its counts {counts:?} fall; each counts what is at or below its bound")
    } else if counts.last().is_some_and(|last| *last > given.count) {
        format!("{counts:?} are more than its count {}; count each observation once", given.count)
    } else {
        format!("its bounds {bounds:?} are too many or not finite; give at most 256 finite ones")
    };
    format!("makes no histogram: {what}")
}

fn caps(refused: &HashMap<Reason, u64>, overflow: u64, max_series: usize, found: &mut Vec<Problem>) {
    if let Some(count) = refused.get(&Reason::SeriesCap) {
        let message =
            format!("{count} samples are over the cap of {max_series} series; use labels with fewer values");
        found.push(Problem::new(Check::Cap, "the collection", message));
    }
    let overflow = overflow + refused.get(&Reason::Overflow).copied().unwrap_or_default();
    if overflow > 0 {
        let message = format!("{overflow} samples found no room in one collection; emit fewer");
        found.push(Problem::new(Check::Cap, "the collection", message));
    }
}

/// Containers that are gone are shown for a while, but not by the plugin.
fn gone(samples: &[Sample], labelled: &Labelled) -> Vec<Problem> {
    let of_gone = |sample: &&Sample| sample.container.is_some_and(|of| labelled.is_gone(of.handle()));
    let note = |sample: &Sample| {
        let message =
            "is of a container that is gone; forget it when the event comes: the host shows its last values";
        Problem::new(Check::UnknownContainer, &sample.series, message)
    };
    samples.iter().filter(of_gone).map(note).collect()
}
