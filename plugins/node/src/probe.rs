//! Whether the plugin can work on this node, without doing anything to it.

use crate::namespaces::{Place, place};
use crate::reader;
use crate::sources::{Roots, Source, Sources};
use gantry_netlink::RouteSocket;
use gantry_plugin_api::Probe;
use std::time::Duration;

/// Tries each source once.
pub fn probe(roots: &Roots) -> Probe {
    let sources = Sources::new(roots);
    let stat = sources.path(Source::Stat);
    if !stat.exists() {
        return Probe::unsupported(format!("{} is not there: this is no /proc of Linux", stat.display()));
    }
    let mut probe = Probe::supported();
    let mut buffer = Vec::new();
    for source in [
        Source::Uptime,
        Source::Load,
        Source::Stat,
        Source::Meminfo,
        Source::Vmstat,
        Source::CpuPressure,
        Source::MemoryPressure,
        Source::IoPressure,
        Source::IrqPressure,
        Source::Diskstats,
    ] {
        if let Err(error) = reader::read(sources.path(source), &mut buffer) {
            match sources.lack(source, &error) {
                Ok(lack) => probe = probe.degraded(lack),
                Err(note) => probe = probe.note(note),
            }
        }
    }
    if let Err(error) = std::fs::read_dir(sources.path(Source::Block))
        && let Ok(lack) = sources.lack(Source::Block, &error.into())
    {
        probe = probe.degraded(lack);
    }
    if let Err(error) = RouteSocket::open(Duration::from_millis(100)) {
        probe = probe.degraded(format!(
            "rtnetlink: {error}; interfaces are read from {}, node_net_interface_ip is missing",
            sources.path(Source::ClassNet).display(),
        ));
    }
    let first = roots.proc.join("1/mountinfo");
    if let Err(error) = reader::read(&first, &mut buffer) {
        probe = probe.note(format!("{}: {error}; the mounts that the agent sees are shown", first.display()));
    }
    for kind in ["net", "uts"] {
        probe = probe.note(match place(roots, kind) {
            Place::Own(None) => format!("{kind} namespace: the agent's own is the node's"),
            Place::Own(Some(doubt)) => format!("{kind} namespace: {doubt}"),
            Place::Other(path) => format!("{kind} namespace: {} is another, and is entered", path.display()),
        });
    }
    probe
}
