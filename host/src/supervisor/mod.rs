//! The life of plugins: each has a unit that all may ask, and a thread that
//! alone calls it.
//!
//! * [`mod@life`]: the state machine, without clock or thread; [`state`]: its states.
//! * [`mod@unit`]: one plugin, as the rest of the agent sees it; [`collect`],
//!   [`views`] and [`requests`]: what is asked of it; [`series`]: what it said last;
//!   [`handover`]: what outlives its instances.
//! * [`generation`]: one generation takes the place of another.
//! * [`probation`]: what rolls an upgrade back, [`losses`] among it; [`keepsake`]: what goes to the
//!   state directory; [`ran`]: by which a next agent knows an upgrade.
//! * [`budget`]: how much it may take; [`budgets`]: minding that;
//!   [`own_threads`], [`reports`]: what it takes beside its calls.
//! * [`worker`]: its thread; [`sink`]: where its samples go; [`services`]: the
//!   host, as it sees it.
//! * [`fleet`]: all of them; [`launch`]: loading and starting; [`keeper`]: the
//!   loop that minds the time; [`parts`]: what they share.

mod budget;
mod budgets;
mod collect;
mod fleet;
mod generation;
mod handover;
mod keeper;
mod keepsake;
mod launch;
mod life;
mod losses;
mod own_threads;
mod parts;
mod probation;
mod ran;
mod reports;
mod requests;
mod series;
mod services;
mod sink;
mod state;
mod unit;
mod views;
mod voice;
mod worker;

pub use budget::EVERY as BUDGETS_EVERY;
pub use budgets::mind_budgets;
pub use fleet::Fleet;
pub use generation::{Generation, Previous, Reason};
pub use handover::MAX_BYTES as MAX_HANDOVER;
pub use keeper::keep;
pub use launch::{Chosen, NoChoice, Unfit, chosen, config_problems, examine, examine_verified, stored};
pub use life::{Call, Event};
pub use parts::Parts;
pub use probation::{InTrouble, Probation};
pub use ran::record;
pub use series::Freshness;
pub use services::Services;
pub use sink::ArenaSink;
pub use state::{State, Status};
pub use unit::Unit;
pub use views::{Rows, ViewError};

use std::sync::{Mutex, MutexGuard, PoisonError};

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is whole after each statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
