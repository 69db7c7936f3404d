//! What an application may watch while its standby copies follow the changelogs.

use crate::record::TopicPartition;
use crate::task::TaskId;

/// Told how the stores of standby copies are kept up to date, as Kafka Streams' `StandbyUpdateListener` (KIP-988).
///
/// It is called on the thread that updates all standby copies, so it must be quick. Every method does nothing unless it is
/// overridden.
///
/// ```
/// use std::sync::atomic::{AtomicI64, Ordering};
/// use streams_core::{StandbyUpdateListener, SuspendReason, TaskId, TopicPartition};
///
/// /// How far the copies were behind after their last batch.
/// #[derive(Default)]
/// struct Lag(AtomicI64);
///
/// impl StandbyUpdateListener for Lag {
///     fn on_batch_loaded(
///         &self,
///         _store: &str,
///         _changelog: &TopicPartition,
///         _task: TaskId,
///         offset: i64,
///         _records: u64,
///         end_offset: i64,
///     ) {
///         self.0.store(end_offset - offset, Ordering::Relaxed);
///     }
/// }
///
/// let lag = Lag::default();
/// let changelog = TopicPartition::new("app-counts-changelog", 1);
/// let task = TaskId { sub_topology: 0, partition: 1 };
/// lag.on_batch_loaded("counts", &changelog, task, 40, 10, 42);
/// lag.on_update_suspended("counts", &changelog, 42, 42, SuspendReason::Promoted);
/// assert_eq!(lag.0.into_inner(), 2);
/// ```
pub trait StandbyUpdateListener: Send + Sync + 'static {
    /// A copy of a store is kept up to date from now on, from `start_offset` of its changelog.
    fn on_update_start(&self, store: &str, changelog: &TopicPartition, start_offset: i64) {
        let _ = (store, changelog, start_offset);
    }

    /// `records` more were applied; the next one has `offset`, or a larger one, and the changelog ended before `end_offset`
    /// when that was last looked at.
    fn on_batch_loaded(
        &self,
        store: &str,
        changelog: &TopicPartition,
        task: TaskId,
        offset: i64,
        records: u64,
        end_offset: i64,
    ) {
        let _ = (store, changelog, task, offset, records, end_offset);
    }

    /// The copy is no longer kept up to date: it stands at `offset`. A promotion comes before
    /// [`RestoreListener::on_restore_start`](crate::RestoreListener::on_restore_start) for what is missing.
    fn on_update_suspended(
        &self,
        store: &str,
        changelog: &TopicPartition,
        offset: i64,
        end_offset: i64,
        reason: SuspendReason,
    ) {
        let _ = (store, changelog, offset, end_offset, reason);
    }
}

/// Why a standby copy is no longer kept up to date (Kafka Streams' `StandbyUpdateListener.SuspendReason`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SuspendReason {
    /// Other instances keep copies, or this one stops; the state stays on disk for `state.cleanup.delay.ms`.
    Migrated,
    /// The task runs here from now on, with this state.
    Promoted,
}
