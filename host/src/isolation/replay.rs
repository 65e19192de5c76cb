//! Samples and rows that came from a child, into the host's own sinks.

use super::protocol::{MAX_BOUNDS, MAX_CELLS, MAX_LABEL, MAX_LABELS, SAME, record};
use super::wire::{Malformed, Values};
use gantry_plugin_api::abi::abi_stable::std_types::{ROption, RSlice, RStr};
use gantry_plugin_api::abi::types::{AbiCell, Bytes};
use gantry_plugin_api::abi::{SinkRef, ViewSinkRef};

/// Buffers for one collection.
#[derive(Debug, Default)]
pub struct Samples {
    bounds: Vec<f64>,
    counts: Vec<u64>,
}

/// The labels of a sample, and of the one before in their places.
struct Labels<'a> {
    values: [Bytes<'a>; MAX_LABELS],
    count: usize,
}

impl<'a> Labels<'a> {
    fn read(&mut self, values: &mut Values<'a>) -> Result<(), Malformed> {
        let count = usize::from(values.u8()?);
        let places = self.values.get_mut(..count).ok_or(Malformed)?;
        for (at, place) in places.iter_mut().enumerate() {
            let length = values.u32()?;
            if length == SAME && at < self.count {
                continue;
            }
            if length as usize > MAX_LABEL {
                return Err(Malformed);
            }
            *place = RSlice::from_slice(values.take(length as usize)?);
        }
        self.count = count;
        Ok(())
    }

    fn crossing(&self) -> RSlice<'_, Bytes<'a>> {
        RSlice::from_slice(&self.values[..self.count])
    }
}

impl Samples {
    /// Replays a chunk. Labels never lie across two of them.
    pub fn replay(&mut self, chunk: &[u8], sink: &mut SinkRef<'_>) -> Result<(), Malformed> {
        let mut values = Values(chunk);
        let mut labels = Labels { values: [RSlice::EMPTY; MAX_LABELS], count: 0 };
        while !values.is_empty() {
            match values.u8()? {
                record::SAMPLE => {
                    let (family, container, value) = (values.u32()?, values.u64()?, values.f64()?);
                    labels.read(&mut values)?;
                    sink.sample(family, container, labels.crossing(), value);
                }
                record::HISTOGRAM => {
                    let (family, container) = (values.u32()?, values.u64()?);
                    let (sum, count) = (values.f64()?, values.u64()?);
                    labels.read(&mut values)?;
                    let (bounds, counts) = (values.u32()? as usize, values.u32()? as usize);
                    if bounds > MAX_BOUNDS || counts > MAX_BOUNDS {
                        return Err(Malformed);
                    }
                    values.f64s(bounds, &mut self.bounds)?;
                    values.u64s(counts, &mut self.counts)?;
                    let (bounds, counts) = (self.bounds.as_slice().into(), self.counts.as_slice().into());
                    sink.histogram(family, container, labels.crossing(), bounds, counts, sum, count);
                }
                record::CREATED => sink.created(ROption::RSome(values.f64()?)),
                record::NOT_CREATED => sink.created(ROption::RNone),
                record::SKIPPED => {
                    let count = values.u64()?;
                    sink.skipped(RStr::from(values.text()?), count);
                }
                _ => return Err(Malformed),
            }
        }
        Ok(())
    }
}

