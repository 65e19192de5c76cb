//! Which plugin took the agent down, and what follows: one that did it twice in
//! ten minutes runs in a process of its own from then on, the rest as always.
//!
//! Every call of a plugin in the agent's process is stamped into a mapped file
//! (`<state-dir>/crash/stamps`), which the next start reads. See `gantry-crash`
//! for what that can tell and what not.

use crate::config::{Config, Isolation, PluginConfig};
use crate::isolation::signal_in_words;
use crate::records::{Entry, File, Held, Lineage, Ran, Records, What};
use gantry_crash::{Evidence, Replaced, Report, Stamp, Stamps, Whose, report};
use std::collections::HashMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// So often within [`WITHIN`], and a plugin is kept apart.
const TOO_OFTEN: usize = 2;
const WITHIN: Duration = Duration::from_secs(600);

/// For how long, from its last crash on: whatever was wrong may be over.
const APART_FOR: Duration = Duration::from_secs(3600);

/// What is known of crashes, in one agent.
#[derive(Debug, Default)]
pub struct Crashes {
    stamps: Mutex<Option<Stamps>>,
    apart: Mutex<HashMap<String, Apart>>,
    /// Of whom it was said that they replaced handlers, and whether the agent's
    /// could be put back ever since.
    replaced: Mutex<HashMap<String, bool>>,
}

#[derive(Debug)]
struct Apart {
    until: SystemTime,
    why: String,
    /// Of its section then: another one speaks anew.
    section: Option<String>,
}

impl Crashes {
    /// Reads what the agent before left, and begins to stamp. For whoever holds
    /// the state directory. Gives the plugin that it rolled back, if it did.
    pub fn begin(&self, state_dir: &Path, config: &Config, records: &Records) -> Option<String> {
        let path = state_dir.join("crash").join("stamps");
        let boot = boot_words(records.boot());
        let rolled_back = match report::read(&path, boot) {
            Ok(Some(left)) => noted(&left, records, config),
            Ok(None) => None,
            Err(error) => {
                tracing::warn!("{}: {error}; how the agent before ended is not known", path.display());
                None
            }
        };
        self.judge(records, config);
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(state_dir.join("crash"))
            .and_then(|()| Stamps::create(&path, boot))
            .and_then(|stamps| stamps.watch_faults().map(|()| stamps));
        match made {
            Ok(stamps) => *lock(&self.stamps) = Some(stamps),
            Err(error) => tracing::warn!(
                "{}: {error}; should a plugin take the agent down, the next start will not know which",
                path.display()
            ),
        }
        rolled_back
    }

    fn judge(&self, records: &Records, config: &Config) {
        let now = SystemTime::now();
        for plugin in records.known() {
            let crashes = held_against(&records.history(&plugin));
            // The newest first.
            let close = |pair: &[f64]| pair[0] - pair[TOO_OFTEN - 1] <= WITHIN.as_secs_f64();
            let Some(last) = crashes.windows(TOO_OFTEN).find(|pair| close(pair)).map(|pair| pair[0]) else {
                continue;
            };
            let until = SystemTime::UNIX_EPOCH + Duration::from_secs_f64(last.max(0.0)) + APART_FOR;
            if until <= now {
                continue;
            }
            let why = format!("it took the agent down {TOO_OFTEN} times in {} min", WITHIN.as_secs() / 60);
            tracing::error!(
                "plugin {plugin}: {why}; it runs in a process of its own until it is restarted or \
                 upgraded, its section changes, or the first reload after an hour"
            );
            let section = config.plugins.iter().find(|section| section.name == plugin);
            let section = section.map(PluginConfig::fingerprint);
            lock(&self.apart).insert(plugin, Apart { until, why, section });
        }
    }

    /// A section as it is in force: that of a plugin that is kept apart says so.
    pub fn in_force(&self, config: &PluginConfig) -> PluginConfig {
        let is_apart = lock(&self.apart).get(&config.name).is_some_and(|apart| {
            apart.until > SystemTime::now()
                && apart.section.as_ref().is_none_or(|known| *known == config.fingerprint())
        });
        let isolation = is_apart.then_some(Isolation::Process).or(config.isolation);
        PluginConfig { isolation, ..config.clone() }
    }

    /// Why a plugin runs in a process of its own, whatever its section says.
    pub fn kept_apart(&self, plugin: &str) -> Option<String> {
        let apart = lock(&self.apart);
        let apart = apart.get(plugin).filter(|apart| apart.until > SystemTime::now())?;
        Some(apart.why.clone())
    }

