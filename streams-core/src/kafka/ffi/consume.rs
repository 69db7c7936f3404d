//! What consumers do besides fetching: groups, assignments, positions and commits.

use super::client::{Client, Refusal, Topic};
use super::list::ListedPartition;
use super::queue::{EventKind, Queue};
use super::{millis, string};
use rdkafka::TopicPartitionList;
use rdkafka::bindings as sys;
use rdkafka::types::RDKafkaErrorCode;
use std::ffi::CString;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How the group hands out partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kafka) enum RebalanceProtocol {
    /// Not joined yet.
    None,
    /// Everything is given back before anything is assigned: `range`, `roundrobin`.
    Eager,
    /// Only what changes: `cooperative-sticky` and `group.protocol=consumer`.
    Cooperative,
}

/// Which member of which group this is, for committing offsets in a producer's transaction.
pub struct GroupMetadata(NonNull<sys::rd_kafka_consumer_group_metadata_t>);

// SAFETY: the object is a plain record of strings and numbers that nothing changes.
unsafe impl Send for GroupMetadata {}
// SAFETY: as above.
unsafe impl Sync for GroupMetadata {}

impl GroupMetadata {
    /// The group's generation or the member's epoch: above 0 once the group has taken the member in.
    pub(in crate::kafka) fn generation(&self) -> i32 {
        // SAFETY: the pointer is valid as long as this value, and the function only reads.
        unsafe { sys::rd_kafka_consumer_group_metadata_generation_id(self.0.as_ptr()) }
    }

    pub(super) fn ptr(&self) -> *const sys::rd_kafka_consumer_group_metadata_t {
        self.0.as_ptr()
    }
}

impl Drop for GroupMetadata {
    fn drop(&mut self) {
        // SAFETY: the object is ours and destroyed once.
        unsafe { sys::rd_kafka_consumer_group_metadata_destroy(self.0.as_ptr()) }
    }
}

// SAFETY, for every call below: the client is live for as long as `self` is borrowed, a `TopicPartitionList` owns a live
// list that librdkafka copies or fills in before it returns, and C strings outlive the call they are passed to.
impl Client {
    /// Joins the group for these topics.
    pub(in crate::kafka) fn subscribe(&self, topics: &TopicPartitionList) -> Result<(), Refusal> {
        // SAFETY: see above.
        Refusal::check_code(unsafe { sys::rd_kafka_subscribe(self.ptr(), topics.ptr()) })
    }

    pub(in crate::kafka) fn unsubscribe(&self) -> Result<(), Refusal> {
        // SAFETY: see above.
        Refusal::check_code(unsafe { sys::rd_kafka_unsubscribe(self.ptr()) })
    }

    /// How the group hands out partitions.
    pub(in crate::kafka) fn rebalance_protocol(&self) -> RebalanceProtocol {
        // SAFETY: see above; the result is a constant string.
        match string(unsafe { sys::rd_kafka_rebalance_protocol(self.ptr()) }).as_str() {
            "EAGER" => RebalanceProtocol::Eager,
            "COOPERATIVE" => RebalanceProtocol::Cooperative,
            _ => RebalanceProtocol::None,
        }
    }

    /// Whether what is being revoked belongs to others already.
    pub(in crate::kafka) fn is_assignment_lost(&self) -> bool {
        // SAFETY: see above.
        unsafe { sys::rd_kafka_assignment_lost(self.ptr()) != 0 }
    }

    /// Replaces everything that is assigned.
    pub(in crate::kafka) fn assign(&self, partitions: &TopicPartitionList) -> Result<(), Refusal> {
        // SAFETY: see above.
        Refusal::check_code(unsafe { sys::rd_kafka_assign(self.ptr(), partitions.ptr()) })
    }

    /// Drops everything that is assigned, as an answer to an eager revocation.
    pub(in crate::kafka) fn unassign(&self) -> Result<(), Refusal> {
        // SAFETY: see above; null means no partition at all.
        Refusal::check_code(unsafe { sys::rd_kafka_assign(self.ptr(), std::ptr::null()) })
    }

    /// Adds to what is assigned.
    pub(in crate::kafka) fn incremental_assign(
        &self,
        partitions: &TopicPartitionList,
    ) -> Result<(), Refusal> {
        // SAFETY: see above.
        Refusal::check(unsafe { sys::rd_kafka_incremental_assign(self.ptr(), partitions.ptr()) })
    }

    /// Takes away from what is assigned.
    pub(in crate::kafka) fn incremental_unassign(
        &self,
        partitions: &TopicPartitionList,
    ) -> Result<(), Refusal> {
        // SAFETY: see above.
        Refusal::check(unsafe { sys::rd_kafka_incremental_unassign(self.ptr(), partitions.ptr()) })
    }

    /// Waits until partitions that were unassigned have stopped fetching, because a stop that is still under way takes the
    /// forwarding of the partition's queue back. A seek is served behind the stop, and refused by a stopped partition.
    pub(in crate::kafka) fn wait_until_stopped(
        &self,
        partitions: &TopicPartitionList,
        timeout: Duration,
    ) -> Result<(), Refusal> {
        if partitions.count() == 0 {
            return Ok(());
        }
        // SAFETY: see above.
        Refusal::check(unsafe {
            sys::rd_kafka_seek_partitions(self.ptr(), partitions.ptr(), millis(timeout))
        })
    }

    /// Stops fetching without unassigning.
    pub(in crate::kafka) fn pause(&self, partitions: &TopicPartitionList) -> Result<(), Refusal> {
        // SAFETY: see above.
        Refusal::check_code(unsafe { sys::rd_kafka_pause_partitions(self.ptr(), partitions.ptr()) })
    }

