//! From what is known to samples.

use crate::addresses::Addresses;
use crate::counts::{Numbers, Series};
use crate::destination::{Destination, Labels};
use crate::listens::{Listen, MAX_EACH, reached};
use crate::metrics;
use crate::reason::Reason;
use crate::tracker::Tracker;
use gantry_plugin_api::{ContainerRef, Family, Sink};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// What is shown of a container and a destination.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Shown {
    /// What was counted.
    pub numbers: Numbers,
    /// Connections that are open.
    pub active: u32,
    /// The sum of their round trip times, in microseconds.
    pub rtt: u64,
    /// Connects a second.
    pub rate: f64,
}

/// The series of all containers.
pub fn shown(tracker: &Tracker) -> Vec<(ContainerRef, Destination, Shown)> {
    let mut all: Vec<(ContainerRef, Destination, Shown)> = tracker
        .counts
        .all()
        .filter_map(|series| {
            let container = tracker.counts.account(series.account)?.container?;
            let shown = Shown {
                numbers: series.numbers,
                active: series.active,
                rtt: series.rtt,
                rate: series.rate.rate,
            };
            Some((container, series.to, shown))
        })
        .collect();
    all.sort_unstable_by_key(|(container, to, _)| (*container, *to));
    all.dedup_by(|next, one| {
        let same = (next.0, next.1) == (one.0, one.1);
        if same {
            one.2.numbers.add(&next.2.numbers);
            one.2.active += next.2.active;
            one.2.rtt += next.2.rtt;
            one.2.rate += next.2.rate;
        }
        same
    });
    all
}

/// Emits all series of connections.
pub fn connections(tracker: &Tracker, sink: &mut Sink<'_>) {
    samples(tracker, |family, container, labels, value| sink.container(family, container, labels, value));
}

/// Gives all samples of connections.
pub fn samples(tracker: &Tracker, mut give: impl FnMut(&'static Family, ContainerRef, &[&str], f64)) {
    let mut labels = Labels::default();
    let all = shown(tracker);
    for (container, to, shown) in &all {
        let (ends, container, numbers) = (labels.of(*to), *container, shown.numbers);
        if numbers.connects > 0 || shown.active > 0 || numbers.sent > 0 || numbers.received > 0 {
            give(&metrics::CONNECTS, container, &ends, numbers.connects as f64);
            give(&metrics::CONNECT_TIME, container, &ends, numbers.connect_time as f64 / 1e9);
            if tracker.knows_active() {
                give(&metrics::ACTIVE, container, &ends, f64::from(shown.active));
            }
            give(&metrics::RETRANSMITS, container, &ends, numbers.retransmits as f64);
            give(&metrics::SENT, container, &ends, numbers.sent as f64);
            give(&metrics::RECEIVED, container, &ends, numbers.received as f64);
        }
        for reason in Reason::ALL {
            let count = numbers.failures[reason as usize];
            if count > 0 {
                give(&metrics::FAILURES, container, &[ends[0], ends[1], reason.as_str()], count as f64);
            }
        }
    }
    // Whoever it was that did not answer: that label is not there.
    let asked = |to: &Destination| to.ends().map(|(to, _)| to);
    for those in all.chunk_by(|one, next| (one.0, asked(&one.1)) == (next.0, asked(&next.1))) {
        let sum = |aborted| those.iter().map(|(_, _, shown)| shown.numbers.failed(aborted)).sum::<u64>();
        if sum(true) > 0 {
            let [to, _] = labels.of(those[0].1);
            give(&metrics::FAILED, those[0].0, &[to], sum(tracker.settings.count_aborted) as f64);
        }
    }
}

/// Who connects to whom, by address: each once.
pub fn pairs(tracker: &Tracker) -> Vec<(ContainerRef, IpAddr)> {
    let pair = |series: &Series| {
        let (_, actual) = series.to.ends()?;
        // How far away one is oneself says nothing.
        let container = tracker.counts.account(series.account)?.container?;
        (!actual.ip().is_loopback()).then_some((container, actual.ip()))
    };
    let mut all: Vec<_> = tracker.counts.all().filter_map(pair).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Where containers listen.
#[derive(Debug, Default)]
pub struct Listening {
    /// `true` where they do so still.
    pub at: BTreeMap<(ContainerRef, SocketAddr), bool>,
    /// Addresses for which there was no room.
    pub hidden: u64,
}

/// Where containers listen, each at so many addresses at most; those that are open come first.
pub fn listens(tracker: &Tracker, addresses: &Addresses) -> Listening {
    let with_container = |listen: Listen| {
        let container = tracker.counts.of(listen.group)?.container?;
        Some((container, listen.ceased.is_some(), listen.at, listen.netns, listen))
    };
    let mut known: Vec<_> = tracker.listens.all().copied().filter_map(with_container).collect();
    // The same ones are shown each time.
    known.sort_unstable_by_key(|(container, ceased, at, netns, _)| (*container, *ceased, *at, *netns));
    let mut all = Listening::default();
    let (mut last, mut shown) = (None, 0);
    for (container, has_ceased, _, netns, listen) in known {
        if last != Some(container) {
            (last, shown) = (Some(container), 0);
        }
        for at in reached(&listen, addresses.of(netns), tracker.settings.rules.is_host(netns)) {
            // Another socket may listen there by now.
            if let Some(is_open) = all.at.get_mut(&(container, at)) {
                *is_open |= !has_ceased;
            } else if shown < MAX_EACH {
                all.at.insert((container, at), !has_ceased);
                shown += 1;
            } else {
                all.hidden += 1;
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Settings};
    use crate::counts::Whose;
    use crate::record::{Kind, Record, tests::some};
    use std::net::{IpAddr, Ipv4Addr};

    /// A few sockets at all of very many addresses.
    #[test]
    fn addresses_of_one_container_are_bounded_and_the_same_each_time() {
        let mut tracker = Tracker::new(Settings::of(&Config::default(), None, 1).expect("good"));
        for sock in 0..4_u16 {
            let local = ([0, 0, 0, 0], 80 + sock).into();
            tracker.event(&Record { kind: Kind::Listens, sock: u64::from(sock), local, ..some() });
        }
        let container = ContainerRef::from_handle(7).map(Whose::Cgroup);
        tracker.attribute(1, |_| container, |_| true);
        let own: Vec<IpAddr> = (0..600).map(|number| Ipv4Addr::from(0x0a00_0000 + number).into()).collect();
        let addresses = Addresses::with(some().netns, own);
        let shown = listens(&tracker, &addresses);
        assert_eq!((shown.at.len(), shown.hidden), (MAX_EACH, 4 * 600 - MAX_EACH as u64));
        assert_eq!(listens(&tracker, &addresses).at, shown.at);
    }
}
