//! Workloads that ask to be left alone, by a variable of their environment.

use std::collections::BTreeSet;

/// A list longer than this is no list of collectors.
const MAX_NAMES: usize = 32;

/// Plugin names have at most 64 bytes.
const MAX_NAME: usize = 64;

/// The collectors that an environment asks to leave the workload alone, sorted.
///
/// `GANTRY_DISABLE=logs,tcp-ebpf` names them. The variables of
/// coroot-node-agent count as well, where their value contains `disabled`:
///
/// | variable | collector |
/// |---|---|
/// | `COROOT_LOG_MONITORING` | `logs` |
/// | `COROOT_EBPF_TRACES` | `traces` |
/// | `COROOT_EBPF_PROFILING` | `profiling` |
///
/// What is no collector's name is left out, so that a workload cannot fill the
/// host with names of its own; names of collectors that are not there do no harm.
pub fn opted_out<'a>(environment: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let mut names: BTreeSet<&str> = BTreeSet::new();
    for (variable, value) in environment {
        let disabled = || value.contains("disabled");
        match variable {
            "GANTRY_DISABLE" => names.extend(value.split(',').take(MAX_NAMES).map(str::trim).filter(is_name)),
            "COROOT_LOG_MONITORING" if disabled() => drop(names.insert("logs")),
            "COROOT_EBPF_TRACES" if disabled() => drop(names.insert("traces")),
            "COROOT_EBPF_PROFILING" if disabled() => drop(names.insert("profiling")),
            _ => {}
        }
    }
    names.into_iter().take(MAX_NAMES).map(str::to_owned).collect()
}

fn is_name(text: &&str) -> bool {
    (1..=MAX_NAME).contains(&text.len())
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collectors_are_named_in_a_list() {
        assert_eq!(opted_out([("GANTRY_DISABLE", "tcp-ebpf, logs,,logs")]), ["logs", "tcp-ebpf"]);
        assert_eq!(opted_out([("PATH", "/bin"), ("GANTRY_DISABLE", "")]), [""; 0]);
        assert_eq!(opted_out([("gantry_disable", "logs")]), [""; 0], "variables are case-sensitive");
    }

    #[test]
    fn upstream_s_variables_count() {
        let all = [
            ("COROOT_EBPF_PROFILING", "disabled"),
            ("COROOT_LOG_MONITORING", "is disabled here"),
            ("COROOT_EBPF_TRACES", "disabled"),
        ];
        assert_eq!(opted_out(all), ["logs", "profiling", "traces"]);
        assert_eq!(opted_out([("COROOT_LOG_MONITORING", "enabled")]), [""; 0]);
    }

    #[test]
    fn what_is_no_name_is_left_out() {
        let long = "a".repeat(MAX_NAME + 1);
        let value = format!("logs,{long},Logs,../x,a b,\u{fffd},node");
        assert_eq!(opted_out([("GANTRY_DISABLE", value.as_str())]), ["logs", "node"]);
        let many = (0..10_000).map(|n| format!("p{n}")).collect::<Vec<_>>().join(",");
        assert_eq!(opted_out([("GANTRY_DISABLE", many.as_str())]).len(), MAX_NAMES);
    }
}
