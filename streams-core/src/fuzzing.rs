//! Every decoder of bytes that come from outside: from topics, from the files of the state directory and from a network.
//!
//! A decoder may refuse what it is given. It must not panic, and what it takes must mean the same once it is written again.

mod embedded;
mod formats;
mod stores;

/// A decoder to be given arbitrary bytes.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// Says whether it takes them; panics when something is wrong.
    pub decode: fn(&[u8]) -> bool,
    /// Bytes that it takes.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub fn targets() -> Vec<Target> {
    [formats::TARGETS, stores::TARGETS, embedded::TARGETS].concat()
}
