//! The capabilities that the agent keeps: its own needs, those of every plugin
//! that the configuration names, and what the operator says; all others go
//! before the first thread and the first plugin.
//!
//! In the agent's own process this confines the agent as a whole, not one plugin
//! against another: for that there are processes of their own.

use crate::config::Config;
use crate::isolation::{capability, capability_names};
use crate::loader::{self, Verified};
use crate::records::Lineage;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};
use std::path::Path;
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
pub fn drop_the_rest(config: &Config, state_dir: &Path) -> Outcome {
    let wanted = wanted(config, state_dir);
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
/// and what is to be kept all the same. Of a plugin, what its section's file
/// needs, and what may run in its place after a rollback, or may by one.
fn wanted(config: &Config, state_dir: &Path) -> CapabilitySet {
    let of_plugins = config.plugins.iter().flat_map(|plugin| {
        let manifest = loader::manifest(plugin, &config.host.plugin_dirs);
        let named = manifest.iter().flat_map(capability_names).filter_map(capability);
        let lineage = Lineage::read(state_dir, &plugin.name);
        let others = lineage.capabilities().filter_map(capability);
        named.chain(others).collect::<Vec<_>>()
    });
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
    let needs = verified.manifest.needs.iter().filter(|need| need.kind == "capability" && !need.optional);
    let needed =
        needs.filter_map(|need| capability(&need.what)).fold(CapabilitySet::empty(), |all, one| all | one);
    let dropped = dropped(verified) & needed;
    (!dropped.is_empty()).then(|| format!("needs {}, dropped at start; restart the agent", names(dropped)))
}

/// What a plugin is to have, works without, and does not get: this agent gave
/// it up when it started, as nothing that was named then asked for it.
pub fn dropped_wish(verified: &Verified) -> Option<String> {
    let dropped = dropped(verified);
    (!dropped.is_empty()).then(|| format!("without {}, dropped at start; restart the agent", names(dropped)))
}

fn dropped(verified: &Verified) -> CapabilitySet {
    let wished = match verified.confined() {
        // One in a process of its own has only what it was granted anyhow.
        Some(rights) => CapabilitySet::from_bits_retain(rights.capabilities),
        None => {
            let asked = capability_names(&verified.manifest).filter_map(capability);
            asked.fold(CapabilitySet::empty(), |all, one| all | one)
        }
    };
    wished & DROPPED.get().copied().unwrap_or(CapabilitySet::empty())
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

    #[test]
    fn what_is_named_is_kept_and_nothing_else() {
        let text = "[host]\nkeep_capabilities = [\"CAP_BPF\"]\n[plugins.absent]\nenabled = true\n\
                    isolation = \"process\"\ngrant = [\"CAP_PERFMON\"]\n";
        let config = check(Path::new("p.toml"), text).expect("a good file");
        let state = tempfile::tempdir().expect("a temporary directory");
        assert_eq!(wanted(&config, state.path()), OWN | CapabilitySet::BPF | CapabilitySet::PERFMON);
        // What ran before an upgrade may run again.
        let stored = r#"{"file":"/x","version":"1.0.0","digest":"d","vendor":true,"source":"/x","capabilities":["CAP_CHOWN"]}"#;
        let dir = state.path().join("lineage");
        std::fs::create_dir(&dir).expect("own directory");
        std::fs::write(dir.join("absent.json"), format!("{{\"previous\":{stored}}}")).expect("own file");
        let all = OWN | CapabilitySet::BPF | CapabilitySet::PERFMON | CapabilitySet::CHOWN;
        assert_eq!(wanted(&config, state.path()), all);
        assert_eq!(names(CapabilitySet::BPF | CapabilitySet::SYS_PTRACE), "CAP_SYS_PTRACE, CAP_BPF");
        assert_eq!(names(CapabilitySet::empty()), "none");
    }
}