    /// Fetches again.
    pub(in crate::kafka) fn resume(&self, partitions: &TopicPartitionList) -> Result<(), Refusal> {
        // SAFETY: see above.
        Refusal::check_code(unsafe {
            sys::rd_kafka_resume_partitions(self.ptr(), partitions.ptr())
        })
    }

    /// Starts fetching a partition into `queue` for a client that belongs to no group.
    pub(in crate::kafka) fn start(
        &self,
        topic: &Topic,
        partition: i32,
        offset: i64,
        queue: &Queue,
    ) -> Result<(), Refusal> {
        // SAFETY: topic and queue are live and of this client.
        let started = unsafe {
            sys::rd_kafka_consume_start_queue(topic.ptr(), partition, offset, queue.ptr())
        };
        Self::check_legacy(started)
    }

    /// Stops what [`Client::start`] started and waits for it.
    pub(in crate::kafka) fn stop(&self, topic: &Topic, partition: i32) -> Result<(), Refusal> {
        // SAFETY: the topic is live.
        Self::check_legacy(unsafe { sys::rd_kafka_consume_stop(topic.ptr(), partition) })
    }

    fn check_legacy(result: i32) -> Result<(), Refusal> {
        if result == 0 {
            return Ok(());
        }
        // SAFETY: reads the thread's last error code, as documented for these calls.
        Err(Refusal::of(unsafe { sys::rd_kafka_last_error() }.into()))
    }

    /// What the group committed.
    pub(in crate::kafka) fn committed(
        &self,
        partitions: &TopicPartitionList,
        timeout: Duration,
    ) -> Result<Vec<ListedPartition>, Refusal> {
        // SAFETY: see above; the list is filled in place and read while it is borrowed.
        unsafe {
            Refusal::check_code(sys::rd_kafka_committed(
                self.ptr(),
                partitions.ptr(),
                millis(timeout),
            ))?;
            Ok(ListedPartition::copy_all(partitions.ptr()))
        }
    }

    /// Behind the last message this client's application took, control records included; negative when there was none.
    pub(in crate::kafka) fn positions(
        &self,
        partitions: &TopicPartitionList,
    ) -> Result<Vec<ListedPartition>, Refusal> {
        // SAFETY: see above; the list is filled in place and read while it is borrowed.
        unsafe {
            Refusal::check_code(sys::rd_kafka_position(self.ptr(), partitions.ptr()))?;
            Ok(ListedPartition::copy_all(partitions.ptr()))
        }
    }

    /// The high watermark of a partition as the last fetch saw it.
    pub(in crate::kafka) fn fetched_high_watermark(
        &self,
        topic: &str,
        partition: i32,
    ) -> Option<i64> {
        let topic = CString::new(topic).ok()?;
        let (mut low, mut high) = (0i64, 0i64);
        // SAFETY: see above; both results are live.
        let code = unsafe {
            sys::rd_kafka_get_watermark_offsets(
                self.ptr(),
                topic.as_ptr(),
                partition,
                &raw mut low,
                &raw mut high,
            )
        };
        (Refusal::check_code(code).is_ok() && high >= 0).then_some(high)
    }

    /// Commits and waits for the answer; a partition that was refused makes the whole call fail.
    pub(in crate::kafka) fn commit(
        self: &Arc<Self>,
        offsets: &TopicPartitionList,
        timeout: Duration,
    ) -> Result<(), Refusal> {
        let answers = Queue::new(self)?;
        // SAFETY: see above; the answer comes into a queue of this client as an event, without a callback.
        Refusal::check_code(unsafe {
            sys::rd_kafka_commit_queue(
                self.ptr(),
                offsets.ptr(),
                answers.ptr(),
                None,
                std::ptr::null_mut(),
            )
        })?;
        let deadline = Instant::now() + timeout;
        loop {
            let rest = deadline.saturating_duration_since(Instant::now());
            let Some(event) = answers.poll(rest) else {
                if rest.is_zero() {
                    return Err(Refusal::of(RDKafkaErrorCode::OperationTimedOut));
                }
                continue;
            };
            if event.kind() != EventKind::Committed {
                continue;
            }
            let partition_error = event.partitions().into_iter().find_map(|each| each.error);
            return match (event.error_code(), partition_error) {
                (RDKafkaErrorCode::NoError, None) => Ok(()),
                (RDKafkaErrorCode::NoError, Some(code)) => Err(Refusal::of(code)),
                (code, _) => Err(Refusal::of(code)),
            };
        }
    }

    /// Starts leaving the group; its events come into `queue` until [`Client::is_closed`].
    pub(in crate::kafka) fn start_close(&self, queue: &Queue) -> Result<(), Refusal> {
        // SAFETY: the queue is live and of this client.
        Refusal::check(unsafe { sys::rd_kafka_consumer_close_queue(self.ptr(), queue.ptr()) })
    }

    /// Whether the member has left.
    pub(in crate::kafka) fn is_closed(&self) -> bool {
        // SAFETY: see above.
        unsafe { sys::rd_kafka_consumer_closed(self.ptr()) != 0 }
    }

    /// Who this member is now; `None` for a client without a group.
    pub(in crate::kafka) fn group_metadata(&self) -> Option<GroupMetadata> {
        // SAFETY: see above; the object returned is ours.
        NonNull::new(unsafe { sys::rd_kafka_consumer_group_metadata(self.ptr()) })
            .map(GroupMetadata)
    }
}
