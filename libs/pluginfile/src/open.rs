//! Opening a library and checking what crosses.

use crate::Instance;
use gantry_plugin_api::Error;
use gantry_plugin_api::abi::abi_stable::StableAbi;
use gantry_plugin_api::abi::abi_stable::abi_stability::abi_checking::check_layout_compatibility;
use gantry_plugin_api::abi::abi_stable::library::{
    IsLayoutChecked, LibHeader, LibraryError, lib_header_from_path,
};
use gantry_plugin_api::abi::types::result;
use gantry_plugin_api::abi::{HostBox, PluginModule_Ref};
use gantry_plugin_api::description::Description;
use std::fmt;
use std::path::Path;

/// An opened plugin library. Stays mapped for the life of the process.
#[derive(Clone, Copy)]
pub struct Library {
    module: PluginModule_Ref,
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Library").finish_non_exhaustive()
    }
}

/// Why a library could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The dynamic linker refused it.
    #[error("the dynamic linker refused it: {0}")]
    Linker(String),
    /// Its boundary has another shape.
    #[error(
        "its boundary does not fit this host's: {reason}; rebuild it with a gantry-plugin-api of this major version"
    )]
    Layout {
        /// The first difference.
        reason: String,
        /// All that the checker said; tens of kilobytes.
        report: String,
    },
    /// It did not give its module.
    #[error("its entry point failed: {0}")]
    Entry(String),
    /// Its description cannot be read.
    #[error("its description cannot be read: {0}")]
    Description(String),
}

impl Library {
    /// Opens a verified file. The path must never have been opened with other
    /// content in this process: the dynamic linker would give the old library.
    ///
    /// This runs the library's constructors.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        // The library leaks by design: see the crate's documentation.
        let header = lib_header_from_path(path).map_err(refusal)?;
        let module = match header.init_root_module::<PluginModule_Ref>() {
            Ok(module) => module,
            Err(forward @ LibraryError::AbiInstability(_)) => Self::older(header, forward)?,
            Err(error) => return Err(refusal(error)),
        };
        Ok(Self { module })
    }

    /// The checker refuses a library that has fewer fields than the host. Such
    /// a library is an older one if the host's layout has all of its fields:
    /// the same check with the sides changed.
    fn older(header: &'static LibHeader, forward: LibraryError) -> Result<PluginModule_Ref, OpenError> {
        let IsLayoutChecked::Yes(theirs) = header.root_mod_consts().layout() else {
            return Err(refusal(forward));
        };
        if let Err(backward) = check_layout_compatibility(theirs, <PluginModule_Ref as StableAbi>::LAYOUT) {
            // Forward, an older library always has too few fields; what is
            // wrong beyond that is seen backward.
            let report = backward.to_string();
            return Err(OpenError::Layout { reason: first_reason(&report), report });
        }
        // SAFETY: the layouts were compared just now, with the library's as the
        // expected one: all that it has, the host has too. What the host has
        // beyond that are suffixes of prefix types, which carry the number of
        // their fields: a missing one is seen at run time and never read.
        unsafe { header.init_root_module_with_unchecked_layout::<PluginModule_Ref>() }.map_err(refusal)
    }

    /// What the plugin declares.
    pub fn describe(&self) -> Result<Description, OpenError> {
        let json = (self.module.describe())();
        serde_json::from_str(&json).map_err(|error| OpenError::Description(error.to_string()))
    }

    /// Whether the plugin can read this configuration, a JSON object.
    pub fn check_config(&self, json: &str) -> Result<(), Error> {
        result((self.module.check_config())(json.into()))
    }

    /// A new instance, not started. `level` is the log level: 0 nothing, 1
    /// error, to 5 trace.
    pub fn create(&self, host: HostBox, level: u32) -> Result<Instance, Error> {
        result((self.module.create())(host, level)).map(Instance::new)
    }
}

fn refusal(error: LibraryError) -> OpenError {
    match error {
        LibraryError::OpenError { err, .. } | LibraryError::GetSymbolError { err, .. } => {
            OpenError::Linker(one_line(&err.to_string()))
        }
        LibraryError::AbiInstability(report) => {
            let report = report.to_string();
            OpenError::Layout { reason: first_reason(&report), report }
        }
        LibraryError::IncompatibleVersionNumber { expected_version, actual_version, .. } => {
            OpenError::Layout {
                reason: format!("it has version {actual_version}, this host {expected_version}"),
                report: String::new(),
            }
        }
        other => OpenError::Entry(one_line(&other.to_string())),
    }
}

/// The checker prints trees of types with the useful line at the end of each
/// block, after `Error:`. The last block is the innermost difference.
fn first_reason(report: &str) -> String {
    let block = report.rsplit("Error:").next().unwrap_or(report);
    let mut line = one_line(block);
    line.truncate(line.floor_char_boundary(200));
    line
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
