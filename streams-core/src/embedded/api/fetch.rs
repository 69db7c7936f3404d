//! `Fetch`: batches out of logs, at once or when there are enough.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, FetchResponse, FetchableTopicResponse, PartitionData,
};
use kafka_protocol::messages::{ProducerId, ResponseKind};

use crate::embedded::core::batch::batch_len;
use crate::embedded::core::{Answer, BrokerCore, RequestContext, RequestId};

/// The version of `Fetch` from which topics are named by their id.
const TOPIC_ID_VERSION: i16 = 13;
/// `isolation_level` of a consumer that wants to see committed transactions only.
const READ_COMMITTED: i8 = 1;

/// A fetch looked up in the logs.
struct Found {
    response: FetchResponse,
    records: Vec<Vec<Bytes>>,
    bytes: usize,
    has_error: bool,
    partitions: Vec<(String, i32)>,
}

impl BrokerCore {
    /// Answers a fetch that finds enough, and lets one that does not wait. Sessions (KIP-227) are declined by answering
    /// with session 0, after which clients send complete requests.
    pub(super) fn fetch(&mut self, context: &RequestContext, request: FetchRequest, now_ms: i64) {
        if request.session_id != 0 {
            let response = FetchResponse::default()
                .with_error_code(ResponseError::FetchSessionIdNotFound.code());
            self.answers
                .push(context.request_id, ResponseKind::Fetch(response));
            return;
        }
        let found = self.look_up(&request, context.version);
        let wanted_bytes = usize::try_from(request.min_bytes).unwrap_or(0);
        if found.bytes >= wanted_bytes
            || found.has_error
            || request.max_wait_ms <= 0
            || found.partitions.is_empty()
        {
            self.answers.push_answer(
                context.request_id,
                Answer::Fetch(found.response, found.records),
            );
            return;
        }
        let deadline_ms = now_ms + i64::from(request.max_wait_ms);
        self.fetches
            .wait(context.clone(), request, found.partitions, deadline_ms);
    }

    /// Looks again at a fetch that waits, and answers it if it finds enough or has waited long enough.
    pub(crate) fn resume_fetch(&mut self, request_id: RequestId, now_ms: i64) {
        let Some(fetch) = self.fetches.remove(request_id) else {
            return;
        };
        let found = self.look_up(&fetch.request, fetch.context.version);
        let wanted_bytes = usize::try_from(fetch.request.min_bytes).unwrap_or(0);
        if found.bytes >= wanted_bytes || found.has_error || now_ms >= fetch.deadline_ms {
            self.answers
                .push_answer(request_id, Answer::Fetch(found.response, found.records));
        } else {
            self.fetches.wait(
                fetch.context,
                fetch.request,
                found.partitions,
                fetch.deadline_ms,
            );
        }
    }

    fn look_up(&self, request: &FetchRequest, version: i16) -> Found {
        let mut found = Found {
            response: FetchResponse::default(),
            records: Vec::new(),
            bytes: 0,
            has_error: false,
            partitions: Vec::new(),
        };
        let bytes_max = usize::try_from(request.max_bytes).unwrap_or(0);
        for topic in &request.topics {
            let name = self.fetched_name(topic, version);
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for wanted in &topic.partitions {
                let bytes_left = bytes_max.saturating_sub(found.bytes);
                let read = name.as_ref().map_err(|error| *error).and_then(|name| {
                    self.read_partition(
                        name,
                        wanted,
                        request.isolation_level,
                        bytes_left,
                        found.bytes == 0,
                    )
                });
                let (data, records) = read.unwrap_or_else(|error| {
                    let data = PartitionData::default()
                        .with_partition_index(wanted.partition)
                        .with_error_code(error.code())
                        .with_high_watermark(-1)
                        .with_aborted_transactions(None);
                    (data, Vec::new())
                });
                found.has_error |= data.error_code != 0;
                found.bytes += records.iter().map(Bytes::len).sum::<usize>();
                found.records.push(records);
                partitions.push(data);
                if let Ok(name) = &name {
                    found
                        .partitions
                        .push(((*name).to_owned(), wanted.partition));
                }
            }
            let answer = FetchableTopicResponse::default()
                .with_topic(topic.topic.clone())
                .with_topic_id(topic.topic_id)
                .with_partitions(partitions);
            found.response.responses.push(answer);
        }
        found
    }

    fn fetched_name<'a>(
        &'a self,
        topic: &'a FetchTopic,
        version: i16,
    ) -> Result<&'a str, ResponseError> {
        if version < TOPIC_ID_VERSION {
            return Ok(&topic.topic);
        }
        self.topics
            .name_of(topic.topic_id)
            .ok_or(ResponseError::UnknownTopicId)
    }

    fn read_partition(
        &self,
        topic: &str,
        wanted: &FetchPartition,
        isolation_level: i8,
        bytes_left: usize,
        is_first: bool,
    ) -> Result<(PartitionData, Vec<Bytes>), ResponseError> {
        let log = self.topics.partition(topic, wanted.partition)?;
        if wanted.current_leader_epoch > 0 {
            return Err(ResponseError::UnknownLeaderEpoch);
        }
        let stable_offset = log.last_stable_offset();
        let mut data = PartitionData::default()
            .with_partition_index(wanted.partition)
            .with_high_watermark(log.end_offset)
            .with_last_stable_offset(stable_offset)
            .with_log_start_offset(log.start_offset)
            .with_aborted_transactions(None);
        let from = wanted.fetch_offset;
        if from < log.start_offset || from > log.end_offset {
            data.error_code = ResponseError::OffsetOutOfRange.code();
            return Ok((data, Vec::new()));
        }
        let is_committed_only = isolation_level == READ_COMMITTED;
        let to = if is_committed_only {
            stable_offset
        } else {
            log.end_offset
        };
        let bytes_max = bytes_left.min(usize::try_from(wanted.partition_max_bytes).unwrap_or(0));
        let records = log.read(from, to, bytes_max, is_first);
        if is_committed_only {
            let read_to = records
                .last()
                .and_then(last_offset)
                .map_or(from, |last| last + 1);
            let aborted = log.producers.aborted_between(from, read_to).map(|aborted| {
                AbortedTransaction::default()
                    .with_producer_id(ProducerId(aborted.producer_id))
                    .with_first_offset(aborted.first_offset)
            });
            data.aborted_transactions = Some(aborted.collect());
        }
        Ok((data, records))
    }
}

/// The offset of the last record of a batch that lies in a log.
fn last_offset(batch: &Bytes) -> Option<i64> {
    batch_len(batch)?;
    let base = i64::from_be_bytes(batch.get(..8)?.try_into().ok()?);
    let delta = i32::from_be_bytes(batch.get(23..27)?.try_into().ok()?);
    Some(base + i64::from(delta))
}
