//! The trait that a plugin implements, and its life.
//!
//! ```text
//!  probe -> start -> (a trial collection, thrown away) -> activate -> running
//!  running: collect, view, reconfigure, health, snapshot
//!  running -> stop -> hand-over
//! ```
//!
//! All calls of one instance come from one thread, one after the other. A call
//! that panics is caught; the instance is then poisoned, is asked nothing more,
//! and a new one is made. A call that comes back late is no failure, but while
//! it lasts the host serves what this plugin said before.

use crate::description::{Description, FamilyInfo};
use crate::error::Error;
use crate::handover::Handover;
use crate::host::Host;
use crate::manifest::Manifest;
use crate::metrics::{Family, Sink};
use crate::view::{Rows, View};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A plugin. Only `start` has no default besides the three declarations.
pub trait Plugin: Send + Sized + 'static {
    /// What is constant about it.
    const MANIFEST: Manifest;

    /// Its typed configuration; [`crate::NoConfig`] where there is none. Derive
    /// `Deserialize` and `JsonSchema`; each key needs a default.
    type Config: DeserializeOwned + schemars::JsonSchema;

    /// Its metric families, as [`crate::families!`] lists them.
    fn families() -> &'static [&'static Family];

    /// Its views.
    fn views() -> &'static [View] {
        &[]
    }

    /// Can it work here? Has no side effects.
    fn probe(_config: &Self::Config, _host: &Host) -> Probe {
        Probe::supported()
    }

    /// Acquires what it needs and begins to buffer, but counts nothing yet.
    fn start(config: Self::Config, host: Host) -> Result<Self, Error>;

    /// From here on it counts, beginning where the hand-over says that the
    /// generation before stopped. What [`crate::Metrics`] counted since `start`
    /// (in the trial collection, say) is discarded, and what they were handed
    /// is restored already. A hand-over of an unknown version is to be passed over.
    fn activate(&mut self, _handover: Option<Handover>) -> Result<(), Error> {
        Ok(())
    }

    /// Emits its samples. What [`crate::Metrics`] keep is emitted by itself.
    /// After an error none of this collection's samples are shown.
    fn collect(&mut self, _sink: &mut Sink<'_>) -> Result<(), Error> {
        Ok(())
    }

    /// Fills a view that it declared.
    fn view(&mut self, name: &str, _rows: &mut Rows<'_>) -> Result<(), Error> {
        Err(Error::unknown(format!("there is no view {name:?}")))
    }

    /// Takes a new configuration while it runs, or says that it must be
    /// started anew; on an error the old one stays.
    fn reconfigure(&mut self, _config: Self::Config) -> Result<Reconfigured, Error> {
        Ok(Reconfigured::NeedsRestart)
    }

    /// How it is.
    fn health(&self) -> Health {
        Health::Good
    }

    /// Ends: joins its threads, releases what it holds, and hands over what
    /// the next generation needs. Must be done within the deadline.
    fn stop(&mut self, _deadline: Duration) -> Result<Option<Handover>, Error> {
        Ok(None)
    }

    /// What would be handed over now. Taken after good collections; serves
    /// after a crash.
    fn snapshot(&mut self) -> Result<Option<Handover>, Error> {
        Ok(None)
    }
}

/// The answer to [`Plugin::probe`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct Probe {
    /// What it lacks to work at all; empty where it works.
    pub unsupported: Vec<String>,
    /// What it lacks to show everything, and what will be missing.
    pub degraded: Vec<String>,
    /// Facts for people: what it found.
    pub notes: Vec<String>,
}

impl Probe {
    /// It works here.
    pub fn supported() -> Self {
        Self::default()
    }
    /// It does not: say what is missing.
    pub fn unsupported(what: impl Into<String>) -> Self {
        Self { unsupported: vec![what.into()], ..Self::default() }
    }
    /// It works but for something: say what is missing.
    pub fn degraded(mut self, what: impl Into<String>) -> Self {
        self.degraded.push(what.into());
        self
    }
    /// Adds a fact for people.
    pub fn note(mut self, what: impl Into<String>) -> Self {
        self.notes.push(what.into());
        self
    }
}

/// How a running plugin is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "reasons")]
#[non_exhaustive]
pub enum Health {
    /// All that it declares is shown.
    #[default]
    Good,
    /// It runs, but something is missing: say what and why.
    Degraded(Vec<String>),
}

/// The answer to [`Plugin::reconfigure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reconfigured {
    /// The new configuration is in force.
    Applied,
    /// The host stops this instance and starts another, with its hand-over.
    NeedsRestart,
}

/// What the library answers when it is asked what it is.
pub(crate) fn describe<P: Plugin>(aborts: bool) -> Description {
    let encoded = P::MANIFEST.encode(aborts);
    let manifest =
        serde_json::from_slice(&encoded.to_array::<{ crate::manifest::MAX_ENCODED }>()[..encoded.len()])
            .expect("the encoder of manifests writes JSON of the form that is read here");
    let families: Vec<FamilyInfo> = P::families().iter().map(|family| family.info()).collect();
    let views = P::views().iter().map(View::info).collect();
    Description::new(manifest, crate::schema::schema_of::<P::Config>(), families, views)
}
