//! Containers as tests declare them.

use gantry_plugin_api::identity::{Cgroup, Container, Process};

/// A container that the test lets be there.
///
/// ```
/// use gantry_plugin_testkit::NewContainer;
/// let web = NewContainer::new("/docker/web-1")
///     .app_id("web")
///     .cgroup("/system.slice/docker-1.scope", 77)
///     .network_namespace(4_026_532_000)
///     .process(1234, 500)
///     .with(|container| container.image = "nginx:1".to_owned());
/// # let _ = web;
/// ```
#[derive(Debug, Clone, Default)]
pub struct NewContainer {
    pub(crate) container: Container,
    pub(crate) processes: Vec<Process>,
}

impl NewContainer {
    /// With this `container_id`, which is its `app_id` too until that is said.
    pub fn new(id: &str) -> Self {
        Self::default().with(|container| {
            container.id = id.to_owned();
            container.app_id = id.to_owned();
        })
    }

    /// The label `app_id`.
    pub fn app_id(self, app_id: &str) -> Self {
        self.with(|container| container.app_id = app_id.to_owned())
    }

    /// Its runtime, and the runtime's own id of it.
    pub fn runtime(self, runtime: &str, runtime_id: &str) -> Self {
        self.with(|container| {
            container.runtime = runtime.to_owned();
            container.runtime_id = runtime_id.to_owned();
        })
    }

    /// A cgroup of version 2: its path below the hierarchy, and its id.
    pub fn cgroup(self, path: &str, id: u64) -> Self {
        self.cgroup_v1(0, &[], path, id)
    }

    /// A cgroup of a hierarchy of version 1.
    pub fn cgroup_v1(self, hierarchy: u32, controllers: &[&str], path: &str, id: u64) -> Self {
        let mut cgroup = Cgroup::default();
        cgroup.hierarchy = hierarchy;
        cgroup.controllers = controllers.iter().map(|&name| name.to_owned()).collect();
        cgroup.path = path.to_owned();
        cgroup.id = id;
        self.with(|container| container.cgroups.push(cgroup))
    }

    /// The inode number of its network namespace.
    pub fn network_namespace(self, inode: u64) -> Self {
        self.with(|container| container.network_namespace = inode)
    }

    /// A process of it; the first is the one that it began with.
    pub fn process(mut self, pid: u32, start: u64) -> Self {
        let process = Process { pid, start };
        self.container.init.get_or_insert(process);
        self.processes.push(process);
        self
    }

    /// Anything else that is known of it.
    pub fn with(mut self, change: impl FnOnce(&mut Container)) -> Self {
        change(&mut self.container);
        self
    }
}
