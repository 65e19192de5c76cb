//! The macro that makes a plugin's library.

/// Exports a plugin. Once in a crate whose `crate-type` has `cdylib`.
///
/// It writes the manifest into the file, counts the library's heap, guards
/// every call against panics, bridges the log, and exports the one symbol that
/// a host looks for. The author's crate stays free of `unsafe`.
#[macro_export]
macro_rules! export_plugin {
    ($plugin:ty) => {
        const _: () = {
            use $crate::abi::abi_stable as __sabi;

            #[global_allocator]
            static HEAP: $crate::abi::heap::CountedHeap = $crate::abi::heap::CountedHeap::new();

            fn heap() -> u64 {
                HEAP.live()
            }
            fn threads() -> ::std::vec::Vec<u64> {
                HEAP.threads()
            }

            const ABORTS: bool = cfg!(panic = "abort");
            const ENCODED: $crate::manifest::Encoded = <$plugin as $crate::Plugin>::MANIFEST.encode(ABORTS);
            #[used]
            #[unsafe(link_section = ".gantry_manifest")]
            static MANIFEST: [u8; ENCODED.len()] = ENCODED.to_array();

            extern "C" fn describe() -> __sabi::std_types::RString {
                $crate::export::entry::describe::<$plugin>(ABORTS)
            }
            extern "C" fn check_config(
                config: __sabi::std_types::RStr<'_>,
            ) -> __sabi::std_types::RResult<(), $crate::abi::types::AbiError> {
                $crate::export::entry::check_config::<$plugin>(config)
            }
            extern "C" fn create(
                host: $crate::abi::HostBox,
                level: u32,
            ) -> __sabi::std_types::RResult<$crate::abi::PluginBox, $crate::abi::types::AbiError> {
                $crate::export::entry::create::<$plugin>(host, level, heap, threads)
            }
            extern "C" fn load() -> __sabi::library::RootModuleResult {
                __sabi::library::__call_root_module_loader(module)
            }
            fn module() -> $crate::abi::PluginModule_Ref {
                use __sabi::prefix_type::PrefixTypeTrait as _;
                $crate::abi::PluginModule { describe, check_config, create }.leak_into_prefix()
            }

            #[unsafe(no_mangle)]
            pub static _1as_0lib_1header_0root_bmodule_bloader: __sabi::library::LibHeader =
                $crate::export::header(load);
        };
    };
}

pub use crate::abi::module::header;
#[doc(hidden)]
pub use crate::guard::entry;
