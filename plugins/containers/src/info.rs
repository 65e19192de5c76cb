//! What a container is, as labels to join on.

use crate::brief::Brief;
use crate::metrics::{INFO, RUNTIME_INFO};
use gantry_plugin_api::{ContainerRef, Sink};

/// Emits both information metrics of one container. Of a systemd unit its
/// provider gives the names `systemd_triggered_by` and `systemd_type`.
pub fn emit(container: ContainerRef, known: &Brief, sink: &mut Sink<'_>) {
    let what = [known.image(), known.triggered_by(), known.kind()];
    // As coroot-node-agent does: a container of which none is known has no row.
    if what.iter().any(|text| !text.is_empty()) {
        sink.container(&INFO, container, &what, 1);
    }
    if !known.runtime().is_empty() {
        let labels = [known.runtime(), known.runtime_id(), known.name(), known.log_driver()];
        sink.container(&RUNTIME_INFO, container, &labels, 1);
    }
}
