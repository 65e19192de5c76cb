//! What our own plugins find out, tested once more with them in processes of
//! their own. One program, as each costs its time to be linked. Storms of
//! containers are in another: who runs beside them sees them.
#![expect(
    clippy::duplicate_mod,
    reason = "each file of tests has `support` of its own, as it is a program too"
)]

#[path = "containerd.rs"]
mod containerd;
#[path = "crio.rs"]
mod crio;
#[path = "docker_orchestrators.rs"]
mod docker_orchestrators;
mod formats;
#[path = "identity_limits.rs"]
mod identity_limits;
#[path = "identity_restart.rs"]
mod identity_restart;
#[path = "kubernetes.rs"]
mod kubernetes;
#[path = "podman.rs"]
mod podman;
mod support;
#[path = "systemd.rs"]
mod systemd;
