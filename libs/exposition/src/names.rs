//! What may be a name, and which names are the host's own.

use gantry_plugin_api::description::{FamilyInfo, Kind};

/// The owner under which the host registers its own families. No plugin may
/// have this name.
pub const HOST: &str = "gantry";

/// The longest name of a family or label, in bytes. The longest of all known
/// collectors has 70; names stand in every line.
pub(crate) const MAX_NAME: usize = 200;

/// What names of the host's families begin with.
const HOST_PREFIX: &str = "gantry_";
/// The host's one family without that prefix, which dashboards know.
const HOST_FAMILY: &str = "node_agent_info";

/// Labels that the host adds to series, or that the formats give a meaning.
const HOST_LABELS: [&str; 6] = ["machine_id", "system_uuid", "container_id", "app_id", "le", "quantile"];
/// Labels that the host adds to series of containers only.
const CONTAINER_LABELS: [&str; 2] = ["az", "region"];

/// Whether this is a name for a family. A colon, which the formats allow, is
/// refused: by convention it marks the result of a recording rule.
pub(crate) fn is_metric_name(name: &str) -> bool {
    is_word(name)
}

/// Whether this is a name for a label. Two underscores at the start are for
/// Prometheus' own.
pub(crate) fn is_label_name(name: &str) -> bool {
    is_word(name) && !name.starts_with("__")
}

fn is_word(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
}

/// Whether a family of this name, or a claim of this prefix, is for the host alone.
pub(crate) fn is_host_name(name: &str) -> bool {
    name.starts_with(HOST_PREFIX) || name == HOST_FAMILY
}

/// Whether a claim of this prefix would take in names of the host.
pub(crate) fn covers_host_names(prefix: &str) -> bool {
    HOST_PREFIX.starts_with(prefix) || is_host_name(prefix) || HOST_FAMILY.starts_with(prefix)
}

/// Whether families of this scope may not have a label of this name.
pub(crate) fn is_host_label(label: &str, per_container: bool) -> bool {
    HOST_LABELS.contains(&label) || (per_container && CONTAINER_LABELS.contains(&label))
}

/// The name that OpenMetrics gives the family: a counter's lines have
/// `_total`, the family has not.
pub(crate) fn openmetrics_name(info: &FamilyInfo) -> &str {
    match info.kind {
        Kind::Counter => info.name.strip_suffix("_total").unwrap_or(&info.name),
        _ => &info.name,
    }
}

/// Whether the family is a counter in OpenMetrics too, which knows none
/// without `_total`.
pub(crate) fn is_openmetrics_counter(info: &FamilyInfo) -> bool {
    info.kind == Kind::Counter && info.name.ends_with("_total")
}

/// All names that belong to a family in either format: its own and those of
/// its lines. No other family may have one of them.
pub(crate) fn names_of(info: &FamilyInfo) -> Vec<String> {
    let name = openmetrics_name(info);
    let suffixes: &[&str] = match info.kind {
        Kind::Counter if is_openmetrics_counter(info) => &["", "_total", "_created"],
        Kind::Histogram => &["", "_bucket", "_sum", "_count", "_created"],
        _ => &[""],
    };
    suffixes.iter().map(|suffix| format!("{name}{suffix}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "_a", "A_9", "container_http_requests_duration_seconds_total", &"a".repeat(200)] {
            assert!(is_metric_name(good), "{good}");
        }
        for bad in ["", "9a", "a-b", "a b", "a:b", "ä", "a\n", "a{", &"a".repeat(201)] {
            assert!(!is_metric_name(bad), "{bad}");
            assert!(!is_label_name(bad), "{bad}");
        }
        assert!(is_label_name("_a") && !is_label_name("__name__"));
    }

    #[test]
    fn labels_of_the_host() {
        assert!(is_host_label("region", true) && !is_host_label("region", false));
        assert!(is_host_label("az", true) && !is_host_label("az", false));
        assert!(is_host_label("container_id", false) && is_host_label("le", false));
        assert!(!is_host_label("destination", true));
    }

    #[test]
    fn claims_over_the_host() {
        for bad in ["g", "gantry_", "gantry_plugin_", "node_", "node_agent_"] {
            assert!(covers_host_names(bad), "{bad}");
        }
        assert!(!covers_host_names("node_net_") && !covers_host_names("acme_"));
    }
}
