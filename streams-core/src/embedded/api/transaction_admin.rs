//! What tools ask about producers and transactions: `DescribeProducers`, `DescribeTransactions`, `ListTransactions`.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_producers_request::{
    DescribeProducersRequest, TopicRequest,
};
use kafka_protocol::messages::describe_producers_response::{
    DescribeProducersResponse, PartitionResponse, ProducerState as DescribedProducer, TopicResponse,
};
use kafka_protocol::messages::describe_transactions_response::{
    DescribeTransactionsResponse, TopicData, TransactionState as DescribedTransaction,
};
use kafka_protocol::messages::list_transactions_response::{
    ListTransactionsResponse, TransactionState as ListedTransaction,
};
use kafka_protocol::messages::{
    DescribeTransactionsRequest, ListTransactionsRequest, ProducerId, TopicName, TransactionalId,
};
use kafka_protocol::protocol::StrBytes;

use crate::embedded::core::producers::ProducerState;
use crate::embedded::core::transactions::Transaction;
use crate::embedded::core::{BrokerCore, owned};

/// The states a transactional id can be in here.
const STATES: [&str; 4] = ["Empty", "Ongoing", "CompleteCommit", "CompleteAbort"];

impl BrokerCore {
    /// The producers that have written to partitions.
    pub(super) fn describe_producers(
        &self,
        request: &DescribeProducersRequest,
    ) -> DescribeProducersResponse {
        let describe_topic = |topic: &TopicRequest| {
            let describe = |partition: &i32| {
                let response = PartitionResponse::default().with_partition_index(*partition);
                match self.topics.partition(&topic.name, *partition) {
                    Err(error) => response.with_error_code(error.code()),
                    Ok(log) => response.with_active_producers(
                        log.producers
                            .list()
                            .into_iter()
                            .map(described_producer)
                            .collect(),
                    ),
                }
            };
            TopicResponse::default()
                .with_name(topic.name.clone())
                .with_partitions(topic.partition_indexes.iter().map(describe).collect())
        };
        DescribeProducersResponse::default()
            .with_topics(request.topics.iter().map(describe_topic).collect())
    }

    /// The state of transactional ids.
    pub(super) fn describe_transactions(
        &self,
        request: &DescribeTransactionsRequest,
    ) -> DescribeTransactionsResponse {
        let describe = |id: &TransactionalId| {
            let described = DescribedTransaction::default().with_transactional_id(id.clone());
            match self.transactions.get(id) {
                None => described.with_error_code(ResponseError::TransactionalIdNotFound.code()),
                Some(transaction) => described_transaction(described, transaction),
            }
        };
        let states = request.transactional_ids.iter().map(describe).collect();
        DescribeTransactionsResponse::default().with_transaction_states(states)
    }

    /// The transactional ids in the states, of the producers and open for as long as asked for.
    pub(super) fn list_transactions(
        &self,
        request: &ListTransactionsRequest,
        now_ms: i64,
    ) -> ListTransactionsResponse {
        let (known, unknown): (Vec<_>, Vec<_>) = request
            .state_filters
            .iter()
            .cloned()
            .partition(|state| STATES.contains(&state.as_str()));
        let is_wanted = |transaction: &Transaction| {
            let state = transaction.state_name();
            let ids = &request.producer_id_filters;
            let open_ms = transaction
                .open
                .as_ref()
                .map_or(0, |open| now_ms - open.since_ms);
            (request.state_filters.is_empty()
                || known.iter().any(|wanted| wanted.as_str() == state))
                && (ids.is_empty() || ids.contains(&ProducerId(transaction.producer_id)))
                && open_ms >= request.duration_filter
        };
        let list = |(id, transaction): (&String, &Transaction)| {
            ListedTransaction::default()
                .with_transactional_id(TransactionalId(owned(id)))
                .with_producer_id(ProducerId(transaction.producer_id))
                .with_transaction_state(StrBytes::from_static_str(transaction.state_name()))
        };
        let wanted = self
            .transactions
            .iter()
            .filter(|(_, transaction)| is_wanted(transaction));
        ListTransactionsResponse::default()
            .with_unknown_state_filters(unknown)
            .with_transaction_states(wanted.map(list).collect())
    }
}

fn described_producer((producer_id, state): (i64, &ProducerState)) -> DescribedProducer {
    DescribedProducer::default()
        .with_producer_id(ProducerId(producer_id))
        .with_producer_epoch(i32::from(state.epoch))
        .with_last_sequence(state.last_sequence())
        .with_last_timestamp(state.last_timestamp)
        .with_coordinator_epoch(0)
        .with_current_txn_start_offset(state.transaction_first_offset.unwrap_or(-1))
}

fn described_transaction(
    described: DescribedTransaction,
    transaction: &Transaction,
) -> DescribedTransaction {
    let mut topics: BTreeMap<&String, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in transaction.open.iter().flat_map(|open| &open.partitions) {
        topics.entry(topic).or_default().push(*partition);
    }
    let topic = |(topic, partitions): (&String, Vec<i32>)| {
        TopicData::default()
            .with_topic(TopicName(owned(topic)))
            .with_partitions(partitions)
    };
    described
        .with_transaction_state(StrBytes::from_static_str(transaction.state_name()))
        .with_transaction_timeout_ms(transaction.timeout_ms)
        .with_transaction_start_time_ms(transaction.open.as_ref().map_or(-1, |open| open.since_ms))
        .with_producer_id(ProducerId(transaction.producer_id))
        .with_producer_epoch(transaction.producer_epoch)
        .with_topics(topics.into_iter().map(topic).collect())
}