    /// An operator wants it as its section says.
    pub fn forgive(&self, plugin: &str) -> bool {
        lock(&self.apart).remove(plugin).is_some()
    }

    /// A stamp for the calling thread, which calls this plugin.
    pub fn thread(&self, plugin: &str) -> Option<Stamp> {
        lock(&self.stamps).and_then(|stamps| stamps.thread(plugin))
    }

    /// A stamp for a thread that a plugin made.
    pub fn thread_of(&self, plugin: &str, tid: u32) -> Option<Stamp> {
        lock(&self.stamps).and_then(|stamps| stamps.thread_of(plugin, u64::from(tid)))
    }

    /// A plugin's library is mapped from there.
    pub fn library(&self, plugin: &str, path: &Path) {
        let Some(stamps) = *lock(&self.stamps) else { return };
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        if let Some(mapped) = mapped(&maps, path) {
            stamps.library(plugin, mapped);
        }
    }

    /// Behind a call of a plugin's, which is stamped still: whether the handlers of
    /// faults are others than the agent's, which are put back then. By whom they were
    /// replaced, empty where several may have; it is logged once of each, and once
    /// more where the agent's cannot be put back.
    pub fn mind_handlers(&self, plugin: &str, call: &str) -> Option<String> {
        let stamps = (*lock(&self.stamps))?;
        let found = stamps.mind_handlers()?;
        let whose = stamps.whose(found.handler, plugin);
        let who = match &whose {
            Whose::Library(owner) => owner,
            Whose::OnlyInCall => plugin,
            Whose::Unknown(_) => "",
        };
        if is_news(&mut lock(&self.replaced), who, found.are_back) {
            tracing::warn!("{}", replaced_in_words(&found, &whose, plugin, call));
        }
        Some(who.to_owned())
    }

    /// The agent ends as it should.
    pub fn end(&self) {
        if let Some(stamps) = *lock(&self.stamps) {
            stamps.end();
        }
    }
}

/// Whether something is to be said of handlers that were replaced.
fn is_news(said: &mut HashMap<String, bool>, who: &str, are_back: bool) -> bool {
    match said.get_mut(who) {
        Some(were_back) => std::mem::replace(were_back, *were_back && are_back) && !are_back,
        None => said.insert(who.to_owned(), are_back).is_none(),
    }
}

/// Who replaced which handlers, found behind this plugin's call.
fn replaced_in_words(found: &Replaced, whose: &Whose, plugin: &str, call: &str) -> String {
    let signals: Vec<&str> = found.signals.iter().map(|signal| name_of(*signal)).collect();
    let signals = signals.join(", ");
    let put = "handlers of its own in the place of the agent's, for";
    let who = match whose {
        Whose::Library(owner) => format!("plugin {owner}: it put {put} {signals} (they lie in its library)"),
        Whose::OnlyInCall => format!("plugin {plugin}: it put {put} {signals} (in its {call})"),
        Whose::Unknown(others) => {
            let others = others.join(", ");
            format!("a plugin put {put} {signals}: {plugin} in its {call}, or {others}, at work then")
        }
    };
    let back = if found.are_back {
        "the agent's are in place again, and hand faults on to those"
    } else {
        "those stay, as too many were put there: who takes the agent down from now on may not be known"
    };
    format!("{who}; {back}")
}

/// When the file that crashed last took the agent down, the newest first; nothing
/// where another took its place, or an operator wished for it to run as always.
fn held_against(history: &[Entry]) -> Vec<f64> {
    let since = history.iter().take_while(|entry| entry.what != What::Forgiven);
    let crashes: Vec<&Entry> = since.filter(|entry| entry.what == What::Crash).collect();
    // An agent that ended at once had not noted which file it began with.
    let digest = |file: &Option<File>| file.as_ref().map(|file| file.digest.clone());
    let Some(newest) = crashes.first().map(|entry| digest(&entry.from)) else { return Vec::new() };
    let is_another = |file: Option<&File>| {
        newest.is_some() && file.is_some_and(|file| Some(&file.digest) != newest.as_ref())
    };
    if history.iter().take_while(|entry| entry.what != What::Crash).any(|entry| is_another(entry.runs())) {
        return Vec::new();
    }
    crashes.iter().filter(|entry| !is_another(entry.from.as_ref())).map(|entry| entry.at).collect()
}

