//! The root module: what a host finds in a library.

use super::host::HostBox;
use super::plugin::PluginBox;
use super::types::AbiError;
use abi_stable::StableAbi;
use abi_stable::library::RootModule;
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::{RResult, RStr, RString};

/// What a library exports. Later fields come behind the last prefix field and
/// are `missing_field(option)`.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginModule_Ref)))]
#[sabi(missing_field(panic))]
pub struct PluginModule {
    /// [`crate::description::Description`] as JSON. Runs nothing of the plugin's life.
    pub describe: extern "C" fn() -> RString,
    /// Whether a configuration (JSON) can be read; the message names the key.
    pub check_config: extern "C" fn(RStr<'_>) -> RResult<(), AbiError>,
    /// A new instance, not started.
    #[sabi(last_prefix_field)]
    pub create: extern "C" fn(HostBox, u32) -> RResult<PluginBox, AbiError>,
}

impl RootModule for PluginModule_Ref {
    abi_stable::declare_root_module_statics! {PluginModule_Ref}
    const BASE_NAME: &'static str = "gantry_plugin";
    const NAME: &'static str = "gantry_plugin";
    const VERSION_STRINGS: VersionStrings = abi_stable::package_version_strings!();
}

/// The header that a library exports. `load` must come from
/// [`crate::export_plugin!`].
#[doc(hidden)]
pub const fn header(
    load: extern "C" fn() -> abi_stable::library::RootModuleResult,
) -> abi_stable::library::LibHeader {
    use abi_stable::library::{CheckTypeLayout, LibHeader};
    // SAFETY: the constructor returns a `PluginModule_Ref`, the very type whose
    // layout is written into the header; the macro is its only caller.
    unsafe { LibHeader::from_constructor::<PluginModule_Ref>(load, CheckTypeLayout::Yes) }
}
