//! System containers and virtual machines: LXC and Incus, nspawn, libvirt,
//! Proxmox VE. What they hold belongs to them, whatever it calls itself.

use super::{Found, Place, Runtime, unescaped};

/// The outermost of them in a path, and where it begins.
pub fn find(parts: &[&str], owner: Option<u32>) -> Option<(usize, Place)> {
    (0..parts.len()).find_map(|at| one(parts, at, owner).map(|place| (at, place)))
}

fn one(parts: &[&str], at: usize, owner: Option<u32>) -> Option<Place> {
    let found = |runtime, name: &str| Some(Place::Container(Found::new(runtime, name, owner)));
    let part = parts[at];
    let next = parts.get(at + 1).copied();
    if part == "lxc.pivot" || part == "lxc.monitor" || part.starts_with("lxc.monitor.") {
        return Some(Place::Nobody);
    }
    if let Some(name) = part.strip_prefix("lxc.payload.").filter(|name| !name.is_empty()) {
        return found(Runtime::Lxc, name);
    }
    // Below a directory of theirs: LXC before 3.2 and Proxmox VE. A bare "lxc"
    // is theirs only where a manager of the node put it.
    let managed = at == 0 || is_unit(parts[at - 1]);
    if part == "lxc.payload" || (part == "lxc" && managed) {
        return next.and_then(|name| found(Runtime::Lxc, name));
    }
    if let Some(name) = part.strip_prefix("systemd-nspawn@").and_then(|rest| rest.strip_suffix(".service")) {
        return found(Runtime::Nspawn, &unescaped(name));
    }
    if let Some(name) = part.strip_prefix("machine-").and_then(|rest| rest.strip_suffix(".scope")) {
        return machined(&unescaped(name), owner);
    }
    if let Some(name) = part.strip_suffix(".libvirt-qemu") {
        return found(Runtime::Qemu, domain(name, "qemu-"));
    }
    if let Some(name) = part.strip_suffix(".libvirt-lxc") {
        return found(Runtime::Lxc, domain(name, "lxc-"));
    }
    if part == "qemu.slice" && at == 0 {
        return next.and_then(|scope| scope.strip_suffix(".scope")).and_then(|id| found(Runtime::Qemu, id));
    }
    None
}

fn is_unit(part: &str) -> bool {
    [".slice", ".service", ".scope"].iter().any(|suffix| part.ends_with(suffix))
}

/// The scope of a machine that is registered with systemd-machined.
fn machined(name: &str, owner: Option<u32>) -> Option<Place> {
    let (runtime, name) = if name.starts_with("qemu-") {
        (Runtime::Qemu, domain(name, "qemu-"))
    } else if name.starts_with("lxc-") {
        (Runtime::Lxc, domain(name, "lxc-"))
    } else {
        (Runtime::Nspawn, name)
    };
    Some(Place::Container(Found::new(runtime, name, owner)))
}

/// A libvirt domain's name without driver and number (`qemu-3-web` is `web`):
/// the number is another after each start.
fn domain<'a>(name: &'a str, driver: &str) -> &'a str {
    let numbered = name.strip_prefix(driver).and_then(|rest| rest.split_once('-'));
    match numbered {
        Some((number, rest))
            if !number.is_empty() && !rest.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            rest
        }
        _ => name,
    }
}
