//! The configuration: defaults, errors, and taking another one while running.

mod support;

use gantry_plugin_testkit::Kit;
use support::tree::whole;
use support::{Rig, kit};

#[test]
fn wrong_values_are_refused_by_their_key() {
    let tree = whole();
    for (config, expected) in [
        (r#"{"exclude_devices": ["ok", "a("]}"#, "exclude_devices: [1]: "),
        (r#"{"exclude_interfaces": ["[z-a]"]}"#, "exclude_interfaces: [0]: "),
        (r#"{"exclude_mount_points": ["*"]}"#, "exclude_mount_points: [0]: "),
        (r#"{"exclude_fs_types": ["\\"]}"#, "exclude_fs_types: [0]: "),
        (r#"{"exclude_fs_types": ["a{999}{999}{999}"]}"#, "exclude_fs_types: [0]: "),
        (r#"{"filesystem_timeout": "1ms"}"#, "filesystem_timeout: must be"),
        (r#"{"filesystem_timeout": "11s"}"#, "filesystem_timeout"),
        (r#"{"unknown": 1}"#, "unknown"),
    ] {
        let Err(error) = Rig::try_start(tree.root(), config) else { panic!("{config} was taken") };
        assert_eq!(error.kind(), gantry_plugin_api::error::ErrorKind::Config, "{error}");
        assert!(error.message().contains(expected), "{config}: {error}");
    }
}

#[test]
fn patterns_match_whole_names() {
    let tree = whole();
    let config = r#"{"exclude_devices": ["da", "nvme", "loop.", "ram0|zram0"]}"#;
    let mut rig = Rig::try_start(tree.root(), config).expect("starts");
    let devices = rig.collect().label_values("node_resources_disk_reads_total", "device");
    assert_eq!(devices, ["nvme0n1", "vda"]);
}

#[test]
fn another_configuration_is_taken_at_once() {
    let tree = whole();
    let mut rig = Rig::start(tree.root());
    rig.collect();
    let config = r#"{"exclude_devices": ["vda"], "exclude_mount_points": ["/tmp"], "exclude_fs_types": ["xfs", "proc"]}"#;
    assert!(rig.reconfigure(config).expect("it is taken"));
    let samples = rig.collect();
    assert_eq!(
        samples.label_values("node_resources_disk_reads_total", "device"),
        ["loop0", "nvme0n1", "ram0"]
    );
    let mounts = samples.label_values("node_resources_filesystem_read_only", "mount_point");
    assert_eq!(mounts, ["/"]);
    // A wrong one changes nothing.
    assert!(rig.reconfigure(r#"{"exclude_devices": ["("]}"#).is_err());
    assert_eq!(rig.collect().len(), samples.len());
}

#[test]
fn a_place_without_proc_is_unsupported() {
    let tree = whole();
    let probe = || kit(tree.root()).probe("").expect("it is asked");
    assert_eq!(probe().unsupported, [""; 0]);
    tree.remove("proc/pressure/cpu");
    let degraded = probe().degraded;
    assert!(
        degraded.iter().any(|lack| lack.contains("pressure/cpu") && lack.contains("CONFIG_PSI")),
        "{degraded:?}"
    );
    tree.remove("proc/stat");
    assert!(probe().unsupported[0].contains("proc/stat"));
}

#[test]
fn what_is_declared_is_in_order() {
    Kit::of::<gantry_node::Node>().check().expect("manifest, families and views pass");
}
