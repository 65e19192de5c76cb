//! The labels that the host adds to the series of containers.

use gantry_exposition::{Constant, Group, Labels, Member, render_labels};
use gantry_plugin_api::identity::Container;
use std::collections::{BTreeMap, HashMap};

/// The labels that the host adds, without those of the node: they are another
/// machine's in each test.
#[derive(Debug, Clone, Default)]
pub(crate) struct Labelled(HashMap<u64, Label>);

#[derive(Debug, Clone)]
struct Label {
    id: String,
    text: String,
    gone: bool,
    /// Another of its id came after it was gone.
    replaced: bool,
    /// The least handle of those that share its id, where others do.
    group: Option<u64>,
}

impl Labelled {
    /// Of containers by their handles, and whether each is gone.
    pub(super) fn of<'a>(containers: impl Iterator<Item = (u64, &'a Container, bool)>) -> Self {
        let label = |(handle, container, gone): (u64, &Container, bool)| {
            let Container { id, app_id, .. } = container;
            let text = render_labels([("container_id", &**id), ("app_id", app_id)]);
            (handle, Label { id: id.clone(), text, gone, replaced: false, group: None })
        };
        let mut labels: HashMap<u64, Label> = containers.map(label).collect();
        let mut by_id = BTreeMap::<String, Vec<u64>>::new();
        for (handle, label) in &labels {
            by_id.entry(label.id.clone()).or_default().push(*handle);
        }
        for mut handles in by_id.into_values().filter(|handles| handles.len() > 1) {
            handles.sort_unstable();
            let living: Vec<u64> = handles.iter().copied().filter(|handle| !labels[handle].gone).collect();
            let stay = if living.is_empty() { handles.split_off(handles.len() - 1) } else { living };
            for handle in handles.into_iter().chain(stay.clone()) {
                let Some(label) = labels.get_mut(&handle) else { continue };
                label.replaced = !stay.contains(&handle);
                label.group = stay.first().copied().filter(|_| stay.len() > 1);
            }
        }
        Self(labels)
    }

    pub(crate) fn text(&self, handle: u64) -> Option<&str> {
        self.0.get(&handle).map(|label| label.text.as_str())
    }

    pub(crate) fn id(&self, handle: u64) -> Option<&str> {
        self.0.get(&handle).map(|label| label.id.as_str())
    }

    pub(crate) fn is_gone(&self, handle: u64) -> bool {
        self.0.get(&handle).is_some_and(|label| label.gone)
    }
}

impl Labels for Labelled {
    fn node(&self) -> Constant<'_> {
        Constant::new("", 0)
    }

    /// As the host has it: those that share an id are one, and a newcomer with
    /// the id of one that is gone takes its place.
    fn container(&self, handle: u64) -> Option<Member<'_>> {
        let Label { text, gone, group, .. } = self.0.get(&handle).filter(|label| !label.replaced)?;
        Some(Member { gone: *gone, group: *group, ..Member::shown(Constant::new(text, 0)) })
    }

    fn group(&self, group: u64) -> Option<Group<'_>> {
        let text = self.text(group)?;
        Some(Group { labels: Constant::new(text, 0), gone: false, from_zero: false })
    }
}
