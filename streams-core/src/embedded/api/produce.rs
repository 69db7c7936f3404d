//! `Produce`: batches into logs.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::ResponseKind;
use kafka_protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use kafka_protocol::messages::produce_response::{
    PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
};

use crate::embedded::core::batch::{NO_PRODUCER_ID, RecordBatch};
use crate::embedded::core::log::Appended;
use crate::embedded::core::transactions::ProducerIdentity;
use crate::embedded::core::{Answer, BrokerCore, RequestContext};

/// The version of `Produce` from which topics are named by their id.
const TOPIC_ID_VERSION: i16 = 13;

impl BrokerCore {
    /// Appends what a producer sends, partition by partition, and answers unless it wants no answer.
    pub(super) fn produce(
        &mut self,
        context: &RequestContext,
        request: &ProduceRequest,
        now_ms: i64,
    ) {
        let responses = request
            .topic_data
            .iter()
            .map(|topic| self.produce_topic(context, request, topic, now_ms))
            .collect();
        if request.acks == 0 {
            self.answers
                .push_answer(context.request_id, Answer::Nothing);
            return;
        }
        let response = ProduceResponse::default().with_responses(responses);
        self.answers
            .push(context.request_id, ResponseKind::Produce(response));
    }

    fn produce_topic(
        &mut self,
        context: &RequestContext,
        request: &ProduceRequest,
        topic: &TopicProduceData,
        now_ms: i64,
    ) -> TopicProduceResponse {
        let name = if context.version >= TOPIC_ID_VERSION {
            self.topics
                .name_of(topic.topic_id)
                .map(str::to_owned)
                .ok_or(ResponseError::UnknownTopicId)
        } else {
            Ok(topic.name.to_string())
        };
        let acks = if (-1..=1).contains(&request.acks) {
            Ok(())
        } else {
            Err(ResponseError::InvalidRequiredAcks)
        };
        let name = acks.and(name);
        let append = |data: &PartitionProduceData| {
            let response = PartitionProduceResponse::default().with_index(data.index);
            let appended = name.as_ref().map_err(|error| *error).and_then(|name| {
                let records = data.records.as_ref().ok_or(ResponseError::InvalidRecord)?;
                self.append_batch(name, data.index, records, now_ms)
            });
            match appended {
                Ok(appended) => {
                    let log = name
                        .as_ref()
                        .ok()
                        .and_then(|name| self.topics.partition(name, data.index).ok());
                    response
                        .with_base_offset(appended.base_offset)
                        .with_log_append_time_ms(appended.log_append_time_ms)
                        .with_log_start_offset(log.map_or(-1, |log| log.start_offset))
                }
                Err(error) => response.with_error_code(error.code()).with_base_offset(-1),
            }
        };
        let partition_responses = topic.partition_data.iter().map(append).collect();
        TopicProduceResponse::default()
            .with_name(topic.name.clone())
            .with_topic_id(topic.topic_id)
            .with_partition_responses(partition_responses)
    }

    /// Appends the one batch in `records` to a partition.
    ///
    /// # Errors
    /// Whatever the batch, its producer or the topic's configuration stand against.
    pub(crate) fn append_batch(
        &mut self,
        topic: &str,
        partition: i32,
        records: &Bytes,
        now_ms: i64,
    ) -> Result<Appended, ResponseError> {
        self.topics.partition(topic, partition)?;
        let batch = RecordBatch::parse(records)?;
        if batch.size_bytes() != records.len() || batch.is_control() {
            return Err(ResponseError::InvalidRecord);
        }
        if batch.is_transactional() {
            if batch.producer_id == NO_PRODUCER_ID {
                return Err(ResponseError::InvalidRecord);
            }
            let producer = ProducerIdentity {
                producer_id: batch.producer_id,
                producer_epoch: batch.producer_epoch,
            };
            self.transactions
                .check_produce(producer, topic, partition)?;
        }
        let (log, config) = self.topics.partition_mut(topic, partition)?;
        if config.refuses_timestamps(batch.base_timestamp, batch.max_timestamp, now_ms) {
            return Err(ResponseError::InvalidTimestamp);
        }
        let appended = log.append(&batch, config, now_ms, &mut self.changes)?;
        self.fetches.touch(topic, partition);
        Ok(appended)
    }
}
