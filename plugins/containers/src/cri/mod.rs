//! Kubernetes' runtimes, containerd and CRI-O, over the CRI that they offer the
//! kubelet, as providers of metadata. What they run for others than the kubelet
//! (`moby`, nerdctl) is not in it.
//!
//! # Layout
//! * [`source`]: what a session asks, and what its answers mean for it.
//! * [`client`]: the requests; [`api`]: their messages.
//! * [`list`]: what there is; [`events`]: what changes; [`pods`]: whose containers
//!   they are; [`owner`]: what made these.
//! * [`describe`]: what of the descriptions is told; [`info`]: what of them is JSON.

pub mod api;
pub mod client;
pub mod describe;
pub mod events;
pub mod info;
pub mod list;
pub mod owner;
pub mod pods;
pub mod source;

use crate::provider::door::Door;
use crate::provider::link::Link;
use crate::provider::outcome::Outcome;
use crate::provider::{Again, Ended, Provider, session};
use api::VersionResponse;
use client::Client;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

/// As the manifest and [`gantry_plugin_api::Container::runtime`] name it.
pub const CONTAINERD: &str = "containerd";
/// As the manifest and [`gantry_plugin_api::Container::runtime`] name it.
pub const CRIO: &str = "crio";

/// The kinds of its requests.
pub const REQUESTS: [&str; 4] = [client::VERSION, client::EVENTS, client::LIST, client::STATUS];

/// One runtime.
#[derive(Debug)]
pub struct Cri {
    /// Where it listens.
    pub door: Door,
    /// How long one request may take.
    pub deadline: Duration,
}

/// Which runtime probably listens there, until it says so itself.
pub fn guess(socket: &str) -> &'static str {
    if socket.contains("crio") { CRIO } else { CONTAINERD }
}

impl Provider for Cri {
    fn runtime(&self) -> &'static str {
        guess(&self.door.path().to_string_lossy())
    }

    fn door(&self) -> &Door {
        &self.door
    }

    async fn session(&mut self, link: &Arc<Link>) -> Result<Infallible, Ended> {
        let client = Client::connect(&self.door, self.deadline, Arc::clone(link)).await?;
        let version = match client.version().await {
            Ok(version) => version,
            Err(failed) if failed.outcome == Outcome::Unsupported => {
                return Err(unsupported(&client, link).await);
            }
            Err(failed) => return Err(failed.into_ended(client::VERSION)),
        };
        let Some(runtime) = runtime(&version) else {
            return Err(useless(
                Again::Rarely,
                "neither containerd nor CRI-O answers there: take the socket out of cri.socket; Docker's \
                 containers are told of by Docker's own",
            ));
        };
        link.rename(runtime);
        session::run(source::Source::new(client, has_events(runtime, &version.runtime_version))).await
    }
}

/// The end of a session with one that has to be configured first.
fn useless(again: Again, why: &str) -> Ended {
    Ended { request: client::VERSION, outcome: Outcome::Unsupported, detail: why.to_owned(), again }
}

async fn unsupported(client: &Client, link: &Link) -> Ended {
    if client.has_alpha().await {
        let why =
            "it has the CRI of before Kubernetes 1.20 alone, v1alpha2: update it, containerd to 1.6 or later";
        useless(Again::Rarely, why)
    } else {
        // As in Docker's own packages, where it is no mistake.
        let why = "its CRI is switched off or failed to load: `ctr plugins ls` says which, and \
                   disabled_plugins in /etc/containerd/config.toml switches it off";
        // Where pods run it is a trouble.
        useless(if link.sees_pods() { Again::Rarely } else { Again::Unused }, why)
    }
}

/// As the host names it.
fn runtime(version: &VersionResponse) -> Option<&'static str> {
    match version.runtime_name.as_str() {
        "containerd" => Some(CONTAINERD),
        "cri-o" => Some(CRIO),
        _ => None,
    }
}

/// Whether events may be listened to. containerd 1.7 gives each event to one
/// listener alone, and what it gave us the kubelet would lack; 2.0 and CRI-O
/// give all to each.
fn has_events(runtime: &str, version: &str) -> bool {
    let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    runtime == CRIO || major.is_some_and(|major| major >= 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_be_listened_to() {
        for (runtime, version, expected) in [
            (CONTAINERD, "1.6.20~ds1", false),
            (CONTAINERD, "v1.7.27", false),
            (CONTAINERD, "v2.0.0", true),
            (CONTAINERD, "2.1.4+unknown", true),
            (CONTAINERD, "", false),
            (CONTAINERD, "99999999999999.0", false),
            (CRIO, "1.26.0", true),
        ] {
            assert_eq!(has_events(runtime, version), expected, "{runtime} {version}");
        }
        assert_eq!(
            (guess("/run/crio/crio.sock"), guess("/run/k3s/containerd/containerd.sock")),
            (CRIO, CONTAINERD)
        );
    }
}
