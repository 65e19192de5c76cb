//! What is constant about a plugin, readable from its file without running it.
//!
//! [`crate::export_plugin!`] writes the manifest as JSON into the ELF section
//! [`SECTION`], which survives `strip`. The host reads it before the library
//! is opened, and refuses in one sentence what cannot work.

use serde::{Deserialize, Serialize};

/// The name of the ELF section.
pub const SECTION: &str = ".gantry_manifest";

/// The longest encoded manifest, in bytes. Longer ones fail to compile.
pub const MAX_ENCODED: usize = 16 * 1024;

/// What a plugin says of itself; build it with [`Manifest::new`].
#[derive(Debug, Clone, Copy)]
pub struct Manifest {
    name: &'static str,
    version: &'static str,
    description: &'static str,
    min_host_api: &'static str,
    exclusive: bool,
    claims: &'static [&'static str],
    provides_identity: &'static [&'static str],
    provides_facts: &'static [&'static str],
    needs: &'static [Need],
}

/// One thing that a plugin needs of a node, with the reason an operator reads.
#[derive(Debug, Clone, Copy)]
pub struct Need {
    kind: &'static str,
    what: &'static str,
    why: &'static str,
    optional: bool,
}

impl Need {
    /// A Linux capability, as `CAP_BPF`.
    pub const fn capability(what: &'static str, why: &'static str) -> Self {
        Self::of("capability", what, why)
    }
    /// A path that must be readable.
    pub const fn path(what: &'static str, why: &'static str) -> Self {
        Self::of("path", what, why)
    }
    /// The oldest kernel, as `5.10`.
    pub const fn kernel(what: &'static str, why: &'static str) -> Self {
        Self::of("kernel", what, why)
    }
    /// BTF of the running kernel (`/sys/kernel/btf/vmlinux`).
    pub const fn btf(why: &'static str) -> Self {
        Self::of("btf", "vmlinux", why)
    }
    /// Something that only one plugin can hold: a port, a pinned map.
    pub const fn exclusive(what: &'static str, why: &'static str) -> Self {
        Self::of("exclusive", what, why)
    }
    /// Without it the plugin works, with less to show.
    pub const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }
    const fn of(kind: &'static str, what: &'static str, why: &'static str) -> Self {
        Self { kind, what, why, optional: false }
    }
}

impl Manifest {
    /// A manifest with the three facts that each plugin has. `name` matches
    /// `[a-z][a-z0-9-]*` and is at most 64 bytes; `version` is `MAJOR.MINOR.PATCH`,
    /// usually `env!("CARGO_PKG_VERSION")`.
    ///
    /// # Panics
    /// At compile time, where the name or the version has another form.
    pub const fn new(name: &'static str, version: &'static str, description: &'static str) -> Self {
        assert!(valid_name(name), "a plugin's name matches [a-z][a-z0-9-]* and is at most 64 bytes");
        assert!(valid_version(version), "a plugin's version is MAJOR.MINOR.PATCH, at most 64 bytes");
        Self {
            name,
            version,
            description,
            min_host_api: "1.0",
            exclusive: false,
            claims: &[],
            provides_identity: &[],
            provides_facts: &[],
            needs: &[],
        }
    }
    /// The oldest host that it runs on, as `MAJOR.MINOR` of [`crate::API_VERSION`].
    ///
    /// # Panics
    /// At compile time, where it has another form.
    pub const fn min_host_api(mut self, version: &'static str) -> Self {
        assert!(numbers(version.as_bytes(), 2), "the oldest host is MAJOR.MINOR");
        self.min_host_api = version;
        self
    }
    /// Two generations must never run at the same time: at an upgrade the old
    /// one is stopped before the new one starts.
    pub const fn exclusive(mut self) -> Self {
        self.exclusive = true;
        self
    }
    /// Prefixes of metric names that are this plugin's alone, each ending in `_`.
    pub const fn claims(mut self, prefixes: &'static [&'static str]) -> Self {
        self.claims = prefixes;
        self
    }
    /// The container runtimes whose metadata it brings to the identity service.
    pub const fn provides_identity(mut self, runtimes: &'static [&'static str]) -> Self {
        self.provides_identity = runtimes;
        self
    }
    /// The node facts that it sets, as `region`.
    pub const fn provides_facts(mut self, facts: &'static [&'static str]) -> Self {
        self.provides_facts = facts;
        self
    }
    /// What it needs of the node.
    pub const fn needs(mut self, needs: &'static [Need]) -> Self {
        self.needs = needs;
        self
    }
    /// The plugin's name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The JSON text of the section. `aborts` says that the library was built
    /// with `panic = "abort"`.
    #[doc(hidden)]
    pub const fn encode(&self, aborts: bool) -> Encoded {
        let json = Encoded { bytes: [0; MAX_ENCODED], len: 0 }
            .raw("{\"gantry_manifest\":1,\"name\":")
            .text(self.name)
            .raw(",\"version\":")
            .text(self.version)
            .raw(",\"description\":")
            .text(self.description)
            .raw(",\"api\":")
            .text(crate::API_VERSION)
            .raw(",\"min_host_api\":")
            .text(self.min_host_api)
            .raw(",\"panic\":")
            .text(if aborts { "abort" } else { "unwind" })
            .raw(",\"exclusive\":")
            .raw(if self.exclusive { "true" } else { "false" })
            .raw(",\"claims\":")
            .list(self.claims)
            .raw(",\"provides_identity\":")
            .list(self.provides_identity)
            .raw(",\"provides_facts\":")
            .list(self.provides_facts)
            .raw(",\"needs\":[");
        json.needs(self.needs).raw("]}")
    }
}

