//! What the programs tell (`bpf/record.h`).

use gantry_plugin_api::serde::{Deserialize, Serialize};

/// The version of the bytes.
const VERSION: u32 = 1;

/// Their length.
const LENGTH: usize = 128;

const HAS_KILLS: u32 = 1;
const LIMIT_SWAP: u32 = 2;
const GROUP: u32 = 4;
const HAS_GROUPS: u32 = 8;

/// What a process exits with that was killed (`SIGKILL`), as the kernel keeps it.
const KILLED: i32 = 9;

/// The root of a hierarchy of cgroups. It is of no container.
pub const ROOT: u64 = 1;

/// A process that the kernel marked as a victim.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(crate = "gantry_plugin_api::serde")]
pub struct Mark {
    /// The process.
    pub pid: u32,
    /// When it started, in nanoseconds since boot.
    pub start: u64,
    /// The thread of it that was marked.
    pub thread: u32,
    /// What it exits with.
    pub exit_code: i32,
    /// The name of its first thread: anything, from the container.
    pub comm: String,
    /// That of the cgroups; 0 is version 2.
    pub hierarchy: u32,
    /// Where it is.
    pub cgroup: u64,
    /// How many the kernel has killed in that cgroup, with this one. `None` where it
    /// counts elsewhere: without the memory controller, or for a process that shares
    /// its memory with one of another cgroup.
    pub kills: Option<u64>,
    /// How often it has killed all of that cgroup together (`memory.oom.group`). `None`:
    /// it counts none of these, as before Linux 5.17.
    pub groups: Option<u64>,
    /// All of a cgroup is killed together, this one with it.
    pub in_group: bool,
    /// Whose limit was reached.
    pub limit: Option<Limit>,
    /// Its memory.
    pub memory: Memory,
}

/// A limit that was reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(crate = "gantry_plugin_api::serde")]
pub struct Limit {
    /// The cgroup.
    pub of: u64,
    /// How far below the hierarchy's root it is.
    pub level: u32,
    /// In bytes.
    pub bytes: u64,
    /// It is that of memory and swap together.
    pub with_swap: bool,
}

/// What a process has in memory, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(crate = "gantry_plugin_api::serde")]
pub struct Memory {
    /// Its own.
    pub anon: u64,
    /// Of files.
    pub file: u64,
    /// Shared with others.
    pub shmem: u64,
}

impl Memory {
    /// All of it.
    pub fn all(self) -> u64 {
        self.anon.saturating_add(self.file).saturating_add(self.shmem)
    }
}

impl Mark {
    /// Out of what a program wrote. `None`: it is of another length or version.
    pub fn read(bytes: &[u8], page: u64) -> Option<Self> {
        if bytes.len() != LENGTH || u32_at(bytes, 0)? != VERSION {
            return None;
        }
        let flags = u32_at(bytes, 4)?;
        let pages = |at| {
            let pages = u64_at(bytes, at)?.cast_signed();
            // Counters of the kernel's that are summed up late may be below 0.
            Some(u64::try_from(pages).unwrap_or_default().saturating_mul(page))
        };
        let (cgroup, memory) = (u64_at(bytes, 32)?, u64_at(bytes, 40)?);
        let limit = Limit {
            of: u64_at(bytes, 64)?,
            level: u32_at(bytes, 80)?,
            bytes: u64_at(bytes, 72)?.saturating_mul(page),
            with_swap: flags & LIMIT_SWAP != 0,
        };
        // Of a cgroup above, which others are in as well, the count tells nothing of this one.
        let has_kills = flags & HAS_KILLS != 0 && cgroup == memory;
        Some(Self {
            start: u64_at(bytes, 8)?,
            pid: u32_at(bytes, 16)?,
            thread: u32_at(bytes, 20)?,
            exit_code: u32_at(bytes, 24)?.cast_signed(),
            hierarchy: u32_at(bytes, 28)?,
            cgroup,
            kills: if has_kills { Some(u64_at(bytes, 48)?) } else { None },
            groups: if flags & HAS_GROUPS != 0 { Some(u64_at(bytes, 56)?) } else { None },
            in_group: flags & GROUP != 0,
            limit: (limit.of != 0).then_some(limit),
            memory: Memory { anon: pages(88)?, file: pages(96)?, shmem: pages(104)? },
            comm: text(bytes.get(112..LENGTH)?),
        })
    }

