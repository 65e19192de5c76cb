//! What plugins report of resources that the host cannot count itself.

use super::lock;
use std::collections::HashMap;
use std::sync::Mutex;

/// Bytes of a plugin's BPF maps.
const BPF_MAPS: &str = "bpf_map_bytes";

/// The last word of each plugin.
#[derive(Debug, Default)]
pub struct Reports(Mutex<HashMap<String, u64>>);

impl Reports {
    /// Whether it is a resource that is asked about.
    pub fn knows(resource: &str) -> bool {
        resource == BPF_MAPS
    }

    /// Takes over an amount; whether the resource is one that is known, and the
    /// amount one that can be.
    pub fn take(&self, plugin: &str, resource: &str, amount: f64) -> bool {
        // What has no bound is no amount; 2^53 is far beyond any memory.
        let is_amount = (0.0..=9e15).contains(&amount);
        if !Self::knows(resource) || !is_amount {
            return false;
        }
        lock(&self.0).insert(plugin.to_owned(), amount as u64);
        true
    }

    /// `None` where it never said.
    pub fn bpf_maps(&self, plugin: &str) -> Option<u64> {
        lock(&self.0).get(plugin).copied()
    }

    /// Nothing of it runs any more.
    pub fn forget(&self, plugin: &str) {
        lock(&self.0).remove(plugin);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_amounts_of_what_is_known_are_taken() {
        let reports = Reports::default();
        assert_eq!(reports.bpf_maps("tcp"), None);
        assert!(reports.take("tcp", BPF_MAPS, 4096.0));
        for (resource, amount) in
            [("gpu", 1.0), (BPF_MAPS, -1.0), (BPF_MAPS, f64::NAN), (BPF_MAPS, f64::INFINITY)]
        {
            assert!(!reports.take("tcp", resource, amount), "{resource} {amount}");
        }
        assert_eq!(reports.bpf_maps("tcp"), Some(4096));
        reports.forget("tcp");
        assert_eq!(reports.bpf_maps("tcp"), None);
    }
}
