//! Applications on simulated brokers, disks and time, and what they must come to: [`Scenario::of_seed`] makes one of a seed,
//! [`check`] runs it and compares its results with a plain fold over its input.

mod counts;
mod expect;
mod join;
mod scenario;
mod windows;

pub use scenario::{Outcome, Scenario, check, check_with, search};
