//! Producers and transactions: `InitProducerId`, `AddPartitionsToTxn`, `AddOffsetsToTxn`, `EndTxn`.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic,
};
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResponse, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, EndTxnRequest, EndTxnResponse,
    InitProducerIdRequest, InitProducerIdResponse, ProducerId,
};

use super::code;
use crate::embedded::core::BrokerCore;
use crate::embedded::core::changes::Change;
use crate::embedded::core::transactions::ProducerIdentity;

impl BrokerCore {
    /// Gives a producer its id and epoch, aborting what its predecessor under the same transactional id left open.
    pub(super) fn init_producer_id(
        &mut self,
        request: &InitProducerIdRequest,
        version: i16,
        now_ms: i64,
    ) -> InitProducerIdResponse {
        let given = match request.transactional_id.as_ref().map(|id| id.to_string()) {
            None => Ok(ProducerIdentity {
                producer_id: self.transactions.new_producer_id(),
                producer_epoch: 0,
            }),
            Some(id) if id.is_empty() => Err(ResponseError::InvalidRequest),
            Some(transactional_id) => {
                let current = (request.producer_id.0 >= 0).then_some(ProducerIdentity {
                    producer_id: request.producer_id.0,
                    producer_epoch: request.producer_epoch,
                });
                let given = self.transactions.init(
                    &transactional_id,
                    request.transaction_timeout_ms,
                    current,
                );
                given.map(|(identity, ended)| {
                    if let Some(ended) = ended {
                        self.finish_transaction(&ended, now_ms);
                    }
                    self.note_transaction(&transactional_id);
                    identity
                })
            }
        };
        let producer_id = self.transactions.next_producer_id();
        self.changes.push(|| Change::NextProducerId { producer_id });
        let response = InitProducerIdResponse::default();
        match given {
            Ok(identity) => response
                .with_producer_id(ProducerId(identity.producer_id))
                .with_producer_epoch(identity.producer_epoch),
            Err(error) => response
                .with_error_code(fencing(error, version >= 4).code())
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1),
        }
    }

    /// Makes partitions part of a transaction.
    pub(super) fn add_partitions_to_txn(
        &mut self,
        request: &AddPartitionsToTxnRequest,
        version: i16,
        now_ms: i64,
    ) -> AddPartitionsToTxnResponse {
        let topics = &request.v3_and_below_topics;
        let producer = ProducerIdentity {
            producer_id: request.v3_and_below_producer_id.0,
            producer_epoch: request.v3_and_below_producer_epoch,
        };
        let partitions = || {
            topics.iter().flat_map(|topic| {
                topic
                    .partitions
                    .iter()
                    .map(|p| (topic.name.to_string(), *p))
            })
        };
        let are_all_known =
            partitions().all(|(topic, partition)| self.topics.partition(&topic, partition).is_ok());
        let added = if are_all_known {
            let id = &request.v3_and_below_transactional_id;
            let added = self
                .transactions
                .add_partitions(id, producer, partitions(), now_ms);
            self.note_transaction(id);
            added.map_err(|error| fencing(error, version >= 2))
        } else {
            Err(ResponseError::OperationNotAttempted)
        };
        let answer = |topic: &AddPartitionsToTxnTopic| {
            let answer = |partition: &i32| {
                let known = self.topics.partition(&topic.name, *partition).map(|_| ());
                AddPartitionsToTxnPartitionResult::default()
                    .with_partition_index(*partition)
                    .with_partition_error_code(code(&known.and(added)))
            };
            AddPartitionsToTxnTopicResult::default()
                .with_name(topic.name.clone())
                .with_results_by_partition(topic.partitions.iter().map(answer).collect())
        };
        AddPartitionsToTxnResponse::default()
            .with_results_by_topic_v3_and_below(topics.iter().map(answer).collect())
    }

    /// Makes the offsets of a group part of a transaction.
    pub(super) fn add_offsets_to_txn(
        &mut self,
        request: &AddOffsetsToTxnRequest,
        version: i16,
        now_ms: i64,
    ) -> AddOffsetsToTxnResponse {
        let producer = ProducerIdentity {
            producer_id: request.producer_id.0,
            producer_epoch: request.producer_epoch,
        };
        let added = self.transactions.add_group(
            &request.transactional_id,
            producer,
            &request.group_id,
            now_ms,
        );
        self.note_transaction(&request.transactional_id);
        AddOffsetsToTxnResponse::default()
            .with_error_code(code(&added.map_err(|error| fencing(error, version >= 2))))
    }

    /// Commits or aborts a transaction.
    pub(super) fn end_txn(
        &mut self,
        request: &EndTxnRequest,
        version: i16,
        now_ms: i64,
    ) -> EndTxnResponse {
        let producer = ProducerIdentity {
            producer_id: request.producer_id.0,
            producer_epoch: request.producer_epoch,
        };
        let ended = self
            .transactions
            .end(&request.transactional_id, producer, request.committed);
        if let Ok(Some(ended)) = &ended {
            self.finish_transaction(ended, now_ms);
        }
        EndTxnResponse::default()
            .with_error_code(code(&ended.map_err(|error| fencing(error, version >= 2))))
    }
}

/// `PRODUCER_FENCED` came with newer versions; the older ones know the same as `INVALID_PRODUCER_EPOCH`.
fn fencing(error: ResponseError, knows_fenced: bool) -> ResponseError {
    if error == ResponseError::ProducerFenced && !knows_fenced {
        ResponseError::InvalidProducerEpoch
    } else {
        error
    }
}
