//! What the next generation needs.
//!
//! Both generations are told of each kill from the moment at which the next one
//! begins until the one before ends. A process is killed once, so the next one leaves
//! out the victims that the one before counted. Kills while neither looked are known by
//! the numbers that the kernel gives them ([`crate::counted`]).

use crate::counted::Counted;
use crate::kill::Kill;
use crate::record::Mark;
use gantry_plugin_api::serde::{Deserialize, Serialize};
use gantry_plugin_api::{Handover, serde_json};
use std::collections::{HashSet, VecDeque};

/// The version of the bytes.
const VERSION: u32 = 1;

/// Victims that are remembered: more than are killed while two generations look.
const MAX_VICTIMS: usize = 4096;

/// What is handed over.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(crate = "gantry_plugin_api::serde")]
pub struct Handed {
    /// What was counted, by the container's handle.
    pub counted: Vec<(u64, Counted)>,
    /// Who was killed and is counted, the last at the end.
    pub victims: Vec<(u32, u64)>,
    /// Who is of a container that nobody knows yet.
    pub waiting: Vec<Mark>,
    /// For the view.
    pub kills: Vec<Kill>,
    /// The youngest cgroup that was there when counting began.
    pub young_from: Option<u64>,
    /// Programs told of it.
    pub is_told: bool,
}

impl Handed {
    /// As bytes.
    pub fn encode(&self) -> Option<Handover> {
        // It has nothing that JSON has not.
        serde_json::to_vec(self).ok().map(|bytes| Handover { version: VERSION, bytes })
    }

    /// Out of bytes. `None`: they are of another version, or are damaged.
    pub fn decode(handover: &Handover) -> Option<Self> {
        (handover.version == VERSION).then(|| serde_json::from_slice(&handover.bytes).ok())?
    }
}

/// The last victims that were counted.
#[derive(Debug, Default)]
pub struct Victims {
    order: VecDeque<(u32, u64)>,
    known: HashSet<(u32, u64)>,
}

impl Victims {
    /// Whether it is a new one.
    pub fn add(&mut self, victim: (u32, u64)) -> bool {
        if !self.known.insert(victim) {
            return false;
        }
        if self.order.len() >= MAX_VICTIMS
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(victim);
        true
    }

    /// All of them, the last at the end.
    pub fn all(&self) -> Vec<(u32, u64)> {
        self.order.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::some;
    use crate::scope::Scope;

    #[test]
    fn all_of_it_comes_back_and_damage_is_seen() {
        let mut counted = Counted::default();
        counted.mark(&some(), Scope::Container);
        let handed = Handed {
            counted: vec![(7, counted)],
            victims: vec![some().victim()],
            waiting: vec![some()],
            kills: vec![Kill::of(&some(), None, Scope::Node, 1.5)],
            young_from: Some(u64::MAX),
            is_told: true,
        };
        let bytes = handed.encode().expect("bytes");
        assert_eq!(Handed::decode(&bytes), Some(handed));
        assert_eq!(Handed::decode(&Handover { version: 2, ..bytes.clone() }), None);
        for end in 0..bytes.bytes.len() {
            let cut = Handover { bytes: bytes.bytes[..end].to_vec(), ..bytes };
            assert_eq!(Handed::decode(&cut), None, "{end}");
        }
    }

    #[test]
    fn victims_are_remembered_up_to_a_bound() {
        let mut victims = Victims::default();
        for pid in 0..2 * MAX_VICTIMS as u32 {
            assert!(victims.add((pid, 1)));
            assert!(!victims.add((pid, 1)));
        }
        assert_eq!((victims.order.len(), victims.known.len()), (MAX_VICTIMS, MAX_VICTIMS));
        assert!(victims.add((0, 1)), "long ago");
    }
}
