//! What an event of CRI asks for.

use super::api::{DELETED, Event};
use crate::provider::bounds::Loss;
use crate::provider::is_id;
use crate::provider::link::Link;
use crate::provider::source::Change;

/// To look at a container, or to forget it; nothing where it makes no sense.
pub fn change(event: Event, link: &Link) -> Option<Change> {
    if !is_id(&event.id) {
        link.losses().add(Loss::Event, 1);
        return None;
    }
    Some(if event.kind == DELETED { Change::Removed(event.id) } else { Change::Look(event.id) })
}
