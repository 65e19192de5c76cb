//! How every table is shown: plugins, containers and what plugins offer come
//! in one form and leave as text for people or as JSON for programs.
//!
//! * [`args`]: the options; [`data`]: the table as it comes.
//! * [`select`]: which rows, in which order; [`typed`]: numbers that were typed.
//! * [`json`]: for programs; [`units`]: numbers and times, for people.

mod args;
mod data;
mod json;
mod select;
mod typed;
mod units;

pub use args::TableArgs;
pub use data::{Column, Kind, Row, Table};
