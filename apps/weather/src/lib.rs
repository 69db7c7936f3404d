//! The weather programs in one binary, and a demonstration that needs nothing else.
//!
//! `weather producer`, `weather averages` and `weather graphite` are the programs of the packages `weather-producer`,
//! `weather-averages` and `weather-graphite`. `weather demo` runs all three in one process, on a broker inside the process if
//! no other is named ([`demo`]).

pub mod demo;

mod terminal;

pub use terminal::Terminal;

#[cfg(test)]
mod dashboard_tests;
