//! The pods of the containers: what a container's own description does not say.
//! Shared by all looks of a session.

use super::api::NODE;
use super::api::SandboxStatus;
use super::owner::{self, Owner};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Pods that are remembered, of which a node runs some hundred. Of others each
/// container asks anew.
const MOST: usize = 16_384;
/// A name of Kubernetes has at most 253 bytes; longer ones are not remembered.
const MAX_NAME: usize = 1024;

/// A pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// It has the node's network.
    pub host_network: bool,
    /// What made it, where its labels tell.
    pub owner: Option<Owner>,
}

impl Pod {
    /// As its sandbox says.
    pub fn of(status: &SandboxStatus) -> Self {
        let metadata = status.metadata.clone().unwrap_or_default();
        let options = status.linux.as_ref().and_then(|linux| linux.namespaces.as_ref()?.options.as_ref());
        Self {
            owner: owner::of(&metadata.name, &status.labels),
            namespace: metadata.namespace,
            name: metadata.name,
            uid: metadata.uid,
            host_network: options.is_some_and(|options| options.network == NODE),
        }
    }
}

/// By the ids of their sandboxes.
#[derive(Debug, Clone, Default)]
pub struct Pods(Arc<Mutex<HashMap<Box<str>, Arc<Pod>>>>);

impl Pods {
    /// One that is known.
    pub fn get(&self, sandbox: &str) -> Option<Arc<Pod>> {
        self.lock().get(sandbox).cloned()
    }

    /// Remembers one.
    pub fn put(&self, sandbox: &str, pod: Pod) -> Arc<Pod> {
        let pod = Arc::new(pod);
        let mut pods = self.lock();
        let long = [&pod.namespace, &pod.name, &pod.uid].into_iter().any(|name| name.len() > MAX_NAME);
        if !long && (pods.len() < MOST || pods.contains_key(sandbox)) {
            pods.insert(sandbox.into(), Arc::clone(&pod));
        }
        pod
    }

    /// It is no more.
    pub fn forget(&self, sandbox: &str) {
        self.lock().remove(sandbox);
    }

    /// Each change is one call.
    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Arc<Pod>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_bounded() {
        let pods = Pods::default();
        let pod = |name: &str| Pod { name: name.to_owned(), ..Pod::default() };
        for number in 0..MOST {
            pods.put(&number.to_string(), pod("web"));
        }
        assert_eq!(pods.put("more", pod("other")).name, "other");
        assert!(pods.get("more").is_none());
        pods.put("0", pod("anew"));
        assert_eq!(pods.get("0").map(|pod| pod.name.clone()).as_deref(), Some("anew"));
        pods.forget("0");
        pods.put("long", pod(&"x".repeat(MAX_NAME + 1)));
        assert!(pods.get("0").is_none() && pods.get("long").is_none());
    }
}
