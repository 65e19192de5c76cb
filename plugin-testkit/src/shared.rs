//! What a kit and its instances share.

use crate::check::{Allowed, Problem, Report, declared, examine};
use crate::collected::Collected;
use crate::host::World;
use crate::ledger::Ledger;
use crate::log;
use crate::record::Recorder;
use crate::source::Source;
use gantry_exposition::{Registered, Registry};
use gantry_plugin_api::description::Description;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What a kit and its instances share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) source: Arc<Source>,
    pub(crate) description: Description,
    pub(crate) registered: Registered,
    /// What is wrong with the declared families.
    pub(crate) declared: Vec<Problem>,
    pub(crate) world: Arc<World>,
    settings: Mutex<Settings>,
}

/// What a test may choose.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) deadline: Duration,
    pub(crate) max_series: usize,
    pub(crate) max_rows: usize,
    pub(crate) allowed: Allowed,
}

/// The host's defaults, so that a plugin which passes here is in time there.
const DEADLINE: Duration = Duration::from_secs(2);
const MAX_SERIES: usize = 200_000;
/// More rows than a person reads.
const MAX_ROWS: usize = 10_000;

impl Shared {
    pub(crate) fn new(source: Source, description: Description) -> Self {
        let info = &description.manifest;
        let registered = Registry::new().register(&info.name, &info.claims, &description.families);
        let world = Arc::new(World::new(info.clone()));
        if source.is_crate() {
            log::join(&world);
        }
        let settings = Settings {
            deadline: DEADLINE,
            max_series: MAX_SERIES,
            max_rows: MAX_ROWS,
            allowed: Allowed::default(),
        };
        Self {
            source: Arc::new(source),
            declared: declared(&registered),
            registered,
            description,
            world,
            settings: Mutex::new(settings),
        }
    }

    pub(crate) fn deadline(&self) -> Duration {
        self.settings().deadline
    }

    pub(crate) fn max_series(&self) -> usize {
        self.settings().max_series
    }

    /// As in the host: duplicates and refusals may come on top, within bounds.
    pub(crate) fn max_samples(&self) -> usize {
        self.max_series().saturating_mul(2).saturating_add(1024)
    }

    pub(crate) fn max_rows(&self) -> usize {
        self.settings().max_rows
    }

    pub(crate) fn allowed(&self) -> Allowed {
        self.settings().allowed.clone()
    }

    pub(crate) fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks what was recorded, and keeps what the next collection needs.
    pub(crate) fn examined(
        &self,
        mut recorded: Recorder,
        took: Duration,
        ledger: &Mutex<Ledger>,
    ) -> Collected {
        let labelled = self.world.identity.labelled();
        let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let examined = examine(
            &mut recorded,
            &self.registered.families,
            &labelled,
            self.max_series(),
            &ledger.previous,
            &ledger.lasting,
        );
        (ledger.previous, ledger.lasting) = (examined.now, examined.lasting);
        ledger.emitted.extend(examined.samples.iter().map(|sample| sample.family.clone()));
        let found = [self.declared.clone(), examined.found].concat();
        Collected {
            samples: examined.samples,
            skipped: recorded.skipped,
            labelled,
            table: examined.table,
            report: Report::new(found, examined.notes, &self.allowed()),
            took,
            emitted: recorded.samples.len(),
            hidden: Vec::new(),
        }
    }
}
