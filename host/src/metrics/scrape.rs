//! One scrape: collect from the chosen plugins side by side, merge, encode.

use super::labels::HostLabels;
use super::own::{OWNER, Own};
use super::served::Served;
use crate::supervisor::{Fleet, Freshness, Unit};
use bytes::Bytes;
use gantry_exposition::{Format, Table, encode};
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// Which plugins a scrape is for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Selection {
    /// These alone, or all where it is empty.
    pub collect: Vec<String>,
    /// Not these.
    pub exclude: Vec<String>,
}

impl Selection {
    fn has(&self, name: &str) -> bool {
        let chosen = self.collect.is_empty() || self.collect.iter().any(|one| one == name);
        chosen && !self.exclude.iter().any(|one| one == name)
    }
}

/// An exposition.
#[derive(Debug, Clone)]
pub struct Body {
    pub bytes: Bytes,
    pub format: Format,
    pub gzip: bool,
}

/// Makes expositions. Scrapes that overlap share collections, and, where the
/// samples are the same, the encoded bytes too: a thousand at once cost the
/// memory of one.
#[derive(Debug)]
pub struct Scraper {
    fleet: Arc<Fleet>,
    own: Own,
    labels: Arc<HostLabels>,
    stale: Mutex<Duration>,
    encoded: Mutex<Vec<Encoded>>,
    served: Mutex<Served>,
    /// Expositions that were made.
    made: AtomicU64,
}

#[derive(Debug)]
struct Encoded {
    key: Key,
    body: Body,
    made: Instant,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    selection: Selection,
    format: Format,
    gzip: bool,
    versions: Vec<(u64, Freshness)>,
}

/// Two formats, with and without gzip; more selections than one are rare.
const KEPT_BODIES: usize = 4;

/// How long bytes are kept for others: scrapes that overlap are milliseconds
/// apart, and between scrapes a large exposition need not lie in memory.
const KEPT_FOR: Duration = Duration::from_secs(1);

impl Scraper {
    pub fn new(fleet: Arc<Fleet>, own: Own, labels: Arc<HostLabels>, stale: Duration) -> Self {
        Self {
            fleet,
            own,
            labels,
            stale: Mutex::new(stale),
            encoded: Mutex::default(),
            served: Mutex::default(),
            made: AtomicU64::new(0),
        }
    }

    /// How long a late plugin's last samples are served.
    pub fn set_stale(&self, stale: Duration) {
        *self.stale.lock().unwrap_or_else(PoisonError::into_inner) = stale;
    }

    fn stale(&self) -> Duration {
        *self.stale.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing that was encoded may be used again: there are other plugins now.
    pub fn forget(&self) {
        self.lock_encoded().clear();
    }

    /// Whether expositions can be made: nobody holds them up.
    pub fn is_free(&self) -> bool {
        !matches!(self.encoded.try_lock(), Err(TryLockError::WouldBlock))
    }

    /// How many were made: where this goes on, somebody is at work.
    pub fn made(&self) -> u64 {
        self.made.load(Relaxed)
    }

    /// As somebody does who never ends encoding.
    #[cfg(test)]
    pub fn hold(&self) -> impl Sized + '_ {
        self.lock_encoded()
    }

