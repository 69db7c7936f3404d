//! What the runtime asks of a producer, and what becomes of records that it cannot write.

use crate::error::{Error, Result};
use crate::record::{OwnedRecord, TopicPartition};
use crate::runtime::broker::{CommittedOffset, ProduceRecord};
use std::time::Duration;

/// A record that was not written, and that the producer no longer has.
#[derive(Debug)]
pub struct FailedSend {
    /// What it was sent with ([`LogProducer::send_tagged`]).
    pub tag: u64,
    /// The topic it was for.
    pub topic: String,
    /// The partition, -1 where the producer had not chosen one.
    pub partition: i32,
    /// The record; its offset means nothing, its timestamp is -1 where the producer was to assign it.
    pub record: OwnedRecord,
    /// Why: [`crate::ErrorKind::Retriable`] when it may be taken the next time, [`crate::ErrorKind::Data`] when it will not.
    /// Any other kind says that nothing sent now will be written.
    pub error: Error,
    /// Whether the client itself refused it, before it was sent: no other record is affected then, and an open transaction goes
    /// on. A broker refuses whole batches, and a transaction cannot be committed after that.
    pub is_local: bool,
}

/// A producer: idempotent, and transactional when it was made with an id.
///
/// When anything fails with [`crate::ErrorKind::Fenced`] while a transaction is open, that transaction cannot be committed any
/// more: another producer or member has taken over, or the brokers gave it up. [`abort_transaction`](Self::abort_transaction)
/// ends it, and what it held may be done again. Other kinds of errors would come again.
pub trait LogProducer: 'static {
    /// Who the member of the group is whose offsets are committed.
    type GroupMetadata;

    /// Fences earlier producers of the same transactional id and ends what they left open.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Retriable`] when it is not done within `timeout`: the same call goes on with it.
    /// [`crate::ErrorKind::Fenced`] when yet another producer of that id came first.
    fn init_transactions(&mut self, timeout: Duration) -> Result<()>;

    /// Starts a transaction: what is sent from now on is seen by readers of committed records only after
    /// [`commit_transaction`](Self::commit_transaction).
    ///
    /// # Errors
    /// [`crate::ErrorKind::Fenced`] when a newer producer has the transactional id, [`crate::ErrorKind::Fatal`] when there is
    /// none.
    fn begin_transaction(&mut self) -> Result<()>;

    /// Commits these offsets for the group when the transaction commits; `group` is the consumer's
    /// [`group_metadata`](crate::runtime::broker::GroupConsumer::group_metadata).
    ///
    /// # Errors
    /// As for the trait; with [`crate::ErrorKind::Retriable`] the brokers have not answered in time.
    fn send_offsets(
        &mut self,
        offsets: &[(TopicPartition, CommittedOffset)],
        group: &Self::GroupMetadata,
    ) -> Result<()>;

    /// Writes what is queued and commits.
    ///
    /// # Errors
    /// As for the trait; with [`crate::ErrorKind::Retriable`] it is not known whether it committed. A new producer of the same
    /// id settles that when it begins.
    fn commit_transaction(&mut self) -> Result<()>;

    /// Drops what is queued and aborts.
    ///
    /// # Errors
    /// When the producer cannot go on; a new one of the same id ends the transaction when it begins.
    fn abort_transaction(&mut self) -> Result<()>;

    /// Queues records; waits while the queue is full, as long as records may take to be delivered.
    ///
    /// # Errors
    /// When a record is refused (too large, unknown topic) or an earlier one failed; the rest of the records is not queued.
    fn send(&mut self, records: &mut dyn Iterator<Item = ProduceRecord<'_>>) -> Result<()>;

    /// As [`send`](Self::send), with a number for each record that comes back with it if it is not written. From the first call
    /// on, records that fail wait for [`take_failures`](Self::take_failures), and until then every call says that some did.
    ///
    /// # Errors
    /// When a record is refused or an earlier one failed and waits to be taken: all others are queued all the same. With nothing
    /// to take, the producer cannot go on.
    fn send_tagged(
        &mut self,
        records: &mut dyn Iterator<Item = (ProduceRecord<'_>, u64)>,
    ) -> Result<()> {
        self.send(&mut records.map(|(record, _)| record))
    }

    /// Whether records have failed that nobody has taken; cheap to ask.
    fn has_failures(&self) -> bool {
        false
    }

    /// The records that failed since this was last asked, in the order in which that was known.
    fn take_failures(&mut self) -> Vec<FailedSend> {
        Vec::new()
    }

    /// Waits until every record is acknowledged.
    ///
    /// # Errors
    /// The first failure of any record since the last flush; nothing may be committed after one.
    fn flush(&mut self, timeout: Duration) -> Result<()>;

    /// The offset behind the last record this producer wrote to that partition and saw acknowledged.
    fn next_offset(&self, partition: &TopicPartition) -> Option<i64>;
}
