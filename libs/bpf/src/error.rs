//! Why something of BPF does not work here.

use rustix::thread::{CapabilitySet, capabilities};
use std::io;
use std::path::PathBuf;

/// Why something of BPF does not work here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel does not tell its types.
    #[error("{}: {why}; programs need the kernel's BTF (CONFIG_DEBUG_INFO_BTF)", path.display())]
    NoBtf {
        /// Where they should be.
        path: PathBuf,
        /// What is in the way.
        why: String,
    },
    /// An object could not be read, or its maps could not be made.
    #[error("object {object}: {why}")]
    Object {
        /// Its name.
        object: &'static str,
        /// What is in the way.
        why: String,
    },
    /// The kernel, or the loader, refused a program.
    #[error("program {program}: {why}")]
    Program {
        /// Its name.
        program: &'static str,
        /// The error, and the verifier's last word.
        why: String,
    },
    /// There is no such map, or it is of another type.
    #[error("map {map}: {why}")]
    Map {
        /// Its name.
        map: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A system call failed.
    #[error("{call}: {source}")]
    Call {
        /// Which one.
        call: &'static str,
        /// Its error.
        source: io::Error,
    },
}

/// An error with all that caused it, in one line, and the remedy where it is a
/// missing capability.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    let mut forbidden = false;
    while let Some(cause) = next {
        let refused = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        forbidden |= refused == Some(io::ErrorKind::PermissionDenied);
        let cause_text = cause.to_string();
        // Some errors say what caused them themselves.
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    let text = shorten(&text);
    if !forbidden {
        return text;
    }
    match capabilities(None) {
        Ok(sets) => format!("{text}; {}", remedy(sets.effective)),
        Err(_) => text,
    }
}

/// What is to be done where the kernel forbids something to a thread of these
/// capabilities (capabilities(7): CAP_SYS_ADMIN includes both).
fn remedy(effective: CapabilitySet) -> String {
    let needs = [("CAP_BPF", CapabilitySet::BPF), ("CAP_PERFMON", CapabilitySet::PERFMON)];
    let missing: Vec<&str> =
        needs.iter().filter(|(_, needed)| !effective.contains(*needed)).map(|(name, _)| *name).collect();
    if missing.is_empty() || effective.contains(CapabilitySet::SYS_ADMIN) {
        return "no capability is missing: look for a lockdown of the kernel (/sys/kernel/security/lockdown) \
                or a security module that forbids it"
            .to_owned();
    }
    format!("needs {}: grant it to the agent", missing.join(" and "))
}

/// A verifier's log is pages long, and says what it does not like in its last
/// lines, before the counts.
fn shorten(text: &str) -> String {
    const LINES: usize = 4;
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.len() <= LINES + 1 {
        return lines.join("; ");
    }
    let first: String = lines[0].chars().take(200).collect();
    format!("{first} … {}", lines[lines.len() - LINES..].join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_and_only_that() {
        assert_eq!(remedy(CapabilitySet::BPF), "needs CAP_PERFMON: grant it to the agent");
        assert_eq!(remedy(CapabilitySet::empty()), "needs CAP_BPF and CAP_PERFMON: grant it to the agent");
        assert!(remedy(CapabilitySet::SYS_ADMIN).contains("lockdown"));
    }

    #[test]
    fn a_long_log_is_cut_to_its_end() {
        let log: String = (0..1000).map(|line| format!("{line}: r1 = r2\n")).collect();
        let short =
            shorten(&format!("the program was refused\n{log}R1 invalid mem access\nprocessed 4 insns\n"));
        assert!(short.starts_with("the program was refused … ") && short.len() < 300, "{short}");
        assert!(short.contains("R1 invalid mem access"), "{short}");
        assert_eq!(shorten("a\nb\n"), "a; b");
    }
}
