//! How long processes waited, and for what: the kernel's delay accounting over
//! generic netlink (`include/uapi/linux/taskstats.h`, `kernel/taskstats.c`).
//!
//! The family wants CAP_NET_ADMIN, and is in the first network namespace; in some kernels
//! in others too.
//! A question for a process (a thread group) is answered with the sum of its
//! threads and of those that exited; pids are those of the asker's namespace. Of
//! a process that has one thread and waits for its parent the answer is all
//! zeros; while one of several threads exits it is counted twice for a moment.
//! Who keeps the largest value that he saw is right in both cases.
//!
//! The structure only grows, so it is read as far as it goes, whatever its
//! version; that of version 15 (Linux 6.14) alone has fields in its middle.

use crate::error::Error;
use crate::generic::{Family, Question, attribute};
use std::path::Path;
use std::time::Duration;

/// The family's name.
pub const FAMILY: &str = "TASKSTATS";

pub(crate) const CMD_GET: u8 = 1;
const CMD_ATTR_TGID: u16 = 2;

pub(crate) const TYPE_PID: u16 = 1;
pub(crate) const TYPE_TGID: u16 = 2;
pub(crate) const TYPE_STATS: u16 = 3;
pub(crate) const TYPE_AGGR_PID: u16 = 4;
pub(crate) const TYPE_AGGR_TGID: u16 = 5;

/// That of version 8: the oldest that is read.
const LEAST: usize = 328;

/// A structure that is longer than this is none: four times that of version 16.
const MOST: usize = 2240;

/// How many kinds there are.
pub const KINDS: usize = 8;

/// What for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A CPU, while runnable.
    Cpu,
    /// A block device, synchronously.
    Disk,
    /// Memory that had to be reclaimed first.
    Reclaim,
    /// A page that was swapped out.
    SwapIn,
    /// A page that was in use and had been reclaimed. Since version 9.
    Thrashing,
    /// Memory that had to be compacted first. Since version 11.
    Compaction,
    /// The copy of a page that was shared until it was written. Since version 13.
    WriteProtectCopy,
    /// Interrupts that were handled in its time. Since version 14.
    Irq,
}

impl Kind {
    /// In the order of [`Delays`].
    pub const ALL: [Kind; KINDS] = [
        Kind::Cpu,
        Kind::Disk,
        Kind::Reclaim,
        Kind::SwapIn,
        Kind::Thrashing,
        Kind::Compaction,
        Kind::WriteProtectCopy,
        Kind::Irq,
    ];
}

/// Nanoseconds by kind.
pub type Delays = [u64; KINDS];

/// The form of the structure in this kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// `TASKSTATS_VERSION`.
    pub version: u16,
    /// Bytes.
    pub length: usize,
}

impl Form {
    /// As the kernel's answer to a question tells it.
    pub(crate) fn of(stats: &[u8]) -> Result<Self, Error> {
        let version = stats.first_chunk().map_or(0, |version| u16::from_ne_bytes(*version));
        let length = stats.len();
        if !(LEAST..=MOST).contains(&length) {
            return Err(Error::Malformed(format!("struct taskstats of {length} bytes, version {version}")));
        }
        Ok(Self { version, length })
    }

    fn has_middle(self) -> bool {
        self.version == 15
    }

    /// Where a kind's delay is.
    fn at(self, kind: Kind) -> usize {
        // By how much what is before it grew in version 15: 16 bytes a kind.
        let (at, middle) = match kind {
            Kind::Cpu => (24, 0),
            Kind::Disk => (40, 16),
            Kind::SwapIn => (56, 32),
            Kind::Reclaim => (320, 48),
            Kind::Thrashing => (336, 64),
            Kind::Compaction => (360, 80),
            Kind::WriteProtectCopy => (408, 96),
            Kind::Irq => (424, 112),
        };
        if self.has_middle() { at + middle } else { at }
    }

    /// Whether the structure has it.
    pub fn has(self, kind: Kind) -> bool {
        self.at(kind) + 8 <= self.length
    }

    /// What the structure says; what it does not have is 0.
    pub(crate) fn delays(self, stats: &[u8]) -> Delays {
        Kind::ALL.map(|kind| u64_at(stats, self.at(kind)).unwrap_or(0))
    }

    /// `cpu_count`: how often it got a CPU.
    pub(crate) fn turns(stats: &[u8]) -> u64 {
        u64_at(stats, 16).unwrap_or(0)
    }

