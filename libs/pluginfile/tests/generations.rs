//! Several generations of one plugin, side by side in one process.

use gantry_plugin_api::Error;
use gantry_plugin_api::abi::abi_stable::sabi_trait::TD_Opaque;
use gantry_plugin_api::abi::abi_stable::sabi_types::RMut;
use gantry_plugin_api::abi::abi_stable::std_types::{RNone, ROption, RResult, RSlice, RStr, RString, RVec};
use gantry_plugin_api::abi::types::{AbiError, AbiEvents, AbiObservation, AbiProcess, Bytes, crossing};
use gantry_plugin_api::abi::{AbiHost, AbiHost_TO, AbiSink, AbiSink_TO, HostBox};
use gantry_pluginfile::{Instance, Library, inspect};
use std::path::{Path, PathBuf};

/// A host that offers nothing.
struct Nothing;

impl AbiHost for Nothing {
    fn has(&self, _: RStr<'_>) -> bool {
        false
    }
    fn log(&self, _: u32, _: RStr<'_>, _: RStr<'_>) {}
    fn clock_ns(&self, _: u32) -> u64 {
        0
    }
    fn path(&self, _: RStr<'_>) -> ROption<RString> {
        RNone
    }
    fn node_fact(&self, _: RStr<'_>) -> ROption<RString> {
        RNone
    }
    fn set_node_fact(&self, _: RStr<'_>, _: ROption<RStr<'_>>) -> RResult<(), AbiError> {
        crossing(Ok(()))
    }
    fn expect_node_fact(&self, _: RStr<'_>) -> RResult<(), AbiError> {
        crossing(Ok(()))
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
    fn events(&self, next: u64, _: u32) -> AbiEvents {
        AbiEvents { events: RVec::new(), next, lost: 0 }
    }
    fn wait_events(&self, _: u64, _: u64) -> bool {
        false
    }
    fn provide(&self, _: RStr<'_>, _: RStr<'_>) -> RResult<(), AbiError> {
        crossing(Ok(()))
    }
    fn observe(&self, _: RSlice<'_, AbiObservation>) {}
    fn report(&self, _: RStr<'_>, _: f64) {}
}

/// Counts what is emitted.
#[derive(Debug, Default)]
struct Count(usize);

impl AbiSink for Count {
    fn sample(&mut self, _: u32, _: u64, _: RSlice<'_, Bytes<'_>>, _: f64) {
        self.0 += 1;
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
        self.0 += 1;
    }
    fn created(&mut self, _: ROption<f64>) {}
    fn skipped(&mut self, _: RStr<'_>, _: u64) {}
}

fn host() -> HostBox {
    AbiHost_TO::from_value(Nothing, TD_Opaque)
}

fn built() -> PathBuf {
    // target/release/deps/TEST -> target/release
    let test = std::env::current_exe().expect("own path");
    let target = test.parent().and_then(Path::parent).expect("tests lie in deps/");
    let library = target.join("libgantry_hostile.so");
    assert!(
        library.exists(),
        "{} is not built; run `cargo xtask test`, which builds it first",
        library.display()
    );
    library
}

fn collect(instance: &mut Instance) -> Result<usize, Error> {
    let mut count = Count::default();
    instance.collect(AbiSink_TO::from_ptr(RMut::new(&mut count), TD_Opaque))?;
    Ok(count.0)
}

#[test]
fn two_generations_have_statics_of_their_own() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let bytes = std::fs::read(built()).expect("the built fixture");
    assert_eq!(inspect(&bytes).expect("a plugin").name, "hostile");
    let open = |name: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, &bytes).expect("a temporary file");
        Library::open(&path).expect("it opens")
    };
    let (old, new) = (open("old.so"), open("new.so"));
    let mut old = old.create(host(), 0).expect("an instance");
    let mut new = new.create(host(), 0).expect("an instance");
    let before = (old.heap_bytes(), new.heap_bytes());
    old.start(r#"{"ballast": "16MiB"}"#).expect("it starts");
    new.start("{}").expect("it starts");
    assert!(old.heap_bytes() >= before.0 + (16 << 20), "its own ballast is counted");
    assert!(new.heap_bytes() < before.1 + (1 << 20), "the other's is not");
    old.activate(None).expect("it begins");
    assert!(collect(&mut old).expect("a good collection") > 0);
    // The hand-over of one is what the other goes on with.
    let handover = old.stop(std::time::Duration::from_secs(1)).expect("it stops");
    new.activate(Some(&handover)).expect("it goes on");
    assert!(collect(&mut new).expect("a good collection") > 0);
    assert!(collect(&mut old).is_err(), "a stopped instance is asked no more");
}
