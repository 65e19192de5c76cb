//! What a generation on trial tells the host waits until it serves: of node
//! facts, of containers and of resources the one that serves is believed, and
//! a trial that fails has told nothing. What it saw of processes waits as well:
//! the one that serves sees the same, until it stops.

use super::lock;
use gantry_plugin_api::identity::{Metadata, Observation};
use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

/// Of metadata, as its text came: some 50,000 containers with a kilobyte each. A
/// trial takes a second, and 20 s for a call at most.
const MAX_BYTES: usize = 64 << 20;

/// What each word takes besides its text, with room that its list keeps for more.
const A_WORD: usize = 128;

/// Of processes: what is seen between the stop of one generation and the service
/// of the next, some hundred milliseconds; older ones go first, as the one before
/// told of them.
const MOST_SEEN: usize = 4096;

/// Something that a plugin tells.
#[derive(Debug)]
pub enum Word<'a> {
    Fact {
        name: String,
        value: Option<String>,
    },
    Metadata {
        runtime: Cow<'a, str>,
        metadata: Vec<Metadata>,
        /// What it was read from.
        text: Cow<'a, str>,
    },
    Report {
        resource: String,
        amount: f64,
    },
    Seen(Vec<Observation>),
}

/// Whether a generation is heard, and what it said before.
#[derive(Debug)]
pub struct Voice(Mutex<Option<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    facts: BTreeMap<String, Option<String>>,
    reports: BTreeMap<String, f64>,
    /// Runtimes and texts: read they take many times as much.
    metadata: Vec<(Box<str>, Box<str>)>,
    bytes: usize,
    seen: VecDeque<Observation>,
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
    pub fn say<'a>(&self, word: Word<'a>, tell: impl FnOnce(Word<'a>)) -> Result<(), TooMuch> {
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
            Word::Seen(seen) => {
                all.seen.extend(seen);
                all.seen.drain(..all.seen.len().saturating_sub(MOST_SEEN));
            }
            Word::Metadata { runtime, text, .. } => {
                let bytes = runtime.len() + text.len() + A_WORD;
                if all.bytes + bytes > MAX_BYTES {
                    return Err(TooMuch);
                }
                all.bytes += bytes;
                all.metadata.push((runtime.into(), text.into()));
            }
        }
        Ok(())
    }

    /// It serves from now on: what it said is told, and then what it says.
    pub fn serves(&self, mut tell: impl FnMut(Word<'_>)) {
        // Held throughout, so that nothing newer is told first.
        let mut waiting = lock(&self.0);
        let Some(all) = waiting.take() else { return };
        all.facts.into_iter().for_each(|(name, value)| tell(Word::Fact { name, value }));
        for (runtime, text) in all.metadata {
            // It was read when it came.
            let Ok(metadata) = serde_json::from_str(&text) else { continue };
            tell(Word::Metadata { runtime: (&*runtime).into(), metadata, text: (&*text).into() });
        }
        all.reports.into_iter().for_each(|(resource, amount)| tell(Word::Report { resource, amount }));
        let seen = Vec::from(all.seen);
        // As many at a time as a plugin tells of at once.
        seen.chunks(64).for_each(|seen| tell(Word::Seen(seen.to_vec())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(value: &str) -> Word<'static> {
        Word::Fact { name: "az".to_owned(), value: Some(value.to_owned()) }
    }

    fn told(words: &mut Vec<String>) -> impl FnMut(Word<'_>) {
        |word| {
            words.push(match word {
                Word::Fact { name, value } => format!("{name}={}", value.unwrap_or_default()),
                Word::Metadata { runtime, metadata, .. } => format!("{runtime} {}", metadata.len()),
                Word::Report { resource, amount } => format!("{resource}={amount}"),
                Word::Seen(seen) => format!("{} seen", seen.len()),
            });
        }
    }

    #[test]
    fn a_trial_is_heard_when_it_serves() {
        let voice = Voice::waiting();
        let mut words = Vec::new();
        let text = serde_json::to_string(&[Metadata::default()]).expect("JSON");
        let metadata = |text: &str| metadata(text.to_owned());
        let report = |amount| Word::Report { resource: "maps".to_owned(), amount };
        for word in [fact("one"), report(1.0), metadata(&text), fact("two"), report(2.0)] {
            assert_eq!(voice.say(word, told(&mut words)), Ok(()));
        }
        assert_eq!(voice.say(metadata(&" ".repeat(MAX_BYTES)), told(&mut words)), Err(TooMuch));
        assert!(words.is_empty(), "{words:?}");
        voice.serves(told(&mut words));
        assert_eq!(words, ["az=two", "docker 1", "maps=2"]);
        voice.serves(told(&mut words));
        assert_eq!(voice.say(fact("three"), told(&mut words)), Ok(()));
        assert_eq!(words[3..], ["az=three"]);
    }

    fn metadata(text: String) -> Word<'static> {
        Word::Metadata { runtime: "docker".into(), metadata: Vec::new(), text: text.into() }
    }

    #[test]
    fn what_waits_takes_no_more_than_is_counted() {
        let voice = Voice::waiting();
        // However little a word says, and however much it is when it is read.
        let one = "[{}]";
        let mut words = 0;
        while voice.say(metadata(one.to_owned()), |_| ()).is_ok() {
            words += 1;
        }
        let waiting = lock(&voice.0);
        let kept = &waiting.as_ref().expect("it is on trial").metadata;
        assert_eq!(kept.len(), words);
        let lists = kept.capacity() * size_of_val(&kept[0]);
        let texts: usize = kept.iter().map(|(runtime, text)| allocated(runtime) + allocated(text)).sum();
        assert!(lists + texts <= MAX_BYTES, "{} bytes for {words} words", lists + texts);
    }

    /// The C library's smallest piece has 32 bytes, 8 of which are its own.
    fn allocated(text: &str) -> usize {
        (text.len() + 8).next_multiple_of(16).max(32)
    }

    #[test]
    fn what_serves_is_heard_at_once() {
        let mut words = Vec::new();
        assert_eq!(Voice::heard().say(fact("one"), told(&mut words)), Ok(()));
        assert_eq!(words, ["az=one"]);
    }
}
