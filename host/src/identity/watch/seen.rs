//! What a container's process tells besides its cgroups.

use super::super::optout::opted_out;
use super::super::path::sandbox_of_command;
use super::super::read::Proc;
use super::super::state::{Environment, Placement, Seen};
use super::memory::{File, Memory};
use super::place::Places;

/// A task of Nomad has some fifty variables of its own.
const MAX_VARIABLES: usize = 128;

/// The variables of a `/proc/PID/environ`; what is no text is left out.
fn variables(environ: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    environ.split(|byte| *byte == 0).filter_map(|one| std::str::from_utf8(one).ok()?.split_once('='))
}

/// The arguments of a `/proc/PID/cmdline`.
fn arguments(cmdline: &[u8]) -> impl Iterator<Item = &str> {
    let cmdline = cmdline.strip_suffix(b"\0").unwrap_or(cmdline);
    cmdline.split(|byte| *byte == 0).map(|one| std::str::from_utf8(one).unwrap_or_default())
}

/// Reads it, and where the process is after that: what was read of one that is
/// elsewhere then may be another's.
pub fn at(
    pid: u32,
    proc: &Proc,
    memory: &mut Memory,
    places: &mut Places,
    buffer: &mut Vec<u8>,
) -> (Seen, Placement) {
    let mut seen = Seen { namespace: proc.network_namespace(pid).unwrap_or_default(), ..Seen::default() };
    // One that ends has none any more (environ_read in fs/proc/base.c).
    if memory.read(pid, File::Environ, buffer) && !buffer.is_empty() {
        let nomad = variables(buffer).filter(|(name, _)| name.starts_with("NOMAD_")).take(MAX_VARIABLES);
        seen.environment = Some(Environment {
            opted_out: opted_out(variables(buffer)),
            nomad: nomad.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        });
    }
    let placement = match proc.cgroup(pid, buffer) {
        Ok(()) => places.of(buffer, |_| false),
        Err(_) => Placement::default(),
    };
    if placement.found.as_ref().is_some_and(|found| found.pod_uid.is_some())
        && memory.read(pid, File::Cmdline, buffer)
    {
        seen.sandbox = sandbox_of_command(arguments(buffer)).map(str::to_owned);
    }
    (seen, placement)
}
