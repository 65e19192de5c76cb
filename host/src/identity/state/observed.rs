//! What plugins saw in the kernel: which cgroup a process was in, also one that
//! was gone before anybody could look.

use super::super::clock;
use super::State;
use super::directory::Place;
use super::processes::{Known, same_start};
use gantry_plugin_api::identity::Observation;

impl State {
    /// A process was in a cgroup, some time ago. `false`: no container has this cgroup, and
    /// whoever can read of the process may know more.
    pub fn observed(&mut self, seen: &Observation, now: u64) -> bool {
        self.index(seen.hierarchy);
        let Some(handle) = self.cgroups.get(Place::new(seen.hierarchy, seen.cgroup)) else { return false };
        let Some(record) = self.records.get(&handle) else { return false };
        let is_gone = record.gone.is_some();
        if record.network_namespace == 0 && !is_gone {
            self.set_namespace(handle, seen.network_namespace);
        }
        let (pid, start) = (seen.process.pid, seen.process.start);
        let living = self.processes.living(pid).filter(|known| same_start(known.start, start));
        match living {
            // Its parent's, until somebody sees where it is: the kernel did. What
            // was read may be newer than what is told with a delay, and stays.
            Some(known) if known.container != handle && !known.read && !is_gone => {
                self.put(pid, Known { container: handle, ..known }, now);
            }
            Some(_) => {}
            None if self.processes.was_in(pid, start, handle) => {}
            // Nobody told of it, so its end may have been told as well.
            None if !is_gone && self.processes.living(pid).is_none() => {
                let born = start.saturating_mul(clock::TICK);
                self.put(pid, Known { start, born, container: handle, read: false }, now);
                self.want_recheck(pid, start);
            }
            None => {}
        }
        true
    }
}
