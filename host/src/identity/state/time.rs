//! What time alone changes.

use super::{Phase, State};
use gantry_plugin_api::identity::EventKind;
use std::time::Duration;

/// An earlier life of a container that died young.
#[derive(Debug, Clone, Copy)]
pub struct Life {
    /// How many there were.
    pub number: u64,
    /// Nanoseconds since boot.
    pub first_seen: u64,
}

/// A folded series: who is in it, and since when nobody joined.
#[derive(Debug, Clone)]
pub struct Fold {
    pub id: String,
    pub last: u64,
    pub collections: u64,
}

/// How long it is remembered of a container that died young that it was
/// there: the longest pause that an orchestrator makes between two tries is
/// five minutes (kubelet's back-off), and then it must grow old at last.
const LIVES: Duration = Duration::from_secs(15 * 60);

/// The most of them.
const MAX_LIVES: usize = 10_000;

impl State {
    /// Brings everything up to now; whether anything still waits for time to pass.
    pub fn advance(&mut self, now: u64) -> bool {
        self.processes.forget_old(now);
        let kept = u64::try_from(LIVES.as_nanos()).unwrap_or(u64::MAX);
        if self.lives.len() > MAX_LIVES / 2 {
            self.lives.retain(|_, life| now.saturating_sub(life.first_seen) < kept);
        }
        for handle in self.unsettled.iter().copied().collect::<Vec<_>>() {
            self.settle(handle, now);
        }
        self.forget_folds(now);
        !self.unsettled.is_empty() || !self.folds.is_empty()
    }

    /// Somebody collected: what is gone was served once more.
    pub fn collected(&mut self) {
        self.collections += 1;
    }

    /// What time has made of one container.
    pub(super) fn settle(&mut self, handle: u64, now: u64) {
        let Some(record) = self.records.get(&handle) else { return };
        if record.phase == Phase::Held && !self.waits_for_name(record, now) {
            self.judge(handle, now);
        }
        let Some(record) = self.records.get(&handle) else { return };
        if record.phase == Phase::Held {
            if record.gone.is_some() && self.times.died_young(record) {
                self.fold(handle, now);
            } else if record.gone.is_some()
                || (self.times.is_old(record, now) && !self.waits_for_name(record, now))
            {
                self.show(handle, now);
            }
        }
        let Some(record) = self.records.get(&handle) else { return };
        if self.times.may_forget(record, now, self.collections) {
            self.forget(handle);
        } else if record.gone.is_none() && record.phase != Phase::Held && !record.processes.is_empty() {
            self.unsettled.remove(&handle);
        }
    }

    /// From now on it is shown under its id.
    fn show(&mut self, handle: u64, now: u64) {
        let Some(record) = self.records.get_mut(&handle) else { return };
        record.phase = Phase::Shown;
        let named = record.named.clone();
        let records = &self.records;
        let is_gone = |other: u64| records.get(&other).is_none_or(|record| record.gone.is_some());
        let joined = self.ids.join(&named.id, &named.app_id, handle, named.shared, is_gone);
        for member in joined.regrouped.iter().chain([&handle]) {
            if let Some(record) = self.records.get_mut(member) {
                record.group = joined.group;
            }
        }
        for replaced in joined.replaced {
            if let Some(record) = self.records.get_mut(&replaced) {
                (record.phase, record.group) = (Phase::Replaced, None);
            }
        }
        self.version += 1;
        self.publish(handle, now);
    }

    /// It died young: what it counted becomes part of a folded series.
    fn fold(&mut self, handle: u64, now: u64) {
        let Some(record) = self.records.get_mut(&handle) else { return };
        record.phase = Phase::Folded;
        let id = folded_id(&record.named.id);
        let known = self.lives.get(record.key()).map_or(0, |life| life.number);
        let life = Life { number: known + 1, first_seen: record.first_seen.min(record.started) };
        if self.lives.len() < MAX_LIVES {
            self.lives.insert(record.key().to_owned(), life);
        }
        let joined = self.ids.join(&id, "", handle, true, |_| false);
        record.group = joined.group;
        if let Some(group) = joined.group {
            // The fold itself has a place of its own, so that it stays when its members go.
            self.ids.join(&id, "", 0, true, |_| false);
            self.folds.insert(group, Fold { id, last: now, collections: self.collections });
        }
        self.counts.folded += 1;
        self.version += 1;
    }

