//! What the core asks to be kept: every change of durable state, in the order it happened.
//!
//! The core touches no disk. When told to, it lists its changes here, and whoever drives it writes them down before it
//! sends the answers that depend on them.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::topic_config::TopicConfig;

/// One change of durable state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Change {
    /// The cluster got its id.
    Cluster { cluster_id: String },
    /// A topic was created, or its partitions or configuration changed.
    Topic {
        topic_id: Uuid,
        name: String,
        partition_count: usize,
        config: TopicConfig,
    },
    /// A topic and all its data went.
    TopicDeleted { topic_id: Uuid },
    /// Records of a partition below this offset are gone.
    StartOffset {
        topic_id: Uuid,
        partition: usize,
        offset: i64,
    },
    /// Something happened to the segments of one partition. These are kept as segments, not as a list of changes.
    #[serde(skip)]
    Log {
        topic_id: Uuid,
        partition: usize,
        change: LogChange,
    },
    /// A group committed an offset.
    Offset {
        group_id: String,
        topic: String,
        partition: i32,
        committed: CommittedOffset,
    },
    /// A group's offset of one partition went.
    OffsetDeleted {
        group_id: String,
        topic: String,
        partition: i32,
    },
    /// Producer ids below this one have been given out.
    NextProducerId { producer_id: i64 },
    /// The state of a transactional id.
    Transaction {
        transactional_id: String,
        transaction: DurableTransaction,
    },
}

/// A change to the segments of one partition's log.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum LogChange {
    /// A new, empty segment takes the appends from now on.
    SegmentStarted { base_offset: i64 },
    /// A batch was appended to the segment with this base offset.
    Appended {
        segment_base_offset: i64,
        batch: Bytes,
    },
    /// A segment went, with everything in it.
    SegmentDeleted { base_offset: i64 },
    /// Compaction rewrote a run of segments into the first of them.
    SegmentsReplaced {
        base_offset: i64,
        batches: Vec<Bytes>,
        merged: Vec<i64>,
    },
}

/// A committed offset with what was committed beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CommittedOffset {
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
    pub(crate) commit_timestamp_ms: i64,
}

/// What must survive a restart of one transactional id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DurableTransaction {
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) timeout_ms: i32,
    /// When the open transaction began, if one is open.
    pub(crate) ongoing_since_ms: Option<i64>,
    pub(crate) partitions: Vec<(String, i32)>,
    pub(crate) groups: Vec<String>,
    pub(crate) pending_offsets: Vec<(String, String, i32, CommittedOffset)>,
    /// Set while the transaction is being ended: committed or not. Should the broker die before the last marker is
    /// written, it writes the rest when it starts again.
    pub(crate) decided: Option<bool>,
    /// How the last transaction ended, if one has: committed or not.
    pub(crate) last_outcome: Option<bool>,
}

/// Collects changes, or drops them at once when nothing is to be kept.
#[derive(Debug)]
pub(crate) struct Changes {
    enabled: bool,
    list: Vec<Change>,
}

impl Changes {
    /// A collector that keeps changes only if `enabled`.
    pub(crate) fn new(enabled: bool) -> Self {
        Self {
            enabled,
            list: Vec::new(),
        }
    }

    /// Notes a change. The closure runs only when changes are kept, so that a broker in memory pays nothing.
    pub(crate) fn push(&mut self, change: impl FnOnce() -> Change) {
        if self.enabled {
            self.list.push(change());
        }
    }

    /// The changes since the last call, oldest first.
    pub(crate) fn take(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.list)
    }
}
