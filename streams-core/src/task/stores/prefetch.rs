//! Reading ahead: the keys of records that come next are looked up side by side in the byte store.
//!
//! Where a store has more rows than the processor's caches hold, one look-up waits for memory several times, each time for
//! what the time before has told. Look-ups that do not depend on one another wait together. Which keys a topology is going
//! to ask for is not known: those of the input are tried, and where they are of no use, seldom.

use super::cache::Cache;
use std::cell::Cell;

/// How many times nothing is read ahead after that was of no use.
const PAUSE: u32 = 64;

/// How many keys are looked up side by side: more gain nothing, and what they touch should stay in the nearest cache.
pub(crate) const AT_ONCE: usize = 16;

/// More reads of the byte store need not be known.
const LOADS_MAX: u32 = 4 * AT_ONCE as u32;

/// How large a record cache is whose look-ups hardly wait, in bytes: the processor's nearer caches hold most of it.
const NEAR_BYTES: usize = 1 << 20;

/// What reading ahead is good for, for all inputs together: one whose keys are of no use makes the others pause, too.
#[derive(Default)]
pub(super) struct Prefetches {
    /// How often the byte store was read lately: what was counted until the last time counts half.
    loads: Cell<u32>,
    /// How many times are left out.
    paused: u32,
    /// How many keys are flushed before the next ones are read ahead.
    flushed_ahead: usize,
}

impl Prefetches {
    /// The byte store was read.
    #[inline]
    pub(super) fn loaded(&self) {
        self.loads.set((self.loads.get() + 1).min(LOADS_MAX));
    }

    /// Hands the keys of the next records to `prefetch`, which returns how many it helped, unless the byte store is hardly read
    /// or seldom has such keys.
    pub(super) fn records(&mut self, keys: &[&[u8]], prefetch: impl FnOnce(&[&[u8]]) -> usize) {
        let is_few = |count: usize| 4 * count < keys.len();
        let loads = self.loads.get() as usize;
        *self.loads.get_mut() /= 2;
        if self.paused > 0 {
            self.paused -= 1;
        } else if !is_few(loads) && is_few(prefetch(keys)) {
            self.paused = PAUSE;
        }
    }

    /// The same in a record cache that takes so many bytes.
    pub(super) fn cached(
        &mut self,
        keys: &[&[u8]],
        cache_bytes: usize,
        prefetch: impl FnOnce(&[&[u8]]) -> usize,
    ) {
        if self.paused > 0 {
            self.paused -= 1;
        } else if cache_bytes >= NEAR_BYTES && 4 * prefetch(keys) < keys.len() {
            self.paused = PAUSE;
        }
    }

    /// Before each key that a flush writes: hands some of the next to `prefetch` together, which returns how many it helped.
    #[inline]
    pub(super) fn flush<V>(&mut self, cache: &Cache<V>, prefetch: impl FnOnce(&[&[u8]]) -> usize) {
        if self.flushed_ahead > 0 {
            self.flushed_ahead -= 1;
            return;
        }
        let mut next = cache.flushed_next();
        if next.len() < AT_ONCE {
            return;
        }
        let keys: [&[u8]; AT_ONCE] = std::array::from_fn(|_| next.next().expect("counted above"));
        let times = match prefetch(&keys) {
            0 => PAUSE as usize,
            _ => 1,
        };
        self.flushed_ahead = times * AT_ONCE - 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&[u8]; 8] = [b"key"; 8];

    fn called(prefetches: &mut Prefetches, loads: usize, found: usize) -> bool {
        (0..loads).for_each(|_| prefetches.loaded());
        let mut called = false;
        prefetches.records(&KEYS, |keys| {
            called = true;
            assert_eq!(keys, KEYS);
            found
        });
        called
    }

    #[test]
    fn a_store_that_is_hardly_read_is_left_alone() {
        let mut prefetches = Prefetches::default();
        assert!(!called(&mut prefetches, 1, 8));
        assert!(called(&mut prefetches, 4, 8));
        // The keys of another input.
        assert!(called(&mut prefetches, 0, 8));
        assert!(!called(&mut prefetches, 0, 8));
    }

    #[test]
    fn a_store_without_such_keys_is_asked_seldom() {
        let mut prefetches = Prefetches::default();
        assert!(called(&mut prefetches, 8, 1));
        for _ in 0..PAUSE {
            assert!(!called(&mut prefetches, 8, 8));
        }
        assert!(called(&mut prefetches, 8, 2));
        assert!(called(&mut prefetches, 8, 8));
    }

    #[test]
    fn a_small_cache_is_left_alone() {
        let mut prefetches = Prefetches::default();
        let mut called = |bytes, found| {
            let mut called = false;
            prefetches.cached(&KEYS, bytes, |_| {
                called = true;
                found
            });
            called
        };
        assert!(!called(NEAR_BYTES - 1, 8));
        assert!(called(NEAR_BYTES, 8));
        assert!(called(NEAR_BYTES, 1));
        assert!(!called(NEAR_BYTES, 8));
    }

    #[test]
    fn a_flush_hands_on_its_keys_in_order() {
        let mut cache = Cache::new();
        for key in 0..40u8 {
            let slot = cache.insert(&[key], std::rc::Rc::new(Some(())), 0);
            cache.mark_changed(slot);
        }
        let mut prefetches = Prefetches::default();
        let mut ahead = Vec::new();
        let mut flushed = Vec::new();
        loop {
            prefetches.flush(&cache, |keys| {
                ahead.extend(keys.iter().map(|key| key[0]));
                keys.len()
            });
            let Some(slot) = cache.take_changed() else {
                break;
            };
            flushed.push(cache.entry(slot).key[0]);
        }
        assert_eq!(flushed, (0..40).collect::<Vec<_>>());
        // The first key begins the flush; the last ones are too few.
        assert_eq!(ahead, (1..33).collect::<Vec<_>>());
        prefetches.flush(&cache, |_| unreachable!("nothing is left"));
    }
}
