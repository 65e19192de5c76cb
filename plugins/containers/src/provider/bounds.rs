//! What is kept of a container's texts: whoever starts a container chooses them,
//! and the host keeps them for each.

use gantry_plugin_api::Sink;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A longer text is cut. Orchestrators put whole manifests into labels; those
/// that name a container are short.
pub const MAX_TEXT: usize = 4096;
/// Labels, and environment variables, of one container.
pub const MAX_PAIRS: usize = 256;
/// Of one container's labels, or environment, in bytes: a thousand containers
/// with this much are a quarter of a gigabyte.
const MAX_PAIRS_BYTES: usize = 128 << 10;
/// Volumes of one container.
pub const MAX_VOLUMES: usize = 256;
/// Published ports of one container, of which a range may hold 65,536.
pub const MAX_PORTS: usize = 1024;
/// Networks of one container.
pub const MAX_NETWORKS: usize = 64;

/// What may be lost of what runtimes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// A name, a path, … that was cut.
    Text,
    /// Labels that were cut or left out.
    Label,
    /// Environment variables that were cut or left out.
    Environment,
    /// Volumes that were left out.
    Volume,
    /// Published ports that were left out, or that made no sense.
    Port,
    /// Networks that were left out.
    Network,
    /// Containers of which only the list told, without environment and log
    /// path, as their description was too long or made no sense.
    Description,
    /// Containers of which nothing could be learned.
    Container,
    /// Events that made no sense or were too long.
    Event,
    /// Wishes of the host that came faster than they could be kept.
    Wanted,
}

const REASONS: [&str; 10] = [
    "runtime_text_cut",
    "runtime_labels_cut",
    "runtime_environment_cut",
    "runtime_volumes_cut",
    "runtime_ports_cut",
    "runtime_networks_cut",
    "runtime_description_incomplete",
    "runtime_container_unknown",
    "runtime_event_malformed",
    "runtime_wanted_lost",
];

/// What was lost since the last collection. Each reading of a container counts.
#[derive(Debug, Default)]
pub struct Losses {
    counts: [AtomicU64; REASONS.len()],
}

impl Losses {
    /// So many more.
    pub fn add(&self, loss: Loss, count: usize) {
        self.counts[loss as usize].fetch_add(count as u64, Relaxed);
    }

    /// Tells the host, and begins anew.
    pub fn report(&self, sink: &mut Sink<'_>) {
        for (reason, count) in REASONS.iter().zip(&self.counts) {
            match count.swap(0, Relaxed) {
                0 => {}
                count => sink.skipped(reason, count),
            }
        }
    }

    /// A text of at most [`MAX_TEXT`] bytes.
    pub fn text(&self, text: String) -> String {
        self.cut(text, Loss::Text)
    }

    fn cut(&self, mut text: String, loss: Loss) -> String {
        if text.len() > MAX_TEXT {
            self.add(loss, 1);
            text.truncate(text.floor_char_boundary(MAX_TEXT));
            text.shrink_to_fit();
        }
        text
    }

    /// At most so many of a list.
    pub fn list<T>(&self, mut list: Vec<T>, most: usize, loss: Loss) -> Vec<T> {
        if list.len() > most {
            self.add(loss, list.len() - most);
            list.truncate(most);
        }
        list
    }

    /// Pairs of names and values within the bounds. Where there are too many,
    /// those that name a container go first, then those that come first.
    pub fn pairs(&self, mut pairs: Vec<(String, String)>, loss: Loss) -> BTreeMap<String, String> {
        pairs.sort_by_key(|(name, _)| !is_important(name));
        let mut kept = BTreeMap::new();
        let mut room = MAX_PAIRS_BYTES;
        for (name, value) in pairs {
            let value = self.cut(value, loss);
            let size = name.len() + value.len();
            if name.len() > MAX_TEXT || size > room || kept.len() >= MAX_PAIRS {
                self.add(loss, 1);
                continue;
            }
            room -= size;
            kept.insert(name, value);
        }
        kept
    }
}

/// Labels and variables by which orchestrators say whose a container is, and
/// owners which collectors leave it alone.
fn is_important(name: &str) -> bool {
    const PREFIXES: [&str; 10] = [
        "GANTRY_",
        "COROOT_",
        "NOMAD_",
        "ECS_",
        "io.kubernetes.",
        "com.docker.",
        "com.hashicorp.nomad.",
        "com.amazonaws.ecs.",
        "org.opencontainers.image.",
        "io.podman.",
    ];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(losses: &Losses, loss: Loss) -> u64 {
        losses.counts[loss as usize].load(Relaxed)
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let losses = Losses::default();
        let text = losses.text("é".repeat(MAX_TEXT));
        assert_eq!((text.len(), count(&losses, Loss::Text)), (MAX_TEXT, 1));
        assert_eq!(losses.text(format!("x{}", "é".repeat(MAX_TEXT))).len(), MAX_TEXT - 1);
        assert_eq!(losses.text("short".to_owned()), "short");
        assert_eq!(count(&losses, Loss::Text), 2);
    }

    #[test]
    fn what_names_a_container_is_kept() {
        let losses = Losses::default();
        let mut pairs: Vec<_> = (0..300).map(|number| pair(&format!("{number:03}"), "x")).collect();
        pairs.push(pair("io.kubernetes.pod.name", "web"));
        pairs.push(pair("GANTRY_DISABLE", "logs"));
        let kept = losses.pairs(pairs, Loss::Label);
        assert_eq!((kept.len(), count(&losses, Loss::Label)), (MAX_PAIRS, 46));
        assert_eq!(kept["io.kubernetes.pod.name"], "web");
        assert!(kept.contains_key("GANTRY_DISABLE") && kept.contains_key("253") && !kept.contains_key("254"));
    }

    #[test]
    fn all_together_are_bounded() {
        let losses = Losses::default();
        let long = "v".repeat(1 << 20);
        let pairs: Vec<_> = (0..100).map(|number| pair(&format!("{number}"), &long)).collect();
        let kept = losses.pairs(pairs, Loss::Environment);
        assert!(kept.values().map(String::len).sum::<usize>() <= MAX_PAIRS_BYTES);
        assert_eq!(count(&losses, Loss::Environment), 100 + (100 - kept.len() as u64));
        assert!(losses.pairs(vec![pair(&long, "x")], Loss::Label).is_empty());
        assert_eq!(losses.list(vec![1, 2, 3], 2, Loss::Port), [1, 2]);
        assert_eq!(count(&losses, Loss::Port), 1);
    }
}
