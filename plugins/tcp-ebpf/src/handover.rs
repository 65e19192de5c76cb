//! What the next generation needs: what was counted, of which connections that
//! are open, and which ends were counted while both generations watched.
//!
//! Both generations see each event from the moment at which the next one
//! begins. The one before ends at `cut`: what happened before it, it counted;
//! what happened after it, it counted where the event is in `late`, since a
//! processor may be in the middle of its programs when they are taken away.
//!
//! Of connections that are open it says also which it knows and does not count:
//! under wider rules, or with more room, what they did until then would be new.

use crate::connections::{Counted, Ends, Known};
use crate::counts::Numbers;
use crate::destination::Destination;
use crate::reason::REASONS;
use crate::record::{Owner, Record};
use gantry_plugin_api::Handover;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The version of the bytes.
const VERSION: u32 = 3;

/// The one before: without who really answers.
const BEFORE: u32 = 2;

/// Entries of each kind that are read: far beyond what is ever written.
const MAX: u64 = 1 << 20;

/// What is handed over.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// Until when all was counted, by `CLOCK_MONOTONIC`.
    pub cut: u64,
    /// Groups, each with its series.
    pub groups: Vec<Group>,
    /// Connections that are open.
    pub open: Vec<(Ends, Known)>,
    /// These are not all of them.
    pub is_partial: bool,
    /// What ended around the cut and was counted.
    pub late: Vec<Ended>,
}

/// An end that was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ended {
    /// Whose.
    pub ends: Ends,
    /// When the connection began, or was found.
    pub opened_at: u64,
    /// When it ended.
    pub at: u64,
}

impl From<&Record> for Ended {
    fn from(record: &Record) -> Self {
        Self { ends: Ends::from(record), opened_at: record.opened_at, at: record.at }
    }
}

/// A group of the hand-over.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Group {
    /// A process of it: the last that is known.
    pub first: Owner,
    /// What it did.
    pub series: Vec<(Destination, Numbers)>,
}

impl State {
    /// As bytes.
    pub fn encode(&self) -> Handover {
        let mut out = Writer::default();
        out.u64(self.cut);
        out.length(self.groups.len());
        for group in &self.groups {
            out.owner(&group.first);
            out.length(group.series.len());
            for (to, numbers) in &group.series {
                out.destination(*to);
                out.numbers(numbers);
            }
        }
        out.length(self.open.len());
        for (ends, known) in &self.open {
            out.ends(*ends);
            out.known(known);
        }
        out.u32(u32::from(self.is_partial));
        out.length(self.late.len());
        for Ended { ends, opened_at, at } in &self.late {
            out.ends(*ends);
            [*opened_at, *at].iter().for_each(|number| out.u64(*number));
        }
        Handover { version: VERSION, bytes: out.0 }
    }

