//! What is to be done about one plugin so that it runs as a section says.

use crate::config::PluginConfig;

/// What is known of a plugin that there is.
#[derive(Debug, Clone, Copy)]
pub struct Present<'a> {
    pub config: &'a PluginConfig,
    pub wanted: bool,
    /// An operator's word against the file, until the agent ends.
    pub until_restart: Option<bool>,
    /// It does what it was started for; one that failed has nothing to lose.
    pub works: bool,
    /// Of the file that it runs.
    pub digest: Option<&'a str>,
}

/// The smallest step that leads there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Nothing,
    /// Another deadline or bound: nothing stops.
    Settings,
    /// Another table of its own: it may be able to take it while it runs.
    Reconfigure,
    Start,
    Stop,
    /// Another file, or a try with another section of what does not work.
    Replace,
}

impl Step {
    /// Whether its file and its table must be looked at first.
    pub fn examines(self) -> bool {
        matches!(self, Self::Reconfigure | Self::Start | Self::Replace)
    }
}

/// Whether a section differs in anything that the plugin can notice.
pub fn differs(old: &PluginConfig, new: &PluginConfig) -> bool {
    !old.same_file(new)
        || !old.table.same_values(&new.table)
        || (old.enabled, old.deadline, old.max_series, old.limits)
            != (new.enabled, new.deadline, new.max_series, new.limits)
}

/// Whether it shall run: by the operator's word as long as its section stays
/// as it is, else by the file.
pub fn wanted(present: Option<Present<'_>>, new: &PluginConfig) -> bool {
    let word = present.filter(|now| !differs(now.config, new)).and_then(|now| now.until_restart);
    word.unwrap_or(new.enabled)
}

/// `digest` is that of the file as it lies there now, where it can be used.
pub fn step(present: Option<Present<'_>>, new: &PluginConfig, digest: Option<&str>) -> Step {
    let wanted = wanted(present, new);
    let Some(now) = present else {
        return if wanted { Step::Start } else { Step::Nothing };
    };
    match (now.wanted, wanted) {
        (false, true) => return Step::Start,
        (true, false) => return Step::Stop,
        (false, false) => return if differs(now.config, new) { Step::Settings } else { Step::Nothing },
        (true, true) => {}
    }
    let other_file =
        digest.is_some() && now.digest != digest || digest.is_none() && !now.config.same_file(new);
    // It moves to another process, or gets other rights.
    let elsewhere = !now.config.same_isolation(new);
    if other_file || elsewhere || !now.works && differs(now.config, new) {
        Step::Replace
    } else if !now.config.table.same_values(&new.table) {
        Step::Reconfigure
    } else if differs(now.config, new) {
        Step::Settings
    } else {
        Step::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::check;
    use std::path::Path;

    fn section(keys: &str) -> PluginConfig {
        let config = check(Path::new("p.toml"), &format!("[plugins.x]\n{keys}\n")).expect("a good file");
        config.plugins[0].clone()
    }

    fn present(config: &PluginConfig) -> Present<'_> {
        let wanted = config.enabled;
        Present { config, wanted, until_restart: None, works: true, digest: Some("one") }
    }

    #[test]
    fn only_what_differs_is_touched() {
        let on = section("enabled = true");
        for (keys, digest, expected) in [
            ("enabled = true", Some("one"), Step::Nothing),
            ("# a comment\n\nenabled = true", Some("one"), Step::Nothing),
            ("enabled = true", Some("two"), Step::Replace),
            ("enabled = true", None, Step::Nothing),
            ("enabled = true\npath = \"/elsewhere.so\"", Some("one"), Step::Settings),
            ("enabled = true\npath = \"/elsewhere.so\"", None, Step::Replace),
            ("enabled = true\ndeadline = \"1s\"", Some("one"), Step::Settings),
            ("enabled = true\nmax_series = 7", Some("one"), Step::Settings),
            ("enabled = true\nconfig.a = 1", Some("one"), Step::Reconfigure),
            ("enabled = true\nconfig.a = 1\nmax_series = 7", Some("one"), Step::Reconfigure),
            ("enabled = true\nconfig.a = 1", Some("two"), Step::Replace),
            ("enabled = false", Some("one"), Step::Stop),
            ("", None, Step::Stop),
        ] {
            assert_eq!(step(Some(present(&on)), &section(keys), digest), expected, "{keys}");
        }
    }

    #[test]
    fn new_sections_start_where_they_are_enabled() {
        assert_eq!(step(None, &section("enabled = true"), Some("one")), Step::Start);
        assert_eq!(step(None, &section(""), Some("one")), Step::Nothing);
        let off = section("");
        assert_eq!(step(Some(present(&off)), &section("enabled = true"), None), Step::Start);
        assert_eq!(step(Some(present(&off)), &section("config.a = 1"), None), Step::Settings);
    }

    #[test]
    fn what_does_not_work_is_tried_with_any_other_section() {
        let on = section("enabled = true\nconfig.a = 1");
        let broken = Present { works: false, ..present(&on) };
        for keys in ["enabled = true\nconfig.a = 2", "enabled = true\nconfig.a = 1\ndeadline = \"9s\""] {
            assert_eq!(step(Some(broken), &section(keys), Some("one")), Step::Replace, "{keys}");
        }
        assert_eq!(step(Some(broken), &on, Some("one")), Step::Nothing, "the same again would fail again");
        assert_eq!(step(Some(broken), &on, Some("two")), Step::Replace);
        let never_loaded = Present { digest: None, ..broken };
        assert_eq!(step(Some(never_loaded), &on, Some("one")), Step::Replace, "its file is there now");
    }

    #[test]
    fn a_word_of_the_operator_holds_until_its_section_changes() {
        let on = section("enabled = true");
        let stopped = Present { wanted: false, until_restart: Some(false), ..present(&on) };
        assert_eq!(step(Some(stopped), &on, Some("two")), Step::Nothing);
        assert_eq!(step(Some(stopped), &section("enabled = true\nmax_series = 7"), None), Step::Start);
        let off = section("");
        let started = Present { wanted: true, until_restart: Some(true), ..present(&off) };
        assert_eq!(step(Some(started), &off, Some("one")), Step::Nothing);
        assert_eq!(step(Some(started), &section("max_series = 7"), None), Step::Stop);
    }
}