/// From the first to the last address of a file's mappings
/// (`/proc/self/maps`, Documentation/filesystems/proc.rst).
fn mapped(maps: &str, path: &Path) -> Option<std::ops::Range<u64>> {
    let path = path.to_str()?;
    let of_file =
        maps.lines().filter(|line| line.ends_with(path) && line[..line.len() - path.len()].ends_with(' '));
    let ranges = of_file.filter_map(|line| {
        let (from, to) = line.split(' ').next()?.split_once('-')?;
        Some((u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?))
    });
    let (from, to) = ranges.reduce(|one, two| (one.0.min(two.0), one.1.max(two.1)))?;
    Some(from..to)
}

/// Says how the agent before ended, and keeps whose doing it was; gives that
/// plugin if it was rolled back.
fn noted(left: &Report, records: &Records, config: &Config) -> Option<String> {
    let signal = match left.signal {
        Some(signal) => format!("{} at address {:#x}", name_of(signal), left.address),
        None if left.exited => "an exit that it did not call itself".to_owned(),
        None => {
            "something that no handler saw: it was killed, or a stack overflowed on a plugin's own thread"
                .to_owned()
        }
    };
    let end =
        format!("the agent before this one (pid {}) did not end as it should, but by {signal}", left.pid);
    let in_calls: Vec<String> =
        left.in_calls.iter().map(|(plugin, call)| format!("{plugin} ({})", call_name(*call))).collect();
    let Some((plugin, evidence)) = &left.culprit else {
        let at_work = if in_calls.is_empty() { "no plugin".to_owned() } else { in_calls.join(", ") };
        tracing::error!("{end}; whose doing it was is not known; at work: {at_work}");
        return None;
    };
    let how = match evidence {
        Evidence::InCall(call) => format!("in its {}", call_name(*call)),
        Evidence::OwnThread => "on a thread of its own".to_owned(),
        Evidence::Address => "by an address in its library".to_owned(),
        Evidence::OnlyInCall(call) => format!("perhaps: it alone was at work, in its {}", call_name(*call)),
    };
    tracing::error!("{end}: plugin {plugin}, {how}");
    let reason = match left.signal {
        Some(signal) => format!("{} {how}", name_of(signal)),
        None if left.exited => format!("exit {how}"),
        None => format!("an end that no handler saw, {how}"),
    };
    // Whoever kills the agent may do it while one is at work: that is held against
    // nobody. On probation a guess is enough.
    if !matches!(evidence, Evidence::OnlyInCall(_)) {
        let from = records.history(plugin).into_iter().find_map(|entry| entry.runs().cloned());
        records.happened(plugin, Entry::now(What::Crash, from, None, &reason));
    }
    roll_back(plugin, &reason, records, config).then(|| plugin.clone())
}

/// What took the agent down while its upgrade was on probation is held back, and
/// what ran before runs in its place.
fn roll_back(plugin: &str, why: &str, records: &Records, config: &Config) -> bool {
    let Some(section) = config.plugins.iter().find(|section| section.name == plugin) else { return false };
    let lineage = records.lineage(plugin);
    let Some((instead, on_probation)) = lineage.previous.zip(lineage.probation) else { return false };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let ran = records.history(plugin).into_iter().find_map(|entry| entry.runs().cloned());
    let is_on_probation = |file: &File| file.digest == on_probation.digest && now <= on_probation.until;
    let Some(bad) = ran.filter(is_on_probation) else { return false };
    tracing::error!(
        "plugin {plugin}: {} was on probation; {} runs in its place",
        bad.version,
        instead.version
    );
    let to = File { version: instead.version.clone(), digest: instead.digest.clone() };
    records.happened(plugin, Entry::now(What::Rollback, Some(bad.clone()), Some(to), why));
    // What ran by a word alone is nothing that this start is compared with.
    let served = lineage.ran.filter(|ran| ran.stored.digest != bad.digest);
    let ran = served.or_else(|| Some(Ran { stored: instead.clone(), known: on_probation.known }));
    let (digest, section) = (bad.digest, section.fingerprint());
    let held = Some(Held { digest, section, reason: why.to_owned(), instead });
    records.set_lineage(plugin, Lineage { held, ran, ..Lineage::default() });
    true
}

/// `SIGSEGV`
fn name_of(signal: i32) -> &'static str {
    let words = signal_in_words(signal);
    words.split(',').next().unwrap_or(words)
}

/// The call of a stamp's number.
fn call_name(number: u32) -> &'static str {
    crate::supervisor::Call::of_number(number).map_or("call", |call| call.as_str())
}