const fn valid_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.len() > 64 || !bytes[0].is_ascii_lowercase() {
        return false;
    }
    let mut at = 0;
    while at < bytes.len() {
        if !(bytes[at].is_ascii_lowercase() || bytes[at].is_ascii_digit() || bytes[at] == b'-') {
            return false;
        }
        at += 1;
    }
    true
}

/// Numbers and a pre-release or build part of semantic versioning: the version
/// becomes part of a file's name.
const fn valid_version(version: &str) -> bool {
    let bytes = version.as_bytes();
    let mut end = 0;
    while end < bytes.len() && bytes[end] != b'-' && bytes[end] != b'+' {
        end += 1;
    }
    let (front, mut rest) = bytes.split_at(end);
    while let [byte, tail @ ..] = rest {
        if !(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+')) {
            return false;
        }
        rest = tail;
    }
    bytes.len() <= 64 && numbers(front, 3)
}

/// Whether these are so many whole numbers with points between them.
const fn numbers(mut bytes: &[u8], count: usize) -> bool {
    let (mut numbers, mut digits) = (1, 0);
    while let [byte, tail @ ..] = bytes {
        match byte {
            b'0'..=b'9' => digits += 1,
            b'.' if digits > 0 => (numbers, digits) = (numbers + 1, 0),
            _ => return false,
        }
        bytes = tail;
    }
    digits > 0 && numbers == count
}

/// A JSON text that is made at compile time.
#[doc(hidden)]
pub struct Encoded {
    bytes: [u8; MAX_ENCODED],
    len: usize,
}

impl Encoded {
    /// How long it is.
    pub const fn len(&self) -> usize {
        self.len
    }
    /// Whether there is nothing in it.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// The text itself, of exactly `N` bytes.
    pub const fn to_array<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        let mut at = 0;
        while at < N {
            out[at] = self.bytes[at];
            at += 1;
        }
        out
    }
    const fn byte(mut self, byte: u8) -> Self {
        assert!(self.len < MAX_ENCODED, "the manifest is longer than 16 KiB");
        self.bytes[self.len] = byte;
        self.len += 1;
        self
    }
    const fn raw(mut self, text: &str) -> Self {
        let mut at = 0;
        while at < text.len() {
            self = self.byte(text.as_bytes()[at]);
            at += 1;
        }
        self
    }
    const fn text(mut self, text: &str) -> Self {
        self = self.byte(b'"');
        let mut at = 0;
        while at < text.len() {
            let byte = text.as_bytes()[at];
            self = match byte {
                b'"' | b'\\' => self.byte(b'\\').byte(byte),
                b'\n' => self.raw("\\n"),
                0..0x20 => self.byte(b' '),
                _ => self.byte(byte),
            };
            at += 1;
        }
        self.byte(b'"')
    }
    const fn list(mut self, texts: &[&str]) -> Self {
        self = self.byte(b'[');
        let mut at = 0;
        while at < texts.len() {
            if at > 0 {
                self = self.byte(b',');
            }
            self = self.text(texts[at]);
            at += 1;
        }
        self.byte(b']')
    }
    const fn needs(mut self, needs: &[Need]) -> Self {
        let mut at = 0;
        while at < needs.len() {
            if at > 0 {
                self = self.byte(b',');
            }
            self = self
                .raw("{\"kind\":")
                .text(needs[at].kind)
                .raw(",\"what\":")
                .text(needs[at].what)
                .raw(",\"why\":")
                .text(needs[at].why)
                .raw(",\"optional\":")
                .raw(if needs[at].optional { "true}" } else { "false}" });
            at += 1;
        }
        self
    }
}

