//! From what was counted to samples.

use crate::counts::Counts;
use crate::left_alone::LeftAlone;
use crate::metrics::{CPU_DELAY, DELAY, DISK_DELAY, label};
use gantry_netlink::Kind;
use gantry_plugin_api::Sink;

/// Emits what was counted of the kinds that are.
pub fn containers(
    counts: &Counts,
    left_alone: &LeftAlone,
    is_counted: impl Fn(Kind) -> bool,
    sink: &mut Sink<'_>,
) {
    // What was counted while it was on stays.
    let shown = Kind::ALL.map(|kind| is_counted(kind) || counts.has_any(kind));
    for (container, sums) in counts.containers().filter(|(container, _)| !left_alone.has(*container)) {
        for (kind, _) in Kind::ALL.iter().zip(shown).filter(|(_, shown)| *shown) {
            let seconds = sums[*kind as usize] as f64 / 1e9;
            match (kind, label(*kind)) {
                (Kind::Cpu, _) => sink.container(&CPU_DELAY, container, &[], seconds),
                (_, Some(label)) => sink.container(&DELAY, container, &[label], seconds),
                (_, None) => sink.container(&DISK_DELAY, container, &[], seconds),
            }
        }
    }
}
