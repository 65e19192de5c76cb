//! What descriptions of containers have in common, whichever runtime gives them.

use gantry_plugin_api::serde::{Deserialize, Deserializer};

/// `NAME=VALUE`; a name alone is a variable that is taken away.
pub fn environment(list: Vec<String>) -> Vec<(String, String)> {
    let pair = |text: String| text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    list.into_iter().filter_map(pair).collect()
}

/// What deserializes `null` to nothing, as Go writes it for what is not there.
///
/// # Errors
/// Where it is something else than was expected.
pub fn or_nothing<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Kubernetes' kinds of volumes that outlive a pod, as the kubelet names the
/// directories where it mounts them: `…/volumes/KIND/NAME` (`pkg/volume`,
/// `GetPodVolumeDir`). NAME is the persistent volume's. Of the others it is
/// what the pod calls it, which says nothing elsewhere.
const PERSISTENT: [&str; 13] = [
    "kubernetes.io~csi",
    "kubernetes.io~nfs",
    "kubernetes.io~local-volume",
    "kubernetes.io~iscsi",
    "kubernetes.io~fc",
    "kubernetes.io~rbd",
    "kubernetes.io~cephfs",
    "kubernetes.io~glusterfs",
    "kubernetes.io~aws-ebs",
    "kubernetes.io~gce-pd",
    "kubernetes.io~azure-disk",
    "kubernetes.io~azure-file",
    "kubernetes.io~vsphere-volume",
];

/// The name of a Kubernetes volume in the path at which the kubelet mounted it:
/// `pvc-` and a UUID, which is what its provisioner calls it, or what somebody
/// called one that he made by hand.
pub fn claim(path: &str) -> Option<&str> {
    provisioned(path).or_else(|| {
        let mut parts = path.split('/');
        while let Some(part) = parts.next() {
            if part == "volumes" && parts.clone().next().is_some_and(|kind| PERSISTENT.contains(&kind)) {
                return parts.nth(1).filter(|name| !name.is_empty());
            }
        }
        None
    })
}

fn provisioned(path: &str) -> Option<&str> {
    const LENGTH: usize = "pvc-01234567-89ab-cdef-0123-456789abcdef".len();
    let is_claim = |part: &str| {
        part.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
    };
    path.match_indices("pvc-").find_map(|(at, start)| {
        let found = path.get(at..at + LENGTH)?;
        is_claim(&found[start.len()..]).then_some(found)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_found_in_paths() {
        let name = "pvc-0a1b2c3d-0000-1111-2222-0123456789ab";
        for (path, expected) in [
            (format!("/a/{name}/mount"), Some(name)),
            (format!("/a/pvc-{name}"), Some(name)),
            (name[..39].to_owned(), None),
            ("/pvc-é".to_owned(), None),
            ("/pvc-0a1b2c3d-0000-1111-2222-0123456789éb".to_owned(), None),
            ("/data".to_owned(), None),
        ] {
            assert_eq!(claim(&path), expected, "{path}");
        }
        let of_pod = |rest: &str| format!("/var/lib/kubelet/pods/8d1a1f0e/volumes/{rest}");
        for (rest, expected) in [
            ("kubernetes.io~csi/backup-disk/mount", Some("backup-disk")),
            ("kubernetes.io~nfs/share-1", Some("share-1")),
            ("kubernetes.io~local-volume/local-pv-3f0c/", Some("local-pv-3f0c")),
            (&format!("kubernetes.io~csi/{name}/mount"), Some(name)),
            ("kubernetes.io~empty-dir/cache", None),
            ("kubernetes.io~projected/kube-api-access-x", None),
            ("kubernetes.io~nfs", None),
            ("kubernetes.io~nfs/", None),
            ("kubernetes.io~csi", None),
        ] {
            assert_eq!(claim(&of_pod(rest)), expected, "{rest}");
        }
        assert_eq!(claim("/srv/kubernetes.io~csi/x"), None);
    }
}
