//! What is kept of a container's description: what is shown of it or asked for
//! again, and no more. There are many containers, so it takes little room: its
//! texts lie one behind the other.

use gantry_plugin_api::Container;
use gantry_plugin_api::identity::Process;

/// One container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brief {
    texts: Box<str>,
    /// Where each of the texts ends.
    ends: [u32; TEXTS],
    is_shown: bool,
    is_named: bool,
    /// The process it began with.
    pub init: Option<Process>,
    /// How often it began anew since the host knows it.
    pub restarts: u64,
    /// What its runtime says is mounted in it.
    pub volumes: Box<[Volume]>,
}

/// A volume.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Volume {
    /// Where the container sees it.
    pub mount_point: Box<str>,
    /// Where it lies on the host.
    pub source: Box<str>,
    /// What the runtime or orchestrator calls it; may be empty.
    pub name: Box<str>,
}

const TEXTS: usize = 7;

impl Brief {
    /// Of a whole description.
    pub fn of(known: &Container) -> Self {
        let name = |key: &str| known.names.get(key).map_or("", String::as_str);
        let all: [&str; TEXTS] = [
            &known.runtime,
            &known.runtime_id,
            &known.log_driver,
            &known.image,
            name("name"),
            name("systemd_triggered_by"),
            name("systemd_type"),
        ];
        let mut end = 0;
        let ends = all.map(|text| {
            end += text.len();
            u32::try_from(end).expect("the host bounds what it tells far below 4 GiB")
        });
        let volume = |volume: &gantry_plugin_api::identity::Volume| Volume {
            mount_point: volume.mount_point.as_str().into(),
            source: volume.source.as_str().into(),
            name: volume.name.as_str().into(),
        };
        Self {
            texts: all.concat().into_boxed_str(),
            ends,
            is_shown: !known.opted_out.iter().any(|name| name == "containers"),
            is_named: !known.names.is_empty(),
            init: known.init,
            restarts: known.restarts,
            volumes: known.volumes.iter().map(volume).collect(),
        }
    }

    fn text(&self, at: usize) -> &str {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.texts[start as usize..self.ends[at] as usize]
    }

    /// `docker`, `systemd`, …
    pub fn runtime(&self) -> &str {
        self.text(0)
    }

    /// What the runtime calls it.
    pub fn runtime_id(&self) -> &str {
        self.text(1)
    }

    /// `json-file`, `journald`, …
    pub fn log_driver(&self) -> &str {
        self.text(2)
    }

    /// The image's name.
    pub fn image(&self) -> &str {
        self.text(3)
    }

    /// The name that somebody gave it.
    pub fn name(&self) -> &str {
        self.text(4)
    }

    /// Of a unit, what begins it.
    pub fn triggered_by(&self) -> &str {
        self.text(5)
    }

    /// Of a unit, its type.
    pub fn kind(&self) -> &str {
        self.text(6)
    }

    /// Whether somebody has told what it is called.
    pub fn is_named(&self) -> bool {
        self.is_named
    }

    /// Whoever runs it did not ask to be left alone.
    pub fn is_shown(&self) -> bool {
        self.is_shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_its_own_also_where_others_are_empty() {
        let mut known = Container::default();
        (known.runtime, known.runtime_id) = ("docker".to_owned(), "é1".to_owned());
        known.image = "nginx".to_owned();
        let bare = Brief::of(&known);
        assert!(bare.is_shown() && !bare.is_named());
        for (key, value) in
            [("name", "web"), ("systemd_triggered_by", "a.timer"), ("systemd_type", "oneshot")]
        {
            known.names.insert(key.to_owned(), value.to_owned());
        }
        known.opted_out = vec!["logs".to_owned(), "containers".to_owned()];
        let brief = Brief::of(&known);
        let texts = |brief: &Brief| {
            [brief.runtime(), brief.runtime_id(), brief.log_driver(), brief.image(), brief.name()]
                .map(str::to_owned)
        };
        assert_eq!(texts(&brief), ["docker", "é1", "", "nginx", "web"]);
        assert_eq!([brief.triggered_by(), brief.kind()], ["a.timer", "oneshot"]);
        assert_eq!((texts(&bare)[4].as_str(), bare.kind()), ("", ""));
        assert!(!brief.is_shown() && brief.is_named());
        assert!(texts(&Brief::of(&Container::default())).iter().all(String::is_empty));
    }
}
