//! One instance of a plugin: its single calls, each under the kit's deadline.

use crate::check::{Report, views};
use crate::collected::Collected;
use crate::config::ToConfig;
use crate::failure::Failure;
use crate::ledger::Ledger;
use crate::log;
use crate::record::Recorder;
use crate::shared::Shared;
use crate::table::{Given, Table};
use crate::thread::Thread;
use gantry_plugin_api::{Error, Health, Probe};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// An instance on a thread of its own, which all of its calls come from. A call
/// that does not come back within the kit's deadline is a [`Failure`]; the
/// instance is then left behind. When dropped it is stopped, if it was started.
#[derive(Debug)]
pub struct Instance {
    thread: Option<Thread>,
    shared: Arc<Shared>,
    ledger: Arc<Mutex<Ledger>>,
    started: bool,
    last_snapshot: Option<Vec<u8>>,
}

impl Instance {
    /// Not started.
    pub(crate) fn create(shared: &Arc<Shared>, ledger: Arc<Mutex<Ledger>>) -> Result<Self, Failure> {
        let (source, world) = (Arc::clone(&shared.source), Arc::clone(&shared.world));
        let make = move || {
            let listening = source.is_crate().then(|| log::listen(Arc::clone(&world)));
            (listening, source.create(world.crossing(), world.log_level()))
        };
        let thread = Thread::start(shared.deadline(), make);
        let thread = Some(thread.map_err(|failure| failure.named(&shared.description.manifest.name))?);
        Ok(Self { thread, shared: Arc::clone(shared), ledger, started: false, last_snapshot: None })
    }

    /// Can it work here?
    pub fn probe(&mut self, config: impl ToConfig) -> Result<Probe, Failure> {
        let config = config.to_config()?;
        self.call("probe", move |plugin| plugin.probe(&config))
    }

    /// Starts it; it counts nothing yet.
    pub fn start(&mut self, config: impl ToConfig) -> Result<(), Failure> {
        let config = config.to_config()?;
        self.call("start", move |plugin| plugin.start(&config))?;
        self.started = true;
        Ok(())
    }

    /// A collection that is thrown away: whether it works is all that counts.
    pub fn trial(&mut self) -> Result<(), Failure> {
        self.record().map(drop)
    }

    /// Begins to count, from a hand-over or from nothing.
    pub fn activate(&mut self, handover: Option<&[u8]>) -> Result<(), Failure> {
        let handover = handover.map(<[u8]>::to_vec);
        self.call("activate", move |plugin| plugin.activate(handover.as_deref()))
    }

    /// Collects, and fails where any check does. As in the agent, a snapshot
    /// is taken after a collection that worked.
    pub fn collect(&mut self) -> Result<Collected, Failure> {
        let collected = self.collect_unchecked()?;
        collected.check()?;
        Ok(collected)
    }

    /// Collects; what the checks find is in [`Collected::report`].
    pub fn collect_unchecked(&mut self) -> Result<Collected, Failure> {
        let (recorded, took) = self.record()?;
        let collected = self.shared.examined(recorded, took, &self.ledger);
        self.last_snapshot = Some(self.call("snapshot", |plugin| plugin.snapshot())?);
        Ok(collected)
    }

    /// The rows of a view; fails where a check of the view does.
    pub fn view(&mut self, name: &str) -> Result<Table, Failure> {
        let table = self.view_unchecked(name, self.shared.max_rows())?;
        table.check()?;
        Ok(table)
    }

    /// At most so many rows of a view, as a host asks that shows no more. That
    /// the plugin goes on after the last one is noted in [`Table::report`].
    pub fn view_unchecked(&mut self, name: &str, max_rows: usize) -> Result<Table, Failure> {
        let views_declared = &self.shared.description.views;
        let Some(info) = views_declared.iter().find(|view| view.name == name).cloned() else {
            let names: Vec<&str> = views_declared.iter().map(|view| view.name.as_str()).collect();
            let error = Error::unknown(format!("no view {name:?} is declared; there are {names:?}"));
            return Err(Failure::Call { call: "view", error });
        };
        let labelled = self.shared.world.identity.labelled();
        let mut given = Given::new(&info, max_rows, labelled.clone());
        let asked = name.to_owned();
        let given = self.call("view", move |plugin| {
            plugin.view(&asked, given.sink())?;
            Ok(given)
        })?;
        let (mut found, notes) = given.problems();
        found.extend(views(std::slice::from_ref(&info)));
        let report = Report::new(found, notes, &self.shared.allowed());
        Ok(Table::of(info, given, labelled, report))
    }

