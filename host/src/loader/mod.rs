//! From a name in the configuration to an opened library.
//!
//! Find the file, judge who could have changed it, read it once, compare its
//! digest, read its manifest, place those very bytes where nobody changes them,
//! try them in a child, and only then open them here.

mod find;
mod place;
mod probe;
mod sweep;
mod trust;
mod versions;

use find::{Found, find};
pub use place::{Place, Placer};
pub use probe::{OPTION as PROBE_OPTION, Probed, run_child};
pub use sweep::sweep;
pub use trust::{Bytes, digest};

use crate::config::{Isolation, PluginConfig};
use crate::isolation::{DEFAULT_MEMORY, Rights};
use gantry_plugin_api::manifest::ManifestInfo;
use gantry_pluginfile::inspect;
use std::path::{Path, PathBuf};

/// Why a plugin could not be loaded: one line with what, where, remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LoadError(pub String);

/// A verified file: its bytes are those that were judged, until they are placed.
#[derive(Debug)]
pub struct Verified {
    pub source: PathBuf,
    pub manifest: ManifestInfo,
    pub bytes: Bytes,
    /// It came from a vendor directory.
    pub vendor: bool,
    pub isolation: Isolation,
    /// In a process of its own; in the agent's it has all of the agent's.
    pub rights: Rights,
    /// Other files of it that may be newer and cannot be used, and why.
    pub passed_over: Vec<String>,
}

impl Verified {
    /// Of its process, where it has one.
    pub fn confined(&self) -> Option<Rights> {
        (self.isolation == Isolation::Process).then_some(self.rights)
    }

    /// The capabilities that it asks for and does not get, each with what to
    /// do about it.
    pub fn not_granted(&self) -> Vec<String> {
        let Some(rights) = self.confined() else { return Vec::new() };
        let lacking = rights.lacking(&self.manifest);
        let said = |(what, why, optional): (&str, &str, bool)| {
            let how = if optional { "can use" } else { "needs" };
            format!(
                "it {how} {what} ({why}), which is not granted: add it to grant in [plugins.{}]",
                self.manifest.name
            )
        };
        lacking.map(said).collect()
    }
}

/// A plugin that was tried in a child and may be opened.
#[derive(Debug)]
pub struct Loaded {
    pub verified: Verified,
    pub place: Place,
    pub probed: Probed,
}

/// What a plugin says of itself, where its file can be found and read; whether
/// it may be opened is not judged.
///
/// This is one reading more than loading needs: capabilities go before there is a
/// second thread, and of plugins too that are not enabled. To keep the bytes of
/// all of them until then would cost memory, and what is opened must be what was
/// judged. The page cache has the file, and its digest is not made here.
pub fn manifest(plugin: &PluginConfig, plugin_dirs: &[PathBuf]) -> Option<ManifestInfo> {
    let found = find(plugin, plugin_dirs).ok()?;
    let (content, _) = trust::content(&found.path).ok()?;
    inspect(&content).ok()
}

/// Finds and verifies; runs nothing of the plugin's.
pub fn verify(plugin: &PluginConfig, plugin_dirs: &[PathBuf]) -> Result<Verified, LoadError> {
    verify_found(plugin, find(plugin, plugin_dirs)?)
}

/// As [`verify`], of a file in the store that ran before; it must have that digest.
pub fn verify_stored(
    plugin: &PluginConfig,
    file: &Path,
    digest: &str,
    vendor: bool,
) -> Result<Verified, LoadError> {
    let any = PluginConfig { sha256: None, version: None, ..plugin.clone() };
    let verified = verify_found(&any, Found::at(file.to_owned(), vendor))?;
    if verified.bytes.digest == digest {
        return Ok(verified);
    }
    let (file, is) = (file.display(), &verified.bytes.digest);
    Err(LoadError(format!(
        "{file}: it is another file than the one that ran: its sha256 is {is}, not {digest}"
    )))
}