    /// Whether it was killed, as far as that can be told by itself: who is ending
    /// anyhow, by itself or by another's signal, is marked too, so that it gets the
    /// memory it needs for that.
    pub fn may_be_kill(&self) -> bool {
        self.exit_code == KILLED && self.kills != Some(0)
    }

    /// Which kill of its cgroup it is, but for one of a group: of a group the kernel counts
    /// the one that it chose twice, before the others or after them.
    pub fn number(&self) -> Option<u64> {
        self.kills.map(|kills| kills.saturating_sub(self.groups.unwrap_or_default()))
    }

    /// The process, once for all.
    pub fn victim(&self) -> (u32, u64) {
        (self.pid, self.start)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_ne_bytes(*word))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|word| u64::from_ne_bytes(*word))
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A process that was killed in cgroup 77, at that cgroup's own limit.
    pub fn some() -> Mark {
        Mark {
            pid: 4242,
            start: 5_000_000_000,
            thread: 4243,
            exit_code: KILLED,
            comm: "hog".to_owned(),
            hierarchy: 4,
            cgroup: 77,
            kills: Some(1),
            groups: None,
            in_group: false,
            limit: Some(Limit { of: 77, level: 2, bytes: 32 << 20, with_swap: false }),
            memory: Memory { anon: 30 << 20, file: 4096, shmem: 0 },
        }
    }

    fn bytes(flags: u32, memory: u64, anon: i64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut words = |numbers: &[u32]| {
            numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_ne_bytes()));
        };
        words(&[VERSION, flags]);
        let long = |number: u64| [number as u32, (number >> 32) as u32];
        words(&long(5_000_000_000));
        words(&[4242, 4243, 9, 4]);
        [77, memory, 1, 5, 77, 8192].iter().for_each(|number| words(&long(*number)));
        words(&[2, 0]);
        [anon.cast_unsigned(), 1, 0].iter().for_each(|number| words(&long(*number)));
        bytes.extend_from_slice(b"hog\0\0\0\0\0\0\0\0\0\0\0\0\0");
        bytes
    }

    #[test]
    fn all_of_it_is_read() {
        assert_eq!(Mark::read(&bytes(HAS_KILLS, 77, 7680), 4096), Some(some()));
        let with_swap = Mark::read(&bytes(LIMIT_SWAP, 77, 7680), 4096).expect("a record");
        assert!(with_swap.limit.is_some_and(|limit| limit.with_swap) && with_swap.kills.is_none());
        assert_eq!(Mark::read(&bytes(HAS_KILLS, 78, 0), 4096).expect("a record").kills, None);
        let group = Mark::read(&bytes(GROUP | HAS_GROUPS, 77, 0), 4096).expect("a record");
        assert_eq!((group.in_group, group.groups), (true, Some(5)));
        assert_eq!(Mark::read(&bytes(0, 77, -5), 4096).expect("a record").memory.anon, 0);
    }

    #[test]
    fn what_makes_no_sense_is_nothing() {
        let good = bytes(0, 77, 1);
        for end in 0..good.len() {
            assert_eq!(Mark::read(&good[..end], 4096), None, "{end}");
        }
        let mut other = good.clone();
        other[0] = 2;
        assert_eq!(Mark::read(&other, 4096), None);
        assert_eq!(Mark::read(&[good, vec![0]].concat(), 4096), None);
    }

    #[test]
    fn who_is_ending_anyhow_was_not_killed() {
        assert!(some().may_be_kill());
        assert!(Mark { kills: None, ..some() }.may_be_kill());
        assert!(!Mark { exit_code: 0, ..some() }.may_be_kill());
        assert!(!Mark { exit_code: 0x100, ..some() }.may_be_kill());
        assert!(!Mark { kills: Some(0), ..some() }.may_be_kill(), "by somebody else");
    }
}
