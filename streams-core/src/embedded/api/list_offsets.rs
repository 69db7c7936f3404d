//! Offsets by time and by epoch: `ListOffsets`, `OffsetForLeaderEpoch`.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};

use crate::embedded::core::BrokerCore;

/// The timestamps that stand for a position.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
/// The version of `ListOffsets` from which the answer names the leader's epoch.
const LEADER_EPOCH_VERSION: i16 = 4;
/// `isolation_level` of a consumer that wants to see committed transactions only.
const READ_COMMITTED: i8 = 1;

impl BrokerCore {
    /// The offset at a position or of the first record at or after a time, partition by partition.
    pub(super) fn list_offsets(
        &self,
        request: &ListOffsetsRequest,
        version: i16,
    ) -> ListOffsetsResponse {
        let list_topic = |topic: &ListOffsetsTopic| {
            let list = |wanted: &ListOffsetsPartition| {
                let response = ListOffsetsPartitionResponse::default()
                    .with_partition_index(wanted.partition_index);
                match self.list_offset(&topic.name, wanted, request.isolation_level) {
                    Ok((offset, timestamp)) => {
                        let leader_epoch = if offset < 0 || version < LEADER_EPOCH_VERSION {
                            -1
                        } else {
                            0
                        };
                        response
                            .with_offset(offset)
                            .with_timestamp(timestamp)
                            .with_leader_epoch(leader_epoch)
                    }
                    Err(error) => response.with_error_code(error.code()),
                }
            };
            ListOffsetsTopicResponse::default()
                .with_name(topic.name.clone())
                .with_partitions(topic.partitions.iter().map(list).collect())
        };
        ListOffsetsResponse::default().with_topics(request.topics.iter().map(list_topic).collect())
    }

    fn list_offset(
        &self,
        topic: &str,
        wanted: &ListOffsetsPartition,
        isolation_level: i8,
    ) -> Result<(i64, i64), ResponseError> {
        let log = self.topics.partition(topic, wanted.partition_index)?;
        if wanted.current_leader_epoch > 0 {
            return Err(ResponseError::UnknownLeaderEpoch);
        }
        let end = if isolation_level == READ_COMMITTED {
            log.last_stable_offset()
        } else {
            log.end_offset
        };
        let found = match wanted.timestamp {
            LATEST => Some((end, -1)),
            EARLIEST | EARLIEST_LOCAL => Some((log.start_offset, -1)),
            MAX_TIMESTAMP => log.offset_of_max_timestamp(),
            timestamp_ms if timestamp_ms >= 0 => log.offset_for_timestamp(timestamp_ms),
            _ => return Err(ResponseError::UnsupportedVersion),
        };
        Ok(found
            .filter(|(offset, _)| *offset < end || wanted.timestamp < 0)
            .unwrap_or((-1, -1)))
    }

    /// The end of an epoch. There has only ever been epoch 0, and it ends where the log does.
    pub(super) fn offset_for_leader_epoch(
        &self,
        request: &OffsetForLeaderEpochRequest,
    ) -> OffsetForLeaderEpochResponse {
        let end_topic = |topic: &OffsetForLeaderTopic| {
            let end = |wanted: &OffsetForLeaderPartition| {
                let response = EpochEndOffset::default().with_partition(wanted.partition);
                match self.topics.partition(&topic.topic, wanted.partition) {
                    Err(error) => response.with_error_code(error.code()),
                    Ok(_) if wanted.current_leader_epoch > 0 => {
                        response.with_error_code(ResponseError::UnknownLeaderEpoch.code())
                    }
                    Ok(log) if wanted.leader_epoch == 0 => response
                        .with_leader_epoch(0)
                        .with_end_offset(log.end_offset),
                    Ok(_) => response,
                }
            };
            OffsetForLeaderTopicResult::default()
                .with_topic(topic.topic.clone())
                .with_partitions(topic.partitions.iter().map(end).collect())
        };
        OffsetForLeaderEpochResponse::default()
            .with_topics(request.topics.iter().map(end_topic).collect())
    }
}
