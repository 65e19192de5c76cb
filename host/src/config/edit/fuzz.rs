//! Edits of documents that nobody thought of.

use super::set_enabled;
use std::collections::BTreeMap;

/// The same numbers in every run (xorshift).
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).expect("below sides")
    }
    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.throw(of.len())]
    }
}

const NAMES: [&str; 5] = ["a", "b-2", "node", "tcp-ebpf", "x"];

/// Sections in every form that TOML has for them, between comments and blanks.
fn document(dice: &mut Dice) -> String {
    let newline = if dice.throw(3) == 0 { "\r\n" } else { "\n" };
    let mut head = String::new();
    let mut body = String::new();
    for name in NAMES {
        let quoted = dice.one(&["", "", "'", "\""]);
        let name = format!("{quoted}{name}{quoted}");
        let value = dice.one(&["true", "false"]);
        let gap = dice.one(&["", " ", "  ", "\t"]);
        let behind = dice.one(&["", " # enabled = true", "\t", "#[plugins.x]"]);
        let between = dice.one(&["", "\n", "# plugins.x.enabled = false\n", "\n# of it\n", "\n\n", "  \n"]);
        let line = format!("enabled{gap}={gap}{value}{behind}\n");
        let line = if dice.throw(2) == 0 { "" } else { &line };
        match dice.throw(9) {
            0 => {}
            1 => body
                .push_str(&format!("{between}{gap}[plugins.{name}]{behind}\n{gap}path = 'p'\n{gap}{line}")),
            2 => body.push_str(&format!("{between}[{gap}plugins{gap}.{gap}{name}{gap}]{behind}\n{line}")),
            3 => body.push_str(&format!("{between}{gap}[plugins.{name}.config]{behind}\nenabled = 'no'\n")),
            4 => body.push_str(&format!("{between}[[plugins.{name}.config.list]]{behind}\nenabled = 1\n")),
            5 => head.push_str(&format!(
                "plugins.{name}.path = '''\nenabled = true\n'''\n{}",
                prefixed(&name, line)
            )),
            6 => head.push_str(&format!("{between}plugins.{name}{gap}={gap}{{{gap}}}{behind}\n")),
            7 => head.push_str(&format!(
                "plugins.{name} = {{{gap}path = 'p',{gap}enabled = {value}{gap}}}{behind}\n"
            )),
            _ => {
                head.push_str(&format!("{gap}plugins{gap}.{gap}{name}.config.a = [ # c\n 1,\n]{behind}\n"));
                body.push_str(&format!("[plugins.{name}.config.more]\nenabled = 3\n"));
            }
        }
    }
    let text = format!("{head}{}{body}", dice.one(&["", "# [host]\n", "[host]\nstale = \"1m\"\n"]));
    let text = if dice.throw(4) == 0 { text.trim_end().to_owned() } else { text };
    format!("{}{}", dice.one(&["", "", "\u{feff}"]), text.replace('\n', newline))
}

fn prefixed(name: &str, line: &str) -> String {
    if line.is_empty() { String::new() } else { format!("plugins.{name}.{line}") }
}

/// `enabled` of each section.
fn enabled(text: &str) -> BTreeMap<String, bool> {
    let table: toml::Table = toml::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let plugins = table.get("plugins").and_then(toml::Value::as_table).cloned().unwrap_or_default();
    let value = |section: &toml::Value| section.get("enabled").and_then(toml::Value::as_bool);
    plugins.iter().map(|(name, section)| (name.clone(), value(section).unwrap_or(false))).collect()
}

/// What one text has and the other has not, where both are the same before and behind.
fn differing<'a>(old: &'a str, new: &'a str) -> (&'a str, &'a str) {
    let before = old.bytes().zip(new.bytes()).take_while(|(old, new)| old == new).count();
    let (old, new) = (&old[before..], &new[before..]);
    let behind = old.bytes().rev().zip(new.bytes().rev()).take_while(|(old, new)| old == new).count();
    (&old[..old.len() - behind], &new[..new.len() - behind])
}

#[test]
fn an_edit_does_what_it_says_and_nothing_else() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let (mut changed, mut inserted) = (0, 0);
    for _ in 0..4000 {
        let text = document(&mut dice);
        let plugin = NAMES[dice.throw(NAMES.len())];
        let on = dice.throw(3) > 0;
        let mut expected = enabled(&text);
        let outcome = set_enabled(&text, plugin, on);
        if !on && !expected.contains_key(plugin) {
            assert!(outcome.is_err(), "{text}");
            continue;
        }
        let edited = outcome.unwrap_or_else(|error| panic!("{plugin} {on}: {error}\n{text}"));
        let was = expected.insert(plugin.to_owned(), on);
        assert_eq!(enabled(&edited), expected, "{plugin} {on}\n{text}\n---\n{edited}");
        let (gone, new) = differing(&text, &edited);
        if was == Some(on) {
            assert_eq!(text, edited);
        } else if gone.is_empty() {
            inserted += 1;
            assert!(new.len() < 60, "{new:?}");
        } else {
            changed += 1;
            // `true` and `false` end alike.
            assert!([("fals", "tru"), ("tru", "fals")].contains(&(gone, new)), "{gone:?} -> {new:?}");
            assert_eq!(set_enabled(&edited, plugin, !on), Ok(text), "there and back");
        }
        assert_eq!(
            text_endings(&edited),
            text_endings(&edited.replace("\r\n", "\n").replace('\n', line_of(&edited)))
        );
    }
    assert!(changed > 300 && inserted > 500, "{changed} {inserted}");
}

/// How many lines end in each of the two ways.
fn text_endings(text: &str) -> (usize, usize) {
    let dos = text.matches("\r\n").count();
    (dos, text.matches('\n').count() - dos)
}

/// How the first line ends, as all then must.
fn line_of(text: &str) -> &'static str {
    if text.find('\n').is_some_and(|end| text[..end].ends_with('\r')) { "\r\n" } else { "\n" }
}
