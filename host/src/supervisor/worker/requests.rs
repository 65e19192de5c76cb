//! What else is asked of a plugin, on its thread.

use super::Worker;
use crate::supervisor::life::{Call, Progress, cut};
use crate::supervisor::views::{Rows, ViewError};
use gantry_plugin_api::error::ErrorKind;

impl Worker {
    /// Live bytes of its allocator; what its own threads took is counted.
    pub(super) fn taken(&mut self) -> Option<u64> {
        if !self.snapshot_where_due() {
            return None;
        }
        if self.process.is_some() {
            // Whatever it is asked, its heap comes with the answer.
            if let Err(error) = self.call(Call::Health, |instance| instance.health()) {
                self.fail(&error);
                return None;
            }
            self.say(Progress::Ended);
        }
        let instance = self.instance.as_ref()?;
        let heap = instance.heap_bytes();
        if self.process.is_none() {
            let unit = &self.unit;
            let took = self.own_threads.look(&instance.threads(), own_number(), unit.name(), &unit.parts);
            unit.parts.own.spent(unit.name(), took);
        }
        Some(heap)
    }

    /// Threads that it made in what it was just asked are its own from now on.
    pub(super) fn meet_threads(&mut self) {
        if let Some(instance) = self.instance.as_ref().filter(|_| self.process.is_none()) {
            let unit = &self.unit;
            self.own_threads.meet(&instance.threads(), own_number(), unit.name(), &unit.parts);
        }
    }

    pub(super) fn view(&mut self, name: &str) -> Result<Rows, ViewError> {
        let status = self.unit.status();
        let info = status.views().iter().find(|view| view.name == name).ok_or(ViewError::Unknown)?.clone();
        let mut rows = Rows::new(info);
        let filled = self.call(Call::View, |instance| instance.view(name, rows.crossing()));
        match filled {
            Ok(()) => {
                self.say(Progress::Ended);
                let identity = &self.unit.parts.services.identity;
                rows.name_containers(|handle| identity.container(handle).map(|known| known.id));
                Ok(rows)
            }
            Err(error) => {
                let why = format!("view {name}: {}", cut(error.message()));
                if error.kind() == ErrorKind::Panicked {
                    self.fail(&error);
                } else {
                    self.say(Progress::Ended);
                }
                Err(ViewError::Failed(why))
            }
        }
    }

    pub(super) fn reconfigure(&mut self, config: &str) -> Result<bool, String> {
        let applied = self.call(Call::Reconfigure, |instance| instance.reconfigure(config));
        match applied {
            Ok(applied) => {
                self.say(Progress::Ended);
                Ok(applied)
            }
            Err(error) if error.kind() == ErrorKind::Panicked => {
                // A new instance must be made anyhow.
                self.fail(&error);
                Ok(false)
            }
            Err(error) => {
                self.say(Progress::Ended);
                Err(cut(error.message()))
            }
        }
    }
}

/// The number of the calling thread.
fn own_number() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs()
}
