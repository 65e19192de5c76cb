//! A bounded memory of events that many readers follow by cursor, each at its
//! own pace: the agent's identity service has one, and the test kit's fake host.

#![forbid(unsafe_code)]

use gantry_plugin_api::abi::types::{AbiEvent, AbiEvents};
use std::collections::VecDeque;

/// Events by their place. Places begin at 1, so that 0 is "where the memory
/// begins" and no reader that asks from there has lost anything.
#[derive(Debug)]
pub struct Memory {
    events: VecDeque<AbiEvent>,
    /// The place of the next event.
    next: u64,
    /// The place of the newest one that readers are woken for.
    calls: u64,
    bound: usize,
}

impl Memory {
    /// One that remembers so many.
    pub fn new(bound: usize) -> Self {
        Self { events: VecDeque::new(), next: 1, calls: 0, bound }
    }

    /// Remembers so many from now on.
    pub fn bound(&mut self, bound: usize) {
        self.bound = bound;
        self.forget();
    }

    /// Adds one; the oldest goes where there are too many. Readers are woken for
    /// those of containers: those of other processes come with the next of them,
    /// and a reader who waits is woken before a quarter of the memory is theirs.
    pub fn push(&mut self, event: AbiEvent) {
        if event.container != 0 || self.next - self.calls > self.bound as u64 / 4 {
            self.calls = self.next;
        }
        // Before: with one more, however shortly, it would grow to twice the room.
        if self.events.len() >= self.bound {
            self.events.pop_front();
        }
        self.events.push_back(event);
        self.next += 1;
        self.forget();
    }

    fn forget(&mut self) {
        while self.events.len() > self.bound {
            self.events.pop_front();
        }
    }

    /// The place of the oldest one that is remembered.
    fn first(&self) -> u64 {
        self.next - self.events.len() as u64
    }

    /// At most `max` events from a cursor on, where the next begin, and how many
    /// between were forgotten already.
    pub fn read(&self, cursor: u64, max: u32) -> AbiEvents {
        let first = self.first();
        let from = cursor.clamp(first, self.next);
        // Both are at most the number of events, which fits.
        let skip = usize::try_from(from - first).unwrap_or(usize::MAX);
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let events: Vec<AbiEvent> = self.events.iter().skip(skip).take(max).copied().collect();
        let next = from + events.len() as u64;
        let lost = if cursor == 0 { 0 } else { first.saturating_sub(cursor) };
        AbiEvents { events: events.into(), next, lost }
    }

    /// How many there were in all.
    pub fn total(&self) -> u64 {
        self.next - 1
    }

    /// The place of the newest one that readers are woken for.
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// Whether there is one after a cursor that its reader is woken for.
    pub fn calls_after(&self, cursor: u64) -> bool {
        self.first().max(cursor) <= self.calls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at: u64) -> AbiEvent {
        AbiEvent { container: 1, at, start: 0, pid: 0, kind: 1 }
    }

    #[test]
    fn readers_are_woken_for_containers_and_before_they_lose_what_is_of_others() {
        let mut memory = Memory::new(400);
        let other = |memory: &mut Memory, count: u64| {
            (0..count).for_each(|at| memory.push(AbiEvent { container: 0, ..event(at) }));
        };
        assert!(!memory.calls_after(0));
        other(&mut memory, 100);
        assert!(!memory.calls_after(0));
        memory.push(event(100));
        assert!(memory.calls_after(0) && memory.calls_after(101) && !memory.calls_after(102));
        other(&mut memory, 100);
        assert!(!memory.calls_after(102));
        other(&mut memory, 1);
        assert!(memory.calls_after(102));
        assert_eq!(memory.read(102, 1000).events.len(), 101, "all that there were");
        assert!(!memory.calls_after(203));
    }

    #[test]
    fn a_slow_reader_is_told_what_it_lost() {
        let mut memory = Memory::new(4096);
        memory.bound(3);
        let begin = memory.read(0, 10);
        assert_eq!((begin.events.len(), begin.lost, memory.calls_after(begin.next)), (0, 0, false));
        (0..5).for_each(|at| memory.push(event(at)));
        let read = memory.read(begin.next, 2);
        let at: Vec<u64> = read.events.iter().map(|event| event.at).collect();
        assert_eq!((at, read.lost), (vec![2, 3], 2));
        assert!(memory.calls_after(read.next));
        let rest = memory.read(read.next, 10);
        assert_eq!((rest.events.len(), rest.lost, memory.calls_after(rest.next)), (1, 0, false));
        assert_eq!(memory.read(0, 10).lost, 0, "who begins has lost nothing");
        assert_eq!(memory.read(99, 10).next, 6, "a cursor beyond the end");
    }
}
