//! The producer of a stream thread and, under exactly-once, its transaction (Kafka Streams' `StreamsProducer`).
//!
//! A transaction begins with the first record, and everything that the thread's tasks write until the commit is part of it.

use crate::error::{Error, ErrorKind, Result};
use crate::record::TopicPartition;
use crate::runtime::broker::{
    Broker, CommittedOffset, FailedSend, GroupConsumer, LogProducer, ProduceRecord,
};
use crate::runtime::send_tags::{self, LeftOut, sent};
use crate::task::TaskId;
use std::sync::Arc;
use std::time::Duration;

/// How long the thread waits at once for its transactional id, before it serves its group again.
const INIT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one record may take where each is written before the next is sent; longer than a broker takes to answer.
const ONE_RECORD_WAIT: Duration = Duration::from_secs(30);

/// A producer, made anew when it can no longer go on with transactions.
pub(crate) struct ThreadProducer<B: Broker> {
    broker: Arc<B>,
    client_id: String,
    transactional_id: Option<String>,
    producer: B::Producer,
    stage: Stage,
    /// Whether each record is written before the next is sent, until the next commit.
    one_by_one: bool,
    /// What is not sent again until the next commit.
    left_out: Vec<LeftOut>,
    /// Whether a broker has refused records of this transaction: librdkafka then misses their sequence numbers in the next one.
    is_spoilt: bool,
}

/// Who a member of the group is.
pub(crate) type GroupMetadata<B> = <<B as Broker>::Consumer as GroupConsumer>::GroupMetadata;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// At least once: records go out as they come.
    Plain,
    /// The transactional id is not this producer's yet; since when it waits for that, once it does.
    New(Option<Duration>),
    /// Between transactions.
    Idle,
    /// In a transaction.
    Open,
    /// In a transaction that cannot be committed any more.
    Failed,
}

impl<B: Broker> ThreadProducer<B> {
    /// A producer, with transactions when it is given an id for them.
    pub(crate) fn new(
        broker: Arc<B>,
        client_id: String,
        transactional_id: Option<String>,
    ) -> Result<Self> {
        let producer = broker.producer(&client_id, transactional_id.as_deref())?;
        let stage = match &transactional_id {
            None => Stage::Plain,
            Some(_) => Stage::New(None),
        };
        Ok(ThreadProducer {
            broker,
            client_id,
            transactional_id,
            producer,
            stage,
            one_by_one: false,
            left_out: Vec::new(),
            is_spoilt: false,
        })
    }

    /// Whether records go out in transactions.
    pub(crate) fn is_transactional(&self) -> bool {
        self.stage != Stage::Plain
    }

    /// Whether records were sent that are not committed.
    pub(crate) fn in_transaction(&self) -> bool {
        matches!(self.stage, Stage::Open | Stage::Failed)
    }

    /// Whether the transaction must be given up: the last error was its.
    pub(crate) fn has_failed(&self) -> bool {
        self.stage == Stage::Failed
    }

    /// Gets hold of the transactional id, which ends what an earlier producer of it left open; waits a moment at most. Until
    /// it returns true nothing may be sent, and what is committed is not settled.
    ///
    /// # Errors
    /// When the brokers refuse, or have not answered for `waited_max`.
    pub(crate) fn make_ready(&mut self, now: Duration, waited_max: Duration) -> Result<bool> {
        let Stage::New(since) = self.stage else {
            return Ok(true);
        };
        let error = match self.producer.init_transactions(INIT_TIMEOUT) {
            Ok(()) => {
                self.stage = Stage::Idle;
                return Ok(true);
            }
            Err(error) => error,
        };
        let since = since.unwrap_or(now);
        let what = format_args!("starting transactions of {}", self.id());
        if now.saturating_sub(since) > waited_max {
            return Err(Error::fatal(format!(
                "{what}: not done within {} s (task.timeout.ms): {error}",
                waited_max.as_secs()
            )));
        }
        match error.kind() {
            ErrorKind::Retriable => {}
            ErrorKind::Fenced => self.replace()?,
            _ => return Err(error.context(what)),
        }
        tracing::warn!(id = self.id(), %error, "transactions cannot start yet");
        self.stage = Stage::New(Some(since));
        Ok(false)
    }

    /// Whether it has its transactional id, if it needs one.
    pub(crate) fn is_ready(&self) -> bool {
        !matches!(self.stage, Stage::New(_))
    }

