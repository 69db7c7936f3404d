//! Which keys of a store of limited size go first: those that were not used for longest (Kafka's `MemoryLRUCache`).

use std::collections::{BTreeMap, HashMap};

/// The keys of a store by their last use.
pub(super) struct Recency {
    max_entries: usize,
    /// What the store had when it was opened is taken up at the first use.
    filled: bool,
    uses: HashMap<Box<[u8]>, u64>,
    by_use: BTreeMap<u64, Box<[u8]>>,
    clock: u64,
}

impl Recency {
    pub(super) fn new(max_entries: usize) -> Self {
        Recency {
            max_entries,
            filled: false,
            uses: HashMap::new(),
            by_use: BTreeMap::new(),
            clock: 0,
        }
    }

    /// Whether the keys the store already has are still to be told, by [`Recency::put`].
    pub(super) fn is_to_be_filled(&mut self) -> bool {
        !std::mem::replace(&mut self.filled, true)
    }

    /// A key was read, if the store has it.
    pub(super) fn touch(&mut self, key: &[u8]) {
        if let Some(last_use) = self.uses.get_mut(key)
            && let Some(key) = self.by_use.remove(last_use)
        {
            self.clock += 1;
            *last_use = self.clock;
            self.by_use.insert(self.clock, key);
        }
    }

    /// A key was written; returns the key that must go for it.
    pub(super) fn put(&mut self, key: &[u8]) -> Option<Box<[u8]>> {
        if self.uses.contains_key(key) {
            self.touch(key);
            return None;
        }
        self.clock += 1;
        self.uses.insert(key.into(), self.clock);
        self.by_use.insert(self.clock, key.into());
        if self.uses.len() <= self.max_entries {
            return None;
        }
        let (_, eldest) = self.by_use.pop_first()?;
        self.uses.remove(&eldest);
        Some(eldest)
    }

    /// A key was deleted.
    pub(super) fn remove(&mut self, key: &[u8]) {
        if let Some(last_use) = self.uses.remove(key) {
            self.by_use.remove(&last_use);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_that_was_not_used_for_longest_goes() {
        let mut recency = Recency::new(2);
        assert!(recency.is_to_be_filled());
        assert!(!recency.is_to_be_filled());
        assert_eq!(recency.put(b"a"), None);
        assert_eq!(recency.put(b"b"), None);
        recency.touch(b"a");
        recency.touch(b"unknown");
        assert_eq!(recency.put(b"c").as_deref(), Some(&b"b"[..]));
        assert_eq!(recency.put(b"a"), None);
        recency.remove(b"c");
        assert_eq!(recency.put(b"d"), None);
        assert_eq!(recency.put(b"e").as_deref(), Some(&b"a"[..]));
    }

    #[test]
    fn a_store_without_room_keeps_nothing() {
        assert_eq!(Recency::new(0).put(b"a").as_deref(), Some(&b"a"[..]));
    }
}