/// A manifest as it is read back from a file. Fields that this version does
/// not know are passed over, so that a newer plugin's manifest can be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ManifestInfo {
    /// The form of the manifest itself; 1.
    pub gantry_manifest: u32,
    /// The plugin's name.
    pub name: String,
    /// The plugin's own version.
    pub version: String,
    /// One line for people.
    #[serde(default)]
    pub description: String,
    /// The boundary it was built with, `MAJOR.MINOR`.
    pub api: String,
    /// The oldest host it runs on, `MAJOR.MINOR`.
    pub min_host_api: String,
    /// `unwind` or `abort`.
    pub panic: String,
    /// See [`Manifest::exclusive`].
    #[serde(default)]
    pub exclusive: bool,
    /// See [`Manifest::claims`].
    #[serde(default)]
    pub claims: Vec<String>,
    /// See [`Manifest::provides_identity`].
    #[serde(default)]
    pub provides_identity: Vec<String>,
    /// See [`Manifest::provides_facts`].
    #[serde(default)]
    pub provides_facts: Vec<String>,
    /// See [`Manifest::needs`].
    #[serde(default)]
    pub needs: Vec<NeedInfo>,
}

/// A [`Need`] as it is read back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NeedInfo {
    /// `capability`, `path`, `kernel`, `btf`, `exclusive`, or one that a newer plugin knows.
    pub kind: String,
    /// Which one.
    pub what: String,
    /// The reason.
    pub why: String,
    /// Whether the plugin works without it.
    #[serde(default)]
    pub optional: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_read_back() {
        const MANIFEST: Manifest = Manifest::new("demo-1", "1.2.3", "says \"hi\"\\\n\u{7}é")
            .exclusive()
            .claims(&["demo_", "other_"])
            .provides_identity(&["docker"])
            .provides_facts(&["az"])
            .needs(&[Need::capability("CAP_BPF", "to load programs"), Need::btf("offsets").optional()]);
        const ENCODED: Encoded = MANIFEST.encode(true);
        static BYTES: [u8; ENCODED.len()] = ENCODED.to_array();
        let read: ManifestInfo = serde_json::from_slice(&BYTES).expect("valid JSON");
        assert_eq!(read.name, "demo-1");
        assert_eq!(read.description, "says \"hi\"\\\n é");
        assert_eq!(read.api, crate::API_VERSION);
        assert_eq!(read.panic, "abort");
        assert!(read.exclusive);
        assert_eq!(read.claims, ["demo_", "other_"]);
        assert_eq!(read.needs[0].what, "CAP_BPF");
        assert!(!read.needs[0].optional && read.needs[1].optional);
    }

    #[test]
    fn the_api_version_is_the_crate_s() {
        assert!(env!("CARGO_PKG_VERSION").starts_with(&format!("{}.", crate::API_VERSION)));
    }

    #[test]
    fn names_that_are_no_file_names_are_refused() {
        for bad in ["", "Upper", "-dash", "9nine", "a/b", "a b", "ä"] {
            assert!(!valid_name(bad), "{bad:?}");
        }
        assert!(valid_name("tcp-ebpf"));
    }

    #[test]
    fn versions_that_are_no_file_names_are_refused() {
        for bad in
            ["", "1", "1.2", "1..2", ".1.2", "1.2.", "1.2.3.4", "1.2.x", "../1.2.3", "1.2.3-a/b", "1.2.3 "]
        {
            assert!(!valid_version(bad), "{bad:?}");
        }
        for good in ["1.2.3", "0.1.0-rc.1", "1.0.0+build.7"] {
            assert!(valid_version(good), "{good:?}");
        }
    }
}
