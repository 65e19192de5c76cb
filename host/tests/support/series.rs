//! Series of a text exposition, found by name and labels.

use super::agent::Agent;
use super::http::PATIENCE;

/// The value of the one series of this name that has these labels.
pub fn value(text: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let lines = text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{')));
    let has = |line: &str| labels.iter().all(|(label, value)| line.contains(&format!("{label}=\"{value}\"")));
    let mut found = lines.filter(|line| has(line));
    let line = found.next()?;
    assert!(found.next().is_none(), "{name}{labels:?} is more than one series:\n{text}");
    line.rsplit(' ').next()?.parse().ok()
}

/// The names of the labels of a family's first series, sorted.
pub fn label_names(text: &str, name: &str) -> Option<Vec<String>> {
    let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{')))?;
    let labels = &line[line.find('{')? + 1..line.rfind('}')?];
    // A value may hold anything but a bare quote: the parts between quotes are names and values in turn.
    let unescaped = labels.replace("\\\\", "").replace("\\\"", "");
    let mut names: Vec<String> = unescaped
        .split('"')
        .step_by(2)
        .map(|part| part.trim_matches([',', '=']).to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    names.sort();
    Some(names)
}

/// Scrapes until something holds of it.
#[track_caller]
pub fn scrape_until(agent: &Agent, what: &str, mut holds: impl FnMut(&str) -> bool) -> String {
    let until = std::time::Instant::now() + PATIENCE;
    loop {
        let scraped = agent.scrape();
        if holds(&scraped) {
            return scraped;
        }
        assert!(std::time::Instant::now() < until, "never: {what}\n{scraped}");
        // Not as fast as it can: what is waited for needs the processors too.
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
}
