//! All the runtime asks of a log. `kafka/` answers it over rdkafka; the loop, commits and rebalances are the same code
//! over any other implementation.

use crate::error::Result;
use crate::record::{FetchedRecord, TopicPartition};
pub use crate::runtime::log_producer::{FailedSend, LogProducer};
pub use crate::task::effects::ProduceRecord;
use std::collections::BTreeMap;
use std::time::Duration;

/// A cluster: makes clients of it and administers its topics.
pub trait Broker: Send + Sync + 'static {
    /// What its consumers deliver.
    type Record: FetchedRecord;
    /// A member of the application's group.
    type Consumer: GroupConsumer<Record = Self::Record>;
    /// A reader outside any group: changelogs and global topics.
    type Reader: LogReader<Record = Self::Record>;
    /// A producer.
    type Producer: LogProducer<GroupMetadata = <Self::Consumer as GroupConsumer>::GroupMetadata>;

    /// A member of the group `options.group_id`; it joins with [`GroupConsumer::subscribe`].
    ///
    /// # Errors
    /// When a setting is refused.
    fn consumer(&self, options: &ConsumerOptions) -> Result<Self::Consumer>;

    /// A reader that belongs to no group.
    ///
    /// # Errors
    /// When a setting is refused.
    fn reader(&self, client_id: &str) -> Result<Self::Reader>;

    /// A reader of global topics, which may be configured apart from the readers of changelogs.
    ///
    /// # Errors
    /// When a setting is refused.
    fn global_reader(&self, client_id: &str) -> Result<Self::Reader> {
        self.reader(client_id)
    }

    /// A producer; one with a transactional id begins with [`LogProducer::init_transactions`].
    ///
    /// # Errors
    /// When a setting is refused.
    fn producer(&self, client_id: &str, transactional_id: Option<&str>) -> Result<Self::Producer>;

    /// How many partitions each topic has, `None` for one that does not exist.
    ///
    /// # Errors
    /// When the cluster cannot be reached in time.
    fn partition_counts(&self, topics: &[&str], timeout: Duration) -> Result<Vec<Option<i32>>>;

    /// Creates topics; one that exists already is not an error.
    ///
    /// # Errors
    /// When one of them is refused, with the broker's reason.
    fn create_topics(&self, topics: &[NewTopic], timeout: Duration) -> Result<()>;

    /// The configuration of a topic as the broker has it now.
    ///
    /// # Errors
    /// When the cluster cannot be reached in time or does not know the topic.
    fn topic_config(&self, topic: &str, timeout: Duration) -> Result<BTreeMap<String, String>>;

    /// Deletes all records before these offsets.
    ///
    /// # Errors
    /// When the broker refuses.
    fn delete_records(&self, before: &[(TopicPartition, i64)], timeout: Duration) -> Result<()>;
}

/// How to join the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerOptions {
    /// The group: the application's id.
    pub group_id: String,
    /// The client's id, `<client.id>-StreamThread-<n>-consumer`.
    pub client_id: String,
    /// Static membership, when the user configured `group.instance.id`.
    pub instance_id: Option<String>,
    /// What to do with a partition that has no committed offset: `earliest`, `latest` or `none`.
    pub auto_offset_reset: String,
}

/// A topic to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions it gets.
    pub partition_count: i32,
    /// How many copies, -1 for the broker's default.
    pub replication_factor: i32,
    /// Its configuration.
    pub config: BTreeMap<String, String>,
}

/// Which of the worker's inputs a record belongs to; the worker hands these out in [`GroupConsumer::add_inputs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InputSlot(pub u32);

/// An input to read from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// What to read.
    pub partition: TopicPartition,
    /// How its records are marked.
    pub slot: InputSlot,
    /// Where to start: the next offset.
    pub offset: StartOffset,
}

/// Where reading starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartOffset {
    /// At this offset.
    At(i64),
    /// At the oldest record.
    Earliest,
    /// Behind the newest record.
    Latest,
}

/// What happened to the member, to be answered before the next poll.
///
/// `Assigned` comes with an empty list when the group has nothing for this member, so that it knows it has joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupEvent {
    /// These subscribed partitions are ours now, on top of what we have.
    Assigned(Vec<TopicPartition>),
    /// These are to be given back: finish and commit their work, then call [`GroupConsumer::release`].
    Revoked(Vec<TopicPartition>),
    /// These belong to somebody else already: close without a commit, then call [`GroupConsumer::release`].
    Lost(Vec<TopicPartition>),
    /// The position of these inputs (the offset wanted) is no longer in the log. They deliver nothing until they are removed
    /// and added again where the source's reset policy says.
    OutOfRange(Vec<(TopicPartition, i64)>),
}

/// An offset to commit: the next record to process, and what the task wants to remember with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to process.
    pub offset: i64,
    /// Opaque to the broker; partition time and more, as Kafka Streams writes it.
    pub metadata: String,
}

