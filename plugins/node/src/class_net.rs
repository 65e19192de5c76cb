//! Network interfaces where rtnetlink is not to be had (`/sys/class/net`,
//! Documentation/ABI/testing/sysfs-class-net{,-statistics}).
//!
//! It knows neither kinds nor addresses: what is left out goes by names, and
//! `node_net_interface_ip` is missing.

use crate::config::Excluded;
use crate::reader::{self, SourceError};
use gantry_netlink::{Link, LinkCounters};
use std::path::Path;

/// Reads all interfaces. One whose files cannot be read has no counters.
///
/// # Errors
/// Where the directory itself cannot be read.
pub fn read(directory: &Path, excluded: &Excluded, links: &mut Vec<Link>) -> Result<(), SourceError> {
    let mut buffer = Vec::with_capacity(64);
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        // Such as `bonding_masters`, which is a file.
        if !path.is_dir() || name.starts_with("veth") || name.starts_with("ifb") || excluded.contains(&name) {
            continue;
        }
        let mut file = |name: &str| -> Option<String> {
            reader::read(&path.join(name), &mut buffer).ok()?;
            Some(std::str::from_utf8(&buffer).ok()?.trim_end().to_owned())
        };
        // ARPHRD_LOOPBACK
        if name == "lo" || file("type").as_deref() == Some("772") {
            continue;
        }
        let up = file("operstate").as_deref() == Some("up");
        let mut number = |name: &str| file(&format!("statistics/{name}"))?.parse().ok();
        let mut counters = || {
            Some(LinkCounters {
                rx_packets: number("rx_packets")?,
                tx_packets: number("tx_packets")?,
                rx_bytes: number("rx_bytes")?,
                tx_bytes: number("tx_bytes")?,
                rx_errors: number("rx_errors")?,
                tx_errors: number("tx_errors")?,
                rx_dropped: number("rx_dropped")?,
                tx_dropped: number("tx_dropped")?,
            })
        };
        links.push(Link { counters: counters(), name, up, ..Link::default() });
    }
    Ok(())
}
