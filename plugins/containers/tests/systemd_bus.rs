//! Over a real message bus of the test's own, on which a systemd comes and goes.

mod support;

use gantry_test_docker::needs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use support::systemd::{CONFIG, Fake, OnBus, service};
use support::{Rig, kit};

/// A bus; ended with the value.
struct Bus(Child);

impl Bus {
    fn start(dir: &Path, socket: &Path) -> Self {
        let config = dir.join("bus.conf");
        let text = format!(
            "<busconfig><listen>unix:path={}</listen><auth>EXTERNAL</auth><policy context=\"default\">\
             <allow own=\"*\"/><allow send_destination=\"*\" eavesdrop=\"true\"/><allow send_type=\"signal\"/>\
             <allow receive_sender=\"*\"/></policy></busconfig>",
            socket.display()
        );
        std::fs::write(&config, text).expect("a file");
        let program = needs::find("dbus-daemon").expect("it was found before");
        let mut child = Command::new(program)
            .args(["--nofork", "--nopidfile", "--print-address", "--config-file"])
            .arg(&config)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        // It prints where it listens once it does.
        let mut line = String::new();
        let printed = child.stdout.take().map(|out| BufReader::new(out).read_line(&mut line));
        assert!(matches!(printed, Some(Ok(1..))), "{line}");
        Self(child)
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_real_bus_passes_on_what_systemd_says() {
    if !needs::have("dbus-daemon", needs::find("dbus-daemon").is_some()) {
        return;
    }
    let kit = kit();
    kit.tree().dir("run/dbus");
    let socket = kit.tree().path("run/dbus/system_bus_socket");
    let bus = Bus::start(&kit.tree().path("run"), &socket);
    // It only lends its units and answers.
    let fake = Fake::start(&kit.tree().path("run/unused.sock"));
    fake.put("a.service", service("notify", &["a.socket"]));
    let mut rig = Rig::start_of("systemd", kit, CONFIG);
    // Of its four subscriptions those that were made when the plugin was active.
    rig.counted("events", "ok", 1.0);
    rig.up(false);
    assert!(rig.running.troubles().expect("has a health").is_empty(), "there is no systemd");
    let systemd = OnBus::start(&socket, fake.shared());
    let told = rig.told("a.service", |_| true);
    assert_eq!(told.names["systemd_triggered_by"], "a.socket");
    rig.up(true);
    fake.put("a.service", service("exec", &[]));
    systemd.job_removed("a.service");
    rig.told("a.service", |told| told.names["systemd_type"] == "exec");
    drop(systemd);
    rig.up(false);
    assert!(rig.running.troubles().expect("has a health").is_empty(), "it went as a whole");
    fake.put("a.service", service("simple", &[]));
    let systemd = OnBus::start(&socket, fake.shared());
    rig.told("a.service", |told| told.names["systemd_type"] == "simple");
    drop(bus);
    rig.up(false);
    drop(systemd);
    let _bus = Bus::start(&socket.with_file_name(""), &socket);
    fake.put("a.service", service("idle", &[]));
    let _systemd = OnBus::start(&socket, fake.shared());
    rig.told("a.service", |told| told.names["systemd_type"] == "idle");
    rig.up(true);
}
