//! What time alone changes.

use super::lives::Life;
use super::{Phase, State};
use std::sync::Arc;

/// The most folded ids. They stay as long as the agent runs, with some twenty
/// series each: one that went and came again would begin at nothing, and what
/// it had would be no increase. What is beyond them is shown under the runtime's.
pub(super) const MAX_FOLDS: usize = 1000;

impl State {
    /// Brings everything up to now.
    pub fn advance(&mut self, now: u64) {
        self.processes.forget_old(now);
        self.lives.forget_old(now);
        for handle in self.unsettled.iter().copied().collect::<Vec<_>>() {
            self.settle(handle, now);
        }
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
            let was_shown = self.remembered.has(handle);
            let is_old = was_shown || self.times.is_old(record, now);
            if record.gone.is_some() && !was_shown && self.times.died_young(record) {
                if self.waits_for_name(record, now) {
                    self.late.insert(handle);
                } else {
                    self.fold(handle, now);
                }
            } else if record.gone.is_some()
                || (is_old && !self.waits_for_name(record, now) && !self.may_opt_out(record, now))
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
        self.remembered.forget(handle);
        self.opting.remove(&handle);
        let named = record.named.clone();
        self.join(handle, &named.id, &named.app_id, named.shared);
        self.join_parts(handle, &named.id, &named.app_id);
        self.publish(handle, now);
    }

    /// It died young: what it counted becomes part of a folded series.
    fn fold(&mut self, handle: u64, now: u64) {
        let Some(record) = self.records.get_mut(&handle) else { return };
        record.phase = Phase::Folded;
        // It is served from now on.
        let collections = self.collections;
        if let Some(gone) = &mut record.gone {
            gone.collections = collections;
        }
        self.late.remove(&handle);
        let (id, app_id) = (self.folded_id(handle).into(), Arc::default());
        let Some(record) = self.records.get(&handle) else { return };
        let first_seen = record.first_seen.min(record.started);
        for key in self.keys.of(handle).to_vec() {
            let number = self.lives.get(key, now).map_or(0, |life| life.number) + 1;
            self.lives.add(key, Life { number, first_seen, ended: now }, now);
        }
        self.join(handle, &id, &app_id, true);
        self.join_parts(handle, &id, &app_id);
        if let Some(group) = self.records.get(&handle).and_then(|record| record.group) {
            // The fold itself has a place of its own, so that it stays when its members go.
            self.ids.join(&id, &app_id, 0, true, |_| false);
            self.folds.insert(group.get());
        }
        self.counts.folded += 1;
        self.version += 1;
    }

    /// The id under which one that died young is shown with others.
    fn folded_id(&mut self, handle: u64) -> String {
        let id = self.records.get(&handle).map_or("", |record| &*record.named.id);
        let id = folded_id(id);
        if self.folds.len() < MAX_FOLDS || self.ids.has(&id) {
            return id;
        }
        self.counts.folds_refused += 1;
        let kind = id.trim_start_matches('/').split('/').next().unwrap_or_default();
        let wider = format!("/{kind}/{SHORT_LIVED}");
        if self.ids.has(&wider) { wider } else { format!("/{SHORT_LIVED}") }
    }
}

/// The id under which those that die young are shown together: one for each
/// runtime, in Kubernetes, containerd and Nomad one for each namespace.
fn folded_id(id: &str) -> String {
    let mut parts = id.trim_start_matches('/').split('/');
    let kind = parts.next().unwrap_or_default();
    let namespace = match kind {
        "k8s" | "k8s-cronjob" | "containerd" | "nomad" => parts.next().filter(|_| parts.next().is_some()),
        _ => None,
    };
    // Of any runtime, `user-UID` in its place is a user.
    let namespace = namespace.filter(|namespace| kind != "containerd" || !namespace.starts_with("user-"));
    let kind = if kind == "k8s-cronjob" { "k8s" } else { kind };
    namespace.map_or_else(
        || format!("/{kind}/{SHORT_LIVED}"),
        |namespace| format!("/{kind}/{namespace}/{SHORT_LIVED}"),
    )
}

/// No runtime allows `~` in a name.
const SHORT_LIVED: &str = "~short-lived";

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
            ("/containerd/shop/migrate", "/containerd/shop/~short-lived"),
            ("/containerd/migrate", "/containerd/~short-lived"),
            ("/containerd/user-1000/migrate", "/containerd/~short-lived"),
            ("/nomad/shop/clean/group/0a1b/main", "/nomad/shop/~short-lived"),
            ("/nomad/0a1b.main", "/nomad/~short-lived"),
            ("/podman/user-1000/web", "/podman/~short-lived"),
            ("/system.slice/job.service", "/system.slice/~short-lived"),
        ] {
            assert_eq!(folded_id(id), folded);
        }
    }
}
