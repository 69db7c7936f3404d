//! Names that no other test, and no earlier run on the same broker or Graphite, has used.

use std::hash::{BuildHasher, RandomState};

/// `name` with a random ending; fit for topics, groups, and one segment of a metric's path.
pub fn unique(name: &str) -> String {
    format!("{name}-{:016x}", RandomState::new().hash_one(name))
}
