//! What the kernel tells by itself: process events and changes of directories.
//! What is not to be had is tried again, as what is in the way may go: a
//! buffer that ran over, another's inotify instances, missing descriptors.

use super::super::shared::Shared;
use super::tree::{Root, Tree};
use gantry_netlink::{Error, ProcessEvents};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many bytes the kernel keeps of process events: some 8,000 events, which
/// is what a machine of two processors makes in half a second at its worst.
const EVENT_BUFFER: usize = 8 << 20;

/// How long the connector may take to speak.
const CONNECTOR_WAIT: Duration = Duration::from_millis(200);

/// How often it is tried again. A try costs some 20 µs.
const AGAIN: Duration = Duration::from_secs(5);

/// A connector that is silent is so for a namespace's life, and a try takes as
/// long as it may take to speak.
const SILENT_AGAIN: Duration = Duration::from_secs(10 * 60);

/// Both, where they are to be had.
#[derive(Debug)]
pub struct Sources {
    shared: Arc<Shared>,
    roots: Vec<Root>,
    pub connector: Option<ProcessEvents>,
    pub tree: Option<Tree>,
    next_connector: Instant,
    next_tree: Instant,
}

impl Sources {
    /// Subscribes, to directories below these.
    pub fn new(shared: Arc<Shared>, roots: Vec<Root>) -> Self {
        let now = Instant::now();
        let mut sources =
            Self { shared, roots, connector: None, tree: None, next_connector: now, next_tree: now };
        if let Err(error) = sources.open_connector() {
            tracing::info!(
                "the kernel tells no process events ({error}); processes are looked for every 5 s, and \
                 those that live shorter are missed; run in the machine's own namespaces with CAP_NET_ADMIN"
            );
        }
        if let Err(error) = sources.open_tree() {
            tracing::warn!(
                "inotify: {error}; cgroups are known by their processes alone; raise \
                 fs.inotify.max_user_instances"
            );
        }
        sources
    }

    fn open_connector(&mut self) -> Result<(), Error> {
        let opened = ProcessEvents::open(EVENT_BUFFER, CONNECTOR_WAIT);
        let again = if matches!(opened, Err(Error::TimedOut(_))) { SILENT_AGAIN } else { AGAIN };
        self.next_connector = Instant::now() + again;
        self.connector = Some(opened?);
        self.shared.set_watched(true);
        Ok(())
    }

    fn open_tree(&mut self) -> io::Result<()> {
        self.next_tree = Instant::now() + AGAIN;
        self.tree = Some(Tree::new(self.roots.clone())?);
        self.shared.set_cgroups_watched(true);
        Ok(())
    }

    /// When the next one is to be tried again.
    pub fn due(&self) -> Option<Instant> {
        let connector = self.connector.is_none().then_some(self.next_connector);
        let tree = self.tree.is_none().then_some(self.next_tree);
        connector.into_iter().chain(tree).min()
    }

    /// Tries again what is due; whether the kernel tells more than before, so
    /// that all must be looked at.
    pub fn try_again(&mut self) -> bool {
        let now = Instant::now();
        let connects =
            self.connector.is_none() && now >= self.next_connector && self.open_connector().is_ok();
        let watches = self.tree.is_none() && now >= self.next_tree && self.open_tree().is_ok();
        if connects {
            tracing::info!("the kernel tells process events again");
        }
        if watches {
            tracing::info!("inotify: directories of cgroups are watched again");
        }
        connects || watches
    }

    /// The connector does not work any more.
    pub fn lose_connector(&mut self) {
        self.connector = None;
        self.next_connector = Instant::now() + AGAIN;
        self.shared.set_watched(false);
    }

    /// Inotify does not work any more.
    pub fn lose_tree(&mut self) {
        self.tree = None;
        self.next_tree = Instant::now() + AGAIN;
        self.shared.set_cgroups_watched(false);
    }
}
