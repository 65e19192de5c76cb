//! One thread that writes what is kept, so that no disk holds up a collection
//! or a lock. It sleeps while there is nothing to write.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

type Work = Box<dyn FnOnce() + Send>;

enum Order {
    Now(Work),
    At { key: String, at: Instant, work: Work },
}

/// The thread's other end. It ends with the process: what waits for its time
/// then is written by whoever ends the agent.
#[derive(Debug)]
pub struct Writer {
    orders: mpsc::SyncSender<Order>,
}

/// Orders that wait. A disk that hangs must not let them pile up: what does
/// not fit is dropped, as a file that cannot be written is.
const MOST_WAITING: usize = 4096;

impl Writer {
    pub fn start() -> std::io::Result<Self> {
        let (orders, taken) = mpsc::sync_channel(MOST_WAITING);
        std::thread::Builder::new().name("records".to_owned()).spawn(move || run(&taken))?;
        Ok(Self { orders })
    }

    /// `false`: it does not fit, and is dropped; that is logged.
    pub fn then(&self, work: impl FnOnce() + Send + 'static) -> bool {
        self.order(Order::Now(Box::new(work)))
    }

    /// The same at some time. In the place of work of the same key that waits,
    /// and no later than that would have been done.
    pub fn at(&self, key: &str, at: Instant, work: impl FnOnce() + Send + 'static) -> bool {
        self.order(Order::At { key: key.to_owned(), at, work: Box::new(work) })
    }

    fn order(&self, order: Order) -> bool {
        let taken = self.orders.try_send(order).is_ok();
        if !taken {
            tracing::warn!(
                "the disk of the state directory does not keep up: something that was to be kept of plugins is lost"
            );
        }
        taken
    }

    /// Waits until all that was ordered before is done, but for what has a time.
    /// `false`: it is not done yet.
    pub fn flush(&self, within: Duration) -> bool {
        let (done, waits) = mpsc::channel();
        self.then(move || {
            // Whoever waited may have gone.
            let _ = done.send(());
        });
        waits.recv_timeout(within).is_ok()
    }
}

fn run(orders: &mpsc::Receiver<Order>) {
    let mut later: Vec<(String, Instant, Work)> = Vec::new();
    loop {
        let next = later.iter().map(|(_, at, _)| *at).min();
        let order = match next {
            Some(at) => orders.recv_timeout(at.saturating_duration_since(Instant::now())),
            None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match order {
            Ok(Order::Now(work)) => work(),
            Ok(Order::At { key, at, work }) => match later.iter_mut().find(|(known, ..)| *known == key) {
                Some((_, waits, older)) => (*waits, *older) = (at.min(*waits), work),
                None => later.push((key, at, work)),
            },
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = Instant::now();
        let (due, waits) = later.into_iter().partition(|(_, at, _)| *at <= now);
        later = waits;
        let due: Vec<(String, Instant, Work)> = due;
        due.into_iter().for_each(|(.., work)| work());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[test]
    fn newer_work_takes_the_place_of_what_waits_and_comes_no_later() {
        let writer = Writer::start().expect("a thread");
        let done = Arc::new(Mutex::new(Vec::new()));
        let work = |name: &'static str| {
            let done = done.clone();
            move || done.lock().expect("no panic").push(name)
        };
        let soon = Instant::now() + Duration::from_millis(50);
        assert!(writer.at("one", soon, work("older")));
        assert!(writer.at("one", soon + Duration::from_secs(3600), work("newer")));
        assert!(writer.then(work("at once")));
        let (told, hears) = mpsc::channel();
        writer.at("end", soon, move || told.send(()).expect("it is awaited"));
        hears.recv().expect("it is done in time");
        assert_eq!(*done.lock().expect("no panic"), ["at once", "newer"]);
    }
}
