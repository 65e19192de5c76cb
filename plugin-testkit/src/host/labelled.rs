//! The labels that the host adds to the series of containers.

use gantry_exposition::{Constant, Labels, render_labels};
use gantry_plugin_api::identity::Container;
use std::collections::HashMap;

/// The labels that the host adds, without those of the node: they are another
/// machine's in each test.
#[derive(Debug, Clone, Default)]
pub(crate) struct Labelled(HashMap<u64, Label>);

#[derive(Debug, Clone)]
struct Label {
    id: String,
    text: String,
    gone: bool,
}

impl Labelled {
    /// Of containers by their handles, and whether each is gone.
    pub(super) fn of<'a>(containers: impl Iterator<Item = (u64, &'a Container, bool)>) -> Self {
        let label = |(handle, container, gone): (u64, &Container, bool)| {
            let Container { id, app_id, .. } = container;
            let text = render_labels([("container_id", &**id), ("app_id", app_id)]);
            (handle, Label { id: id.clone(), text, gone })
        };
        Self(containers.map(label).collect())
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
        Constant { text: "", epoch: 0 }
    }

    fn container(&self, handle: u64) -> Option<Constant<'_>> {
        self.text(handle).map(|text| Constant { text, epoch: 0 })
    }
}
