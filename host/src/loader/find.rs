//! Where a plugin's file is.

use super::{LoadError, file_name, vendor_dirs, versions};
use crate::config::PluginConfig;
use std::path::PathBuf;

/// A file, and whether it lies in a vendor directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub path: PathBuf,
    pub vendor: bool,
    /// Of a choice by version: files that may have been newer, and why they were no
    /// candidates.
    pub passed_over: Vec<String>,
}

impl Found {
    /// Where there was no choice.
    pub fn at(path: PathBuf, vendor: bool) -> Self {
        Self { path, vendor, passed_over: Vec::new() }
    }
}

/// By its `path`, or by its name in the vendor directories and then in
/// `plugin_dirs`; with a range of versions the newest of all that fit.
pub fn find(plugin: &PluginConfig, plugin_dirs: &[PathBuf]) -> Result<Found, LoadError> {
    let vendor = vendor_dirs();
    if let Some(path) = &plugin.path {
        if let Err(error) = path.metadata() {
            return Err(LoadError(format!(
                "{} is not there ({error}); put it there, correct path in [plugins.{}], or take it out to look in the usual places",
                path.display(),
                plugin.name
            )));
        }
        let real = path.canonicalize().unwrap_or_else(|_| path.clone());
        let vendor = real
            .parent()
            .is_some_and(|parent| vendor.iter().any(|dir| dir.canonicalize().is_ok_and(|dir| dir == parent)));
        return Ok(Found::at(path.clone(), vendor));
    }
    if let Some(range) = &plugin.version {
        return versions::newest(&plugin.name, range, &vendor, plugin_dirs);
    }
    let name = file_name(&plugin.name);
    let candidates = vendor.iter().map(|dir| (dir, true)).chain(plugin_dirs.iter().map(|dir| (dir, false)));
    let mut looked = Vec::new();
    for (dir, vendor) in candidates {
        let path = dir.join(&name);
        if path.exists() {
            return Ok(Found::at(path, vendor));
        }
        looked.push(dir.display().to_string());
    }
    Err(LoadError(format!(
        "{name} is in none of {}; install it there, or name it with path in [plugins.{}]",
        looked.join(", "),
        plugin.name
    )))
}