/// Replays a chunk of rows. Those beyond what the host wants are passed over:
/// the child finds out by its own bound.
pub fn rows(chunk: &[u8], sink: &mut ViewSinkRef<'_>) -> Result<(), Malformed> {
    let mut values = Values(chunk);
    let mut cells = Vec::new();
    while !values.is_empty() {
        let count = values.u32()? as usize;
        if count > MAX_CELLS {
            return Err(Malformed);
        }
        cells.clear();
        for _ in 0..count {
            let (kind, number, container) = (values.u32()?, values.f64()?, values.u64()?);
            cells.push(AbiCell { text: RSlice::from_slice(values.bytes()?), number, container, kind });
        }
        if !sink.row(RSlice::from_slice(&cells)) {
            return Ok(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::sinks::Samples as Sending;
    use super::super::wire::Message;
    use super::*;
    use crate::supervisor::ArenaSink;
    use gantry_exposition::Arena;
    use gantry_plugin_api::abi::AbiSink;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    fn label(text: &[u8]) -> Bytes<'_> {
        RSlice::from_slice(text)
    }

    /// What a plugin may emit, good and bad.
    fn emit(sink: &mut dyn AbiSink) {
        let long = vec![b'y'; 1 << 20];
        for value in 0..2000 {
            let text = format!("{value}");
            let labels = [label(b"the same"), label(text.as_bytes()), label(b"")];
            sink.sample(3, value, RSlice::from_slice(&labels), value as f64);
            // Fewer labels than before, and then more again.
            sink.sample(3, 0, RSlice::from_slice(&labels[..1]), f64::NAN);
        }
        sink.created(ROption::RSome(99.5));
        sink.histogram(4, 7, RSlice::EMPTY, [0.5, 1.0][..].into(), [1, 2][..].into(), 2.5, 3);
        sink.created(ROption::RNone);
        sink.sample(u32::MAX, u64::MAX, RSlice::from_slice(&[label(&long), label(b"\xff\xfe")]), 1.0);
        sink.sample(0, 0, RSlice::from_slice(&[label(b"z"); 60]), 1.0);
        let (bounds, counts) = (vec![1.0; 10_000], vec![1; 10_000]);
        sink.histogram(5, 0, RSlice::EMPTY, bounds.as_slice().into(), counts.as_slice().into(), 1.0, 1);
        sink.skipped("reason".into(), 2);
        sink.skipped("ü".repeat(1000).as_str().into(), u64::MAX);
    }

    #[test]
    fn the_arena_is_the_same_by_either_way() {
        let (mut near, mut far) = (Arena::with_limit(100_000), Arena::with_limit(100_000));
        emit(&mut ArenaSink(&mut near));
        let (ours, theirs) = UnixStream::pair().unwrap();
        let reader = std::thread::spawn(move || {
            let (mut all, mut ours) = (Vec::new(), ours);
            ours.read_to_end(&mut all).map(|_| all)
        });
        let mut sending = Sending::new(&theirs);
        emit(&mut sending);
        sending.finish().unwrap();
        drop(theirs);
        let all = reader.join().unwrap().unwrap();
        let (mut rest, mut chunk, mut samples) = (&all[..], Vec::new(), Samples::default());
        let mut chunks = 0;
        while !rest.is_empty() {
            super::super::wire::read(&mut rest, super::super::protocol::MAX_CHUNK, &mut chunk).unwrap();
            samples.replay(&chunk, &mut ArenaSink(&mut far).crossing()).unwrap();
            chunks += 1;
        }
        assert!(chunks > 1, "labels across chunks are tried too");
        assert_eq!(format!("{near:?}"), format!("{far:?}"));
    }

    #[test]
    fn what_no_child_of_ours_sends_is_refused() {
        let mut arena = Arena::with_limit(10);
        let mut refused = |build: &dyn Fn(&mut Message)| {
            let (mut message, mut sent, mut body) = (Message::new(0), Vec::new(), Vec::new());
            build(&mut message);
            message.send(&mut sent).unwrap();
            super::super::wire::read(&sent[..], 1 << 20, &mut body).unwrap();
            let replayed = Samples::default().replay(&body, &mut ArenaSink(&mut arena).crossing());
            assert_eq!(replayed, Err(Malformed));
        };
        let sample = |message: &mut Message, labels: u8| {
            message.u8(record::SAMPLE);
            message.u32(0);
            message.u64(0);
            message.f64(0.0);
            message.u8(labels);
        };
        refused(&|message| message.u8(77));
        refused(&|message| sample(message, 200));
        refused(&|message| sample(message, 1));
        refused(&|message| {
            sample(message, 1);
            // There is none before.
            message.u32(SAME);
        });
        refused(&|message| {
            sample(message, 1);
            message.bytes(&[b'x'; MAX_LABEL + 1]);
        });
        refused(&|message| {
            message.u8(record::HISTOGRAM);
            message.raw(&[0; 4 + 8 + 8 + 8 + 1]);
            message.u32(u32::MAX - 1);
            message.u32(0);
        });
    }
}
