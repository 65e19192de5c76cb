//! Label values: how they come from the arena, what the host adds, and how
//! both are written.

use crate::escape;
use std::sync::Arc;

/// The longest value of a label, in bytes. The longest that is known is a log
/// line, cut to 4096; where these are characters they take four times that.
pub const MAX_LABEL_BYTES: usize = 16 << 10;

/// Each value in the arena stands behind its length, in this many bytes.
pub(crate) const PREFIX: usize = size_of::<u32>();

/// What the host adds to the labels of each series.
pub trait Labels {
    /// For the node's families. No `az` or `region` here: families of the node
    /// may have labels of these names.
    fn node(&self) -> Constant<'_>;

    /// What the labels of all containers and groups begin with, up to a comma
    /// and with it: it is kept once. What is said of each is the rest, which is
    /// then not empty.
    fn common(&self) -> &str {
        ""
    }

    /// For the families of containers: who this is at this collection. `None`:
    /// there is none of this handle (any more); its samples are refused and
    /// its series dropped.
    ///
    /// No two containers that are shown, and no container and group, may have
    /// the same text: of the one that came later nothing is taken, and its
    /// samples are refused as [`crate::Reason::Duplicate`].
    fn container(&self, handle: u64) -> Option<Member<'_>>;

    /// A group that a [`Member`] names. `None`: it is no more; its series are
    /// dropped, and samples of members that still name it are refused.
    fn group(&self, group: u64) -> Option<Group<'_>>;
}

/// Labels that the host adds, ready to be written.
#[derive(Clone, Copy, Debug)]
pub struct Constant<'a> {
    text: Lent<'a>,
    pub(crate) epoch: u64,
}

/// A text, of which a table keeps a copy or its share.
#[derive(Clone, Copy, Debug)]
enum Lent<'a> {
    Copied(&'a str),
    Shared(&'a Arc<str>),
}

impl<'a> Constant<'a> {
    /// Of a text as [`render_labels`] writes it: `a="b",c="d"`, without braces;
    /// may be empty. `epoch` changes when the text of the same handle changes.
    pub fn new(text: &'a str, epoch: u64) -> Self {
        Self { text: Lent::Copied(text), epoch }
    }

    /// The same, of a text that is kept once for all who have it: there is one
    /// for each container.
    pub fn shared(text: &'a Arc<str>, epoch: u64) -> Self {
        Self { text: Lent::Shared(text), epoch }
    }

    pub(crate) fn to_text(self) -> Arc<str> {
        match self.text {
            Lent::Copied(text) => text.into(),
            Lent::Shared(text) => text.clone(),
        }
    }
}

/// A container, and how its series are shown.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// Its own labels; not looked at where it is in a group.
    pub labels: Constant<'a>,
    /// It is counted and not shown yet: too young, or its name is awaited. Its
    /// series are taken and kept as all others and not written, nor are they
    /// in the sums of its group.
    pub held: bool,
    /// It is gone, and its last values stay: a series that is no longer emitted
    /// is kept as it was, for as long as the host says so.
    pub gone: bool,
    /// With whom it is one: two cgroups of one id, the runs of a cron job, the
    /// short-lived ones of a runtime. The numbers have nothing to do with
    /// handles. A container may join a group at any time, and brings its last
    /// values; it should not leave while the group is there: what the group has
    /// counted of it stays there, and its own series have it too.
    pub group: Option<u64>,
}

impl<'a> Member<'a> {
    /// A container that is there, shown by itself.
    pub fn shown(labels: Constant<'a>) -> Self {
        Self { labels, held: false, gone: false, group: None }
    }
}

/// Containers that are one in the text. Each series is the sum over those who
/// have it, and what those had last who are gone; of a gauge it is the sum, or
/// the largest ([`gantry_plugin_api::description::Merge`]), over those who have
/// it now.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    /// The labels of its series.
    pub labels: Constant<'a>,
    /// All its members are gone, and its last values stay: a gauge that no
    /// member has any more is kept as it was, else it goes. Counters and
    /// histograms stay as long as the group is known.
    pub gone: bool,
    /// The counts of its members all began at 0 when nobody saw them, the
    /// kernel's too: a series of the group shows 0 first, whatever
    /// [`crate::Table::take`] was told, so that the first count is an increase.
    pub from_zero: bool,
}

