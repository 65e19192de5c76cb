//! How much a plugin may take: the keys `max_heap`, `max_cpu` and `max_bpf_memory`.

use super::keys::Keys;
use super::problem::Problems;
use gantry_plugin_api::ByteSize;

/// What an operator allows one plugin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Bytes of its own allocator.
    pub heap: u64,
    /// Of one core, over a minute.
    pub cpu: f64,
    /// Bytes of its BPF maps.
    pub bpf: u64,
}

impl Default for Limits {
    fn default() -> Self {
        // Ten times what ours take on a node with 1,000 containers.
        Self { heap: 256 << 20, cpu: 0.5, bpf: 64 << 20 }
    }
}

/// More cores than any machine has.
const MOST_CORES: f64 = 4096.0;

/// With less than this no plugin comes up, nor any map.
const LEAST_HEAP: u64 = 1 << 20;
const LEAST_BPF: u64 = 4 << 10;

pub fn read(keys: &mut Keys<'_, '_>, section: &str, problems: &mut Problems) -> Limits {
    let default = Limits::default();
    let mut size = |key, least| {
        let (size, span) = keys.size(key, problems)?;
        if size < least {
            problems.at(span, format!("{section}.{key} must be at least {}", ByteSize(least)));
            return None;
        }
        Some(size)
    };
    let heap = size("max_heap", LEAST_HEAP).unwrap_or(default.heap);
    let bpf = size("max_bpf_memory", LEAST_BPF).unwrap_or(default.bpf);
    let mut cpu = default.cpu;
    if let Some((share, span)) = keys.number("max_cpu", problems) {
        if share > 0.0 && share <= MOST_CORES {
            cpu = share;
        } else {
            problems.at(
                span,
                format!(
                    "{section}.max_cpu must be above 0 and at most {MOST_CORES}, in cores: 0.5 is half of one"
                ),
            );
        }
    }
    Limits { heap, cpu, bpf }
}
