//! One directory of a container's cgroup, as the service keeps it: texts that
//! many have are there once.

use gantry_plugin_api::identity::Cgroup;
use std::sync::Arc;

/// A container has one in each hierarchy: ten on a machine of both versions,
/// mostly of the same path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// 0 for version 2.
    pub hierarchy: u32,
    /// Of the hierarchy.
    pub controllers: Arc<[String]>,
    /// From the hierarchy's root.
    pub path: Arc<str>,
    /// 0 where it is not known.
    pub id: u64,
}

impl Directory {
    /// As plugins see it.
    pub fn cgroup(&self) -> Cgroup {
        let mut cgroup = Cgroup::default();
        cgroup.hierarchy = self.hierarchy;
        cgroup.controllers = self.controllers.to_vec();
        cgroup.path = self.path.to_string();
        cgroup.id = self.id;
        cgroup
    }
}
