//! A producer: idempotent, and transactional when it has an id.

use super::consumer::offset_list;
use super::errors;
use super::ffi::{Client, DeliveryFailure, GroupMetadata, Outgoing, ProduceTopic, Refusal};
use super::producer_runs::{RUN_RECORDS_MAX, Runs};
use crate::error::{Error, ErrorKind, Result};
use crate::record::TopicPartition;
use crate::runtime::broker::{CommittedOffset, FailedSend, LogProducer};
use crate::task::effects::ProduceRecord;
use rdkafka::error::RDKafkaErrorCode;
use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a producer that is dropped waits for what it still has to send.
const DROP_FLUSH_MAX: Duration = Duration::from_secs(2);
/// How long aborting may take: the brokers end what they are not told about after `transaction.timeout.ms`, or when the next
/// producer of the same id begins.
const ABORT_MAX: Duration = Duration::from_secs(10);
/// How long to wait for room in the queue before looking again.
const ROOM_WAIT: Duration = Duration::from_millis(10);
/// How many records are queued before delivery reports are looked at.
const SERVE_EVERY: usize = RUN_RECORDS_MAX;

/// A producer over librdkafka.
pub struct KafkaProducer {
    pub(super) client: Arc<Client>,
    pub(super) topics: Vec<(Arc<str>, ProduceTopic)>,
    by_name: HashMap<Arc<str>, usize>,
    /// The topic of the last record, because records come in runs.
    last: usize,
    /// What this client refused and nobody has taken.
    refused: Vec<FailedSend>,
    pub(super) runs: Runs,
    /// Whether records that fail wait to be taken.
    keeps_failures: bool,
    is_transactional: bool,
    block_max: Duration,
    api_timeout: Duration,
}

impl KafkaProducer {
    pub(super) fn new(
        client: Arc<Client>,
        is_transactional: bool,
        block_max: Duration,
        api_timeout: Duration,
    ) -> KafkaProducer {
        KafkaProducer {
            client,
            topics: Vec::new(),
            by_name: HashMap::new(),
            last: 0,
            refused: Vec::new(),
            runs: Runs::default(),
            keeps_failures: false,
            is_transactional,
            block_max,
            api_timeout,
        }
    }

    fn transaction_error(&self, refusal: &Refusal, what: impl Display) -> Error {
        if let Some(fatal) = self.fatal_error() {
            return fatal;
        }
        let error = errors::in_transaction(refusal, what);
        match self.client.signals().trouble() {
            Some(trouble) if error.is_retriable() => {
                error.with_source(format!("the client last reported: {trouble}"))
            }
            _ => error,
        }
    }

    /// What a code means for this producer.
    fn kind_of(&self, code: RDKafkaErrorCode) -> ErrorKind {
        if self.is_transactional {
            errors::kind_in_transaction(code)
        } else {
            errors::kind_of(code)
        }
    }

    /// The error that ended this producer.
    fn fatal_error(&self) -> Option<Error> {
        self.client.fatal_error().map(|fatal| {
            errors::error_with(
                self.kind_of(fatal.code),
                fatal.code,
                "the producer cannot go on",
                &fatal.text,
            )
        })
    }

    /// Raises the first record that was not written and that nobody has taken, for once where nobody ever takes them.
    fn check_delivered(&mut self) -> Result<()> {
        if !self.client.signals().has_failures() {
            return Ok(());
        }
        let error = self.client.signals().first_failure(|failure| {
            match self.client.fatal_error() {
                // The records behind a fatal error only say that there was one.
                Some(fatal) => errors::error_with(
                    self.kind_of(fatal.code),
                    fatal.code,
                    format_args!(
                        "a record for {}-{} was not written, and the producer cannot go on",
                        failure.topic, failure.partition
                    ),
                    &fatal.text,
                ),
                None => errors::not_delivered(failure, self.is_transactional),
            }
        });
        if !self.keeps_failures {
            self.client.signals().take_failures();
        }
        error.map_or(Ok(()), Err)
    }

    /// A record that failed with what its failure means.
    fn failed(&self, failure: DeliveryFailure) -> FailedSend {
        let error = match self.client.fatal_error() {
            Some(fatal) => errors::error_with(
                self.kind_of(fatal.code),
                fatal.code,
                "the producer cannot go on",
                &fatal.text,
            ),
            None => errors::failed_send(&failure, self.is_transactional),
        };
        FailedSend {
            tag: failure.tag,
            topic: failure.topic,
            partition: failure.partition,
            record: failure.record,
            error,
            is_local: false,
        }
    }

