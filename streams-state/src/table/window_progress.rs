//! `Progress`: the time a window store has seen, and what follows from it.

use crate::key_encoding::RowLayout;

/// What the puts have moved on, so that a rollback can move it back.
#[derive(Clone, Copy, Default)]
pub(super) struct Progress {
    /// The largest window start seen.
    pub observed_time_ms: Option<i64>,
    /// The number of the last duplicate.
    pub sequence: i32,
}

impl Progress {
    /// Takes note of a window start.
    pub fn observe(&mut self, start_ms: i64) {
        self.observed_time_ms = self.observed_time_ms.max(Some(start_ms));
    }

    /// The first window start that reads still show.
    pub fn first_visible_ms(&self, retention_ms: i64) -> i64 {
        self.observed_time_ms
            .map_or(0, |observed| (observed - retention_ms + 1).max(0))
    }

    /// The first segment that still takes writes.
    pub fn first_live_segment(&self, retention_ms: i64, layout: &RowLayout) -> i64 {
        self.observed_time_ms.map_or(0, |observed| {
            layout.segment((observed - retention_ms).max(0))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WindowOrder;

    #[test]
    fn time_only_moves_forward_and_everything_is_visible_before_it_does() {
        let layout = RowLayout {
            order: WindowOrder::ByKey,
            segment_interval_ms: 60,
        };
        let mut progress = Progress::default();
        assert_eq!(progress.first_visible_ms(100), 0);
        assert_eq!(progress.first_live_segment(100, &layout), 0);
        progress.observe(250);
        progress.observe(10);
        assert_eq!(progress.observed_time_ms, Some(250));
        assert_eq!(progress.first_visible_ms(100), 151);
        assert_eq!(progress.first_live_segment(100, &layout), 2);
    }
}
