//! What the child may do: its capabilities, limits and system calls.

use super::filter;
use gantry_plugin_api::manifest::ManifestInfo;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};
use serde::{Deserialize, Serialize};

/// Of writable memory: ours take 2 to 20 MiB on a node with 1,000 containers.
pub const DEFAULT_MEMORY: u64 = 256 << 20;

/// Below this not even the agent's own part of the child comes up, with the
/// stack of one thread.
pub const MIN_MEMORY: u64 = 16 << 20;

/// Sockets to runtimes and watched directories: a child that leaks descriptors
/// comes to its end before the system does.
const MOST_DESCRIPTORS: u64 = 4096;

/// What one child may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights {
    /// As in `/proc/PID/status`: bit N is the capability of number N.
    pub capabilities: u64,
    /// `RLIMIT_DATA`, in bytes.
    pub memory: u64,
}

impl Rights {
    /// A file of the vendor's gets what its manifest needs, any other what the
    /// operator granted. Neither gets what the agent has not itself.
    pub fn of(manifest: &ManifestInfo, is_vendors: bool, granted: &[String], memory: u64) -> Self {
        let needed = capability_names(manifest).filter(|_| is_vendors);
        let names = needed.chain(granted.iter().map(String::as_str));
        let all = names.filter_map(capability).fold(CapabilitySet::empty(), |all, one| all | one);
        Self { capabilities: all.bits(), memory }
    }

    /// The capabilities that a manifest asks for and these rights lack, each
    /// with its reason and whether the plugin works without it.
    pub fn lacking<'a>(&self, manifest: &'a ManifestInfo) -> impl Iterator<Item = (&'a str, &'a str, bool)> {
        let has = CapabilitySet::from_bits_retain(self.capabilities);
        let needs = manifest.needs.iter().filter(|need| need.kind == "capability");
        needs
            .filter(move |need| !capability(&need.what).is_some_and(|one| has.contains(one)))
            .map(|need| (need.what.as_str(), need.why.as_str(), need.optional))
    }
}

/// The capabilities that a manifest asks for.
pub fn capability_names(manifest: &ManifestInfo) -> impl Iterator<Item = &str> {
    manifest.needs.iter().filter(|need| need.kind == "capability").map(|need| need.what.as_str())
}

/// `CAP_BPF`, as the manual writes it.
pub fn capability(name: &str) -> Option<CapabilitySet> {
    CapabilitySet::from_name(name.strip_prefix("CAP_")?)
}

/// Confines this process, which has one thread: from here on every thread of
/// it has these rights. What cannot be had where the kernel lacks it is told.
pub fn confine(rights: &Rights) -> Result<Vec<String>, String> {
    let at = |what: &'static str| move |error: rustix::io::Errno| format!("{what}: {error}");
    set_no_new_privs(true).map_err(at("prctl(PR_SET_NO_NEW_PRIVS)"))?;
    limit(Resource::Core, 0).map_err(at("setrlimit(RLIMIT_CORE)"))?;
    limit(Resource::Data, rights.memory).map_err(at("setrlimit(RLIMIT_DATA)"))?;
    limit(Resource::Nofile, MOST_DESCRIPTORS).map_err(at("setrlimit(RLIMIT_NOFILE)"))?;
    drop_capabilities(rights).map_err(at("capset"))?;
    Ok(filter::install().err().into_iter().collect())
}

/// Both limits, where they are not lower already.
fn limit(resource: Resource, most: u64) -> rustix::io::Result<()> {
    let now = getrlimit(resource);
    let least = |now: Option<u64>| Some(now.map_or(most, |now| now.min(most)));
    setrlimit(resource, Rlimit { current: least(now.current), maximum: least(now.maximum) })
}

fn drop_capabilities(rights: &Rights) -> rustix::io::Result<()> {
    let kept = CapabilitySet::from_bits_retain(rights.capabilities) & capabilities(None)?.permitted;
    // What a program that it starts could get; there is none. Without
    // CAP_SETPCAP the set stays, and the system calls are refused all the same.
    for one in (CapabilitySet::all() - kept).iter() {
        if remove_capability_from_bounding_set(one).is_err() {
            break;
        }
    }
    // Kernels without ambient capabilities have nothing to clear.
    let _ = clear_ambient_capability_set();
    set_capabilities(
        None,
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn manifest() -> ManifestInfo {
        let need = |what: &str, optional| json!({"kind": "capability", "what": what, "why": "w", "optional": optional});
        serde_json::from_value(json!({
            "gantry_manifest": 1, "name": "acme", "version": "2.0.0", "panic": "unwind",
            "api": "1.0", "min_host_api": "1.0",
            "needs": [need("CAP_BPF", false), need("CAP_SYS_PTRACE", true), need("CAP_OF_TOMORROW", true),
                {"kind": "path", "what": "/proc", "why": "w"}],
        }))
        .unwrap()
    }

    #[test]
    fn only_our_own_get_what_they_ask_for() {
        let own = Rights::of(&manifest(), true, &[], 1);
        assert_eq!(own.capabilities, (CapabilitySet::BPF | CapabilitySet::SYS_PTRACE).bits());
        let other = Rights::of(&manifest(), false, &[], 1);
        assert_eq!(other.capabilities, 0);
        let granted = Rights::of(&manifest(), false, &["CAP_BPF".to_owned()], 1);
        assert_eq!(granted.capabilities, CapabilitySet::BPF.bits());
        let lacking: Vec<_> =
            granted.lacking(&manifest()).map(|(what, _, optional)| (what.to_owned(), optional)).collect();
        assert_eq!(lacking, [("CAP_SYS_PTRACE".to_owned(), true), ("CAP_OF_TOMORROW".to_owned(), true)]);
    }

    #[test]
    fn names_are_those_of_the_manual() {
        assert_eq!(capability("CAP_BPF"), Some(CapabilitySet::BPF));
        assert_eq!(capability("CAP_CHECKPOINT_RESTORE").map(|one| one.bits()), Some(1 << 40));
        for bad in ["BPF", "cap_bpf", "CAP_", "CAP_ALL", ""] {
            assert_eq!(capability(bad), None, "{bad:?}");
        }
    }
}
