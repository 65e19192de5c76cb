//! Memory (Documentation/admin-guide/cgroup-v1/memory.rst; cgroup-v2.rst,
//! section Memory).

use super::number::{Bad, alone, lines, number, pair};
use super::{Limit, Memory};

/// What `memory.stat` tells beyond [`Memory`].
#[derive(Debug, Default, Clone, Copy)]
pub struct Rest {
    /// File pages that were not used of late.
    pub inactive_file: Option<u64>,
    /// v1: the smallest limit of memory here and above, as the file has it.
    pub hierarchical: Option<u64>,
    /// v1: the same of memory and swap together.
    pub hierarchical_swap: Option<u64>,
}

/// `memory.stat` of v1. The figures with `total_` include the cgroups below.
pub fn stat_v1(text: &[u8], memory: &mut Memory, bad: &mut Bad) -> Rest {
    let mut rest = Rest::default();
    let (mut anonymous, mut mapped) = (None, None);
    for (key, value) in lines(text).map(pair) {
        let figure = match key {
            b"total_rss" => &mut anonymous,
            b"total_mapped_file" => &mut mapped,
            b"total_cache" => &mut memory.cache,
            b"total_swap" => &mut memory.swap,
            b"total_pgmajfault" => &mut memory.major_faults,
            b"total_inactive_file" => &mut rest.inactive_file,
            b"hierarchical_memory_limit" => &mut rest.hierarchical,
            b"hierarchical_memsw_limit" => &mut rest.hierarchical_swap,
            _ => continue,
        };
        *figure = bad.check(number(value));
    }
    memory.rss = sum(anonymous, mapped, bad);
    rest
}

/// `memory.stat` of v2.
pub fn stat_v2(text: &[u8], memory: &mut Memory, bad: &mut Bad) -> Rest {
    let mut rest = Rest::default();
    let (mut anonymous, mut mapped) = (None, None);
    for (key, value) in lines(text).map(pair) {
        let figure = match key {
            b"anon" => &mut anonymous,
            b"file_mapped" => &mut mapped,
            b"file" => &mut memory.cache,
            b"pgmajfault" => &mut memory.major_faults,
            b"inactive_file" => &mut rest.inactive_file,
            _ => continue,
        };
        *figure = bad.check(number(value));
    }
    memory.rss = sum(anonymous, mapped, bad);
    rest
}

fn sum(anonymous: Option<u64>, mapped: Option<u64>, bad: &mut Bad) -> Option<u64> {
    let (anonymous, mapped) = anonymous.zip(mapped)?;
    bad.check(anonymous.checked_add(mapped))
}

/// `usage` without what the kernel could drop at once. The two are not read at
/// the same moment, so that the difference may be below 0.
pub fn working_set(usage: Option<u64>, rest: Rest) -> Option<u64> {
    usage.zip(rest.inactive_file).map(|(usage, inactive)| usage.saturating_sub(inactive))
}

/// A limit of v1. "None" is the largest number of pages, in bytes: 2^63 less a
/// page on 64 bits, and no machine has 2^62.
pub fn limit_v1(text: &[u8], bad: &mut Bad) -> Option<u64> {
    bad.check(alone(text)).filter(|limit| is_limit_v1(*limit))
}

fn is_limit_v1(limit: u64) -> bool {
    limit <= 1 << 62
}

/// A limit of v2: a number, or `max`. `pids.max` of both is of this form.
pub fn limit_v2(text: &[u8], bad: &mut Bad) -> Option<u64> {
    match text.trim_ascii_end() {
        b"max" => None,
        limit => bad.check(number(limit)),
    }
}

/// The binding limits of v1, and that of swap from the one of memory and swap
/// together. The kernel sees to it that the latter is not the smaller one.
pub fn finish_v1(memory: &mut Memory, rest: Rest, own_both: Option<u64>) {
    let hierarchical = rest.hierarchical.filter(|limit| is_limit_v1(*limit));
    let both = rest.hierarchical_swap.filter(|limit| is_limit_v1(*limit));
    let less = |both: Option<u64>, memory: Option<u64>| Some(both?.saturating_sub(memory?));
    let own = memory.limit.own;
    memory.limit = Limit { own, binding: min(hierarchical, own) };
    memory.swap_limit = Limit { own: less(own_both, own), binding: less(both, memory.limit.binding) };
}

/// The smaller of two limits.
pub fn min<T: PartialOrd>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b < a { b } else { a }),
        (a, b) => a.or(b),
    }
}
