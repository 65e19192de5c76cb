//! What the tests share: a host, families, and random numbers.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod odd;
pub mod strict;

use gantry_exposition::{Arena, Constant, Declared, Format, Group, Labels, Member, Registry, Table, encode};
use gantry_plugin_api::description::{FamilyInfo, Kind, Merge};
use std::collections::HashMap;
use std::sync::Arc;

/// A host with labels for the node and for some containers.
#[derive(Default)]
pub struct Host {
    pub node: (String, u64),
    pub containers: HashMap<u64, Container>,
    /// Text, and whether all are gone.
    pub groups: HashMap<u64, (String, bool)>,
    /// Groups whose members' counts all began at 0.
    pub from_zero: Vec<u64>,
}

/// A container as the host knows it: shown by itself until something else is set.
#[derive(Default, Clone)]
pub struct Container {
    pub text: String,
    pub epoch: u64,
    pub held: bool,
    pub gone: bool,
    pub group: Option<u64>,
}

impl Host {
    pub fn new(node: &str) -> Self {
        Self { node: (node.to_owned(), 1), ..Self::default() }
    }

    pub fn with(mut self, handle: u64, text: &str) -> Self {
        self.name(handle, text.to_owned(), 1);
        self
    }

    pub fn with_group(mut self, group: u64, text: &str) -> Self {
        self.groups.insert(group, (text.to_owned(), false));
        self
    }

    pub fn name(&mut self, handle: u64, text: String, epoch: u64) {
        self.containers.insert(handle, Container { text, epoch, ..Container::default() });
    }

    /// # Panics
    /// Where there is none of this handle.
    pub fn of(&mut self, handle: u64) -> &mut Container {
        self.containers.get_mut(&handle).expect("the test named it")
    }
}

impl Labels for Host {
    fn node(&self) -> Constant<'_> {
        Constant::new(&self.node.0, self.node.1)
    }

    fn container(&self, handle: u64) -> Option<Member<'_>> {
        let Container { text, epoch, held, gone, group } = self.containers.get(&handle)?;
        let labels = Constant::new(text, *epoch);
        Some(Member { labels, held: *held, gone: *gone, group: *group })
    }

    fn group(&self, group: u64) -> Option<Group<'_>> {
        let (text, gone) = self.groups.get(&group)?;
        let from_zero = self.from_zero.contains(&group);
        Some(Group { labels: Constant::new(text, 1), gone: *gone, from_zero })
    }
}

pub fn family(name: &str, kind: Kind, labels: &[&str]) -> FamilyInfo {
    FamilyInfo {
        name: name.to_owned(),
        help: String::new(),
        kind,
        unit: String::new(),
        labels: labels.iter().map(|&label| label.to_owned()).collect(),
        per_container: false,
        counted_here: false,
        merge: Merge::Sum,
    }
}

pub fn declared(families: &[FamilyInfo]) -> Arc<[Declared]> {
    let registered = Registry::new().register("demo", &[], families);
    assert_eq!(registered.refusals, []);
    registered.families
}

pub fn table(families: &[FamilyInfo]) -> Table {
    Table::new(declared(families), 1_000_000)
}

pub fn sample(arena: &mut Arena, family: u32, container: u64, labels: &[&str], value: f64) {
    arena.sample(family, container, labels.iter().map(|label| label.as_bytes()), value);
}

pub fn text(tables: &[&Table], format: Format) -> String {
    let mut out = Vec::new();
    encode(tables, format, &mut out);
    String::from_utf8(out).expect("what is written is UTF-8")
}

/// One collection of samples, each given as family, container, labels, value.
pub fn arena(samples: &[(u32, u64, &[&str], f64)]) -> Arena {
    let mut arena = Arena::with_limit(1000);
    for &(family, container, labels, value) in samples {
        sample(&mut arena, family, container, labels, value);
    }
    arena
}

/// All lines that are samples, as text 0.0.4.
pub fn plain(table: &Table) -> Vec<String> {
    text(&[table], Format::Text).lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

/// Numbers that look random and are the same at each run.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Bytes of which many mean something to the formats.
    pub fn bytes(&mut self, most: u64) -> Vec<u8> {
        const SPECIAL: &[u8] = b"\\\"\n\r\t{}=, #_:\0ab1\xc3\xbc\xff\x80";
        (0..self.below(most + 1)).map(|_| SPECIAL[self.below(SPECIAL.len() as u64) as usize]).collect()
    }

    /// Text of which much means something to the formats.
    pub fn text(&mut self, most: u64) -> String {
        String::from_utf8_lossy(&self.bytes(most)).into_owned()
    }

    pub fn number(&mut self) -> f64 {
        match self.below(8) {
            0 => f64::NAN,
            1 => f64::INFINITY,
            2 => f64::NEG_INFINITY,
            3 => f64::from_bits(self.next()),
            4 => self.below(100) as f64,
            5 => -(self.below(100) as f64),
            6 => self.next() as f64,
            _ => self.below(1000) as f64 / 7.0,
        }
    }
}