    /// `ac_pid`, `ac_etime` in microseconds.
    pub(crate) fn thread(self, stats: &[u8]) -> Option<(u32, u64)> {
        let middle = if self.has_middle() { 48 } else { 0 };
        Some((u32_at(stats, 128 + middle)?, u64_at(stats, 144 + middle)?))
    }

    /// `ac_tgid`, `ac_tgetime` in microseconds. Since version 12.
    pub(crate) fn group(self, stats: &[u8]) -> Option<(u32, u64)> {
        let middle = if self.has_middle() { 96 } else { 0 };
        Some((u32_at(stats, 368 + middle)?, u64_at(stats, 376 + middle)?))
    }

    /// `AGROUP` in `ac_flag`: the last thread of its process. Since version 12.
    pub(crate) fn is_last(stats: &[u8]) -> bool {
        stats.get(8).is_some_and(|flags| flags & 0x20 != 0)
    }
}

fn u64_at(stats: &[u8], at: usize) -> Option<u64> {
    stats.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_ne_bytes)
}

fn u32_at(stats: &[u8], at: usize) -> Option<u32> {
    stats.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_ne_bytes)
}

/// The structure of one of the two kinds of answers.
pub(crate) fn stats(attributes: &[u8], aggregate: u16) -> Result<Option<&[u8]>, Error> {
    match attribute(attributes, aggregate)? {
        Some(nested) => attribute(nested, TYPE_STATS),
        None => Ok(None),
    }
}

/// Asks the kernel for processes.
#[derive(Debug)]
pub struct Taskstats {
    family: Family,
    form: Form,
}

impl Taskstats {
    /// Opens a socket, in the network namespace whose file is `within` or in the
    /// calling thread's, and asks for this process.
    ///
    /// # Errors
    /// [`Error::Refused`]: with ENOENT there is no such family (a kernel without
    /// CONFIG_TASKSTATS, or another network namespace), with EPERM CAP_NET_ADMIN is missing. [`Error::Malformed`] also where the kernel counts no delays
    /// (CONFIG_TASK_DELAY_ACCT).
    pub fn open(within: Option<&Path>, timeout: Duration) -> Result<Self, Error> {
        let mut family = Family::open(FAMILY, within, timeout)?;
        let own = Self::ask(&mut family, std::process::id())?;
        let form = Form::of(own)?;
        // Whoever asks had a CPU.
        if Form::turns(own) == 0 {
            return Err(Error::Malformed(
                "no delays are counted: the kernel has no CONFIG_TASK_DELAY_ACCT".to_owned(),
            ));
        }
        Ok(Self { family, form })
    }

    /// The form of the structure.
    pub fn form(&self) -> Form {
        self.form
    }

    /// How long a process waited until now; `None`: there is none of this pid.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn of(&mut self, pid: u32) -> Result<Option<Delays>, Error> {
        let mut found = None;
        self.of_all(&[pid], |_, delays| found = delays)?;
        Ok(found)
    }

    /// The same of several, each by its place in the list: they are asked for at
    /// once, which spares a system call for each. At most [`AT_ONCE`].
    ///
    /// # Errors
    /// See [`Error`]; those that were given until then are good.
    pub fn of_all(&mut self, pids: &[u32], mut each: impl FnMut(usize, Option<Delays>)) -> Result<(), Error> {
        let pids = &pids[..pids.len().min(AT_ONCE)];
        if pids.is_empty() {
            return Ok(());
        }
        let bytes: [[u8; 4]; AT_ONCE] =
            std::array::from_fn(|at| pids.get(at).copied().unwrap_or_default().to_ne_bytes());
        let first = self.family.send(bytes[..pids.len()].iter().map(|pid| question(pid)))?;
        let those = first..first.wrapping_add(pids.len() as u32);
        for _ in pids {
            let (which, answer) = self.family.receive(&question(&[]), those.clone())?;
            let delays = match answer {
                Ok(range) => Some(self.form.delays(found(&self.family.answer()[range])?)),
                Err(Error::Refused { source, .. }) if source.raw_os_error() == Some(ESRCH) => None,
                Err(error) => return Err(error),
            };
            each(which.wrapping_sub(first) as usize, delays);
        }
        Ok(())
    }

    fn ask(family: &mut Family, pid: u32) -> Result<&[u8], Error> {
        found(family.ask(question(&pid.to_ne_bytes()))?)
    }
}

/// As many answers as fit into the smallest buffer that a socket has by itself, three times over.
pub const AT_ONCE: usize = 32;

