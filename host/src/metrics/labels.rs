//! What the host adds to each series, rendered once a container.

use crate::identity::{Identity, Shown, ShownGroup, Snapshot};
use crate::node::{Facts, NodeIds};
use gantry_exposition::{Constant, Group, Labels, Member, render_labels};
use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};

/// The constant labels of the node, and those of each container.
#[derive(Debug)]
pub struct HostLabels {
    identity: Arc<Identity>,
    facts: Arc<Facts>,
    now: Mutex<Arc<Labelled>>,
}

/// Labels as they are at one time.
#[derive(Debug, Default)]
pub struct Labelled {
    node: String,
    /// The same, with what follows it for containers.
    common: String,
    /// Of what the identity service said.
    version: u64,
    /// `az` and `region`, where they are known.
    place: [Option<String>; 2],
    /// By handle. A slice, as there are many, and a map has room for more than
    /// it holds.
    containers: Box<[Entry]>,
    groups: HashMap<u64, (ShownGroup, Text)>,
    /// Counts the renderings.
    epoch: u64,
}

/// A container.
#[derive(Debug)]
struct Entry {
    handle: u64,
    text: Text,
    group: Option<NonZeroU64>,
    held: bool,
    gone: bool,
}

#[derive(Debug, Clone)]
struct Text {
    text: Arc<str>,
    epoch: u64,
}

/// The facts that containers are labelled by.
const PLACE: [&str; 2] = ["az", "region"];

impl HostLabels {
    pub fn new(ids: &NodeIds, identity: Arc<Identity>, facts: Arc<Facts>) -> Self {
        let pairs = [("machine_id", ids.machine_id.as_str()), ("system_uuid", ids.system_uuid.as_str())];
        let node = render_labels(pairs);
        let common = format!("{node},");
        let now = Labelled { node, common, ..Labelled::default() };
        Self { identity, facts, now: Mutex::new(Arc::new(now)) }
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
        let place = PLACE.map(|name| self.facts.get(name));
        let known = (place == now.place).then_some(now.version);
        if let Some(snapshot) = self.identity.snapshot(known) {
            *now = Arc::new(self.render(&now, &snapshot, place));
        }
        now.clone()
    }

    fn render(&self, before: &Labelled, snapshot: &Snapshot, place: [Option<String>; 2]) -> Labelled {
        let epoch = before.epoch + 1;
        let text = |known: Option<&Text>, id: &str, app_id: &str| {
            let rendered = Self::container(id, app_id, &place);
            match known.filter(|known| *known.text == *rendered) {
                Some(known) => known.clone(),
                None => Text { text: rendered.into(), epoch },
            }
        };
        let of_container = |(&handle, shown): (&u64, &Shown)| Entry {
            handle,
            text: text(before.entry(handle).map(|entry| &entry.text), &shown.id, &shown.app_id),
            group: shown.group.and_then(NonZeroU64::new),
            held: shown.held,
            gone: shown.gone,
        };
        let of_group = |(number, shown): (&u64, &ShownGroup)| {
            let known = before.groups.get(number).map(|(_, text)| text);
            (*number, (shown.clone(), text(known, &shown.id, &shown.app_id)))
        };
        let mut containers: Box<[Entry]> = snapshot.containers.iter().map(of_container).collect();
        containers.sort_unstable_by_key(|entry| entry.handle);
        Labelled {
            node: before.node.clone(),
            common: before.common.clone(),
            version: snapshot.version,
            containers,
            groups: snapshot.groups.iter().map(of_group).collect(),
            place,
            epoch,
        }
    }

    /// Behind what they have in common.
    fn container(id: &str, app_id: &str, place: &[Option<String>; 2]) -> String {
        let known = [("container_id", id), ("app_id", app_id)];
        let place = PLACE.into_iter().zip(place).filter_map(|(name, value)| Some((name, value.as_deref()?)));
        render_labels(known.into_iter().chain(place))
    }
}

impl Labelled {
    fn entry(&self, handle: u64) -> Option<&Entry> {
        let at = self.containers.binary_search_by_key(&handle, |entry| entry.handle).ok()?;
        self.containers.get(at)
    }
}

impl Labels for Labelled {
    fn node(&self) -> Constant<'_> {
        Constant::new(&self.node, 0)
    }

    fn common(&self) -> &str {
        &self.common
    }

    fn container(&self, handle: u64) -> Option<Member<'_>> {
        let &Entry { ref text, held, gone, group, .. } = self.entry(handle)?;
        Some(Member { labels: text.constant(), held, gone, group: group.map(NonZeroU64::get) })
    }

    fn group(&self, group: u64) -> Option<Group<'_>> {
        let (ShownGroup { gone, folded, .. }, text) = self.groups.get(&group)?;
        Some(Group { labels: text.constant(), gone: *gone, from_zero: *folded })
    }
}

impl Text {
    fn constant(&self) -> Constant<'_> {
        Constant::shared(&self.text, self.epoch)
    }
}
