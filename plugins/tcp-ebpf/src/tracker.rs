//! All that is known, and what each record makes of it. Nothing is read here,
//! and no clock.

use crate::config::Settings;
use crate::connections::{Connections, Context, Ends, Really};
use crate::counts::{Counts, Group, Whose};
use crate::handover::{self, Ended, State};
use crate::listens::Listens;
use crate::record::{Kind, Record};
use ahash::RandomState;
use gantry_plugin_api::ContainerRef;
use hashbrown::HashMap;
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
    /// Who knows where connections really go, if anybody does.
    pub really: Option<Box<dyn Really>>,
    /// Until counting begins: what ended since the programs were there.
    held: Option<Vec<Record>>,
    /// What the generation before counted of what ended around its cut.
    before: Option<Before>,
    /// What ended in the last moments: for the next generation.
    recent: std::collections::VecDeque<Ended>,
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

/// Where the generation before ended, until the first scan after that.
#[derive(Debug)]
struct Before {
    cut: u64,
    late: HashMap<Ends, Vec<(u64, u64)>, RandomState>,
}

impl Before {
    fn new(cut: u64, ends: Vec<Ended>) -> Self {
        let mut late: HashMap<Ends, Vec<(u64, u64)>, RandomState> = HashMap::with_hasher(RandomState::new());
        for Ended { ends, opened_at, at } in ends {
            late.entry(ends).or_default().push((opened_at, at));
        }
        Self { cut, late }
    }

    /// Whether the generation before counted an end: that of a connection that was there
    /// at the same time. The next one of the same socket and ports began after it.
    fn counted(&self, record: &Record) -> bool {
        let is_it = |(opened_at, at): &(u64, u64)| *opened_at <= record.at && record.opened_at <= *at;
        let late = || self.late.get(&Ends::from(record)).is_some_and(|ended| ended.iter().any(is_it));
        record.at < self.cut || late()
    }
}

impl Tracker {
    /// One that counts nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            counts: Counts::default(),
            connections: Connections::default(),
            listens: Listens::default(),
            really: None,
            held: Some(Vec::new()),
            before: None,
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

    /// A record came. All come in the order of the ring: an end that is told before a
    /// scan finds a connection is not its own.
    pub fn event(&mut self, record: &Record) {
        let is_told = matches!(record.kind, Kind::Closed | Kind::Listens | Kind::Listened);
        self.events += u64::from(is_told && self.is_active());
        match (record.kind, &mut self.held) {
            (Kind::Closed, Some(held)) if held.len() < MAX_HELD => held.push(*record),
            (Kind::Closed, Some(_)) => self.overheld += 1,
            (Kind::Closed, None) => self.closed(record),
            (Kind::Live, Some(_)) => {}
            (Kind::Live, None) => self.with(|connections, context| connections.live(record, context)),
            // What is there is known also before anything counts.
            (Kind::Adopted, _) => self.with(|connections, context| connections.adopt(record, context)),
            (Kind::Listens | Kind::Listening, _) => {
                self.listens.begins(record, &self.settings.rules, &mut self.counts);
            }
            (Kind::Listened, _) => self.listens.ceases(record),
        }
    }

    fn closed(&mut self, record: &Record) {
        if self.before.as_ref().is_some_and(|before| before.counted(record)) {
            self.connections.forget(record, &mut self.counts);
            return;
        }
        self.remember(record);
        self.with(|connections, context| connections.closed(record, context));
    }

    /// What ended within the last moments.
    fn remember(&mut self, record: &Record) {
        self.recent.push_back(Ended::from(record));
        let since = self.cut.unwrap_or(record.at).min(record.at);
        while self.recent.front().is_some_and(|ended| ended.at + MARGIN < since)
            || self.recent.len() > MAX_HELD
        {
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
        let really = self.really.as_deref_mut();
        let mut context = Context { rules, limits: *limits, counts: &mut self.counts, really };
        call(&mut self.connections, &mut context)
    }

    /// All sockets that listen are told of now.
    pub fn begin_listening(&mut self) {
        self.listens.begin_scan();
    }

    /// They were.
    pub fn end_listening(&mut self, now: u64) {
        self.listens.end_scan(now);
    }

    /// What was open before the programs were there was told as well.
    pub fn looked(&mut self) {
        self.is_looked = true;
    }

    /// All that is open is told of now, once or more often: an iterator passes over as
    /// many as go while it runs.
    pub fn begin_scan(&mut self) {
        self.is_scanned = true;
        self.connections.begin_scan(&mut self.counts);
    }

    /// There could be no scan: what is open is not known until the next one.
    pub fn not_scanned(&mut self) {
        self.is_scanned = false;
        self.before = None;
        self.connections.scan_failed();
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

    /// It was, and so were the events until then.
    pub fn scanned(&mut self, now: u64) {
        self.connections.end_scan(now, &mut self.counts);
        self.before = None;
    }

    /// Other settings hold from now on.
    pub fn reconfigure(&mut self, settings: Settings) {
        if settings.rules != self.settings.rules {
            self.connections.rules_change();
        }
        self.settings = settings;
    }

    /// Counting begins: where the generation before stopped, or with what happens from
    /// now on. A scan is to follow.
    pub fn activate(&mut self, before: Option<State>, now: u64) {
        let Some(held) = self.held.take() else { return };
        let Some(before) = before else {
            held.iter().for_each(|record| self.connections.forget(record, &mut self.counts));
            self.connections.begins(now);
            return;
        };
        for group in &before.groups {
            let Some(index) = self.counts.group(&group.first, now) else {
                self.counts.refused += 1;
                continue;
            };
            for (to, numbers) in &group.series {
                self.counts.restore(index, *to, numbers, self.settings.limits, now);
            }
        }
        self.connections.hand(before.open);
        // At an upgrade this generation watches before the other one ends.
        self.unwatched = self.began.saturating_sub(before.cut);
        // Where the other one did not remember all, one that it knew cannot be told from
        // one that it did not.
        let is_unseen = self.unwatched > 0 && !before.is_partial;
        self.before = Some(Before::new(before.cut, before.late));
        self.with(|connections, context| connections.settle(is_unseen, context));
        for record in &held {
            self.closed(record);
        }
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
        let late = self.recent.iter().filter(|ended| ended.at + MARGIN >= cut).copied();
        State {
            cut,
            groups,
            open: self.connections.known().collect(),
            is_partial: self.connections.is_partial(),
            late: late.collect(),
        }
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
