//! All that is known, and what each record makes of it. Nothing is read here,
//! and no clock.

use crate::config::Settings;
use crate::connections::{Connections, Context, Ends};
use crate::counts::{Counts, Group, Whose};
use crate::handover::{self, State};
use crate::listens::Listens;
use crate::record::{ADOPTED, Kind, Record};
use gantry_plugin_api::ContainerRef;
use std::collections::HashSet;
use std::net::SocketAddr;

/// Events that are kept until counting begins: what comes in two seconds of
/// 50,000 connections.
const MAX_HELD: usize = 100_000;

/// The longest that a processor may be in the middle of the programs, by far.
const MARGIN: u64 = 200_000_000;

/// How long a group waits for its container: the identity service learns of
/// each within seconds.
const PATIENCE: u64 = 30_000_000_000;

/// How long a socket that ceased to listen is shown so, as in coroot-node-agent.
const CEASED: u64 = 600_000_000_000;

/// All that is known.
#[derive(Debug)]
pub struct Tracker {
    /// What is counted, and how.
    pub settings: Settings,
    /// What was counted.
    pub counts: Counts,
    /// What is open.
    pub connections: Connections,
    /// Who listens.
    pub listens: Listens,
    /// Until counting begins: what happened since the programs were there.
    held: Option<Held>,
    /// Ends of the last moments, with their times: for the next generation.
    recent: std::collections::VecDeque<(u64, Ends)>,
    /// When this generation ends: all ends since shortly before it are remembered.
    cut: Option<u64>,
    /// What is open is known of the last scan; else nobody knows.
    is_scanned: bool,
    /// What was open before the programs were there is known.
    is_looked: bool,
    /// Events that were read.
    pub events: u64,
    /// Events that were held and found no room.
    pub overheld: u64,
    /// When the programs of this generation were there.
    pub began: u64,
    /// Nanoseconds in which nobody followed connections, between the generation
    /// before and this one.
    pub unwatched: u64,
}

#[derive(Debug, Default)]
struct Held {
    events: Vec<Record>,
    adopted: Vec<Record>,
}

