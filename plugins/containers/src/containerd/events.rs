//! What an event of containerd's asks for.

use super::api::{Envelope, OfContainer};
use super::namespaces::{self, Asked, OTHERS};
use crate::provider::bounds::Loss;
use crate::provider::link::Link;
use crate::provider::source::Change;
use prost::Message;

/// After which a container's description is another one. Not `/tasks/exec-…`, of
/// which a container with probes has many.
const CHANGES: [&str; 7] = [
    "/containers/create",
    "/containers/update",
    "/tasks/create",
    "/tasks/start",
    "/tasks/exit",
    "/tasks/delete",
    "/tasks/oom",
];
/// After which there is none.
const REMOVED: &str = "/containers/delete";

/// To look at a container, or to forget it; nothing where it makes no sense, or
/// is another's.
pub fn change(envelope: Envelope, asked: &Asked, link: &Link) -> Option<Change> {
    let is_removed = envelope.topic == REMOVED;
    if OTHERS.contains(&&*envelope.namespace) || !is_removed && !CHANGES.contains(&&*envelope.topic) {
        return None;
    }
    let event = envelope.event.and_then(|event| OfContainer::decode(event.value.as_slice()).ok());
    let id = event.map(|event| event.id).filter(|id| namespaces::is_name(id));
    let (Some(id), true) = (id, namespaces::is_name(&envelope.namespace)) else {
        link.losses().add(Loss::Event, 1);
        return None;
    };
    if !namespaces::is_told(&envelope.namespace, &id) {
        return None;
    }
    if !asked.add(&envelope.namespace) {
        link.losses().add(Loss::Container, 1);
        return None;
    }
    Some(if is_removed { Change::Removed(id) } else { Change::Look(id) })
}
