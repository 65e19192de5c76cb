//! Network interfaces (rtnetlink in the node's network namespace).

use crate::class_net;
use crate::config::Excluded;
use crate::metrics::*;
use crate::namespaces::{Place, place};
use crate::reader::SourceError;
use crate::sources::{Out, Roots, Run, Source, State};
use gantry_netlink::{Address, Error, Link, LinkCounters, Outcome, RouteSocket, route};
use gantry_plugin_api::{Cell, Rows};
use std::collections::HashSet;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

/// The kernel answers from memory, within milliseconds, but first waits for a
/// lock that whoever makes or removes interfaces holds. Both tables at twice
/// this, and the file systems after them, are within a deadline of 2 s.
const TIMEOUT: Duration = Duration::from_millis(250);

/// Kinds that are left out: the ends of the containers' own interfaces, whose
/// traffic is their containers', and intermediate queues.
const EXCLUDED_KINDS: [&str; 2] = ["veth", "ifb"];

/// The interfaces of the node.
#[derive(Debug)]
pub struct Network {
    place: Place,
    socket: Option<RouteSocket>,
    links: Vec<Link>,
    addresses: Vec<Address>,
    shown_ips: HashSet<(u32, IpAddr)>,
    text: String,
    trouble: Option<String>,
}

impl Network {
    /// Nothing is opened yet.
    pub fn new(roots: &Roots) -> Self {
        Self {
            place: place(roots, "net"),
            socket: None,
            links: Vec::new(),
            addresses: Vec::new(),
            shown_ips: HashSet::new(),
            text: String::new(),
            trouble: None,
        }
    }

    /// Reads and shows.
    pub fn collect(&mut self, run: &mut Run<'_, '_>, excluded: &Excluded) {
        let mut by_netlink = false;
        run.other(Source::Links, |run| {
            let read = self.read(|socket, this| socket.links(&mut this.links))?;
            by_netlink = true;
            self.links.retain(|link| {
                !(link.loopback
                    || EXCLUDED_KINDS.contains(&link.kind.as_str())
                    || excluded.contains(&link.name))
            });
            self.links.iter().for_each(|link| show(link, &mut run.out));
            Ok(self.state_of(read, &mut run.out))
        });
        if by_netlink {
            run.other(Source::Addresses, |run| {
                let read = self.read(|socket, this| socket.addresses(&mut this.addresses))?;
                self.show_addresses(&mut run.out);
                Ok(self.state_of(read, &mut run.out))
            });
        } else {
            self.links.clear();
            run.other(Source::ClassNet, |run| {
                class_net::read(run.sources.path(Source::ClassNet), excluded, &mut self.links)?;
                self.links.iter().for_each(|link| show(link, &mut run.out));
                Ok(State::Good)
            });
        }
    }

    /// Asks, with a socket that is opened where there is none. One that failed
    /// is dropped, since the rest of an answer may still come; where a new one
    /// may help it is tried at once.
    fn read(
        &mut self,
        ask: impl Fn(&mut RouteSocket, &mut Self) -> Result<route::Read, Error>,
    ) -> Result<route::Read, SourceError> {
        let mut again = true;
        loop {
            let asked = self.open().and_then(|mut socket| {
                let read = ask(&mut socket, self)?;
                self.socket = Some(socket);
                Ok(read)
            });
            match asked {
                Err(error) if again && error.may_pass() => again = false,
                other => return other.map_err(|error| SourceError::Unreadable(error.to_string())),
            }
        }
    }

    fn open(&mut self) -> Result<RouteSocket, Error> {
        if let Some(socket) = self.socket.take() {
            return Ok(socket);
        }
        self.trouble = None;
        if let Place::Other(path) = &self.place {
            match RouteSocket::open_in(path, TIMEOUT) {
                Ok(socket) => return Ok(socket),
                Err(error) => {
                    let whose = "these are the interfaces of the agent's own network namespace";
                    self.trouble = Some(format!("{whose}: {error} (CAP_SYS_ADMIN is needed)"));
                }
            }
        }
        RouteSocket::open(TIMEOUT)
    }