impl Tracker {
    /// One that counts nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            counts: Counts::default(),
            connections: Connections::default(),
            listens: Listens::default(),
            held: Some(Held::default()),
            recent: std::collections::VecDeque::new(),
            cut: None,
            is_scanned: false,
            is_looked: false,
            events: 0,
            overheld: 0,
            began: 0,
            unwatched: 0,
        }
    }

    /// Whether it counts.
    pub fn is_active(&self) -> bool {
        self.held.is_none()
    }

    /// An event came.
    pub fn event(&mut self, record: &Record) {
        match &mut self.held {
            Some(held) if held.events.len() < MAX_HELD => held.events.push(*record),
            Some(_) => self.overheld += 1,
            None => {
                self.events += 1;
                self.apply(record);
            }
        }
    }

    fn apply(&mut self, record: &Record) {
        match record.kind {
            Kind::Closed => {
                self.remember(record);
                self.with(|connections, context| connections.closed(record, context));
            }
            Kind::Listens => self.listens.begins(record, &self.settings.rules, &mut self.counts),
            Kind::Listened => self.listens.ceases(record),
            // An iterator's.
            Kind::Live => {}
        }
    }

    /// What ended within the last moments.
    fn remember(&mut self, record: &Record) {
        self.recent.push_back((record.at, Ends::from(record)));
        let since = self.cut.unwrap_or(record.at).min(record.at);
        while self.recent.front().is_some_and(|(at, _)| at + MARGIN < since) || self.recent.len() > MAX_HELD {
            self.recent.pop_front();
        }
    }

    /// This generation ends now: what it still counts may come long after, where the
    /// programs are taken away slowly, and the next one must know all of it.
    pub fn ends_at(&mut self, cut: u64) {
        self.cut = Some(cut);
    }

    fn with<T>(&mut self, call: impl FnOnce(&mut Connections, &mut Context<'_>) -> T) -> T {
        let Settings { rules, limits, .. } = &self.settings;
        let mut context = Context { rules, limits: *limits, counts: &mut self.counts };
        call(&mut self.connections, &mut context)
    }

    /// A look at all sockets that processes hold: who listens, and what is open
    /// that the programs did not see begin.
    pub fn sockets(&mut self, found: &[Record], now: u64) {
        // Where somebody listens, or did a moment ago: what has such a port was taken
        // there. Nothing of the socket itself says so.
        let mut listening: HashSet<(u32, u16)> =
            self.listens.all().map(|listen| (listen.netns, listen.at.port())).collect();
        self.is_looked = true;
        self.listens.begin_scan();
        for record in found.iter().filter(|record| record.kind == Kind::Listens) {
            listening.insert((record.netns, record.local.port()));
            self.listens.begins(record, &self.settings.rules, &mut self.counts);
        }
        self.listens.end_scan(now);
        let is_inbound = |record: &Record| listening.contains(&(record.netns, record.local.port()));
        let opened = found.iter().filter(|record| record.kind == Kind::Live && !is_inbound(record));
        match &mut self.held {
            Some(held) => held.adopted = opened.copied().collect(),
            None => self.with(|connections, context| {
                opened.for_each(|record| connections.adopt(record, context));
            }),
        }
    }

    /// A scan of what is open.
    pub fn scan(&mut self, live: &[Record]) {
        self.is_scanned = true;
        self.connections.begin_scan(&mut self.counts);
        self.scan_more(live);
    }

    /// The same scan went through all once more: an iterator passes over as many as
    /// go while it runs.
    pub fn scan_more(&mut self, live: &[Record]) {
        self.with(|connections, context| live.iter().for_each(|record| connections.live(record, context)));
    }

    /// There could be no scan: what is open is not known until the next one.
    pub fn not_scanned(&mut self) {
        self.is_scanned = false;
        self.counts.all_mut().for_each(|series| (series.active, series.rtt) = (0, 0));
    }

    /// Whether there was a scan.
    pub fn is_scanned(&self) -> bool {
        self.is_scanned
    }

    /// Whether it is known how many connections are open.
    pub fn knows_active(&self) -> bool {
        self.is_scanned && self.is_looked
    }

    /// The events that were told until the scan was over came too.
    pub fn scanned(&mut self, now: u64) {
        self.connections.end_scan(now, &mut self.counts);
    }

    /// Counting begins: where the generation before stopped, or with what
    /// happens from now on. `live` is what is open now.
    /// `None`: that is not known.
    pub fn activate(&mut self, before: Option<State>, live: Option<&[Record]>, now: u64) {
        let Some(held) = self.held.take() else { return };
        // What the kernel told of sockets that listen holds either way.
        let is_listens = |record: &&Record| record.kind != Kind::Closed;
        let Some(before) = before else {
            held.events.iter().filter(is_listens).for_each(|record| self.apply(record));
            let ended: HashSet<Ends> = {
                let ends = held.events.iter().filter(|record| record.kind == Kind::Closed);
                ends.filter(|record| record.is(ADOPTED)).map(Ends::from).collect()
            };
            self.with(|connections, context| {
                // Of what is open those that the programs saw begin; of what was adopted
                // those that did not end since.
                for record in live.unwrap_or_default().iter().filter(|record| !record.is(ADOPTED)) {
                    connections.adopt(record, context);
                }
                let is_open = |record: &&Record| !ended.contains(&Ends::from(*record));
                held.adopted.iter().filter(is_open).for_each(|record| connections.adopt(record, context));
            });
            live.into_iter().for_each(|live| self.scan(live));
            return;
        };
        for group in &before.groups {
            let Some(index) = self.counts.group(&group.first, now) else { continue };
            for (to, numbers) in &group.series {
                self.counts.restore(index, *to, numbers, self.settings.limits, now);
            }
        }
        self.connections.hand(before.open);
        // At an upgrade this generation watches before the other one ends.
        self.unwatched = self.began.saturating_sub(before.cut);
        let is_unseen = self.unwatched > 0;
        self.with(|connections, context| {
            for record in &held.adopted {
                if is_unseen {
                    connections.adopt_unseen(record, context);
                } else {
                    connections.adopt(record, context);
                }
            }
        });
        for record in &held.events {
            let counted = record.kind == Kind::Closed
                && (record.at < before.cut || before.late.contains(&Ends::from(record)));
            if counted {
                self.connections.forget(record, &mut self.counts);
            } else {
                self.apply(record);
            }
        }
        live.into_iter().for_each(|live| self.scan(live));
    }

    /// What the next generation needs.
    pub fn state(&self, cut: u64) -> State {
        let mut groups: Vec<handover::Group> = Vec::new();
        let mut places = std::collections::HashMap::new();
        for series in self.counts.all() {
            let Some(first) = self.counts.found_by(series.account) else { continue };
            let at = *places.entry(series.account).or_insert_with(|| {
                groups.push(handover::Group { first, series: Vec::new() });
                groups.len() - 1
            });
            groups[at].series.push((series.to, series.numbers));
        }
        let late = self.recent.iter().filter(|(at, _)| at + MARGIN >= cut).map(|(_, ends)| *ends).collect();
        State { cut, groups, open: self.connections.counted().collect(), late }
    }

    /// Asks whose each group is, and forgets what is of no use any more: of
    /// containers that nobody knows (`is_known`), and what is idle.
    pub fn attribute(
        &mut self,
        now: u64,
        whose: impl FnMut(&Group) -> Option<Whose>,
        is_known: impl Fn(ContainerRef) -> bool,
    ) {
        let moved = self.counts.attribute(now, PATIENCE, self.settings.limits, whose, is_known);
        self.connections.redirect(&moved);
        let idle = u64::try_from(self.settings.idle.as_nanos()).unwrap_or(u64::MAX);
        self.counts.forget_idle(now, idle);
        self.listens.forget(now, CEASED, &self.counts);
    }

    /// Where somebody listens, for a test of what is known.
    pub fn listening(&self) -> Vec<SocketAddr> {
        self.listens.all().filter(|listen| listen.ceased.is_none()).map(|listen| listen.at).collect()
    }
}

#[cfg(test)]
mod tests;
