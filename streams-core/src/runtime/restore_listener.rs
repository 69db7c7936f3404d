//! What an application may watch while its state is restored.

use crate::record::TopicPartition;

/// Told how the restoration of each store goes, as Kafka Streams' `StateRestoreListener`.
///
/// It is called on the restore threads, so it must be quick and may be called for several stores at the same time. Every
/// method does nothing unless it is overridden.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use streams_core::TopicPartition;
/// use streams_core::runtime::RestoreListener;
///
/// #[derive(Default)]
/// struct Counter(AtomicU64);
///
/// impl RestoreListener for Counter {
///     fn on_batch_restored(&self, _store: &str, _changelog: &TopicPartition, _offset: i64, records: u64) {
///         self.0.fetch_add(records, Ordering::Relaxed);
///     }
/// }
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

    /// The store is restored.
    fn on_restore_end(&self, store: &str, changelog: &TopicPartition, records_total: u64) {
        let _ = (store, changelog, records_total);
    }

    /// The task moved to another thread or instance before its store was restored.
    fn on_restore_suspended(&self, store: &str, changelog: &TopicPartition, records_total: u64) {
        let _ = (store, changelog, records_total);
    }
}
