//! What the plugin declares is as the host wants it.

use gantry_oom::Oom;
use gantry_plugin_testkit::Kit;

#[test]
fn declarations_are_good() {
    Kit::of::<Oom>().check().expect("good");
}
