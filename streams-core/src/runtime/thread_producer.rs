//! The producer of a stream thread and, under exactly-once, its transaction (Kafka Streams' `StreamsProducer`).
//!
//! A transaction begins with the first record, and everything that the thread's tasks write until the commit is part of it.

use crate::error::{Error, ErrorKind, Result};
use crate::record::TopicPartition;
use crate::runtime::broker::{Broker, CommittedOffset, GroupConsumer, LogProducer, ProduceRecord};
use std::sync::Arc;
use std::time::Duration;

/// How long the thread waits at once for its transactional id, before it serves its group again.
const INIT_TIMEOUT: Duration = Duration::from_secs(5);

/// A producer, made anew when it can no longer go on with transactions.
pub(crate) struct ThreadProducer<B: Broker> {
    broker: Arc<B>,
    client_id: String,
    transactional_id: Option<String>,
    producer: B::Producer,
    stage: Stage,
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

    /// Sends records, beginning a transaction with the first.
    ///
    /// # Errors
    /// As [`LogProducer::send`].
    pub(crate) fn send(
        &mut self,
        records: &mut dyn Iterator<Item = ProduceRecord<'_>>,
    ) -> Result<()> {
        self.begin()?;
        let sent = self.producer.send(records);
        self.watch(sent)
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

    /// Waits until everything is written. A commit of a transaction does so itself.
    ///
    /// # Errors
    /// As [`LogProducer::flush`].
    pub(crate) fn flush(&mut self, timeout: Duration) -> Result<()> {
        self.producer.flush(timeout)
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
