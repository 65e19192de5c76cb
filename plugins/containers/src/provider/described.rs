//! What descriptions of containers have in common, whichever runtime gives them.

/// `NAME=VALUE`; a name alone is a variable that is taken away.
pub fn environment(list: Vec<String>) -> Vec<(String, String)> {
    let pair = |text: String| text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    list.into_iter().filter_map(pair).collect()
}

/// The name of a Kubernetes volume in the path at which the kubelet mounted it:
/// `pvc-` and a UUID, which is what its provisioner calls it.
pub fn claim(path: &str) -> Option<&str> {
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
    }
}
