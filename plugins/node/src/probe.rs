//! Whether the plugin can work on this node, without doing anything to it.

use crate::config::Settings;
use crate::cpu::Cpu;
use crate::disks::Disks;
use crate::namespaces::{Place, place};
use crate::sources::{Out, Roots, Run, Source, Sources};
use crate::{load, memory, mounts, pressure, reader};
use gantry_netlink::RouteSocket;
use gantry_plugin_api::Probe;
use std::time::Duration;

/// Reads each file once, as a collection does: one that is there and makes no
/// sense is missing as much as one that is not.
pub fn probe(roots: &Roots, settings: &Settings) -> Probe {
    let mut sources = Sources::silent(roots);
    let stat = sources.path(Source::Stat);
    if !stat.exists() {
        return Probe::unsupported(format!("{} is not there: this is no /proc of Linux", stat.display()));
    }
    let mut buffer = Vec::new();
    let mut run =
        Run { roots, sources: &mut sources, out: Out::nowhere(), buffer: &mut buffer, at: Duration::ZERO };
    load::collect(&mut run);
    Cpu::new(rustix::param::clock_ticks_per_second()).collect(&mut run);
    memory::collect(&mut run, rustix::param::page_size() as u64);
    pressure::collect(&mut run);
    Disks::default().collect(&mut run, &settings.devices);
    let mut probe = sources.troubles().into_iter().fold(Probe::supported(), Probe::degraded);
    probe = sources.absences().into_iter().fold(probe, Probe::note);
    if let Err(error) = RouteSocket::open(Duration::from_millis(100)) {
        probe = probe.degraded(format!(
            "rtnetlink: {error}; interfaces are read from {}, node_net_interface_ip is missing",
            sources.path(Source::ClassNet).display(),
        ));
    }
    let first = roots.proc.join("1/mountinfo");
    match reader::read(&first, &mut buffer) {
        Ok(()) => {
            let (mounts, bad_lines) = mounts::shown(&buffer, settings);
            if mounts.is_empty() && bad_lines > 0 {
                probe = probe.degraded(format!(
                    "{}: it has no line of a mount; missing: node_resources_filesystem_*; give the agent the node's /proc",
                    first.display()
                ));
            }
        }
        Err(error) => {
            probe =
                probe.note(format!("{}: {error}; the mounts that the agent sees are shown", first.display()));
        }
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
