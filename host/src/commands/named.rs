//! Whether somebody names the containers that plugins tell of.

use gantry_plugin_api::description::Description;

/// What is known of the enabled plugins for that.
#[derive(Debug, Default)]
pub struct Named {
    is_told: bool,
    is_provided: bool,
}

impl Named {
    pub fn see(&mut self, description: &Description) {
        self.is_told |= description.families.iter().any(|family| family.per_container);
        self.is_provided |= !description.manifest.provides_identity.is_empty();
    }

    /// `None`: nobody tells of containers, or a provider of names is enabled.
    pub fn note(&self) -> Option<&'static str> {
        (self.is_told && !self.is_provided).then_some(
            "no enabled plugin provides names of containers: their ids come from the cgroup alone; \
             enable containers, with metrics = false for the names alone",
        )
    }
}