/// A member of the application's group.
pub trait GroupConsumer: 'static {
    /// What it delivers.
    type Record: FetchedRecord;
    /// Who the member is, for [`LogProducer::send_offsets`].
    type GroupMetadata;

    /// Joins the group for these topics, or is a member for these instead of others from now on; without any it leaves.
    ///
    /// # Errors
    /// When the subscription is refused.
    fn subscribe(&mut self, topics: &[&str]) -> Result<()>;

    /// Serves the group and appends up to `records_max` records to `records`, waiting up to `timeout` for the first one.
    /// Returns after a group event without waiting further.
    ///
    /// # Errors
    /// Fatal conditions only: authorisation, an unknown topic, a fenced member.
    fn poll(
        &mut self,
        timeout: Duration,
        records_max: usize,
        records: &mut Vec<(InputSlot, Self::Record)>,
    ) -> Result<Option<GroupEvent>>;

    /// Accepts an assignment of subscribed partitions (their records are not delivered unless they are inputs too).
    ///
    /// # Errors
    /// When the group moved on meanwhile.
    fn accept(&mut self, partitions: &[TopicPartition]) -> Result<()>;

    /// Gives partitions of a revocation or loss back to the group.
    ///
    /// # Errors
    /// When the group moved on meanwhile.
    fn release(&mut self, partitions: &[TopicPartition]) -> Result<()>;

    /// Starts delivering the records of these partitions, whether or not they are subscribed.
    ///
    /// # Errors
    /// When the client refuses.
    fn add_inputs(&mut self, inputs: &[Input]) -> Result<()>;

    /// Stops delivering them; records already fetched may be dropped.
    ///
    /// # Errors
    /// When the client refuses.
    fn remove_inputs(&mut self, partitions: &[TopicPartition]) -> Result<()>;

    /// Stops fetching from these inputs until [`GroupConsumer::resume`].
    ///
    /// # Errors
    /// When one is not an input.
    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()>;

    /// Fetches from these inputs again.
    ///
    /// # Errors
    /// When one is not an input.
    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()>;

    /// The group's committed offsets, `None` where there is none.
    ///
    /// # Errors
    /// When the coordinator does not answer in time.
    fn committed(
        &mut self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> Result<Vec<Option<CommittedOffset>>>;

    /// Commits and waits for the answer.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Retriable`] while a rebalance runs, [`crate::ErrorKind::Fenced`] when the member is out.
    fn commit(&mut self, offsets: &[(TopicPartition, CommittedOffset)]) -> Result<()>;

    /// Who this member is as of the last [`poll`](Self::poll), for committing its offsets in a producer's transaction: the
    /// group refuses the offsets of a member that it has expelled since.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Retriable`] while a revocation waits to be polled, [`crate::ErrorKind::Fenced`] when the member is
    /// out.
    fn group_metadata(&mut self) -> Result<Self::GroupMetadata>;

    /// The first offset still in the log and the offset behind the last one, asked of the broker now.
    ///
    /// # Errors
    /// When the broker does not answer in time.
    fn offsets(
        &mut self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> Result<Vec<(i64, i64)>>;

    /// How far the log of an input goes (its high watermark) as the last fetch saw it, `None` when unknown.
    fn end_offset(&mut self, partition: &TopicPartition) -> Option<i64>;

    /// The next offset the consumer would deliver for an input, past control records, `None` when unknown.
    fn position(&mut self, partition: &TopicPartition) -> Option<i64>;

    /// Whether the group has taken this member in, be it without a partition. The protocol of KIP-848 sends no assignment to a
    /// member that gets nothing, so [`GroupEvent::Assigned`] does not tell.
    fn is_member(&mut self) -> bool {
        false
    }

    /// Leaves the group.
    ///
    /// # Errors
    /// When leaving was not clean; the member is gone all the same.
    fn close(self) -> Result<()>;

    /// Ends without leaving the group, which keeps the member's partitions for it until `session.timeout.ms` is over. A static
    /// member does the same when it closes.
    ///
    /// # Errors
    /// As [`close`](Self::close).
    fn close_and_stay(self) -> Result<()>
    where
        Self: Sized,
    {
        self.close()
    }
}

/// Reads partitions outside any group.
pub trait LogReader: 'static {
    /// What it delivers.
    type Record: FetchedRecord;

    /// Adds partitions to read, records marked with the slot.
    ///
    /// # Errors
    /// When the client refuses.
    fn add_inputs(&mut self, inputs: &[Input]) -> Result<()>;

    /// Stops reading partitions.
    ///
    /// # Errors
    /// When the client refuses.
    fn remove_inputs(&mut self, partitions: &[TopicPartition]) -> Result<()>;

    /// The first offset still in the log and the offset behind the last one.
    ///
    /// # Errors
    /// When the broker does not answer in time.
    fn offsets(
        &mut self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> Result<Vec<(i64, i64)>>;

    /// Appends up to `records_max` records, waiting up to `timeout` for the first.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Data`] when a position is no longer in the log.
    fn poll(
        &mut self,
        timeout: Duration,
        records_max: usize,
        records: &mut Vec<(InputSlot, Self::Record)>,
    ) -> Result<()>;

    /// The next offset the reader would deliver, past control records and compacted gaps, `None` when unknown.
    fn position(&mut self, partition: &TopicPartition) -> Option<i64>;
}
