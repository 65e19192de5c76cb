//! What plugins tell of containers.

use super::super::naming;
use super::super::path::{Found, Runtime};
use super::record::Provided;
use super::{Phase, Record, State};
use gantry_plugin_api::identity::{Container, EventKind, Metadata};
use std::sync::Arc;

/// Users' runtimes that one plugin asks; more cost each look at a container.
pub(super) const MOST_USERS: usize = 256;

/// Containers that are gone and wait for their names; more are folded without.
pub(super) const MOST_LATE: usize = 1024;

/// The user whose runtime tells of a container, where it is not root's.
fn user(told: &Container) -> Option<u32> {
    told.names.get(Metadata::USER)?.parse().ok().filter(|uid| *uid != 0)
}

/// A plugin that provides metadata of some runtimes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    pub plugin: Arc<str>,
    /// Its place in the configuration: of two that tell of one container, the
    /// first in the file is believed.
    pub order: usize,
    pub runtimes: Vec<String>,
    /// Those that users run and it asks as well.
    pub users: Vec<(String, u32)>,
    /// Of these all that they have at first was told, or they are not there.
    pub listed: Vec<String>,
    /// It is enabled.
    pub active: bool,
}

impl Provider {
    pub(super) fn knows(&self, found: &Found) -> bool {
        self.knows_by(found, |_| true)
    }

    /// Whether it may tell of it any moment, as it is being told what there is.
    fn knows_soon(&self, found: &Found) -> bool {
        self.knows_by(found, |runtime| !self.listed.iter().any(|listed| listed == runtime))
    }

    fn knows_by(&self, found: &Found, counts: impl Fn(&str) -> bool) -> bool {
        let of_users = |uid: u32| {
            self.users.iter().any(|(runtime, user)| *user == uid && runtime == found.runtime.as_str())
        };
        let knows = match found.owner {
            None => self.runtimes.iter().any(|name| counts(name) && found.is_known_to(name)),
            Some(uid) => of_users(uid),
        };
        self.active && knows
    }

    /// It says whether it asks a runtime, or a user's: about no container.
    pub fn is_asked(&mut self, runtime: &str, told: &Metadata) {
        if told.container.names.contains_key(Metadata::LISTED) {
            if self.listed.iter().all(|known| known != runtime) && self.listed.len() < MOST_USERS {
                self.listed.push(runtime.to_owned());
            }
            return;
        }
        match (user(&told.container), told.removed) {
            (None, true) => self.runtimes.retain(|known| known != runtime),
            (None, false) if self.runtimes.iter().all(|known| known != runtime) => {
                self.runtimes.push(runtime.to_owned());
            }
            (None, false) => {}
            (Some(uid), removed) => {
                self.users.retain(|(known, user)| known != runtime || *user != uid);
                if !removed && self.users.len() < MOST_USERS {
                    self.users.push((runtime.to_owned(), uid));
                }
            }
        }
    }
}

/// What became of what a plugin told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told {
    /// Another provider goes before, or another runtime of the same one told of
    /// the container too: one of the two is not believed.
    pub lost: u64,
    /// What was told of containers that did not come for long, and had to go.
    pub forgotten: u64,
}

impl State {
    /// The providers that there are. What one told before stays when it goes.
    pub fn set_provider(&mut self, provider: Provider) {
        match self.providers.iter_mut().find(|known| known.plugin == provider.plugin) {
            Some(known) => *known = provider,
            None => self.providers.push(provider),
        }
    }

    /// Whether somebody provides metadata of this runtime.
    fn is_provided(&self, found: &Found) -> bool {
        self.providers.iter().any(|provider| provider.knows(found))
    }

    /// Whether a container has no name yet that is worth waiting for.
    fn is_awaited(&self, record: &Record) -> bool {
        let found = &record.found;
        match found.runtime {
            // Its processes say it, and the first of them may not be there yet.
            Runtime::Nomad => !record.nomad().is_some_and(naming::is_named_by),
            _ => record.metadata.is_none() && (!self.providers_are_known || self.is_provided(found)),
        }
    }

    /// Whether a container waits for its name; for a moment also after its end.
    pub(super) fn waits_for_name(&self, record: &Record, now: u64) -> bool {
        record.phase == Phase::Held
            && (self.times.may_wait(record, now) || self.may_be_named_late(record, now))
            && self.is_awaited(record)
            && !self.remembered.waits_no_more(record.handle)
    }

    /// Whether one that died young is not yet folded: its name says of which
    /// namespace the fold is, and comes later than the end of what ran for moments.
    fn may_be_named_late(&self, record: &Record, now: u64) -> bool {
        record.found.may_be_of_pod()
            && self.times.died_young(record)
            && self.times.may_wait_after_end(record, now)
            && (self.late.len() < MOST_LATE || self.late.contains(&record.handle))
    }

