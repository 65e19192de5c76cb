//! What made a pod, by the labels that Kubernetes' controllers give it. They are
//! on the sandbox alone; a container has the kubelet's.
//!
//! A label that does not fit the pod's name is another's, or somebody's own, and
//! tells nothing. A ReplicaSet of nobody labels its pods with nothing of its own,
//! so that where no label tells, only a name that a StatefulSet would give says
//! something: that no StatefulSet did.

use std::collections::BTreeMap;

/// What made a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// `Deployment`, `StatefulSet`, `DaemonSet`, `Job` or `CronJob`; `Pod` where
    /// it is nobody's.
    pub kind: &'static str,
    /// Its name; the pod's own where it is nobody's.
    pub name: String,
}

/// The kubelet's, on each sandbox: without it nothing is known of its labels.
const POD_NAME: &str = "io.kubernetes.pod.name";

/// The owner that labels tell. Their meaning: Kubernetes' "Well-Known Labels,
/// Annotations and Taints", and its documentation of each controller.
pub fn of(pod: &str, labels: &BTreeMap<String, String>) -> Option<Owner> {
    let label = |name: &str| labels.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let owner = |kind, name: &str| (!name.is_empty()).then(|| Owner { kind, name: name.to_owned() });
    let (before, last) = pod.rsplit_once('-').unwrap_or(("", pod));
    let is_ordinal = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
    if label("statefulset.kubernetes.io/pod-name") == Some(pod) && is_ordinal {
        return owner("StatefulSet", before);
    }
    // Before Kubernetes 1.27 without its prefix.
    let job = label("batch.kubernetes.io/job-name").or_else(|| label("job-name"));
    if let Some(job) = job.filter(|job| pod.strip_prefix(*job).is_some_and(|rest| rest.starts_with('-'))) {
        // A CronJob's are called by the minutes since the epoch for which they were planned.
        return match job.rsplit_once('-') {
            Some((name, minutes))
                if minutes.len() == 8 && minutes.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                owner("CronJob", name)
            }
            _ => owner("Job", job),
        };
    }
    let digest = label("pod-template-hash").and_then(|digest| before.strip_suffix(digest)?.strip_suffix('-'));
    if let Some(name) = digest {
        return owner("Deployment", name);
    }
    if label("controller-revision-hash").is_some() && !is_ordinal {
        return owner("DaemonSet", before);
    }
    // With a label `apps.kubernetes.io/pod-index` some controller has numbered it.
    let is_nobodys =
        is_ordinal && label(POD_NAME) == Some(pod) && label("apps.kubernetes.io/pod-index").is_none();
    if is_nobodys { owner("Pod", pod) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_tell_what_made_a_pod() {
        const KUBELET: (&str, &str) = (POD_NAME, "");
        let set = "statefulset.kubernetes.io/pod-name";
        let job = "batch.kubernetes.io/job-name";
        for (pod, labels, owner) in [
            ("db-12", &[(set, "db-12"), ("apps.kubernetes.io/pod-index", "12")][..], "StatefulSet db"),
            ("db-12", &[(set, "db-12"), ("controller-revision-hash", "db-5d8f")], "StatefulSet db"),
            ("migrate-x2x4z", &[(job, "migrate")], "Job migrate"),
            ("migrate-3-x2x4z", &[("job-name", "migrate")], "Job migrate"),
            ("hello-28283967-khz2f", &[(job, "hello-28283967")], "CronJob hello"),
            ("web-64cd4f9686-mvtnb", &[("pod-template-hash", "64cd4f9686")], "Deployment web"),
            ("hello-28283967-khz2f", &[("pod-template-hash", "28283967")], "Deployment hello"),
            ("agent-abc-np9pk", &[("controller-revision-hash", "7bd"), KUBELET], "DaemonSet agent-abc"),
            // Nobody's.
            ("foo-2", &[KUBELET, ("app", "foo")], "Pod foo-2"),
            // A ReplicaSet's, or nobody's: it is not said.
            ("web-x2x4z", &[KUBELET], ""),
            ("web", &[KUBELET], ""),
            ("foo-2", &[("app", "foo")], ""),
            ("foo-2", &[KUBELET, ("apps.kubernetes.io/pod-index", "2")], ""),
            // Labels that say something else than the name.
            ("web-64cd4f9686-mvtnb", &[("pod-template-hash", "5d8f")], ""),
            ("web-x2x4z", &[(job, "other")], ""),
            ("-64cd4f9686-mvtnb", &[("pod-template-hash", "64cd4f9686")], ""),
        ] {
            let value = |(name, value): &(&str, &str)| {
                let value = if *name == POD_NAME { pod } else { *value };
                ((*name).to_owned(), value.to_owned())
            };
            let labels = labels.iter().map(value).collect();
            let told = of(pod, &labels).map(|owner| format!("{} {}", owner.kind, owner.name));
            assert_eq!(told.as_deref().unwrap_or_default(), owner, "{pod} {labels:?}");
        }
    }
}
