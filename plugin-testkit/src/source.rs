//! Where a plugin comes from: its crate, or a built library.

use crate::failure::Failure;
use gantry_plugin_api::abi::abi_stable::sabi_trait::TD_Opaque;
use gantry_plugin_api::abi::{AbiPlugin_TO, HostBox};
use gantry_plugin_api::description::Description;
use gantry_plugin_api::export::entry;
use gantry_plugin_api::manifest::ManifestInfo;
use gantry_plugin_api::{Error, Guard, Host, Plugin};
use gantry_pluginfile::{Instance, Library, inspect};
use std::path::Path;
use tempfile::TempDir;

/// Makes instances.
#[derive(Debug)]
pub(crate) enum Source {
    /// Compiled into the test.
    Crate(fn(HostBox) -> Instance),
    /// Opened from a copy of its own, so that no two kits share its statics.
    Library { library: Library, _copy: TempDir },
}

impl Source {
    /// A plugin of this process, and what it declares.
    pub(crate) fn of<P: Plugin>() -> (Self, Description) {
        let json = entry::describe::<P>(false);
        let description = serde_json::from_str(&json).unwrap_or_else(|_| {
            let plugin = std::any::type_name::<P>();
            panic!("{plugin}: families(), views() or its configuration's schema panicked; they only list")
        });
        gantry_plugin_api::metrics::number(P::families());
        (Source::Crate(make::<P>), description)
    }

    /// A built library. The manifest is the one in the file.
    pub(crate) fn library(path: &Path) -> Result<(Self, Description), Failure> {
        let refused = |reason: String| Failure::File { path: path.display().to_string(), reason };
        let bytes = std::fs::read(path)
            .map_err(|error| refused(format!("{error}; build the plugin first: cargo build")))?;
        let manifest: ManifestInfo = inspect(&bytes).map_err(|error| refused(error.to_string()))?;
        let copy = tempfile::Builder::new().prefix("gantry-kit-").tempdir();
        let copied = copy.and_then(|dir| {
            let file = dir.path().join("plugin.so");
            std::fs::write(&file, &bytes).map(|()| (dir, file))
        });
        let (dir, file) =
            copied.map_err(|error| refused(format!("no copy of it could be made: {error}; set TMPDIR")))?;
        let library = Library::open(&file).map_err(|error| refused(error.to_string()))?;
        let mut description = library.describe().map_err(|error| refused(error.to_string()))?;
        description.manifest = manifest;
        Ok((Source::Library { library, _copy: dir }, description))
    }

    /// A new instance, not started. For a plugin of this process the level is
    /// the kit's own matter.
    pub(crate) fn create(&self, host: HostBox, level: u32) -> Result<Instance, Error> {
        match self {
            Source::Crate(make) => Ok(make(host)),
            Source::Library { library, .. } => library.create(host, level),
        }
    }

    pub(crate) fn is_crate(&self) -> bool {
        matches!(self, Source::Crate(_))
    }
}

fn make<P: Plugin>(host: HostBox) -> Instance {
    // Not through the library's entry: that installs a panic hook for the whole
    // process, which would take the messages of failing tests away.
    let guard = Guard::<P>::new(Host::new(host), || 0);
    Instance::new(AbiPlugin_TO::from_value(guard, TD_Opaque))
}