    fn lock_encoded(&self) -> MutexGuard<'_, Vec<Encoded>> {
        self.encoded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A selection's first name that is no plugin.
    pub fn unknown<'a>(&self, selection: &'a Selection) -> Option<&'a str> {
        let names = selection.collect.iter().chain(&selection.exclude);
        names.map(String::as_str).find(|name| *name != OWNER && self.fleet.unit(name).is_none())
    }

    /// Collects and encodes.
    pub async fn scrape(
        self: &Arc<Self>,
        selection: Selection,
        format: Format,
        gzip: bool,
    ) -> std::io::Result<Body> {
        let mut pending = Vec::new();
        for unit in self.fleet.units().iter().filter(|unit| selection.has(unit.name())) {
            let unit = unit.clone();
            pending.push(tokio::spawn(async move { unit.collect().await }));
        }
        for task in pending {
            // A task is only lost when the runtime ends.
            let _ = task.await;
        }
        let scraper = self.clone();
        let work = move || scraper.expose(&selection, format, gzip);
        let body = tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)??;
        let scraper = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(KEPT_FOR).await;
            scraper.forget_old();
        });
        Ok(body)
    }

    /// On the network's thread: whoever encodes just now will forget by itself.
    fn forget_old(&self) {
        let Ok(mut encoded) = self.encoded.try_lock() else { return };
        encoded.retain(|known| known.made.elapsed() < KEPT_FOR);
        if encoded.is_empty() {
            *encoded = Vec::new();
        }
    }

    fn expose(&self, selection: &Selection, format: Format, gzip: bool) -> std::io::Result<Body> {
        // Held while encoding: whoever comes meanwhile finds the bytes made.
        let mut encoded = self.lock_encoded();
        let stale = self.stale();
        let plugins: Vec<(Arc<Unit>, Freshness)> =
            self.fleet.units().iter().map(|unit| (unit.clone(), unit.freshness(stale))).collect();
        let versions = plugins.iter().map(|(unit, fresh)| (unit.series().version(), *fresh)).collect();
        let key = Key { selection: selection.clone(), format, gzip, versions };
        self.own.scraped(format_name(format));
        self.made.fetch_add(1, Relaxed);
        // With no collection in it, nothing tells whether the host's own figures are the same.
        let same =
            plugins.iter().any(|(unit, fresh)| selection.has(unit.name()) && *fresh == Freshness::Fresh);
        if let Some(known) = encoded.iter().find(|known| same && known.key == key) {
            return Ok(known.body.clone());
        }
        self.own.collect(&plugins, &self.labels);
        let mut bytes = Vec::new();
        self.encode(selection, &plugins, format, &mut bytes);
        self.note_served(selection, &plugins);
        let bytes = if gzip { compress(&bytes)? } else { bytes };
        let body = Body { bytes: Bytes::from(bytes), format, gzip };
        encoded.retain(|known| (known.key.format, known.key.gzip) != (format, gzip));
        encoded.truncate(KEPT_BODIES - 1);
        encoded.push(Encoded { key, body: body.clone(), made: Instant::now() });
        Ok(body)
    }

    /// Whether all that plugins told was served, what is gone was served once more.
    fn note_served(&self, selection: &Selection, plugins: &[(Arc<Unit>, Freshness)]) {
        let there = || plugins.iter().filter(|(_, fresh)| *fresh != Freshness::Nothing);
        let shown = there()
            .filter(|(unit, _)| selection.has(unit.name()))
            .map(|(unit, fresh)| (unit.name(), *fresh == Freshness::Fresh));
        let is_there = |name: &str| there().any(|(unit, _)| unit.name() == name);
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        if served.exposed(shown, is_there, Instant::now()) {
            self.labels.collected();
        }
    }

    fn encode(
        &self,
        selection: &Selection,
        plugins: &[(Arc<Unit>, Freshness)],
        format: Format,
        out: &mut Vec<u8>,
    ) {
        let shown: Vec<&Arc<Unit>> = plugins
            .iter()
            .filter(|(unit, fresh)| selection.has(unit.name()) && *fresh != Freshness::Nothing)
            .map(|(unit, _)| unit)
            .collect();
        let locked: Vec<_> = shown.iter().map(|unit| unit.series().table()).collect();
        self.own.with_table(|own| {
            let own = own.filter(|_| selection.has(OWNER));
            let owners = own.map(|_| OWNER).into_iter().chain(shown.iter().map(|unit| unit.name()));
            let owners: Vec<&str> = owners.collect();
            let tables: Vec<&Table> =
                own.into_iter().chain(locked.iter().filter_map(|table| table.as_ref())).collect();
            let encoded = encode(&tables, format, out);
            for (at, count) in encoded.duplicates {
                let owner = owners.get(at).copied().unwrap_or(OWNER);
                self.own.refused(owner, gantry_exposition::Reason::Duplicate.as_str(), count);
            }
        });
    }
}

fn format_name(format: Format) -> &'static str {
    match format {
        Format::Text => "text",
        Format::OpenMetrics => "openmetrics",
    }
}

/// Level 1: on this text it gives nine tenths of level 6's gain for a fifth of
/// its time, and the wire is rarely the scarce thing.
fn compress(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let out = Vec::with_capacity(bytes.len() / 8);
    let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}