    /// Out of bytes. `None`: they are of another version, or are damaged.
    pub fn decode(handover: &Handover) -> Option<Self> {
        if ![VERSION, BEFORE].contains(&handover.version) {
            return None;
        }
        let mut from = Reader { bytes: &handover.bytes, version: handover.version };
        let cut = from.u64()?;
        let groups = from.list(|from| {
            let first = from.owner()?;
            let series = from.list(|from| Some((from.destination()?, from.numbers()?)))?;
            Some(Group { first, series })
        })?;
        let open = from.list(|from| Some((from.ends()?, from.known()?)))?;
        let is_partial = from.u32()? != 0;
        let late =
            from.list(|from| Some(Ended { ends: from.ends()?, opened_at: from.u64()?, at: from.u64()? }))?;
        from.bytes.is_empty().then_some(Self { cut, groups, open, is_partial, late })
    }
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
    fn u16(&mut self, number: u16) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }
    fn length(&mut self, length: usize) {
        self.u64(length as u64);
    }
    fn owner(&mut self, owner: &Owner) {
        [owner.start, owner.cgroup2, owner.cgroup1].iter().for_each(|number| self.u64(*number));
        self.u32(owner.hierarchy);
        self.u32(owner.tgid);
    }
    fn ends(&mut self, ends: Ends) {
        self.u64(ends.sock);
        self.u32(ends.netns);
        self.u16(ends.local);
        self.u16(ends.remote);
    }
    fn known(&mut self, known: &Known) {
        let counted = known.counted;
        let flags = [known.is_adopted, known.counts, counted.connect];
        self.u32((0..).zip(flags).map(|(bit, is_so)| u32::from(is_so) << bit).sum());
        [known.opened_at, known.at, counted.sent, counted.received]
            .iter()
            .for_each(|number| self.u64(*number));
        self.u32(counted.retransmits);
    }
    /// Port 0 is none that anybody connects to.
    fn destination(&mut self, to: Destination) {
        let none = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0);
        let (to, actual) = to.ends().unwrap_or((none, none));
        for at in [to, actual] {
            let octets = match at.ip() {
                IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                IpAddr::V6(ip) => ip.octets(),
            };
            self.0.extend_from_slice(&octets);
            self.u16(at.port());
        }
    }
    fn numbers(&mut self, numbers: &Numbers) {
        let Numbers { connects, connect_time, failures, sent, received, retransmits } = *numbers;
        [connects, connect_time, sent, received, retransmits].iter().for_each(|number| self.u64(*number));
        failures.iter().for_each(|number| self.u64(*number));
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    version: u32,
}

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.bytes.split_first_chunk()?;
        self.bytes = rest;
        Some(*array)
    }
    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.array()?))
    }
    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.array()?))
    }
    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.array()?))
    }
    fn list<T>(&mut self, mut each: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let length = self.u64().filter(|length| *length <= MAX)?;
        (0..length).map(|_| each(self)).collect()
    }
    fn owner(&mut self) -> Option<Owner> {
        let (start, cgroup2, cgroup1) = (self.u64()?, self.u64()?, self.u64()?);
        Some(Owner { start, cgroup2, cgroup1, hierarchy: self.u32()?, tgid: self.u32()? })
    }
    fn ends(&mut self) -> Option<Ends> {
        Some(Ends { sock: self.u64()?, netns: self.u32()?, local: self.u16()?, remote: self.u16()? })
    }
    fn known(&mut self) -> Option<Known> {
        let flags = self.u32()?;
        let [is_adopted, counts, connect] = [0, 1, 2].map(|bit| flags >> bit & 1 != 0);
        let [opened_at, at, sent, received] = [self.u64()?, self.u64()?, self.u64()?, self.u64()?];
        let counted = Counted { connect, sent, received, retransmits: self.u32()? };
        Some(Known { opened_at, at, is_adopted, counted, counts })
    }
    fn destination(&mut self) -> Option<Destination> {
        let to = self.address()?;
        let actual = if self.version == BEFORE { to } else { self.address()? };
        Some(if to.port() == 0 { Destination::Other } else { Destination::of(to, actual) })
    }
    fn address(&mut self) -> Option<SocketAddr> {
        let ip = Ipv6Addr::from(self.array::<16>()?);
        let ip = ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4);
        Some(SocketAddr::new(ip, self.u16()?))
    }
    fn numbers(&mut self) -> Option<Numbers> {
        let (connects, connect_time) = (self.u64()?, self.u64()?);
        let (sent, received, retransmits) = (self.u64()?, self.u64()?, self.u64()?);
        let mut failures = [0; REASONS];
        for slot in &mut failures {
            *slot = self.u64()?;
        }
        Some(Numbers { connects, connect_time, failures, sent, received, retransmits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::some;

    fn state() -> State {
        let numbers = Numbers { connects: 3, failures: [1, 2, 3, 4, 5, 6, 7], sent: 9, ..Numbers::default() };
        let at = |text: &str| Destination::At(text.parse().expect("an address"));
        let translated = Destination::Translated {
            to: "10.96.0.1:80".parse().expect("an address"),
            actual: "[fd00::7]:8080".parse().expect("an address"),
        };
        let all = [at("10.0.0.1:80"), at("[fd00::1]:443"), translated, Destination::Other];
        let series = all.map(|to| (to, numbers)).to_vec();
        let ends = Ends::from(&some());
        State {
            cut: 77,
            groups: vec![Group { first: some().owner, series }, Group::default()],
            open: vec![
                (ends, Known::of(&some())),
                (ends, Known { counts: false, is_adopted: true, ..Known::of(&some()) }),
            ],
            is_partial: true,
            late: vec![Ended { ends, opened_at: 70, at: 78 }],
        }
    }

    #[test]
    fn all_of_it_comes_back() {
        assert_eq!(State::decode(&state().encode()), Some(state()));
        assert_eq!(State::decode(&State::default().encode()), Some(State::default()));
    }

    #[test]
    fn damage_is_seen() {
        let whole = state().encode();
        for length in 0..whole.bytes.len() {
            let cut = Handover { bytes: whole.bytes[..length].to_vec(), ..whole.clone() };
            assert_eq!(State::decode(&cut), None, "cut at {length}");
        }
        assert_eq!(State::decode(&Handover { version: 1, ..whole.clone() }), None);
        let mut long = whole;
        long.bytes[8..16].fill(0xff);
        assert_eq!(State::decode(&long), None, "a length beyond all bounds");
    }
}
