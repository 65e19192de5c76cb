//! `app_id`: what the instances of one application have in common.
//!
//! Guessed from a pod's name, where no provider has seen the labels that tell.

/// The letters that Kubernetes makes random suffixes of
/// (`k8s.io/apimachinery/pkg/util/rand`): no vowels, nothing that reads like one.
const SUFFIX: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// The name of what made a pod, from the pod's name: a Deployment
/// (`web-64cd4f9686-mvtnb`), a DaemonSet (`agent-np9pk`) or a StatefulSet
/// (`db-12`). A Deployment whose last part happens to be no suffix, and a pod
/// of nobody, have none.
pub fn of_pod(pod: &str) -> Option<&str> {
    let (owner, last) = pod.rsplit_once('-')?;
    let owner = if is_suffix(last) {
        match owner.rsplit_once('-') {
            // The digest of a pod's template is decimal digits in the letters
            // above, which gives 4 to 9 and b, c, d, f.
            Some((deployment, digest)) if is_template(digest) && !deployment.is_empty() => deployment,
            _ => owner,
        }
    } else if !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()) {
        owner
    } else {
        return None;
    };
    (!owner.is_empty()).then_some(owner)
}

/// The job of a CronJob's pod, `JOB-MINUTES-SUFFIX`: the minutes since the
/// epoch for which the run was planned must be within a week of now (seconds
/// since the epoch), so that other numbers of eight digits are not mistaken.
pub fn cronjob(pod: &str, now: u64) -> Option<&str> {
    const WEEK: u64 = 7 * 24 * 60;
    let (rest, suffix) = pod.rsplit_once('-')?;
    let (job, minutes) = rest.rsplit_once('-')?;
    let planned: u64 = minutes.parse().ok()?;
    let shaped = minutes.len() == 8
        && minutes.bytes().all(|byte| byte.is_ascii_digit())
        && suffix.len() == 5
        && suffix.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    (shaped && !job.is_empty() && planned.abs_diff(now / 60) <= WEEK).then_some(job)
}

fn is_suffix(text: &str) -> bool {
    text.len() == 5 && text.bytes().all(|byte| SUFFIX.contains(&byte))
}

fn is_template(text: &str) -> bool {
    (1..=10).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