    /// Sends records of a task, beginning a transaction with the first. Records that fail wait to be
    /// [taken](Self::take_failures).
    ///
    /// # Errors
    /// When the producer cannot go on.
    pub(crate) fn send(
        &mut self,
        task: TaskId,
        records: &mut dyn Iterator<Item = (ProduceRecord<'_>, u64)>,
    ) -> Result<()> {
        self.begin()?;
        let sent = if self.one_by_one || !self.left_out.is_empty() {
            self.send_carefully(task, records)
        } else {
            self.producer.send_tagged(records)
        };
        match sent {
            // Their sender is asked about them, and decides about the transaction.
            Err(_) if self.producer.has_failures() => Ok(()),
            sent => self.watch(sent),
        }
    }

    #[cold]
    fn send_carefully(
        &mut self,
        task: TaskId,
        records: &mut dyn Iterator<Item = (ProduceRecord<'_>, u64)>,
    ) -> Result<()> {
        for (record, tag) in records {
            let left_out = self.left_out.iter().find(|other| other.is(task, &record));
            if let Some(left_out) = left_out {
                let letters = left_out.dead_letters.records_with_origins();
                let letters =
                    letters.filter(|(letter, _)| !self.left_out.iter().any(|o| o.is(task, letter)));
                let number = sent(tag).task;
                self.producer.send_tagged(
                    &mut letters.map(|(letter, origin)| (letter, send_tags::tag(number, origin))),
                )?;
                continue;
            }
            self.producer
                .send_tagged(&mut std::iter::once((record, tag)))?;
            if self.one_by_one {
                self.producer.flush(ONE_RECORD_WAIT)?;
            }
        }
        Ok(())
    }

    /// Writes each record before the next is sent, until the next commit: then one that the brokers refuse takes no others along.
    pub(crate) fn send_one_by_one(&mut self) {
        self.one_by_one = true;
        self.is_spoilt = self.is_transactional();
    }

    /// Whether each record is written before the next is sent.
    pub(crate) fn is_one_by_one(&self) -> bool {
        self.one_by_one
    }

    /// Does not send this record again until the next commit.
    pub(crate) fn leave_out(&mut self, record: LeftOut) {
        self.left_out.push(record);
        self.is_spoilt = self.is_transactional();
    }

    /// Everything is committed: whatever was done because of records that failed is over.
    pub(crate) fn forget_failures(&mut self) {
        self.one_by_one = false;
        self.left_out.clear();
    }

    /// Whether records have failed that were not taken; cheap to ask.
    pub(crate) fn has_failures(&self) -> bool {
        self.producer.has_failures()
    }

    /// The records that failed since this was last asked.
    pub(crate) fn take_failures(&mut self) -> Vec<FailedSend> {
        self.producer.take_failures()
    }

    fn begin(&mut self) -> Result<()> {
        if self.stage == Stage::Idle {
            // Before it is tried: a producer that refuses to begin has to be put right, too.
            self.stage = Stage::Open;
            let begun = self.producer.begin_transaction();
            self.watch(begun)?;
        }
        Ok(())
    }

    /// Waits until everything is written.
    ///
    /// # Errors
    /// As [`LogProducer::flush`].
    pub(crate) fn flush(&mut self, timeout: Duration) -> Result<()> {
        let flushed = self.producer.flush(timeout);
        if self.producer.has_failures() {
            return flushed;
        }
        self.watch(flushed)
    }

    /// Commits what was sent since the last commit together with these offsets of the group's member `group`.
    ///
    /// # Errors
    /// When it did not, or when it is not known whether it did; then [`has_failed`](Self::has_failed).
    pub(crate) fn commit(
        &mut self,
        offsets: &[(TopicPartition, CommittedOffset)],
        group: &GroupMetadata<B>,
    ) -> Result<()> {
        self.begin()?;
        if !offsets.is_empty() {
            let added = self.producer.send_offsets(offsets, group);
            self.watch(added)?;
        }
        let committed = self.producer.commit_transaction();
        self.watch(committed)?;
        self.stage = Stage::Idle;
        Ok(())
    }

    /// Says that the transaction cannot be committed, for a reason that is not the producer's.
    pub(crate) fn fail(&mut self) {
        self.stage = Stage::Failed;
    }

    fn watch(&mut self, result: Result<()>) -> Result<()> {
        if let Err(error) = &result
            && self.is_transactional()
            && matches!(error.kind(), ErrorKind::Fenced | ErrorKind::Retriable)
        {
            self.stage = Stage::Failed;
        }
        result
    }

    /// Gives up what was sent since the last commit. What is committed is settled when [`make_ready`](Self::make_ready) says so.
    ///
    /// # Errors
    /// When a new producer is needed and cannot be made.
    pub(crate) fn abort(&mut self) -> Result<()> {
        if !self.in_transaction() {
            return Ok(());
        }
        match self.producer.abort_transaction() {
            Ok(()) if self.is_spoilt => self.replace()?,
            Ok(()) => self.stage = Stage::Idle,
            Err(error) => {
                tracing::warn!(id = self.id(), %error, "a transaction is left to the brokers to end; going on with a new producer");
                self.replace()?;
            }
        }
        Ok(())
    }

    fn replace(&mut self) -> Result<()> {
        let id = self.transactional_id.as_deref();
        self.producer = self.broker.producer(&self.client_id, id)?;
        self.stage = Stage::New(None);
        self.is_spoilt = false;
        Ok(())
    }

    fn id(&self) -> &str {
        self.transactional_id.as_deref().unwrap_or_default()
    }

    /// The offset behind the last record written to that partition and acknowledged.
    pub(crate) fn next_offset(&self, partition: &TopicPartition) -> Option<i64> {
        self.producer.next_offset(partition)
    }
}
