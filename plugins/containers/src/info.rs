//! What a container is, as labels to join on.

use crate::metrics::{INFO, RUNTIME_INFO};
use gantry_plugin_api::{Container, ContainerRef, Sink};

/// Emits both information metrics of one container. Of a systemd unit its
/// provider gives the names `systemd_triggered_by` and `systemd_type`.
pub fn emit(container: ContainerRef, known: &Container, sink: &mut Sink<'_>) {
    let name = |key: &str| known.names.get(key).map_or("", String::as_str);
    let (triggered_by, kind) = (name("systemd_triggered_by"), name("systemd_type"));
    // As coroot-node-agent does: a container of which none is known has no row.
    if [known.image.as_str(), triggered_by, kind].iter().any(|text| !text.is_empty()) {
        sink.container(&INFO, container, &[&known.image, triggered_by, kind], 1);
    }
    if !known.runtime.is_empty() {
        let labels = [known.runtime.as_str(), &known.runtime_id, name("name"), &known.log_driver];
        sink.container(&RUNTIME_INFO, container, &labels, 1);
    }
}
