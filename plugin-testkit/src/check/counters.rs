//! Counters and histograms that went back since the collection before.

use super::{Check, Problem};
use crate::sample::{Histogram, Sample, Value};
use gantry_exposition::Declared;
use gantry_plugin_api::description::{FamilyInfo, Kind};
use std::collections::HashMap;

/// What each counter and histogram was at the last collection. One that a
/// collection leaves out may begin anew.
pub(crate) type Previous = HashMap<String, Value>;

/// Compares with what was before, and gives what is now.
pub(super) fn went_back(
    samples: &[Sample],
    declared: &[Declared],
    previous: &Previous,
    found: &mut Vec<Problem>,
) -> Previous {
    let counting = declared.iter().filter(|one| matches!(one.info.kind, Kind::Counter | Kind::Histogram));
    let counting: HashMap<&str, &FamilyInfo> =
        counting.map(|family| (family.info.name.as_str(), &family.info)).collect();
    let mut now = Previous::new();
    for sample in samples {
        let Some(info) = counting.get(sample.family.as_str()) else { continue };
        // Two containers may have the same labels for a while.
        let handle = sample.container.map_or(0, |container| container.handle());
        let key = format!("{handle} {}", sample.series);
        if let Some(what) = previous.get(&key).and_then(|before| fall(before, &sample.value)) {
            let remedy = if info.counted_here {
                "keep it in host.metrics(), which hands it over, or hand its value over yourself"
            } else {
                "hold its last value where what it is read from is corrected downwards"
            };
            found.push(Problem::new(Check::WentBack, &sample.series, format!("{what}; {remedy}")));
        }
        now.insert(key, sample.value.clone());
    }
    now
}

fn fall(before: &Value, now: &Value) -> Option<String> {
    match (before, now) {
        (Value::Number(before), Value::Number(now)) => {
            (now < before).then(|| format!("a counter that went back from {before} to {now}"))
        }
        (Value::Histogram(before), Value::Histogram(now)) => fallen_histogram(before, now),
        _ => None,
    }
}

fn fallen_histogram(before: &Histogram, now: &Histogram) -> Option<String> {
    if before.bounds != now.bounds {
        return Some(format!(
            "a histogram whose bounds changed from {:?} to {:?}",
            before.bounds, now.bounds
        ));
    }
    if now.count < before.count {
        return Some(format!("a histogram whose count went back from {} to {}", before.count, now.count));
    }
    let buckets = before.cumulative.iter().zip(&now.cumulative).zip(&before.bounds);
    for ((before, now), bound) in buckets {
        if now < before {
            return Some(format!("a histogram whose bucket le={bound} went back from {before} to {now}"));
        }
    }
    // Where negative values are observed the sum may fall.
    let signed = before.bounds.first().is_some_and(|bound| *bound < 0.0) || before.sum < 0.0;
    (now.sum < before.sum && !signed)
        .then(|| format!("a histogram whose sum went back from {} to {}", before.sum, now.sum))
}