    /// A container of this key is there again. Whether it must be made anew,
    /// since what the one before counted was folded.
    pub(super) fn revive(&mut self, handle: u64, now: u64) -> bool {
        let Some(record) = self.records.get_mut(&handle) else { return true };
        if record.gone.is_none() {
            return false;
        }
        match record.phase {
            Phase::Folded | Phase::Replaced => true,
            Phase::Held | Phase::Shown | Phase::Hidden => {
                record.gone = None;
                // Whoever is the first now comes after all that were.
                record.emptied = record.emptied.map(|_| 0);
                record.publish();
                self.version += 1;
                self.unsettled.insert(handle);
                if self.known(handle) != 0 {
                    self.tell(EventKind::ContainerAppeared, handle, None, now);
                }
                false
            }
        }
    }

    /// There are too many: those that are gone for longest make room, though
    /// their last values were not yet served for as long as they should be.
    pub(super) fn make_room(&mut self) {
        let gone = self.records.values().filter_map(|record| Some((record.gone?.at, record.handle)));
        let mut gone: Vec<(u64, u64)> = gone.collect();
        gone.sort_unstable();
        // A tenth at once: sorting for each single one would cost the agent what the flood costs the machine.
        gone.truncate(gone.len().div_ceil(10));
        self.counts.forgotten_early += gone.len() as u64;
        gone.into_iter().for_each(|(_, handle)| self.forget(handle));
    }

    fn forget(&mut self, handle: u64) {
        let Some(record) = self.records.remove(&handle) else { return };
        self.unsettled.remove(&handle);
        record.keys.iter().for_each(|key| self.by_key.retain_if(key, handle));
        self.by_raw_id.retain_if(&record.found.raw_id, handle);
        for cgroup in &record.cgroups {
            let place = (cgroup.hierarchy, cgroup.id);
            if self.by_cgroup.get(&place) == Some(&handle) {
                self.by_cgroup.remove(&place);
            }
        }
        if let Some(those) = self.by_namespace.get_mut(&record.network_namespace) {
            those.retain(|other| *other != handle);
            if those.is_empty() {
                self.by_namespace.remove(&record.network_namespace);
            }
        }
        match (record.phase, record.group.and_then(|group| self.folds.get(&group))) {
            (Phase::Folded, Some(fold)) => self.ids.leave(&fold.id.clone(), handle),
            _ => self.ids.leave(&record.named.id, handle),
        }
        self.version += 1;
    }

    /// Folded series that nobody joined for long: what they told was read.
    fn forget_folds(&mut self, now: u64) {
        let (linger, collections) = (self.times.linger, self.collections);
        let old = self.folds.iter().filter(|(_, fold)| {
            now.saturating_sub(fold.last) >= linger && collections >= fold.collections + 2
        });
        let old: Vec<u64> = old.map(|(group, _)| *group).collect();
        for group in old {
            if let Some(fold) = self.folds.remove(&group) {
                self.ids.leave(&fold.id, 0);
                self.version += 1;
            }
        }
    }
}

/// The id under which those that die young are shown together: one for each
/// runtime, in Kubernetes one for each namespace.
fn folded_id(id: &str) -> String {
    let mut parts = id.trim_start_matches('/').split('/');
    let kind = parts.next().unwrap_or_default();
    let namespace = match kind {
        "k8s" | "k8s-cronjob" => parts.next().filter(|_| parts.next().is_some()),
        _ => None,
    };
    let kind = if kind == "k8s-cronjob" { "k8s" } else { kind };
    namespace.map_or_else(
        || format!("/{kind}/{SHORT_LIVED}"),
        |namespace| format!("/{kind}/{namespace}/{SHORT_LIVED}"),
    )
}

/// No runtime allows `~` in a name.
const SHORT_LIVED: &str = "~short-lived";

/// Removing an entry that another may have by now.
trait RetainIf {
    fn retain_if(&mut self, key: &str, handle: u64);
}

impl<S: std::hash::BuildHasher> RetainIf for std::collections::HashMap<String, u64, S> {
    fn retain_if(&mut self, key: &str, handle: u64) {
        if self.get(key) == Some(&handle) {
            self.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::folded_id;

    #[test]
    fn one_folded_id_a_runtime_and_a_namespace() {
        for (id, folded) in [
            ("/docker/web", "/docker/~short-lived"),
            ("/k8s/shop/web-0/nginx", "/k8s/shop/~short-lived"),
            ("/k8s-cronjob/shop/clean/main", "/k8s/shop/~short-lived"),
            ("/k8s/0123456789abcdef", "/k8s/~short-lived"),
            ("/system.slice/job.service", "/system.slice/~short-lived"),
        ] {
            assert_eq!(folded_id(id), folded);
        }
    }
}