fn question(pid: &[u8]) -> Question<'_> {
    Question {
        name: "TASKSTATS_CMD_GET",
        command: CMD_GET,
        attribute: CMD_ATTR_TGID,
        value: pid,
        is_order: false,
    }
}

fn found(attributes: &[u8]) -> Result<&[u8], Error> {
    stats(attributes, TYPE_AGGR_TGID)?
        .ok_or_else(|| Error::Malformed("an answer without struct taskstats".to_owned()))
}

const ESRCH: i32 = rustix::io::Errno::SRCH.raw_os_error();

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::generic::tests::nla;

    /// Length and places (delays by [`Kind::ALL`], pid, etime, tgid) of each
    /// version, as the kernels' headers have them.
    const FORMS: [(u16, usize); 9] =
        [(8, 328), (9, 344), (10, 352), (11, 368), (12, 400), (13, 416), (14, 432), (15, 560), (16, 560)];

    /// Delays are 1 to 8 in the order of [`Kind::ALL`], as far as there is room.
    pub(crate) fn structure(version: u16, length: usize, pid: u32, flags: u8) -> Vec<u8> {
        let is_15 = version == 15;
        let places =
            if is_15 { [24, 56, 368, 88, 400, 440, 504, 536] } else { [24, 40, 320, 56, 336, 360, 408, 424] };
        let mut bytes = vec![0; length];
        let mut put = |at: usize, value: &[u8]| {
            if let Some(place) = bytes.get_mut(at..at + value.len()) {
                place.copy_from_slice(value);
            }
        };
        put(0, &version.to_ne_bytes());
        put(8, &[flags]);
        put(16, &3_u64.to_ne_bytes());
        for (at, value) in places.into_iter().zip(1_u64..) {
            put(at, &value.to_ne_bytes());
        }
        let (pid_at, etime_at, tgid_at) = if is_15 { (176, 192, 464) } else { (128, 144, 368) };
        put(pid_at, &pid.to_ne_bytes());
        put(etime_at, &20_000_u64.to_ne_bytes());
        put(tgid_at, &4242_u32.to_ne_bytes());
        put(tgid_at + 8, &50_000_u64.to_ne_bytes());
        bytes
    }

    #[test]
    fn each_version_is_read_as_far_as_it_goes() {
        for (version, length) in FORMS.into_iter().chain([(17, 592), (99, 2000)]) {
            let bytes = structure(version, length, 77, 0);
            let form = Form::of(&bytes).expect("known");
            assert_eq!(form, Form { version, length });
            let kinds = match version {
                8 => 4,
                9 | 10 => 5,
                11 | 12 => 6,
                13 => 7,
                _ => 8,
            };
            let expected: Vec<u64> = (1..9).map(|value| if value <= kinds { value } else { 0 }).collect();
            assert_eq!(form.delays(&bytes)[..], expected[..], "version {version}");
            let has: Vec<bool> = Kind::ALL.map(|kind| form.has(kind)).to_vec();
            assert_eq!(has, (1..9).map(|value| value <= kinds).collect::<Vec<_>>(), "version {version}");
            assert_eq!(form.thread(&bytes), Some((77, 20_000)), "version {version}");
            assert_eq!(form.group(&bytes), (version >= 12).then_some((4242, 50_000)), "version {version}");
        }
    }

    #[test]
    fn what_has_no_known_length_is_refused() {
        for length in [0, 1, 327, 2241, 60_000] {
            assert!(Form::of(&vec![0; length]).is_err(), "{length}");
        }
    }

    #[test]
    fn the_structure_is_found_in_an_answer_and_nothing_in_a_wrong_one() {
        let whole = nla(TYPE_AGGR_TGID, &[nla(TYPE_TGID, &[1; 4]), nla(TYPE_STATS, &[7; 328])].concat());
        assert_eq!(stats(&whole, TYPE_AGGR_TGID).expect("whole"), Some(&[7; 328][..]));
        assert_eq!(stats(&whole, TYPE_AGGR_PID).expect("whole"), None);
        // Architectures that need it have an empty attribute before.
        let padded = [nla(6, &[]), whole.clone()].concat();
        assert_eq!(stats(&padded, TYPE_AGGR_TGID).expect("whole"), Some(&[7; 328][..]));
        for length in 1..whole.len() {
            assert!(stats(&whole[..length], TYPE_AGGR_TGID).is_err(), "{length} bytes");
        }
    }
}