/// A boot's id as two words; another form is a boot that is like no other.
fn boot_words(id: &str) -> [u64; 2] {
    let digits: String = id.chars().filter(|digit| *digit != '-').collect();
    let word = |range: std::ops::Range<usize>| {
        digits.get(range).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or_default()
    };
    [word(0..16), word(16..32)]
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is whole after each statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_from_its_first_mapping_to_its_last() {
        let maps = "7f10000000-7f10001000 r--p 00000000 fe:00 12 /var/lib/gantry/store/acme.so\n\
                    7f10001000-7f10009000 r-xp 00001000 fe:00 12 /var/lib/gantry/store/acme.so\n\
                    7f20000000-7f20009000 r-xp 00001000 fe:00 13 /var/lib/gantry/store/other-acme.so\n\
                    7f10009000-7f1000a000 rw-p 00000000 00:00 0 \n\
                    garbage\n";
        let path = Path::new("/var/lib/gantry/store/acme.so");
        assert_eq!(mapped(maps, path), Some(0x7f_1000_0000..0x7f_1000_9000));
        assert_eq!(mapped(maps, Path::new("acme.so")), None, "the whole path");
    }

    #[test]
    fn crashes_of_another_file_and_those_forgiven_do_not_count() {
        let entry = |what, digest: &str, at| {
            let file = File { version: "1.0.0".to_owned(), digest: digest.to_owned() };
            Entry { at, ..Entry::now(what, Some(file), None, "") }
        };
        let crash = |digest, at| entry(What::Crash, digest, at);
        let two = [crash("a", 9.0), entry(What::Running, "a", 8.0), crash("a", 7.0)];
        assert_eq!(held_against(&two), [9.0, 7.0]);
        assert_eq!(held_against(&[crash("b", 9.0), crash("a", 8.0), crash("b", 7.0)]), [9.0, 7.0]);
        assert_eq!(held_against(&[crash("a", 9.0), entry(What::Forgiven, "a", 8.0), crash("a", 7.0)]), [9.0]);
        assert!(held_against(&[entry(What::Forgiven, "a", 8.0), crash("a", 7.0)]).is_empty());
        let upgrade = Entry { what: What::Upgrade, to: crash("b", 0.0).from, ..crash("a", 9.5) };
        assert!(held_against(&[upgrade, crash("a", 9.0), crash("a", 7.0)]).is_empty());
        let failed = Entry { what: What::UpgradeFailed, to: crash("b", 0.0).from, ..crash("a", 9.5) };
        assert_eq!(held_against(&[failed, crash("a", 9.0), crash("a", 7.0)]), [9.0, 7.0], "a goes on");
        let unknown = Entry { from: None, ..crash("", 7.0) };
        assert_eq!(held_against(&[crash("a", 9.0), unknown]), [9.0, 7.0]);
        assert!(held_against(&[]).is_empty());
    }

    #[test]
    fn replaced_handlers_are_said_once_and_again_when_they_stay() {
        let mut said = HashMap::new();
        let mut news = |who, are_back| is_news(&mut said, who, are_back);
        assert!(news("node", true) && !news("node", true), "once");
        assert!(news("node", false) && !news("node", false), "they stay from now on");
        assert!(!news("node", true) && !news("node", false), "now and then is said already");
        assert!(news("tcp", false) && !news("tcp", false), "at once");
    }

    #[test]
    fn whoever_may_have_replaced_handlers_is_named() {
        let found = Replaced { signals: vec![libc::SIGSEGV, libc::SIGBUS], handler: 1, are_back: true };
        let words = |whose| replaced_in_words(&found, &whose, "node", "collect");
        let line = words(Whose::Unknown(vec!["tcp".to_owned(), "dns".to_owned()]));
        assert!(line.starts_with("a plugin put handlers of its own"), "{line}");
        assert!(
            line.contains("for SIGSEGV, SIGBUS: node in its collect, or tcp, dns, at work then; "),
            "{line}"
        );
        assert!(words(Whose::OnlyInCall).contains("plugin node: it put"));
        assert!(words(Whose::Library("tcp".to_owned())).contains("plugin tcp: it put"));
    }

    #[test]
    fn boots_are_told_apart() {
        let one = boot_words("2a0f1c3e-0000-4000-8000-0123456789ab");
        assert_eq!(one, [0x2a0f_1c3e_0000_4000, 0x8000_0123_4567_89ab]);
        assert_eq!(boot_words(""), [0, 0]);
    }
}
