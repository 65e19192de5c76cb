//! What a generation on trial tells the host waits until it serves: of node
//! facts, of containers and of resources the one that serves is believed, and
//! a trial that fails has told nothing. What it saw of processes waits for
//! nobody: the one that serves sees the same.

use super::lock;
use gantry_plugin_api::identity::Metadata;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// Of metadata, as JSON: some 50,000 containers with a kilobyte each. A trial
/// takes a second, and 20 s for a call at most.
const MAX_BYTES: usize = 64 << 20;

/// Something that a plugin tells.
#[derive(Debug)]
pub enum Word {
    Fact {
        name: String,
        value: Option<String>,
    },
    Metadata {
        runtime: String,
        metadata: Vec<Metadata>,
        /// Of its text.
        bytes: usize,
    },
    Report {
        resource: String,
        amount: f64,
    },
}

/// Whether a generation is heard, and what it said before.
#[derive(Debug)]
pub struct Voice(Mutex<Option<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    facts: BTreeMap<String, Option<String>>,
    reports: BTreeMap<String, f64>,
    metadata: Vec<(String, Vec<Metadata>)>,
    bytes: usize,
}

/// More than waits.
#[derive(Debug, PartialEq, Eq)]
pub struct TooMuch;

impl Voice {
    /// Of one that is heard from the beginning.
    pub fn heard() -> Self {
        Self(Mutex::new(None))
    }

    /// Of one that is on trial.
    pub fn waiting() -> Self {
        Self(Mutex::new(Some(Waiting::default())))
    }

    /// Tells a word now, by `tell`, or keeps it. A fact and a report take the
    /// place of those of the same name.
    pub fn say(&self, word: Word, tell: impl FnOnce(Word)) -> Result<(), TooMuch> {
        let mut waiting = lock(&self.0);
        let Some(all) = waiting.as_mut() else {
            // Not under the lock: whoever is told may take its time.
            drop(waiting);
            tell(word);
            return Ok(());
        };
        match word {
            Word::Fact { name, value } => drop(all.facts.insert(name, value)),
            Word::Report { resource, amount } => drop(all.reports.insert(resource, amount)),
            Word::Metadata { runtime, metadata, bytes } => {
                if all.bytes + bytes > MAX_BYTES {
                    return Err(TooMuch);
                }
                all.bytes += bytes;
                all.metadata.push((runtime, metadata));
            }
        }
        Ok(())
    }

    /// Whether it serves.
    pub fn is_heard(&self) -> bool {
        lock(&self.0).is_none()
    }

    /// It serves from now on: what it said is told, and then what it says.
    pub fn serves(&self, mut tell: impl FnMut(Word)) {
        // Held throughout, so that nothing newer is told first.
        let mut waiting = lock(&self.0);
        let Some(all) = waiting.take() else { return };
        all.facts.into_iter().for_each(|(name, value)| tell(Word::Fact { name, value }));
        for (runtime, metadata) in all.metadata {
            tell(Word::Metadata { runtime, metadata, bytes: 0 });
        }
        all.reports.into_iter().for_each(|(resource, amount)| tell(Word::Report { resource, amount }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(value: &str) -> Word {
        Word::Fact { name: "az".to_owned(), value: Some(value.to_owned()) }
    }

    fn told(words: &mut Vec<String>) -> impl FnMut(Word) {
        |word| {
            words.push(match word {
                Word::Fact { name, value } => format!("{name}={}", value.unwrap_or_default()),
                Word::Metadata { runtime, .. } => runtime,
                Word::Report { resource, amount } => format!("{resource}={amount}"),
            });
        }
    }

    #[test]
    fn a_trial_is_heard_when_it_serves() {
        let voice = Voice::waiting();
        let mut words = Vec::new();
        let metadata = |bytes| Word::Metadata { runtime: "docker".to_owned(), metadata: Vec::new(), bytes };
        let report = |amount| Word::Report { resource: "maps".to_owned(), amount };
        for word in [fact("one"), report(1.0), metadata(5), fact("two"), report(2.0)] {
            assert_eq!(voice.say(word, told(&mut words)), Ok(()));
        }
        assert_eq!(voice.say(metadata(MAX_BYTES), told(&mut words)), Err(TooMuch));
        assert!(words.is_empty(), "{words:?}");
        voice.serves(told(&mut words));
        assert_eq!(words, ["az=two", "docker", "maps=2"]);
        voice.serves(told(&mut words));
        assert_eq!(voice.say(fact("three"), told(&mut words)), Ok(()));
        assert_eq!(words[3..], ["az=three"]);
    }

    #[test]
    fn what_serves_is_heard_at_once() {
        let mut words = Vec::new();
        assert_eq!(Voice::heard().say(fact("one"), told(&mut words)), Ok(()));
        assert_eq!(words, ["az=one"]);
    }
}
