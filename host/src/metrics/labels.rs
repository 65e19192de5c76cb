//! What the host adds to each series, rendered once a container.

use crate::identity::{Identity, Shown, ShownGroup, Snapshot};
use crate::node::{Facts, NodeIds};
use gantry_exposition::{Constant, Group, Labels, Member, render_labels};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The constant labels of the node, and those of each container.
#[derive(Debug)]
pub struct HostLabels {
    ids: NodeIds,
    identity: Arc<Identity>,
    facts: Arc<Facts>,
    now: Mutex<Arc<Labelled>>,
}

/// Labels as they are at one time.
#[derive(Debug, Default)]
pub struct Labelled {
    node: String,
    snapshot: Arc<Snapshot>,
    /// `az` and `region`, where they are known.
    place: [Option<String>; 2],
    containers: HashMap<u64, Text>,
    groups: HashMap<u64, Text>,
    /// Counts the renderings.
    epoch: u64,
}

#[derive(Debug, Clone)]
struct Text {
    text: Arc<str>,
    epoch: u64,
}

/// The facts that containers are labelled by.
const PLACE: [&str; 2] = ["az", "region"];

impl HostLabels {
    pub fn new(ids: NodeIds, identity: Arc<Identity>, facts: Arc<Facts>) -> Self {
        let pairs = [("machine_id", ids.machine_id.as_str()), ("system_uuid", ids.system_uuid.as_str())];
        let now = Labelled { node: render_labels(pairs), ..Labelled::default() };
        Self { ids, identity, facts, now: Mutex::new(Arc::new(now)) }
    }

    /// A collection was served.
    pub fn collected(&self) {
        self.identity.collected();
    }

    /// The identity service's own figures.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What plugins told of the node.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The labels now. What is the same as before is not rendered again.
    pub fn now(&self) -> Arc<Labelled> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = self.identity.snapshot(&now.snapshot);
        let place = PLACE.map(|name| self.facts.get(name));
        if !Arc::ptr_eq(&snapshot, &now.snapshot) || place != now.place {
            *now = Arc::new(self.render(&now, snapshot, place));
        }
        now.clone()
    }

    fn render(&self, before: &Labelled, snapshot: Arc<Snapshot>, place: [Option<String>; 2]) -> Labelled {
        let epoch = before.epoch + 1;
        let text = |known: Option<&Text>, id: &str, app_id: &str| {
            let rendered = self.container(id, app_id, &place);
            match known.filter(|known| *known.text == *rendered) {
                Some(known) => known.clone(),
                None => Text { text: rendered.into(), epoch },
            }
        };
        let of_container = |(handle, shown): (&u64, &Shown)| {
            (*handle, text(before.containers.get(handle), &shown.id, &shown.app_id))
        };
        let of_group = |(number, shown): (&u64, &ShownGroup)| {
            (*number, text(before.groups.get(number), &shown.id, &shown.app_id))
        };
        Labelled {
            node: before.node.clone(),
            containers: snapshot.containers.iter().map(of_container).collect(),
            groups: snapshot.groups.iter().map(of_group).collect(),
            snapshot,
            place,
            epoch,
        }
    }

    fn container(&self, id: &str, app_id: &str, place: &[Option<String>; 2]) -> String {
        let NodeIds { machine_id, system_uuid } = &self.ids;
        let known = [
            ("machine_id", machine_id.as_str()),
            ("system_uuid", system_uuid),
            ("container_id", id),
            ("app_id", app_id),
        ];
        let place = PLACE.into_iter().zip(place).filter_map(|(name, value)| Some((name, value.as_deref()?)));
        render_labels(known.into_iter().chain(place))
    }
}

impl Labels for Labelled {
    fn node(&self) -> Constant<'_> {
        Constant { text: &self.node, epoch: 0 }
    }

    fn container(&self, handle: u64) -> Option<Member<'_>> {
        let Shown { held, gone, group, .. } = *self.snapshot.containers.get(&handle)?;
        let labels = self.containers.get(&handle)?.constant();
        Some(Member { labels, held, gone, group })
    }

    fn group(&self, group: u64) -> Option<Group<'_>> {
        let ShownGroup { gone, folded, .. } = *self.snapshot.groups.get(&group)?;
        Some(Group { labels: self.groups.get(&group)?.constant(), gone, from_zero: folded })
    }
}

impl Text {
    fn constant(&self) -> Constant<'_> {
        Constant { text: &self.text, epoch: self.epoch }
    }
}
