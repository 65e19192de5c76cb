//! The plugin before something that looks like systemd.

use super::{Rig, kit};

#[allow(unused_imports, reason = "each test file uses its own part of it")]
pub use gantry_test_systemd::*;

/// A machine under load takes its time.
pub const CONFIG: &str = "[systemd]\ndeadline = \"20s\"";
/// For tests that wait for the deadline.
pub const HASTY: &str = "[systemd]\ndeadline = \"500ms\"";

impl Rig {
    /// Before a systemd that has what `fill` gives it.
    pub fn before_systemd(config: &str, fill: impl FnOnce(&Fake)) -> (Self, Fake) {
        let kit = kit();
        let socket = kit.tree().path("run/dbus/system_bus_socket");
        kit.tree().dir("run/dbus");
        let fake = Fake::start(&socket);
        fill(&fake);
        (Self::start_of("systemd", kit, config), fake)
    }

    /// The host sees a unit by its cgroup's name, and wants to know more.
    pub fn sees(&self, cgroup: &str) {
        let id = format!("/system.slice/{cgroup}");
        let unit = gantry_plugin_testkit::NewContainer::new(&id).runtime("systemd", cgroup);
        let unit = self.kit.identity().appear(unit);
        self.kit.identity().want_metadata(unit);
    }
}
