//! Waiting for events without being woken for each.
//!
//! A ring can be read as soon as anything is in it. Who polls it comes back at
//! once under load, for an event or two each time. So it is waited for edges:
//! the programs' own wake-ups, of which there is one for many events.

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

const EVENTS: EventData = EventData::new_u64(0);
const STOP: EventData = EventData::new_u64(1);

/// Waits for events, or for the end.
#[derive(Debug)]
pub struct Waiter(OwnedFd);

/// What came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Woken {
    /// Events were told of.
    pub events: bool,
    /// It is to end.
    pub stop: bool,
}

impl Waiter {
    /// One that waits for both, of which it needs none to stay open.
    ///
    /// # Errors
    /// The system call's.
    pub fn new(events: impl AsFd, stop: impl AsFd) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, events, EVENTS, EventFlags::IN | EventFlags::ET)?;
        epoll::add(&epoll, stop, STOP, EventFlags::IN)?;
        Ok(Self(epoll))
    }

    /// Waits for so long at most.
    pub fn wait(&self, at_most: &Timespec) -> Woken {
        let mut woken = Woken::default();
        let mut came: Vec<Event> = Vec::with_capacity(2);
        // An interrupt is as good as the end of the time.
        if epoll::wait(&self.0, rustix::buffer::spare_capacity(&mut came), Some(at_most)).is_ok() {
            for event in came {
                // Its fields are not aligned.
                match { event.data }.u64() {
                    0 => woken.events = true,
                    _ => woken.stop = true,
                }
            }
        }
        woken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{EventfdFlags, eventfd};

    #[test]
    fn what_is_there_does_not_wake_twice() {
        let fd = || eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).expect("an eventfd");
        let (events, stop) = (fd(), fd());
        let waiter = Waiter::new(&events, &stop).expect("epoll");
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let tell = |fd: &OwnedFd| rustix::io::write(fd, &1_u64.to_ne_bytes()).expect("there is room");
        assert_eq!(waiter.wait(&now), Woken::default());
        tell(&events);
        assert_eq!(waiter.wait(&now), Woken { events: true, stop: false });
        // Nobody read it: who polls would be woken without end.
        assert_eq!(waiter.wait(&now), Woken::default());
        tell(&events);
        assert_eq!(waiter.wait(&now), Woken { events: true, stop: false });
        tell(&stop);
        for _ in 0..2 {
            assert_eq!(waiter.wait(&now), Woken { events: false, stop: true });
        }
    }
}