fn verify_found(plugin: &PluginConfig, found: Found) -> Result<Verified, LoadError> {
    let at = |message: String| LoadError(format!("{}: {message}", found.path.display()));
    let bytes = trust::read(&found.path).map_err(at)?;
    if let Some(pin) = &plugin.sha256
        && *pin != bytes.digest
    {
        return Err(at(format!("its sha256 is {}, the configuration pins {pin}", bytes.digest)));
    }
    let manifest = inspect(&bytes.content).map_err(|error| at(error.to_string()))?;
    if manifest.name != plugin.name {
        return Err(at(format!(
            "it is the plugin {:?}, not {:?}; name its section [plugins.{}]",
            manifest.name, plugin.name, manifest.name
        )));
    }
    if let Some(range) = &plugin.version
        && !versions::fits(range, &manifest.version)
    {
        return Err(at(format!(
            "it is {} {}, and version = \"{range}\" in [plugins.{}] does not take that",
            manifest.name, manifest.version, plugin.name
        )));
    }
    let aborts = manifest.panic == "abort";
    if aborts && plugin.isolation == Some(Isolation::None) {
        return Err(at(format!(
            "{} {} is built with panic = \"abort\", so that a panic would end the agent; take isolation = \"none\" out \
             of [plugins.{}], or build it with panic = \"unwind\"",
            manifest.name, manifest.version, plugin.name
        )));
    }
    let by_default = if found.vendor && !aborts { Isolation::None } else { Isolation::Process };
    let isolation = plugin.isolation.unwrap_or(by_default);
    let rights = Rights::of(&manifest, found.vendor, &plugin.grant, plugin.memory);
    let Found { path: source, vendor, passed_over } = found;
    Ok(Verified { source, manifest, bytes, vendor, isolation, rights, passed_over })
}

/// Places what was verified, and tries it in a child.
pub fn load(
    plugin: &PluginConfig,
    mut verified: Verified,
    placer: &Placer,
    log: &mut dyn FnMut(String),
) -> Result<Loaded, LoadError> {
    let source = verified.source.clone();
    let at = |message: String| LoadError(format!("{}: {message}", source.display()));
    for passed_over in &verified.passed_over {
        log(passed_over.clone());
    }
    for key in without_effect(plugin, &verified) {
        log(format!(
            "{key} in [plugins.{}] does nothing: its file lies in a vendor directory, so that it runs in the agent's \
             own process and has all of the agent's; remove it, or write isolation = \"process\"",
            plugin.name
        ));
    }
    let place = placer.place(&verified, log).map_err(at)?;
    // Megabytes that nobody asks for again.
    verified.bytes.content = Vec::new();
    let confined = verified.confined();
    let probed = probe::in_child(place.path(), &plugin.table.to_json(), confined).map_err(at)?;
    if probed.description.manifest != verified.manifest {
        return Err(at(
            "the manifest in its file and the one it gives when asked differ; build it again".to_owned()
        ));
    }
    place.keep_description(&probed.description, log);
    Ok(Loaded { verified, place, probed })
}

/// Keys of a section that are for a process of its own alone, where it has none.
fn without_effect(plugin: &PluginConfig, verified: &Verified) -> impl Iterator<Item = &'static str> {
    let written = [("grant", !plugin.grant.is_empty()), ("memory", plugin.memory != DEFAULT_MEMORY)];
    let in_process = verified.isolation == Isolation::None;
    written.into_iter().filter(move |(_, written)| in_process && *written).map(|(key, _)| key)
}

/// `libgantry_tcp_ebpf.so`
pub fn file_name(plugin: &str) -> String {
    format!("libgantry_{}.so", plugin.replace('-', "_"))
}

/// The directories whose plugins are ours: beside the binary, and the system's.
pub fn vendor_dirs() -> Vec<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned));
    beside.into_iter().chain(["/usr/lib/gantry/plugins".into()]).collect()
}
