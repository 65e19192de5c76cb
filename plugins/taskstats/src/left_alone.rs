//! Containers whose environment asks this plugin to leave them alone.

use gantry_plugin_api::identity::{Cursor, EventKind};
use gantry_plugin_api::{ContainerRef, Host};
use std::collections::HashSet;

/// The name that they ask by.
const NAME: &str = "taskstats";

/// Events that are read at once.
const EVENTS: u32 = 4096;

/// Those that did.
#[derive(Debug, Default)]
pub struct LeftAlone {
    cursor: Option<Cursor>,
    those: HashSet<ContainerRef>,
}

impl LeftAlone {
    /// Brings it up to date: only what changed is asked for.
    pub fn refresh(&mut self, host: &Host) {
        let mut all = self.cursor.is_none();
        let mut cursor = self.cursor.unwrap_or_default();
        loop {
            let batch = host.events(cursor, EVENTS);
            cursor = batch.next;
            all |= batch.lost > 0;
            for event in &batch.events {
                match (event.kind, event.container) {
                    (EventKind::ContainerAppeared | EventKind::ContainerChanged, Some(container)) => {
                        self.ask(host, container);
                    }
                    (EventKind::ContainerGone, Some(container)) => _ = self.those.remove(&container),
                    _ => {}
                }
            }
            if batch.events.len() < EVENTS as usize {
                break;
            }
        }
        self.cursor = Some(cursor);
        if all {
            self.those.clear();
            host.containers().into_iter().for_each(|container| self.ask(host, container));
        }
    }

    fn ask(&mut self, host: &Host, container: ContainerRef) {
        let known = host.container(container);
        if known.is_some_and(|known| known.opted_out.iter().any(|name| name == NAME)) {
            self.those.insert(container);
        } else {
            self.those.remove(&container);
        }
    }

    /// Whether it is one of them.
    pub fn has(&self, container: ContainerRef) -> bool {
        self.those.contains(&container)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_plugin_testkit::{Kit, NewContainer};

    #[test]
    fn who_asks_to_be_left_alone_is_until_he_asks_no_more() {
        let kit = Kit::of::<crate::Taskstats>();
        let opting = |id: &str, name: &str| {
            NewContainer::new(id).with(|container| container.opted_out = vec![name.to_owned()])
        };
        let first = kit.identity().declare(opting("/docker/first", NAME));
        let mut left_alone = LeftAlone::default();
        left_alone.refresh(&kit.host());
        assert!(left_alone.has(first));
        let second = kit.identity().appear(opting("/docker/second", "logs"));
        let third = kit.identity().appear(opting("/docker/third", NAME));
        kit.identity().change(first, |container| container.opted_out.clear());
        left_alone.refresh(&kit.host());
        assert_eq!([first, second, third].map(|each| left_alone.has(each)), [false, false, true]);
        kit.identity().vanish(third);
        left_alone.refresh(&kit.host());
        assert!(!left_alone.has(third));
    }
}
