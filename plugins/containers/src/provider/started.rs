//! Times as runtimes and the kernel write them.

use gantry_plugin_api::Process;
use std::io::Read;
use std::path::Path;

/// `/proc/PID/stat` is one line of at most some 400 bytes.
const MAX_STAT: u64 = 4096;

/// `/proc/stat` has a line for each processor, and one of all interrupts.
const MAX_ALL: u64 = 1 << 20;

/// Seconds since the epoch of an RFC 3339 time, as
/// `2026-11-23T05:57:04.123456789Z` or, in a Podman's own zone, `…04.1-05:00`; 0
/// where it is none, or before the epoch, as is the year 1 by which Docker says "never".
pub fn seconds(text: &str) -> u64 {
    parse(text).and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(0)
}

fn parse(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let bytes = text.as_bytes();
    let separated = bytes[4] == b'-' && bytes[7] == b'-' && bytes[10] == b'T' && bytes[13] == b':';
    let within = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60;
    if !separated || !within {
        return None;
    }
    let east = offset(text.get(19..)?)?;
    // Days of the proleptic Gregorian calendar: years that begin in March have
    // their leap day last, and 400 of them have always 146,097 days.
    let shifted = if month > 2 { year } else { year - 1 };
    let month = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * month + 2) / 5 + day - 1;
    let days =
        365 * shifted + shifted.div_euclid(4) - shifted.div_euclid(100) + shifted.div_euclid(400) + of_year
            - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second - east)
}

/// How far east of UTC a time's zone is, in seconds, by what follows the seconds:
/// a fraction, which is dropped, and `Z` or `+05:30`.
fn offset(rest: &str) -> Option<i64> {
    let digits = rest.strip_prefix('.');
    let rest = digits.map_or(rest, |digits| digits.trim_start_matches(|sign: char| sign.is_ascii_digit()));
    if rest == "Z" {
        return Some(0);
    }
    let sign = match rest.get(..1)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let (hours, minutes) = rest[1..].split_once(':')?;
    let number = |text: &str| -> Option<i64> {
        (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
    };
    Some(sign * (number(hours)? * 3600 + number(minutes)? * 60))
}

/// The process with this pid, if it lives: with its start time, or the pid
/// would soon be another's (proc(5), field 22 of `stat`).
pub fn process(proc: &Path, pid: i64) -> Option<Process> {
    let pid = u32::try_from(pid).ok().filter(|pid| *pid > 0)?;
    let mut text = Vec::new();
    let file = std::fs::File::open(proc.join(pid.to_string()).join("stat")).ok()?;
    file.take(MAX_STAT).read_to_end(&mut text).ok()?;
    // The second field is the program's name in brackets, which may hold both.
    let after = text.iter().rposition(|byte| *byte == b')')?;
    let fields = std::str::from_utf8(text.get(after + 1..)?).ok()?;
    let start = fields.split_ascii_whitespace().nth(19)?.parse().ok()?;
    Some(Process { pid, start })
}

/// Since when a process runs, in seconds since the epoch; 0 where that cannot
/// be read. The kernel says it of its own start to the second (proc(5), `btime`).
pub fn since(proc: &Path, process: Process) -> u64 {
    let booted = || {
        let mut text = String::new();
        std::fs::File::open(proc.join("stat")).ok()?.take(MAX_ALL).read_to_string(&mut text).ok()?;
        text.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<u64>().ok())
    };
    booted().map_or(0, |booted| booted + process.start / rustix::param::clock_ticks_per_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_date() {
        // `date -u -d TIME +%s`
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:34:56Z", 951_827_696),
            ("2026-11-23T05:57:04.123456789Z", 1_795_413_424),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
            ("2026-11-23T00:57:04.123456789-05:00", 1_795_413_424),
            ("2026-11-23T11:27:04+05:30", 1_795_413_424),
            ("0001-01-01T00:00:00Z", 0),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
        for bad in [
            "",
            "2026",
            "2026-13-01T00:00:00Z",
            "2026-11-23 05:57:04Z",
            "2026-11-23T05:57:04",
            "2026-11-23T05:57:04+0100",
            "2026-11-23T05:57:04 01:00",
            "2026-11-23T05:57:04+é:00",
            "2026-11-23T05:57:04.",
            "é026-11-23T05:57:04Z",
            "+026-11-23T05:57:04Z",
        ] {
            assert_eq!(seconds(bad), 0, "{bad:?}");
        }
    }

    #[test]
    fn own_process_is_found_and_others_are_not() {
        let own = i64::from(std::process::id());
        assert!(process(Path::new("/proc"), own).is_some_and(|found| found.start > 0));
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        let since = since(Path::new("/proc"), process(Path::new("/proc"), own).expect("it runs"));
        assert!((now.as_secs() - 3600..=now.as_secs() + 1).contains(&since), "{since} {now:?}");
        for bad in [0, -1, i64::MAX, 1 << 22] {
            assert_eq!(process(Path::new("/proc"), bad), None);
        }
    }
}
