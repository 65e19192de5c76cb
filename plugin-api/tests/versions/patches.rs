//! What another version of the boundary differs by.
#![allow(dead_code, reason = "each test binary uses some of it")]

use super::build::Patch;

/// As version 1.1 might be: to each trait, and to the module, one method more,
/// behind all others and with a body of its own.
pub const MORE: [Patch; 12] = [
    ("Cargo.toml", "\nversion = \"1.0.0\"", "\nversion = \"1.1.0\""),
    ("src/lib.rs", "API_VERSION: &str = \"1.0\"", "API_VERSION: &str = \"1.1\""),
    (
        "src/abi/host.rs",
        "fn report(&self, resource: RStr<'_>, amount: f64);",
        "fn report(&self, resource: RStr<'_>, amount: f64);\n    fn newer(&self) -> u64 {\n        0\n    }",
    ),
    (
        "src/abi/plugin.rs",
        "fn threads(&self) -> RVec<u64>;",
        "fn threads(&self) -> RVec<u64>;\n    fn newer(&self) -> u64 {\n        0\n    }",
    ),
    (
        "src/abi/sink.rs",
        "fn skipped(&mut self, reason: RStr<'_>, count: u64);",
        "fn skipped(&mut self, reason: RStr<'_>, count: u64);\n    fn newer(&mut self, _: u64) -> u64 {\n        0\n    }",
    ),
    (
        "src/abi/sink.rs",
        "fn row(&mut self, cells: RSlice<'_, AbiCell<'_>>) -> bool;",
        "fn row(&mut self, cells: RSlice<'_, AbiCell<'_>>) -> bool;\n    fn newer(&mut self) -> u64 {\n        0\n    }",
    ),
    (
        "src/abi/module.rs",
        "pub create: extern \"C\" fn(HostBox, u32) -> RResult<PluginBox, AbiError>,",
        "pub create: extern \"C\" fn(HostBox, u32) -> RResult<PluginBox, AbiError>,\n    \
         #[sabi(missing_field(option))]\n    pub newer: extern \"C\" fn() -> u64,",
    ),
    (
        "src/export.rs",
        "describe, check_config, create }",
        "describe, check_config, create, newer: $crate::export::entry::newer }",
    ),
    (
        "src/guard.rs",
        "    fn heap_bytes(&self)",
        "    fn newer(&self) -> u64 {\n        22\n    }\n\n    fn heap_bytes(&self)",
    ),
    (
        "src/guard.rs",
        "let mut sink = Sink::new(sink);",
        "let mut sink = sink;\n            tracing::info!(\"newer host {} sink {}\", host.newer(), sink.newer(5));\n            \
         let mut sink = Sink::new(sink);",
    ),
    (
        "src/guard.rs",
        "    pub fn describe<P: Plugin>",
        "    pub extern \"C\" fn newer() -> u64 {\n        11\n    }\n\n    pub fn describe<P: Plugin>",
    ),
    (
        "src/host.rs",
        "    pub(crate) fn same_as",
        "    pub(crate) fn newer(&self) -> u64 {\n        self.abi.newer()\n    }\n\n    pub(crate) fn same_as",
    ),
];

/// A by-value struct with a field more, which no version may have.
pub const FIELD: Patch =
    ("src/abi/types.rs", "pub struct AbiProcess {", "pub struct AbiProcess {\n    pub more: u64,");
