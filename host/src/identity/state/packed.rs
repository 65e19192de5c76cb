//! What a runtime told of a container, as it is kept: as JSON, without what it
//! did not tell. Labels and variables as maps of texts take four times the
//! room, and are looked at when something is different only: some 10 µs.

use gantry_plugin_api::identity::Container;
use serde_json::Value;

/// A description. Two that are the same have the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Packed(Box<[u8]>);

impl Packed {
    pub fn of(container: &Container) -> Self {
        let mut all = serde_json::to_value(container).unwrap_or_default();
        if let Value::Object(fields) = &mut all {
            // What is not there is read as this.
            fields.retain(|_, value| !is_nothing(value));
        }
        Self(all.to_string().into_bytes().into())
    }

    pub fn container(&self) -> Container {
        serde_json::from_slice(&self.0).expect("it was written by the same version of the same type")
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(is) => !is,
        Value::Number(number) => number.as_u64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(all) => all.is_empty(),
        Value::Object(all) => all.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_plugin_api::identity::{Cgroup, Process, PublishedPort, Volume};

    #[test]
    fn what_was_told_comes_back_and_what_was_not_takes_no_room() {
        let nothing = Packed::of(&Container::default());
        assert_eq!((nothing.container(), nothing.0.len()), (Container::default(), 2));
        let mut container = Container::default();
        container.image = "nginx\n\"1\" é\u{0}".to_owned();
        container.names.insert("name".to_owned(), String::new());
        container.labels.insert(String::new(), "x".to_owned());
        container.environment.insert("A".to_owned(), "=\\".to_owned());
        container.volumes.push(Volume::default());
        container.ports.push(PublishedPort::default());
        container.cgroups.push(Cgroup::default());
        container.networks.push(String::new());
        container.opted_out.push("logs".to_owned());
        container.init = Some(Process { pid: 0, start: u64::MAX });
        (container.started_at, container.host_network) = (u64::MAX, true);
        (container.restarts, container.gone) = (1, true);
        let packed = Packed::of(&container);
        assert_eq!(packed.container(), container);
        assert_eq!(packed, Packed::of(&packed.container()));
        assert_ne!(packed, nothing);
    }
}
