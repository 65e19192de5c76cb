//! The capabilities that the agent keeps: its own needs, those of every plugin
//! that the configuration names, and what the operator says; all others go
//! before the first thread and the first plugin.
//!
//! In the agent's own process this confines the agent as a whole, not one plugin
//! against another: for that there are processes of their own.

use crate::config::Config;
use crate::isolation::capability;
use crate::loader::{self, Verified};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};
use std::sync::OnceLock;

/// The host's own: it reads other users' `/proc/PID/environ`, namespaces and
/// open files, hears of processes (before Linux 6.6 for `CAP_NET_ADMIN` alone),
/// and takes what plugins in processes of their own must not have from those.
const OWN: CapabilitySet = CapabilitySet::SYS_PTRACE
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::NET_ADMIN)
    .union(CapabilitySet::SETPCAP);

/// What this process had and gave up.
static DROPPED: OnceLock<CapabilitySet> = OnceLock::new();

/// What came of it, for the log.
#[derive(Debug)]
pub struct Outcome {
    pub kept: CapabilitySet,
    pub dropped: CapabilitySet,
    /// What could not be done.
    pub problem: Option<String>,
}

/// Keeps what is needed, in all sets, for this thread: for the beginning of
/// the process, before it has others.
pub fn drop_the_rest(config: &Config) -> Outcome {
    let wanted = wanted(config);
    match drop_all_but(wanted) {
        Ok((kept, dropped)) => {
            // Once a process.
            let _ = DROPPED.set(dropped);
            Outcome { kept, dropped, problem: None }
        }
        Err(error) => Outcome {
            kept: CapabilitySet::empty(),
            dropped: CapabilitySet::empty(),
            problem: Some(format!(
                "capset: {error}; the agent keeps all capabilities that it was started with"
            )),
        },
    }
}

/// Of the host, of every plugin that is named, whether it is enabled or not,
/// and what is to be kept all the same.
fn wanted(config: &Config) -> CapabilitySet {
    let manifests =
        config.plugins.iter().filter_map(|plugin| loader::manifest(plugin, &config.host.plugin_dirs));
    let needs = manifests.flat_map(|manifest| manifest.needs);
    let of_plugins = needs.filter(|need| need.kind == "capability").filter_map(|need| capability(&need.what));
    let granted =
        config.plugins.iter().flat_map(|plugin| &plugin.grant).chain(&config.host.keep_capabilities);
    let granted = granted.filter_map(|name| capability(name));
    of_plugins.chain(granted).fold(OWN, |all, one| all | one)
}

fn drop_all_but(wanted: CapabilitySet) -> rustix::io::Result<(CapabilitySet, CapabilitySet)> {
    let had = capabilities(None)?.permitted;
    let kept = had & wanted;
    // What a program that it starts could get. Without CAP_SETPCAP the set stays
    // as it is: the agent's own rights go all the same.
    for one in (CapabilitySet::all() - wanted).iter() {
        if remove_capability_from_bounding_set(one).is_err() {
            break;
        }
    }
    // Kernels without ambient capabilities have nothing to clear.
    let _ = clear_ambient_capability_set();
    set_capabilities(
        None,
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() },
    )?;
    Ok((kept, had - kept))
}

/// What a plugin cannot work without and this agent gave up when it started: it
/// was not named then.
pub fn dropped_need(verified: &Verified) -> Option<String> {
    let dropped = *DROPPED.get()?;
    // One in a process of its own has only what it was granted anyhow.
    let granted = verified
        .confined()
        .map_or(CapabilitySet::all(), |rights| CapabilitySet::from_bits_retain(rights.capabilities));
    let dropped = dropped & granted;
    let needs = verified.manifest.needs.iter().filter(|need| need.kind == "capability" && !need.optional);
    let names: Vec<&str> = needs
        .filter(|need| capability(&need.what).is_some_and(|one| dropped.contains(one)))
        .map(|need| need.what.as_str())
        .collect();
    (!names.is_empty()).then(|| format!("needs {}, dropped at start; restart the agent", names.join(", ")))
}

/// `CAP_BPF, CAP_PERFMON`
pub fn names(set: CapabilitySet) -> String {
    let names: Vec<String> = set.iter_names().map(|(name, _)| format!("CAP_{name}")).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::check;
    use std::path::Path;

    #[test]
    fn what_is_named_is_kept_and_nothing_else() {
        let text = "[host]\nkeep_capabilities = [\"CAP_BPF\"]\n[plugins.absent]\nenabled = true\n\
                    isolation = \"process\"\ngrant = [\"CAP_PERFMON\"]\n";
        let config = check(Path::new("p.toml"), text).expect("a good file");
        assert_eq!(wanted(&config), OWN | CapabilitySet::BPF | CapabilitySet::PERFMON);
        assert_eq!(names(CapabilitySet::BPF | CapabilitySet::SYS_PTRACE), "CAP_SYS_PTRACE, CAP_BPF");
        assert_eq!(names(CapabilitySet::empty()), "none");
    }
}
