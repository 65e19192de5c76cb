//! containerd's namespaces: which of them are asked about, and in which one a
//! container is.

use crate::provider::is_id;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Of those that are asked themselves: Docker, and the kubelet's CRI.
pub const OTHERS: [&str; 2] = ["moby", "k8s.io"];

/// The one of who names none.
pub const DEFAULT: &str = "default";

/// Of a container's or namespace's name (containerd, `pkg/identifiers`).
const MAX_NAME: usize = 76;

/// Namespaces that are asked about; a node has a handful.
pub const MOST: usize = 256;

/// Whether this is a name of a container or a namespace: another text would
/// become part of a request.
pub fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= MAX_NAME && end(bytes.first()) && end(bytes.last()) && bytes.iter().copied().all(inner)
}

/// Whether the host can see a container of this id in this namespace: its
/// cgroup is `/NAMESPACE/ID`, and where neither is known for a runtime's it is
/// anybody's. So no other namespace's container is taken for one of the
/// default one that bears its name.
pub fn is_told(namespace: &str, id: &str) -> bool {
    !OTHERS.contains(&namespace) && is_name(id) && (is_id(id) || namespace == DEFAULT)
}

/// Those that are asked about, shared by all looks of a session.
#[derive(Debug, Clone, Default)]
pub struct Asked(Arc<Mutex<BTreeSet<String>>>);

impl Asked {
    /// One more; whether there is room for it.
    pub fn add(&self, namespace: &str) -> bool {
        let mut all = self.lock();
        let has_room = all.len() < MOST || all.contains(namespace);
        if has_room && is_name(namespace) && !OTHERS.contains(&namespace) {
            all.insert(namespace.to_owned());
        }
        has_room
    }

    /// Those in which a container of this id may be.
    pub fn of(&self, id: &str) -> Vec<String> {
        self.lock().iter().filter(|namespace| is_told(namespace, id)).cloned().collect()
    }

    /// These and no others.
    pub fn set(&self, namespaces: &[String]) {
        *self.lock() = namespaces.iter().cloned().collect();
    }

    /// Each change is one call.
    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_other_texts() {
        let longest = "x".repeat(MAX_NAME);
        for good in ["redis", "a", "web-1", "a.b_c-d", &"0".repeat(64), &longest] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "-a", "a-", "../x", "a b", "é", "a/b", "a\0", &format!("{longest}x")] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn only_what_the_host_can_see_is_told() {
        let digest = "a".repeat(64);
        assert!(is_told(DEFAULT, "redis") && is_told(DEFAULT, &digest) && is_told("shop", &digest));
        assert!(!is_told("shop", "redis"), "it would be taken for the one of the default namespace");
        assert!(!is_told("moby", &digest) && !is_told("k8s.io", &digest));
    }

    #[test]
    fn are_bounded() {
        let asked = Asked::default();
        (0..MOST).for_each(|number| assert!(asked.add(&format!("n{number}"))));
        assert!(!asked.add("more") && asked.add("n0"));
        asked.set(&[DEFAULT.to_owned(), "shop".to_owned()]);
        asked.add("moby");
        assert_eq!((asked.of("redis").len(), asked.of(&"a".repeat(64)).len()), (1, 2));
    }
}
