//! The newest file of a plugin that a range of versions takes.

use super::find::Found;
use super::{LoadError, file_name, trust};
use gantry_pluginfile::inspect;
use semver::{Version, VersionReq};
use std::path::{Path, PathBuf};

/// More files of one plugin than these are no choice but a mistake; each is
/// read as a whole.
const MOST_FILES: usize = 64;

/// Whether a range takes a version. One that is none, as old plugins may have,
/// is taken by no range.
pub fn fits(range: &VersionReq, version: &str) -> bool {
    Version::parse(version).is_ok_and(|version| range.matches(&version))
}

/// Looks at `libgantry_NAME.so` and `libgantry_NAME-VERSION.so` in all
/// directories, and reads what each says of itself. Of the same version the
/// one in the first directory is taken. One that cannot be used is passed over,
/// and named with what is found.
pub fn newest(
    plugin: &str,
    range: &VersionReq,
    vendor: &[PathBuf],
    plugin_dirs: &[PathBuf],
) -> Result<Found, LoadError> {
    let dirs = vendor.iter().map(|dir| (dir, true)).chain(plugin_dirs.iter().map(|dir| (dir, false)));
    let (mut best, mut seen): (Option<(Version, Found)>, Vec<String>) = (None, Vec::new());
    let mut passed_over = Vec::new();
    let mut files = 0;
    for (dir, vendor) in dirs {
        for path in candidates(dir, plugin) {
            files += 1;
            if files > MOST_FILES {
                return Err(LoadError(format!(
                    "there are more than {MOST_FILES} files of {plugin}; take out those that are not used, or name \
                     one with path in [plugins.{plugin}]"
                )));
            }
            match version_of(&path, plugin) {
                Ok(version) => {
                    seen.push(format!("{version} ({})", path.display()));
                    let newer = best.as_ref().is_none_or(|(best, _)| version > *best);
                    if newer && range.matches(&version) {
                        best = Some((version, Found::at(path, vendor)));
                    }
                }
                Err(why) => {
                    let unusable = format!("{}: {why}", path.display());
                    passed_over.push(format!("a file of it is passed over, newer or not: {unusable}"));
                    seen.push(unusable);
                }
            }
        }
    }
    best.map(|(_, found)| Found { passed_over, ..found }).ok_or_else(|| {
        let there_is = if seen.is_empty() { "there is none".to_owned() } else { format!("there are: {}", seen.join(", ")) };
        let looked: Vec<String> = vendor.iter().chain(plugin_dirs).map(|dir| dir.display().to_string()).collect();
        LoadError(format!(
            "no file of {plugin} in {} is of version = \"{range}\"; {there_is}; install one, or change version in \
             [plugins.{plugin}]",
            looked.join(", ")
        ))
    })
}

/// In the order of their names, so that the choice among the same is too.
fn candidates(dir: &Path, plugin: &str) -> Vec<PathBuf> {
    let plain = file_name(plugin);
    let stem = format!("{}-", plain.trim_end_matches(".so"));
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let is_one = |name: &str| name == plain || name.starts_with(&stem) && name.ends_with(".so");
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| is_one(name)).collect();
    names.sort();
    names.iter().map(|name| dir.join(name)).collect()
}

fn version_of(path: &Path, plugin: &str) -> Result<Version, String> {
    let bytes = trust::read(path)?;
    let manifest = inspect(&bytes.content).map_err(|error| error.to_string())?;
    if manifest.name != plugin {
        return Err(format!("it is the plugin {:?}", manifest.name));
    }
    Version::parse(&manifest.version).map_err(|error| format!("its version {:?}: {error}", manifest.version))
}
