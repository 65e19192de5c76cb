//! Whose limit was reached.

use crate::record::Mark;
use gantry_plugin_api::serde::{Deserialize, Serialize};

/// Whose limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(crate = "gantry_plugin_api::serde", rename_all = "snake_case")]
pub enum Scope {
    /// The container's, or that of a cgroup within it.
    Container,
    /// That of a cgroup above it: a pod's, a slice's.
    Ancestor,
    /// Nobody's: the node had no memory left.
    Node,
    /// Of a kill that the cgroup's counter alone tells of.
    Unknown,
}

impl Scope {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Container, Self::Ancestor, Self::Node, Self::Unknown];

    /// The value of the label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Ancestor => "ancestor",
            Self::Node => "node",
            Self::Unknown => "unknown",
        }
    }

    /// For a victim in a container whose cgroup is so far below the hierarchy's root.
    ///
    /// What an operator asks is whose limit to raise. A cgroup that a container made
    /// within itself is the container's own affair, so its limit is the container's;
    /// whatever is above the container's cgroup somebody else set. Where it is not known
    /// how far down that is, what the victim itself is in is the container's.
    pub fn of(mark: &Mark, container: Option<u32>) -> Self {
        let Some(limit) = mark.limit else { return Self::Node };
        let is_within = container.map_or(limit.of == mark.cgroup, |level| limit.level >= level);
        if is_within { Self::Container } else { Self::Ancestor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Limit, tests::some};

    #[test]
    fn what_is_above_the_container_is_another_s() {
        let at = |level| Mark { limit: Some(Limit { of: 7, level, ..Limit::default() }), ..some() };
        assert_eq!(Scope::of(&Mark { limit: None, ..some() }, Some(2)), Scope::Node);
        assert_eq!(Scope::of(&at(1), Some(2)), Scope::Ancestor);
        assert_eq!(Scope::of(&at(2), Some(2)), Scope::Container);
        assert_eq!(Scope::of(&at(3), Some(2)), Scope::Container, "a cgroup of its own making");
        assert_eq!(Scope::of(&at(2), None), Scope::Ancestor);
        assert_eq!(Scope::of(&some(), None), Scope::Container);
        for (number, scope) in Scope::ALL.iter().enumerate() {
            assert_eq!(*scope as usize, number);
        }
    }
}
