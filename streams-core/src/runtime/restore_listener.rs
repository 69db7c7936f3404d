//! What an application may watch while its state is restored.

use crate::record::TopicPartition;
use std::time::Duration;

/// Told how the restoration of each store goes, as Kafka Streams' `StateRestoreListener`.
///
/// It is called on the restore threads, so it must be quick and may be called for several stores at the same time. Every
/// method does nothing unless it is overridden. Standby copies are not restored but kept up to date, without an end: a
/// [`StandbyUpdateListener`](crate::StandbyUpdateListener) is told of them.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use streams_core::{RestoreListener, RestoreProgress, TopicPartition};
///
/// #[derive(Default)]
/// struct Watch {
///     restored: AtomicU64,
/// }
///
/// impl RestoreListener for Watch {
///     fn on_batch_restored(&self, _store: &str, _changelog: &TopicPartition, _offset: i64, records: u64) {
///         self.restored.fetch_add(records, Ordering::Relaxed);
///     }
///
///     fn on_restore_progress(&self, store: &str, _changelog: &TopicPartition, progress: &RestoreProgress) {
///         println!("{store}: {} left, {:?} to go", progress.remaining, progress.time_left);
///     }
/// }
///
/// let watch = Watch::default();
/// let changelog = TopicPartition::new("app-counts-changelog", 0);
/// watch.on_batch_restored("counts", &changelog, 500, 500);
/// assert_eq!(watch.restored.into_inner(), 500);
/// ```
pub trait RestoreListener: Send + Sync + 'static {
    /// Restoring a store starts at `start_offset` and ends before `end_offset`.
    fn on_restore_start(
        &self,
        store: &str,
        changelog: &TopicPartition,
        start_offset: i64,
        end_offset: i64,
    ) {
        let _ = (store, changelog, start_offset, end_offset);
    }

    /// `records` more were applied; the next one has `offset`, or a larger one.
    fn on_batch_restored(
        &self,
        store: &str,
        changelog: &TopicPartition,
        offset: i64,
        records: u64,
    ) {
        let _ = (store, changelog, offset, records);
    }

    /// How far a store that is not restored yet has come, about once a second. Kafka Streams has no such call.
    fn on_restore_progress(
        &self,
        store: &str,
        changelog: &TopicPartition,
        progress: &RestoreProgress,
    ) {
        let _ = (store, changelog, progress);
    }

    /// The store is restored.
    fn on_restore_end(&self, store: &str, changelog: &TopicPartition, records_total: u64) {
        let _ = (store, changelog, records_total);
    }

    /// The task moved to another thread or instance before its store was restored.
    fn on_restore_suspended(&self, store: &str, changelog: &TopicPartition, records_total: u64) {
        let _ = (store, changelog, records_total);
    }
}

/// How far the restoration of a store has come.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct RestoreProgress {
    /// How many records were applied.
    pub records: u64,
    /// How many were applied in a second, on average since the start.
    pub records_per_second: f64,
    /// How many offsets of the changelog are left: not less than the records, since compaction and transactions leave gaps.
    pub remaining: u64,
    /// How long that will take at the pace so far; `None` before there is one.
    pub time_left: Option<Duration>,
}

impl RestoreProgress {
    /// What `records` and `offsets` done in `time` say about the `remaining` offsets.
    pub(crate) fn new(records: u64, offsets: i64, remaining: i64, time: Duration) -> Self {
        let seconds = time.as_secs_f64().max(0.001);
        let remaining = remaining.max(0) as u64;
        let time_left = (offsets > 0).then(|| {
            let left = remaining as f64 * seconds / offsets as f64;
            Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX)
        });
        RestoreProgress {
            records,
            records_per_second: records as f64 / seconds,
            remaining,
            time_left,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_follows_from_the_offsets_so_far() {
        let seconds = Duration::from_secs;
        let progress = RestoreProgress::new(50, 100, 300, seconds(2));
        assert_eq!(progress.time_left, Some(seconds(6)));
        assert_eq!(progress.records_per_second, 25.0);
        let none = RestoreProgress::new(0, 0, 300, seconds(2));
        assert_eq!((none.remaining, none.time_left), (300, None));
    }
}
