//! The node's name and kernel (uname).

use crate::metrics::INFO;
use crate::namespaces::{Place, place};
use crate::sources::{Roots, Run, Source, State};
use gantry_netlink::namespace;
use std::path::Path;
use std::time::Duration;

/// A host name in another UTS namespace is asked for so often: it costs a
/// thread, and names hardly change.
const REFRESH: Duration = Duration::from_secs(60);

/// The node's name, as it was last asked for.
#[derive(Debug)]
pub struct Identity {
    place: Place,
    hostname: String,
    asked: Option<Duration>,
    trouble: Option<String>,
}

impl Identity {
    /// Nothing is asked yet.
    pub fn new(roots: &Roots) -> Self {
        Self { place: place(roots, "uts"), hostname: String::new(), asked: None, trouble: None }
    }

    /// Asks and shows.
    pub fn collect(&mut self, run: &mut Run<'_, '_>) {
        run.other(Source::Uname, |run| {
            let own = rustix::system::uname();
            match &self.place {
                Place::Other(path) => {
                    if self.asked.is_none_or(|asked| run.at.abs_diff(asked) >= REFRESH) {
                        (self.hostname, self.trouble) = hostname_in(path);
                        self.asked = Some(run.at);
                    }
                }
                Place::Own(_) => {
                    self.hostname.clear();
                    self.hostname.push_str(&own.nodename().to_string_lossy());
                }
            }
            run.out.emit(&INFO, &[&self.hostname, &own.release().to_string_lossy()], 1);
            Ok(match &self.trouble {
                Some(trouble) => State::Partly(trouble.clone()),
                None => self.place.state(),
            })
        });
    }
}

fn hostname_in(path: &Path) -> (String, Option<String>) {
    let ask = || Ok(rustix::system::uname().nodename().to_string_lossy().into_owned());
    match namespace::within(path, namespace::Kind::HostNameAndNISDomainName, ask) {
        Ok(name) => (name, None),
        Err(error) => {
            let own = rustix::system::uname().nodename().to_string_lossy().into_owned();
            (own, Some(format!("the host name is that of the agent's own UTS namespace: {error}")))
        }
    }
}