/// Writes labels as `a="b",c="d"`, with their values escaped. The names are
/// the host's own and are not checked.
pub fn render_labels<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = Vec::new();
    for (name, value) in pairs {
        if !out.is_empty() {
            out.push(b',');
        }
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"=\"");
        escape::label(&mut out, value.as_bytes());
        out.push(b'"');
    }
    String::from_utf8(out).expect("text with ASCII between stays UTF-8")
}

/// The values in a slice of the arena.
pub(crate) fn values(mut labels: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = labels.split_first_chunk::<PREFIX>()?;
        let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        labels = rest;
        Some(value)
    })
}

/// Writes the values between what the family writes around them (`glue`, one
/// more than there are values). Whether none had to be escaped.
pub(crate) fn write(out: &mut Vec<u8>, glue: &[Box<[u8]>], labels: &[u8]) -> bool {
    let mut plain = true;
    for (glue, value) in glue.iter().zip(values(labels)) {
        out.extend_from_slice(glue);
        plain &= !value.iter().any(|&byte| escape::is_special(byte));
        escape::label(out, value);
    }
    out.extend_from_slice(glue.last().map_or(&[][..], |last| last));
    plain
}

/// Whether `written` is what these values would be written as. `plain` says
/// that nothing was escaped in it: a value that needs escapes then never fits,
/// as the quotes are those of the glue alone and there is no backslash.
pub(crate) fn is_written(written: &[u8], plain: bool, glue: &[Box<[u8]>], labels: &[u8]) -> bool {
    let mut rest = written;
    for (glue, value) in glue.iter().zip(values(labels)) {
        let Some(after) = rest.strip_prefix(&glue[..]) else { return false };
        let after = if plain { after.strip_prefix(value) } else { escape::strip_label(after, value) };
        let Some(after) = after else { return false };
        rest = after;
    }
    rest == glue.last().map_or(&[][..], |last| last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(texts: &[&str]) -> Vec<u8> {
        texts.iter().flat_map(|text| [&(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()).collect()
    }

    fn glue(texts: &[&str]) -> Vec<Box<[u8]>> {
        texts.iter().map(|text| text.as_bytes().into()).collect()
    }

    #[test]
    fn renders() {
        assert_eq!(render_labels([]), "");
        assert_eq!(render_labels([("a", "x\"\\\n"), ("b", "")]), r#"a="x\"\\\n",b="""#);
    }

    #[test]
    fn values_of_a_torn_slice_end() {
        let whole = raw(&["ab", "", "c"]);
        assert_eq!(values(&whole).collect::<Vec<_>>(), [&b"ab"[..], b"", b"c"]);
        assert_eq!(values(&whole[..5]).count(), 0);
    }

    #[test]
    fn plain_text_is_never_taken_for_escaped() {
        let glue = glue(&["m{a=\"", "\",b=\"", "\""]);
        let written = |texts: &[&str]| {
            let mut out = Vec::new();
            let plain = write(&mut out, &glue, &raw(texts));
            (out, plain)
        };
        let (out, plain) = written(&["x", "y"]);
        assert_eq!((out.as_slice(), plain), (&br#"m{a="x",b="y""#[..], true));
        assert!(is_written(&out, true, &glue, &raw(&["x", "y"])));
        for other in [["x", "yy"], ["x", ""], ["", "xy"], ["x\",b=\"y", ""], ["xy", ""]] {
            assert!(!is_written(&out, true, &glue, &raw(&other)), "{other:?}");
        }
        let (out, plain) = written(&["\\\"", "y\n"]);
        assert_eq!((out.as_slice(), plain), (&br#"m{a="\\\"",b="y\n""#[..], false));
        assert!(is_written(&out, false, &glue, &raw(&["\\\"", "y\n"])));
        for other in
            [["\"", "y\n"], ["\\\\\\\"", "y\\n"], ["\\\"", "y"], ["\\\"", "y\n\n"], ["\\", "\",b=\"y\n"]]
        {
            assert!(!is_written(&out, false, &glue, &raw(&other)), "{other:?}");
        }
    }
}
