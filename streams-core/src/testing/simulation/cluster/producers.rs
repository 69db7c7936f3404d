//! What producers ask the brokers for, with and without transactions.

use kafka_protocol::ResponseError;

use super::{Cluster, NewRecord, TRANSACTION_TIMEOUT_MS, refused, stored};
use crate::embedded::core::batch::{RecordBatch, RecordBatchBuilder};
use crate::embedded::core::records;
use crate::embedded::core::transactions::ProducerIdentity;
use crate::error::Result;
use crate::record::TopicPartition;
use crate::runtime::broker::CommittedOffset;

impl Cluster {
    pub(in crate::testing::simulation) fn init_producer(
        &mut self,
        transactional_id: Option<&str>,
        now_ms: i64,
    ) -> Result<ProducerIdentity> {
        let Some(id) = transactional_id else {
            return Ok(ProducerIdentity {
                producer_id: self.core.transactions.new_producer_id(),
                producer_epoch: 0,
            });
        };
        let (identity, ended) = self
            .core
            .transactions
            .init(id, TRANSACTION_TIMEOUT_MS, None)
            .map_err(|error| refused(error, true))?;
        if let Some(ended) = ended {
            self.core.finish_transaction(&ended, now_ms);
        }
        Ok(identity)
    }

    pub(in crate::testing::simulation) fn add_partition(
        &mut self,
        transactional_id: &str,
        producer: ProducerIdentity,
        partition: &TopicPartition,
        now_ms: i64,
    ) -> Result<()> {
        let added = [(partition.topic.clone(), partition.partition)];
        self.core
            .transactions
            .add_partitions(transactional_id, producer, added, now_ms)
            .map_err(|error| refused(error, true))
    }

    /// Appends a batch; returns the offset behind it.
    pub(in crate::testing::simulation) fn append(
        &mut self,
        partition: &TopicPartition,
        batch: &RecordBatch,
        now_ms: i64,
    ) -> Result<i64> {
        let appended = self
            .core
            .append_batch(&partition.topic, partition.partition, batch.bytes(), now_ms)
            .map_err(|error| refused(error, batch.is_transactional()))?;
        Ok(appended.base_offset + i64::from(batch.record_count))
    }

    /// Adds offsets to a transaction.
    pub(in crate::testing::simulation) fn add_offsets(
        &mut self,
        transactional_id: &str,
        producer: ProducerIdentity,
        group: &str,
        member: (&str, i32),
        offsets: &[(TopicPartition, CommittedOffset)],
        now_ms: i64,
    ) -> Result<()> {
        let core = &mut self.core;
        let transactions = &mut core.transactions;
        transactions
            .add_group(transactional_id, producer, group, now_ms)
            .and_then(|()| transactions.check_offsets(transactional_id, producer, group))
            .and_then(|()| {
                let group = core.groups.get_or_create(group);
                group.check_commit(member.0, None, member.1, now_ms)?;
                for (partition, offset) in offsets {
                    group.offsets.hold(
                        producer.producer_id,
                        &partition.topic,
                        partition.partition,
                        stored(offset, now_ms),
                    );
                }
                Ok(())
            })
            .map_err(|error| refused(error, true))
    }

    pub(in crate::testing::simulation) fn end_transaction(
        &mut self,
        transactional_id: &str,
        producer: ProducerIdentity,
        is_commit: bool,
        now_ms: i64,
    ) -> Result<()> {
        let ended = match self
            .core
            .transactions
            .end(transactional_id, producer, is_commit)
        {
            // The question that would have opened it was lost: there is nothing to abort.
            Err(ResponseError::InvalidTxnState) if !is_commit => None,
            ended => ended.map_err(|error| refused(error, true))?,
        };
        if let Some(ended) = ended {
            self.core.finish_transaction(&ended, now_ms);
        }
        Ok(())
    }

    /// Whether no transaction is open.
    pub(in crate::testing::simulation) fn is_settled(&self) -> bool {
        self.core.transactions.iter().all(|(_, t)| t.open.is_none())
    }
}

/// A batch of records.
pub(in crate::testing::simulation) fn batch(
    producer: ProducerIdentity,
    is_transactional: bool,
    base_sequence: i32,
    new: &[NewRecord],
) -> RecordBatch {
    let mut builder = RecordBatchBuilder::new().producer(
        producer.producer_id,
        producer.producer_epoch,
        base_sequence,
    );
    if is_transactional {
        builder = builder.transactional();
    }
    for record in new {
        let mut headers = Vec::new();
        for header in record.headers.iter() {
            headers.push((header.key.as_str(), header.value.as_deref()));
        }
        let headers = records::encode_headers(&headers);
        builder = builder.record_with_headers(
            record.timestamp,
            record.key.as_deref(),
            record.value.as_deref(),
            &headers,
        );
    }
    builder.build()
}