    fn state_of(&self, read: route::Read, out: &mut Out<'_, '_>) -> State {
        out.skipped("source_malformed", read.malformed);
        if read.outcome == Outcome::Interrupted {
            out.skipped("source_changing", 1);
            return State::Partly("the interfaces changed at each of several reads".to_owned());
        }
        match &self.trouble {
            _ if read.malformed > 0 => State::Partly(format!("{} messages make no sense", read.malformed)),
            Some(trouble) => State::Partly(trouble.clone()),
            None => self.place.state(),
        }
    }

    fn show_addresses(&mut self, out: &mut Out<'_, '_>) {
        self.shown_ips.clear();
        for address in &self.addresses {
            let Some(link) = self.links.iter().find(|link| link.index == address.index) else { continue };
            // The same address may be there twice, with two prefix lengths.
            if !is_shown(address.ip) || !self.shown_ips.insert((address.index, address.ip)) {
                continue;
            }
            self.text.clear();
            // Writing to a text cannot fail.
            let _ = write!(self.text, "{}", address.ip);
            out.emit(&NET_IP, &[&link.name, &self.text], 1);
        }
    }

    /// Fills the view `interfaces`.
    pub fn view(&self, rows: &mut Rows<'_>) {
        for link in &self.links {
            let counters = link.counters.unwrap_or_default();
            let addresses: Vec<String> = self
                .addresses
                .iter()
                .filter(|address| address.index == link.index)
                .map(|address| address.ip.to_string())
                .collect();
            let cells = [
                Cell::Text(&link.name),
                Cell::Text(&link.kind),
                Cell::Text(if link.up { "up" } else { "down" }),
                Cell::Text(&addresses.join(" ")),
                Cell::Number(counters.rx_bytes as f64),
                Cell::Number(counters.tx_bytes as f64),
            ];
            if !rows.push(&cells) {
                return;
            }
        }
    }
}

fn show(link: &Link, out: &mut Out<'_, '_>) {
    let labels = &[link.name.as_str()];
    out.emit(&NET_UP, labels, link.up);
    let Some(counters) = &link.counters else { return };
    let LinkCounters {
        rx_packets,
        tx_packets,
        rx_bytes,
        tx_bytes,
        rx_errors,
        tx_errors,
        rx_dropped,
        tx_dropped,
    } = *counters;
    out.emit(&NET_RECEIVED_BYTES, labels, rx_bytes);
    out.emit(&NET_TRANSMITTED_BYTES, labels, tx_bytes);
    out.emit(&NET_RECEIVED_PACKETS, labels, rx_packets);
    out.emit(&NET_TRANSMITTED_PACKETS, labels, tx_packets);
    out.emit(&NET_RECEIVED_ERRORS, labels, rx_errors);
    out.emit(&NET_TRANSMITTED_ERRORS, labels, tx_errors);
    out.emit(&NET_RECEIVED_DROPPED, labels, rx_dropped);
    out.emit(&NET_TRANSMITTED_DROPPED, labels, tx_dropped);
}

/// Whether an address says where the node is.
fn is_shown(ip: IpAddr) -> bool {
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !(link_local || ip.is_multicast() || ip.is_loopback() || ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_lead_to_the_node_are_shown() {
        for shown in ["192.0.2.1", "10.0.0.1", "2001:db8::1", "fd00::1"] {
            assert!(is_shown(shown.parse().expect("valid")), "{shown}");
        }
        for left_out in
            ["127.0.0.2", "169.254.1.1", "224.0.0.1", "0.0.0.0", "::1", "::", "fe80::1", "ff02::1"]
        {
            assert!(!is_shown(left_out.parse().expect("valid")), "{left_out}");
        }
    }
}