    /// Gives it another configuration: `true` where that is in force now,
    /// `false` where it must be started anew.
    pub fn reconfigure(&mut self, config: impl ToConfig) -> Result<bool, Failure> {
        let config = config.to_config()?;
        self.call("reconfigure", move |plugin| plugin.reconfigure(&config))
    }

    /// How it is.
    pub fn health(&mut self) -> Result<Health, Failure> {
        self.call("health", |plugin| plugin.health())
    }

    /// What it says is missing; empty where it is well.
    pub fn troubles(&mut self) -> Result<Vec<String>, Failure> {
        Ok(match self.health()? {
            Health::Degraded(reasons) => reasons,
            _ => Vec::new(),
        })
    }

    /// Ends it, and gives its hand-over.
    pub fn stop(&mut self) -> Result<Vec<u8>, Failure> {
        let deadline = self.shared.deadline();
        let handover = self.call("stop", move |plugin| plugin.stop(deadline))?;
        self.close("it was stopped");
        Ok(handover)
    }

    /// What would be handed over now.
    pub fn snapshot(&mut self) -> Result<Vec<u8>, Failure> {
        let snapshot = self.call("snapshot", |plugin| plugin.snapshot())?;
        self.last_snapshot = Some(snapshot.clone());
        Ok(snapshot)
    }

    /// The last snapshot that was taken, by [`Self::snapshot`] or after a collection.
    pub fn last_snapshot(&self) -> Option<&[u8]> {
        self.last_snapshot.as_deref()
    }

    /// Live bytes of the library's allocator; 0 where the plugin is compiled
    /// into the test, whose allocator is everybody's.
    pub fn heap_bytes(&mut self) -> Result<u64, Failure> {
        self.call("heap_bytes", |plugin| Ok(plugin.heap_bytes()))
    }

    /// The declared families that no collection had a sample of so far, over
    /// all generations: for a test whose fixtures are to bring out each.
    pub fn never_emitted(&self) -> Vec<String> {
        let ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let families = self.shared.description.families.iter().map(|family| &family.name);
        families.filter(|name| !ledger.emitted.contains(*name)).cloned().collect()
    }

    /// Left behind as after a crash: neither stopped nor dropped. Its threads
    /// go on, as they do in the agent after a panic.
    pub fn crash(mut self) {
        self.started = false;
        if let Some(thread) = self.thread.take() {
            thread.forget();
        }
    }

    pub(crate) fn lineage(&self) -> (&Arc<Shared>, &Arc<Mutex<Ledger>>) {
        (&self.shared, &self.ledger)
    }

    fn record(&mut self) -> Result<(Recorder, Duration), Failure> {
        let mut recorder = Recorder::new(self.shared.max_samples());
        self.call("collect", move |plugin| {
            let begin = Instant::now();
            plugin.collect(recorder.sink())?;
            Ok((recorder, begin.elapsed()))
        })
    }

    fn call<T: Send + 'static>(
        &mut self,
        call: &'static str,
        body: impl FnOnce(&mut gantry_pluginfile::Instance) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Failure> {
        let Some(thread) = &mut self.thread else {
            return Err(Failure::Gone { call, why: "it crashed".to_owned() });
        };
        let answer = thread.call(call, self.shared.deadline(), body)?;
        answer.map_err(|error| Failure::of(call, error).named(&self.shared.description.manifest.name))
    }

    fn close(&mut self, why: &str) {
        self.started = false;
        if let Some(thread) = &mut self.thread {
            thread.close(why);
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let open = self.thread.as_ref().is_some_and(Thread::is_open);
        if self.started && open {
            // The test is over: there is nobody to tell.
            let _ = self.stop();
        }
    }
}
