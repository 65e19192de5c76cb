//! The supervisor's loop: it looks at plugins when their time has come, and
//! starts those that are to be started.

use super::fleet::Fleet;
use super::life::Event;
use super::lock;
use super::unit::Unit;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::sync::{Notify, mpsc, oneshot};

/// The loop's other end: what units tell it.
#[derive(Debug)]
pub struct Keeper {
    orders: mpsc::UnboundedSender<Order>,
    /// Until the loop takes it.
    taken: Mutex<Option<mpsc::UnboundedReceiver<Order>>>,
    /// When the loop wakes by itself.
    awake_at: Mutex<Option<Instant>>,
    earlier: Notify,
}

/// There is at most one launch an attempt, and one question a health check.
#[derive(Debug)]
enum Order {
    Launch(Arc<Unit>, u64),
    /// Are you there?
    Ping(oneshot::Sender<()>),
}

impl Default for Keeper {
    fn default() -> Self {
        let (orders, taken) = mpsc::unbounded_channel();
        Self { orders, taken: Mutex::new(Some(taken)), awake_at: Mutex::default(), earlier: Notify::new() }
    }
}

impl Keeper {
    /// To be launched. Those that are ordered together are registered in the
    /// order of the configuration.
    pub fn launch(&self, unit: Arc<Unit>, attempt: u64) {
        // The loop only ends with the agent.
        let _ = self.orders.send(Order::Launch(unit, attempt));
    }

    /// Something is due at that time.
    pub fn expect(&self, at: Option<Instant>) {
        let Some(at) = at else { return };
        if lock(&self.awake_at).is_none_or(|awake| at < awake) {
            self.earlier.notify_one();
        }
    }

    /// Answered as soon as the loop comes round.
    pub fn ping(&self) -> oneshot::Receiver<()> {
        let (asked, answer) = oneshot::channel();
        let _ = self.orders.send(Order::Ping(asked));
        answer
    }
}

/// Runs the loop until the agent ends.
pub async fn keep(fleet: Arc<Fleet>) {
    let keeper = &fleet.parts().keeper;
    let Some(mut orders) = lock(&keeper.taken).take() else { return };
    loop {
        // Both before the units are looked at: what changes meanwhile is a
        // reason to look again.
        let notified = keeper.earlier.notified();
        *lock(&keeper.awake_at) = None;
        let next = fleet.units().iter().filter_map(|unit| unit.next()).min();
        *lock(&keeper.awake_at) = next;
        let due = async {
            match next {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            order = orders.recv() => match order {
                Some(order) => take(&fleet, order, &mut orders),
                None => return,
            },
            () = notified => {}
            () = due => fleet.units().iter().for_each(|unit| unit.apply(Event::Time)),
        }
    }
}

fn take(fleet: &Arc<Fleet>, first: Order, orders: &mut mpsc::UnboundedReceiver<Order>) {
    let mut launches = Vec::new();
    let more = std::iter::from_fn(|| orders.try_recv().ok());
    for order in std::iter::once(first).chain(more) {
        match order {
            Order::Launch(unit, attempt) => launches.push((unit, attempt)),
            // Whoever asked may have gone.
            Order::Ping(asked) => drop(asked.send(())),
        }
    }
    if !launches.is_empty() {
        fleet.launch(launches);
    }
}