    /// Whether a container in which something runs waits for its name, which may
    /// come any moment. One whose runtime is not there waits too, and not at the start.
    pub fn awaits_names(&self) -> bool {
        self.records.values().any(|record| {
            record.phase == Phase::Held
                && record.gone.is_none()
                && !record.processes.is_empty()
                && self.is_awaited(record)
                && self.may_be_told_soon(&record.found)
        })
    }

    fn may_be_told_soon(&self, found: &Found) -> bool {
        found.runtime == Runtime::Nomad
            || !self.providers_are_known
            || self.providers.iter().any(|provider| provider.knows_soon(found))
    }

    /// All plugins have started, or failed to: what is not provided now is not waited for.
    pub fn providers_are_known(&mut self) {
        self.providers_are_known = true;
    }

    /// A plugin tells of containers of a runtime.
    pub fn provided(&mut self, plugin: &str, metadata: Vec<Metadata>, now: u64) -> Told {
        let known = self.providers.iter().find(|known| &*known.plugin == plugin);
        let (order, plugin) =
            known.map_or((usize::MAX, plugin.into()), |known| (known.order, known.plugin.clone()));
        let mut told = Told::default();
        for Metadata { runtime_id, container, removed } in metadata {
            // A user's own may bear any id, as those of others have.
            let runtime_id = match user(&container) {
                Some(uid) => Found::id_of_user(uid, &runtime_id),
                None => runtime_id,
            };
            if removed {
                self.pending.take(&runtime_id);
                continue;
            }
            let provided = Provided::new(order, plugin.clone(), &container);
            let known =
                self.raw_ids.get(self.names.of(&runtime_id)).and_then(|handle| self.records.get(&handle));
            if let Some(record) = known {
                let before = record.metadata.as_deref();
                let goes_before =
                    before.is_some_and(|before| self.goes_before(before, &provided, &record.found));
                let is_rival = before.is_some_and(|before| before.is_rival_of(&provided));
                told.lost += u64::from(goes_before || is_rival);
                if !goes_before {
                    self.take_provided(record.handle, provided, now);
                }
                continue;
            }
            if self.pending.of(&runtime_id).any(|before| self.comes_first(before, &provided)) {
                told.lost += 1;
                continue;
            }
            told.lost += u64::from(self.pending.of(&runtime_id).any(|before| before.is_rival_of(&provided)));
            told.forgotten += u64::from(self.pending.put(runtime_id, provided));
        }
        told
    }

    /// Of two that tell of one container the first in the file is believed,
    /// while it is enabled. Where one plugin has both, its cgroup decides.
    fn goes_before(&self, before: &Provided, other: &Provided, found: &Found) -> bool {
        match before.is_rival_of(other) {
            true => before.rank(found) < other.rank(found),
            false => self.comes_first(before, other),
        }
    }

    fn comes_first(&self, before: &Provided, other: &Provided) -> bool {
        let is_active = || self.providers.iter().any(|known| known.plugin == before.plugin && known.active);
        before.order < other.order && is_active()
    }

    /// What was told of a container before it was seen.
    pub(super) fn take_pending(&mut self, handle: u64) {
        if let Some(record) = self.records.get_mut(&handle)
            && let told = self.pending.take(&record.found.told_id())
            && let Some(best) = told.into_iter().min_by_key(|provided| provided.rank(&record.found))
        {
            record.metadata = Some(Box::new(best));
        }
    }

    fn take_provided(&mut self, handle: u64, provided: Provided, now: u64) {
        let Some(record) = self.records.get_mut(&handle) else { return };
        record.metadata = Some(Box::new(provided));
        if record.gone.is_some() {
            if record.phase == Phase::Held {
                // It was waited for.
                self.rename(handle, now);
                self.settle(handle, now);
            }
            return self.was(handle, now);
        }
        self.learn_whether_it_opts_out(handle, now);
        if self.absorb(handle, now).is_none() {
            self.rename(handle, now);
            self.publish(handle, now);
            self.settle(handle, now);
        }
    }

    /// Asks for what nobody told yet, or none that goes before who did.
    pub(super) fn want_metadata(&mut self, handle: u64, now: u64) {
        let Some(record) = self.records.get(&handle) else { return };
        let told = record.metadata.as_ref().map_or(usize::MAX, |provided| provided.order);
        let is_better = |provider: &Provider| provider.order < told || record.metadata.is_none();
        if self.providers.iter().any(|provider| provider.knows(&record.found) && is_better(provider)) {
            self.tell(EventKind::MetadataWanted, handle, None, now);
        }
    }
}