    /// Queues a record, waiting for room.
    pub(super) fn queue(
        &mut self,
        record: &ProduceRecord<'_>,
        tag: u64,
        deadline: &mut Option<Instant>,
    ) -> Result<()> {
        let index = self.topic(record.topic)?;
        let outgoing = outgoing(record, tag);
        loop {
            match self.topics[index].1.produce(&outgoing) {
                Ok(()) => return Ok(()),
                Err(refusal) if refusal.code == RDKafkaErrorCode::QueueFull => {
                    self.wait_for_room(deadline)?;
                }
                Err(refusal) => return Err(self.refused_record(&refusal, record)),
            }
        }
    }

    /// The place of a topic in `topics`, made when it is new.
    #[inline]
    pub(super) fn topic(&mut self, name: &Arc<str>) -> Result<usize> {
        if let Some((last, _)) = self.topics.get(self.last)
            && Arc::ptr_eq(last, name)
        {
            return Ok(self.last);
        }
        self.last = self.find_topic(name)?;
        Ok(self.last)
    }

    fn find_topic(&mut self, name: &Arc<str>) -> Result<usize> {
        if let Some(index) = self.by_name.get(name) {
            return Ok(*index);
        }
        let topic = ProduceTopic::new(&self.client, name).map_err(|refusal| {
            errors::refused(&refusal, format_args!("writing to {name}"), None)
        })?;
        let index = self.topics.len();
        self.topics.push((name.clone(), topic));
        self.by_name.insert(name.clone(), index);
        Ok(index)
    }

    /// Waits for room in the queue and tries again; `deadline` is set with the first wait of a call.
    #[cold]
    pub(super) fn wait_for_room(&mut self, deadline: &mut Option<Instant>) -> Result<()> {
        let deadline = *deadline.get_or_insert_with(|| Instant::now() + self.block_max);
        // A full queue is no reason to linger; what is queued now is sent at once. That it is not done in time is no error.
        let _ = self.client.flush(ROOM_WAIT);
        if let Some(fatal) = self.fatal_error() {
            return Err(fatal);
        }
        if !self.keeps_failures {
            self.check_delivered()?;
        }
        if Instant::now() < deadline {
            return Ok(());
        }
        // Retriable for who takes the record back; else not, because the records before this one are queued already.
        let kind = match self.keeps_failures {
            true => ErrorKind::Retriable,
            false => ErrorKind::Fatal,
        };
        Err(errors::error_with(
            kind,
            RDKafkaErrorCode::QueueFull,
            format_args!(
                "producing: no room in the queue for {} ms (max.block.ms)",
                self.block_max.as_millis()
            ),
            &self.client.signals().trouble().unwrap_or_default(),
        ))
    }

    #[cold]
    pub(super) fn refused_record(&self, refusal: &Refusal, record: &ProduceRecord<'_>) -> Error {
        if let Some(fatal) = self.fatal_error() {
            return fatal;
        }
        if self.is_transactional && refusal.code == RDKafkaErrorCode::State {
            // What made it so comes with the abort.
            return errors::in_transaction(refusal, "the transaction has failed");
        }
        let size = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
        errors::refused(
            refusal,
            format_args!(
                "writing a record of {size} bytes to {}-{}",
                record.topic, record.partition
            ),
            None,
        )
    }
}

impl KafkaProducer {
    /// Keeps a record that was not queued, for whoever takes failures.
    ///
    /// # Errors
    /// When it is not the record's fault.
    #[cold]
    pub(super) fn keep_refused(
        &mut self,
        record: &ProduceRecord<'_>,
        tag: u64,
        error: Error,
    ) -> Result<()> {
        if !matches!(error.kind(), ErrorKind::Data | ErrorKind::Retriable) {
            return Err(error);
        }
        self.refused.push(FailedSend {
            tag,
            topic: record.topic.to_string(),
            partition: record.partition,
            record: ProduceRecord::to_owned(*record),
            error,
            is_local: true,
        });
        Ok(())
    }
}

