//! A host in small: opens one plugin, leads it through its life and prints
//! what it learned. Built once for each version of the boundary.

use gantry_plugin_api::abi::abi_stable::StableAbi;
use gantry_plugin_api::abi::abi_stable::abi_stability::abi_checking::check_layout_compatibility;
use gantry_plugin_api::abi::abi_stable::library::{IsLayoutChecked, lib_header_from_path};
use gantry_plugin_api::abi::abi_stable::sabi_trait::TD_Opaque;
use gantry_plugin_api::abi::abi_stable::sabi_types::RMut;
use gantry_plugin_api::abi::abi_stable::std_types::{
    RNone, ROk, ROption, RResult, RSlice, RStr, RString, RVec,
};
use gantry_plugin_api::abi::types::{AbiError, AbiEvents, AbiObservation, AbiProcess, Bytes};
use gantry_plugin_api::abi::{AbiHost, AbiHost_TO, AbiSink, AbiSink_TO, PluginModule_Ref};
use gantry_plugin_api::description::Description;
use std::path::Path;

struct Host;

impl AbiHost for Host {
    fn has(&self, _: RStr<'_>) -> bool {
        false
    }
    fn log(&self, level: u32, _: RStr<'_>, message: RStr<'_>) {
        println!("log {level} {message}");
    }
    fn clock_ns(&self, _: u32) -> u64 {
        1
    }
    fn path(&self, _: RStr<'_>) -> ROption<RString> {
        RNone
    }
    fn node_fact(&self, _: RStr<'_>) -> ROption<RString> {
        RNone
    }
    fn set_node_fact(&self, _: RStr<'_>, _: ROption<RStr<'_>>) -> RResult<(), AbiError> {
        ROk(())
    }
    fn expect_node_fact(&self, _: RStr<'_>) -> RResult<(), AbiError> {
        ROk(())
    }
    fn container_of_pid(&self, _: u32, _: u64) -> u64 {
        0
    }
    fn container_of_cgroup(&self, _: u32, _: u64) -> u64 {
        0
    }
    fn container_of_netns(&self, _: u64) -> u64 {
        0
    }
    fn containers(&self) -> RVec<u64> {
        RVec::new()
    }
    fn container(&self, _: u64) -> ROption<RString> {
        RNone
    }
    fn processes(&self, _: u64) -> RVec<AbiProcess> {
        RVec::new()
    }
    fn open_files(&self, _: u32, _: u64) -> ROption<RString> {
        RNone
    }
    fn listening(&self, _: u32, _: u64) -> ROption<RString> {
        RNone
    }
    fn events(&self, cursor: u64, _: u32) -> AbiEvents {
        AbiEvents { events: RVec::new(), next: cursor, lost: 0 }
    }
    fn wait_events(&self, _: u64, _: u64) -> bool {
        false
    }
    fn provide(&self, _: RStr<'_>, _: RStr<'_>) -> RResult<(), AbiError> {
        ROk(())
    }
    fn observe(&self, _: RSlice<'_, AbiObservation>) {}
    fn report(&self, _: RStr<'_>, _: f64) {}
    #[cfg(feature = "newer")]
    fn newer(&self) -> u64 {
        33
    }
}

#[derive(Debug)]
struct Sink(Description);

impl AbiSink for Sink {
    fn sample(&mut self, family: u32, _: u64, labels: RSlice<'_, Bytes<'_>>, value: f64) {
        let labels: Vec<_> = labels.iter().map(|label| String::from_utf8_lossy(label).into_owned()).collect();
        println!("sample {}{labels:?} {value}", self.0.families[family as usize].name);
    }
    fn histogram(
        &mut self,
        _: u32,
        _: u64,
        _: RSlice<'_, Bytes<'_>>,
        _: RSlice<'_, f64>,
        _: RSlice<'_, u64>,
        _: f64,
        _: u64,
    ) {
    }
    fn created(&mut self, _: ROption<f64>) {}
    fn skipped(&mut self, _: RStr<'_>, _: u64) {}
    #[cfg(feature = "newer")]
    fn newer(&mut self, number: u64) -> u64 {
        33 + number
    }
}

fn open(path: &Path) -> Result<(PluginModule_Ref, &'static str), String> {
    let header = lib_header_from_path(path).map_err(|error| error.to_string())?;
    let forward = match header.init_root_module::<PluginModule_Ref>() {
        Ok(module) => return Ok((module, "forward")),
        Err(error) => reason(&error.to_string()),
    };
    let IsLayoutChecked::Yes(theirs) = header.root_mod_consts().layout() else { return Err(forward) };
    if let Err(error) = check_layout_compatibility(theirs, <PluginModule_Ref as StableAbi>::LAYOUT) {
        // That an older library has fewer fields is no reason.
        let counts = forward.starts_with("too many fields");
        return Err(if counts { reason(&error.to_string()) } else { forward });
    }
    // SAFETY: the library's layout was found to be a part of this one's, and
    // what is missing are suffixes that are looked up at run time.
    unsafe { header.init_root_module_with_unchecked_layout::<PluginModule_Ref>() }
        .map(|module| (module, "reverse"))
        .map_err(|error| error.to_string())
}

/// What matters in a report of many lines stands behind the last of these words.
fn reason(report: &str) -> String {
    let last = report.rsplit("Error:").next().unwrap_or(report);
    last.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn main() {
    let path = std::env::args().nth(1).expect("the path of a plugin, or --layout");
    if path == "--layout" {
        print!("{}", gantry_plugin_api::abi::layout::dump());
        return;
    }
    let (module, direction) = match open(Path::new(&path)) {
        Ok(opened) => opened,
        Err(reason) => {
            println!("refused {reason}");
            return;
        }
    };
    let description: Description =
        gantry_plugin_api::serde_json::from_str(&(module.describe())()).expect("a description");
    println!("opened {direction} {} api {}", description.manifest.name, description.manifest.api);
    let host = AbiHost_TO::from_value(Host, TD_Opaque);
    let mut plugin = (module.create())(host, 3).expect("an instance");
    plugin.start("{\"name\":\"Ada\"}".into()).expect("it starts");
    plugin.activate(RNone).expect("it is activated");
    let mut sink = Sink(description);
    plugin.collect(AbiSink_TO::from_ptr(RMut::new(&mut sink), TD_Opaque)).expect("it collects");
    assert!(plugin.heap_bytes() > 0);
    let handover = plugin.stop(1000).expect("it stops");
    println!("handed over {}", !handover.is_empty());
    #[cfg(feature = "newer")]
    println!("newer module {:?} plugin {}", module.newer().map(|newer| newer()), plugin.newer());
}
