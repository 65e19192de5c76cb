//! What the next generation needs: since when is counted, what was counted, the
//! last values of processes, and which ends were counted while both watched.

use crate::counts::{Counts, Mark};
use gantry_netlink::Delays;
use gantry_netlink::taskstats::KINDS;
use gantry_plugin_api::{ContainerRef, Handover, Process};
use std::collections::{HashMap, HashSet};

const VERSION: u32 = 1;

/// What comes before a list is at most this: far beyond what is ever written.
const MOST: u64 = 1 << 20;

/// Ends that were counted.
pub type Marks = HashSet<Mark>;

/// As bytes. A snapshot is without marks: nobody else watched.
pub fn encode(counts: &Counts, with_marks: bool) -> Handover {
    let mut out = Writer::default();
    out.u64(counts.since);
    let containers: Vec<(ContainerRef, &Delays)> = counts.containers().collect();
    out.u64(containers.len() as u64);
    let mut places = HashMap::new();
    for (place, (container, sums)) in (0_u32..).zip(&containers) {
        places.insert(*container, place);
        out.u64(container.handle());
        out.delays(sums);
    }
    let known =
        counts.processes().filter_map(|(pid, known)| Some((pid, known, *places.get(&known.container)?)));
    let known: Vec<_> = known.collect();
    out.u64(known.len() as u64);
    for (pid, known, place) in known {
        out.u32(pid);
        out.u32(place);
        out.u64(known.start);
        out.delays(&known.last);
    }
    let marks: Vec<&Mark> = if with_marks { counts.marks().collect() } else { Vec::new() };
    out.u64(marks.len() as u64);
    for Mark { pid, mark } in marks {
        out.u32(*pid);
        out.u64(*mark);
    }
    Handover { version: VERSION, bytes: out.0 }
}

/// Out of bytes. `None`: they are of another version, or are damaged.
pub fn decode(handover: &Handover) -> Option<(Counts, Marks)> {
    if handover.version != VERSION {
        return None;
    }
    let mut from = Reader(&handover.bytes);
    let mut counts = Counts::new(from.u64()?);
    let mut places = Vec::new();
    for _ in 0..from.length()? {
        let container = ContainerRef::from_handle(from.u64()?)?;
        counts.restore_container(container, from.delays()?);
        places.push(container);
    }
    for _ in 0..from.length()? {
        let (pid, place, start) = (from.u32()?, from.u32()?, from.u64()?);
        let container = *places.get(usize::try_from(place).ok()?)?;
        counts.restore_process(Process { pid, start }, container, from.delays()?);
    }
    let mut marks = Marks::new();
    for _ in 0..from.length()? {
        marks.insert(Mark { pid: from.u32()?, mark: from.u64()? });
    }
    from.0.is_empty().then_some((counts, marks))
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn u64(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }
    fn u32(&mut self, number: u32) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }
    /// A bit for each that is not 0, and those.
    fn delays(&mut self, delays: &Delays) {
        let bits = delays.iter().enumerate().map(|(bit, delay)| u8::from(*delay != 0) << bit).sum();
        self.0.push(bits);
        delays.iter().filter(|delay| **delay != 0).for_each(|delay| self.u64(*delay));
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }
    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.array()?))
    }
    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.array()?))
    }
    fn length(&mut self) -> Option<u64> {
        self.u64().filter(|length| *length <= MOST)
    }
    fn delays(&mut self) -> Option<Delays> {
        let [bits] = self.array()?;
        let mut delays = [0; KINDS];
        for (bit, delay) in delays.iter_mut().enumerate() {
            if bits >> bit & 1 != 0 {
                *delay = self.u64()?;
            }
        }
        Some(delays)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::Rule;
    use crate::counts::tests::container;

    fn some() -> Counts {
        let mut counts = Counts::new(77);
        let process = |pid, start| Process { pid, start };
        counts.seen(process(7, 50), container(1), &[9, 8, 7, 6, 5, 4, 3, 2], Rule::Grows);
        counts.seen(process(8, 100), container(2), &[0, 0, 7, 0, 0, 0, 0, u64::MAX / 2], Rule::Grows);
        counts.ended(process(9, 100), container(2), 33, &[1, 0, 0, 0, 0, 0, 0, 0]);
        counts
    }

    type Parts = (u64, Vec<(ContainerRef, Delays)>, Vec<(u32, u64, Delays)>);

    /// In an order of its own.
    fn parts(counts: &Counts) -> Parts {
        let mut containers: Vec<_> = counts.containers().map(|(each, sums)| (each, *sums)).collect();
        let mut processes: Vec<_> =
            counts.processes().map(|(pid, known)| (pid, known.start, known.last)).collect();
        containers.sort_unstable();
        processes.sort_unstable();
        (counts.since, containers, processes)
    }

    #[test]
    fn all_of_it_comes_back() {
        let (counts, marks) = decode(&encode(&some(), true)).expect("whole");
        assert_eq!(parts(&counts), parts(&some()));
        assert_eq!(marks, Marks::from([Mark { pid: 9, mark: 33 }]));
        let (counts, marks) = decode(&encode(&some(), false)).expect("whole");
        assert_eq!(parts(&counts), parts(&some()));
        assert!(marks.is_empty());
    }

    #[test]
    fn damage_is_seen() {
        let whole = encode(&some(), true);
        for length in 0..whole.bytes.len() {
            let cut = Handover { bytes: whole.bytes[..length].to_vec(), ..whole.clone() };
            assert!(decode(&cut).is_none(), "cut at {length}");
        }
        assert!(decode(&Handover { version: 9, ..whole.clone() }).is_none());
        let mut long = whole;
        long.bytes[8..16].fill(0xff);
        assert!(decode(&long).is_none(), "a length beyond all bounds");
    }
}