/// A record as librdkafka takes it.
#[inline]
pub(super) fn outgoing<'a>(record: &ProduceRecord<'a>, tag: u64) -> Outgoing<'a> {
    Outgoing {
        partition: record.partition,
        // librdkafka takes 0 for "now", so the epoch itself is written a millisecond late.
        timestamp: record.timestamp.map_or(0, |timestamp| timestamp.max(1)),
        key: record.key,
        value: record.value,
        headers: record.headers,
        tag,
    }
}

impl LogProducer for KafkaProducer {
    type GroupMetadata = GroupMetadata;

    fn init_transactions(&mut self, timeout: Duration) -> Result<()> {
        self.client
            .init_transactions(timeout)
            .map_err(|refusal| self.transaction_error(&refusal, "starting transactions"))
    }

    fn begin_transaction(&mut self) -> Result<()> {
        self.client
            .begin_transaction()
            .map_err(|refusal| self.transaction_error(&refusal, "starting a transaction"))
    }

    fn send_offsets(
        &mut self,
        offsets: &[(TopicPartition, CommittedOffset)],
        group: &GroupMetadata,
    ) -> Result<()> {
        let listed = offset_list(offsets)?;
        self.client
            .send_offsets(&listed, group, self.api_timeout)
            .map_err(|refusal| self.transaction_error(&refusal, "adding offsets to a transaction"))
    }

    fn commit_transaction(&mut self) -> Result<()> {
        let committed = self.client.commit_transaction(self.api_timeout);
        // A record that failed is the better explanation.
        self.check_delivered()?;
        committed.map_err(|refusal| self.transaction_error(&refusal, "committing a transaction"))
    }

    fn abort_transaction(&mut self) -> Result<()> {
        let timeout = self.api_timeout.min(ABORT_MAX);
        let aborted = self.client.abort_transaction(timeout);
        // Records that were dropped on the way are no failures.
        self.client.signals().take_failures();
        self.refused.clear();
        aborted.map_err(|refusal| self.transaction_error(&refusal, "aborting a transaction"))
    }

    /// Records before the one that is refused are queued all the same; nothing may be committed after an error.
    fn send(&mut self, records: &mut dyn Iterator<Item = ProduceRecord<'_>>) -> Result<()> {
        self.check_delivered()?;
        let mut deadline = None;
        for (count, record) in records.enumerate() {
            if count % SERVE_EVERY == 0 {
                self.client.serve(Duration::ZERO);
            }
            self.queue(&record, 0, &mut deadline)?;
        }
        Ok(())
    }

    fn send_tagged(
        &mut self,
        records: &mut dyn Iterator<Item = (ProduceRecord<'_>, u64)>,
    ) -> Result<()> {
        self.keeps_failures = true;
        self.queue_runs(records)?;
        if let Some(first) = self.refused.first() {
            let error = &first.error;
            return Err(Error::new(error.kind(), error.message()));
        }
        self.check_delivered()
    }

    fn has_failures(&self) -> bool {
        self.keeps_failures && (!self.refused.is_empty() || self.client.signals().has_failures())
    }

    fn take_failures(&mut self) -> Vec<FailedSend> {
        let mut failures = std::mem::take(&mut self.refused);
        let reported = self.client.signals().take_failures();
        failures.extend(reported.into_iter().map(|failure| self.failed(failure)));
        failures
    }

    fn flush(&mut self, timeout: Duration) -> Result<()> {
        let flushed = self.client.flush(timeout);
        self.check_delivered()?;
        match flushed {
            Ok(()) => Ok(()),
            Err(refusal) if refusal.code == RDKafkaErrorCode::OperationTimedOut => {
                Err(self.fatal_error().unwrap_or_else(|| {
                    errors::timed_out(
                        "waiting for records to be acknowledged",
                        timeout,
                        self.client.signals().trouble(),
                    )
                }))
            }
            Err(refusal) => Err(self.fatal_error().unwrap_or_else(|| {
                errors::refused(&refusal, "flushing", self.client.signals().trouble())
            })),
        }
    }

    fn next_offset(&self, partition: &TopicPartition) -> Option<i64> {
        let index = *self.by_name.get(partition.topic.as_str())?;
        self.topics[index].1.next_offset(partition.partition)
    }
}

impl Drop for KafkaProducer {
    fn drop(&mut self) {
        if self.is_transactional {
            // What is not committed by now never is.
            self.client.purge();
            return;
        }
        if self.client.flush(DROP_FLUSH_MAX).is_err() {
            tracing::warn!("a producer was dropped with records that were never acknowledged");
            self.client.purge();
        }
    }
}
