//! `Sweep`: which row of a cache of windows or sessions is asked next when memory is short.
//!
//! First each row is asked for what no record in order will reach again, and only then whole rows go, one after the other from
//! where the last time ended: where keys come round, the least recently used ones would be those that are wanted next.

/// How far a cache has come with making room. Rows have numbers, and there may be fewer with every step.
#[derive(Default)]
pub(super) struct Sweep {
    /// The next row to be asked for what is cold.
    next_slot: u32,
    /// The next row to go as a whole.
    hand: u32,
    /// How many rows may still go as a whole.
    rows_left: u32,
    target_bytes: usize,
}

impl Sweep {
    /// Begins anew with the first row; whole rows go until the cache holds no more than `target_bytes`.
    pub(super) fn begin(&mut self, slot_count: u32, target_bytes: usize) {
        self.next_slot = 0;
        self.rows_left = slot_count;
        self.target_bytes = target_bytes;
    }

    /// How much the cache may hold.
    pub(super) fn target_bytes(&self) -> usize {
        self.target_bytes
    }

    /// The next row to be asked for what is cold.
    pub(super) fn next_cold(&mut self, slot_count: u32) -> Option<u32> {
        let slot = self.next_slot;
        (slot < slot_count).then(|| {
            self.next_slot += 1;
            slot
        })
    }

    /// The next row to go as a whole; each only once.
    pub(super) fn next_whole(&mut self, slot_count: u32) -> Option<u32> {
        self.rows_left = self.rows_left.checked_sub(1)?;
        let slot = self.hand.checked_rem(slot_count)?;
        self.hand = slot + 1;
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_rows_go_on_where_the_last_time_ended() {
        let mut sweep = Sweep::default();
        sweep.begin(3, 0);
        let cold: Vec<_> = std::iter::from_fn(|| sweep.next_cold(3)).collect();
        assert_eq!(cold, [0, 1, 2]);
        assert_eq!(sweep.next_whole(3), Some(0));
        sweep.begin(3, 0);
        let whole: Vec<_> = std::iter::from_fn(|| sweep.next_whole(3)).collect();
        assert_eq!(whole, [1, 2, 0]);
        sweep.begin(0, 0);
        assert_eq!((sweep.next_cold(0), sweep.next_whole(0)), (None, None));
    }
}
