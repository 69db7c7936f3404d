//! Fetching: one queue for all inputs of a client, taken in batches, and the waiting for it.

use super::errors;
use super::ffi::{Client, MessageBatch, Queue, Refusal, Wake};
use super::inputs::Inputs;
use super::record::KafkaRecord;
use crate::error::{Error, ErrorKind, Result};
use crate::record::TopicPartition;
use crate::runtime::broker::{Input, InputSlot};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::TopicPartitionList;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a group member and a reader have in common.
pub(super) struct Fetcher {
    pub(super) client: Arc<Client>,
    /// Where librdkafka puts what it fetched for every input.
    pub(super) records: Queue,
    /// Rebalances and errors.
    pub(super) events: Queue,
    pub(super) inputs: Inputs,
    wake: Arc<Wake>,
    batch: MessageBatch,
    troubles: Troubles,
}

/// What librdkafka reported and is not decided yet.
#[derive(Default)]
struct Troubles {
    /// An error that came between records; raised after those before it were delivered.
    failure: Option<Error>,
    missing: Option<Missing>,
    /// Since when the group has had other members that this one does not go with.
    strangers_since: Option<Instant>,
    /// Inputs whose position is no longer in the log.
    out_of_range: Vec<(TopicPartition, i64)>,
}

/// A topic or partition that brokers did not know when asked: it may have been created a moment ago.
struct Missing {
    topic: String,
    partition: i32,
    since: Instant,
    checked_at: Instant,
}

/// How long a topic may be unknown before that is an error.
const MISSING_MAX: Duration = Duration::from_secs(10);
/// How long the group may have members of another protocol. A Java application that has just been stopped is one of them until
/// its session ends, for which it has 45 seconds unless it is told otherwise.
const STRANGERS_MAX: Duration = Duration::from_secs(90);
/// How often brokers are asked about it meanwhile, and how long each time.
const MISSING_CHECK: Duration = Duration::from_millis(500);

impl Fetcher {
    pub(super) fn new(client: Arc<Client>, mut events: Queue) -> Result<Fetcher, Refusal> {
        let wake = Arc::new(Wake::default());
        let mut records = Queue::new(&client)?;
        records.wake(&wake);
        events.wake(&wake);
        Ok(Fetcher {
            client,
            records,
            events,
            inputs: Inputs::default(),
            wake,
            batch: MessageBatch::default(),
            troubles: Troubles::default(),
        })
    }

    /// Raises what was put off.
    pub(super) fn check(&mut self) -> Result<()> {
        self.troubles.failure.take().map_or(Ok(()), Err)
    }

    /// Inputs whose position turned out to be no longer in the log, with that position.
    pub(super) fn take_out_of_range(&mut self) -> Vec<(TopicPartition, i64)> {
        std::mem::take(&mut self.troubles.out_of_range)
    }

    /// Takes back what could not be seen to.
    pub(super) fn put_out_of_range_back(&mut self, noted: Vec<(TopicPartition, i64)>) {
        self.troubles.out_of_range.splice(..0, noted);
    }

    /// Asks again about a topic that brokers did not know; true when they know it now.
    ///
    /// # Errors
    /// When it stays unknown.
    pub(super) fn check_missing(&mut self) -> Result<bool> {
        let Some(missing) = &mut self.troubles.missing else {
            return Ok(false);
        };
        if missing.checked_at.elapsed() < MISSING_CHECK {
            return Ok(false);
        }
        let count = self.client.partition_count(&missing.topic, MISSING_CHECK);
        missing.checked_at = Instant::now();
        if matches!(count, Ok(Some(count)) if count > missing.partition) {
            self.troubles.missing = None;
            return Ok(true);
        }
        if count.is_ok() && missing.since.elapsed() > MISSING_MAX {
            let (topic, partition) = (missing.topic.clone(), missing.partition);
            self.troubles.missing = None;
            let code = RDKafkaErrorCode::UnknownTopicOrPartition;
            return Err(if partition < 0 {
                errors::error(code, format_args!("reading {topic}"))
            } else {
                errors::error(code, format_args!("reading {topic}-{partition}"))
            });
        }
        Ok(false)
    }

    /// Notes that the group has taken this member in.
    pub(super) fn note_joined(&mut self) {
        self.troubles.strangers_since = None;
    }

    /// Call before looking at the queues, so that [`Fetcher::wait_until`] does not miss what comes meanwhile.
    pub(super) fn start_looking(&self) {
        self.wake.clear();
    }

    /// Waits until there may be something in a queue; false when `deadline` passed.
    pub(super) fn wait_until(&self, deadline: Instant) -> bool {
        self.wake.wait_until(deadline)
    }

    /// Appends the records that were fetched, at most `records_max`, and counts what it took from the queue.
    pub(super) fn take(
        &mut self,
        records_max: usize,
        records: &mut Vec<(InputSlot, KafkaRecord)>,
    ) -> usize {
        let Fetcher {
            records: queue,
            inputs,
            batch,
            troubles,
            client,
            ..
        } = self;
        records.reserve(records_max.min(super::ffi::MESSAGE_BATCH_COUNT_MAX));
        queue.consume(batch, records_max, |message| {
            if message.is_error() {
                // An error of a partition that was removed meanwhile is nobody's.
                if message.error_code() == RDKafkaErrorCode::AutoOffsetReset
                    && inputs.slot(&message).is_none()
                {
                    return;
                }
                let topic = message.topic_name();
                troubles.note(
                    client,
                    message.error_code(),
                    &message.error_text(),
                    (&topic, message.partition(), message.offset()),
                );
            } else if let Some(slot) = inputs.slot(&message) {
                records.push((slot, KafkaRecord(message)));
            }
        })
    }

    /// Looks at an error that librdkafka reported about a topic, partition and offset, as far as those are known.
    pub(super) fn note(&mut self, code: RDKafkaErrorCode, text: &str, place: (&str, i32, i64)) {
        self.troubles.note(&self.client, code, text, place);
    }
}

impl Troubles {
    #[cold]
    fn note(
        &mut self,
        client: &Client,
        code: RDKafkaErrorCode,
        text: &str,
        place: (&str, i32, i64),
    ) {
        let found = match code {
            RDKafkaErrorCode::Fatal => client.fatal_error().map(|fatal| {
                errors::error_with(
                    errors::kind_of(fatal.code),
                    fatal.code,
                    "the consumer cannot go on",
                    &fatal.text,
                )
            }),
            RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition
                if !place.0.is_empty() =>
            {
                let now = Instant::now();
                self.missing.get_or_insert_with(|| Missing {
                    topic: place.0.to_owned(),
                    partition: place.1,
                    since: now,
                    checked_at: now,
                });
                None
            }
            RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange
                if !place.0.is_empty() =>
            {
                tracing::warn!(target: "rdkafka", "{code}: {text}");
                let partition = TopicPartition::new(place.0, place.1);
                self.out_of_range.push((partition, place.2));
                None
            }
            RDKafkaErrorCode::InconsistentGroupProtocol if self.may_wait_for_strangers() => None,
            code => match fatal_kind(code) {
                Some(kind) => Some(describe(kind, code, text, place)),
                None => {
                    client.complain(text);
                    None
                }
            },
        };
        if self.failure.is_none() {
            self.failure = found;
        }
    }

    /// Whether the group's members of another protocol may yet be gone; librdkafka goes on trying to join meanwhile.
    fn may_wait_for_strangers(&mut self) -> bool {
        if let Some(since) = self.strangers_since {
            return since.elapsed() < STRANGERS_MAX;
        }
        tracing::warn!(
            "the group has members that use another protocol, as a Java application has that was stopped a moment ago; \
             waiting up to {} s for their sessions to end",
            STRANGERS_MAX.as_secs()
        );
        self.strangers_since = Some(Instant::now());
        true
    }
}

/// The kind of an error that librdkafka will not get over by itself.
fn fatal_kind(code: RDKafkaErrorCode) -> Option<ErrorKind> {
    match code {
        // It joins again by itself, and a rebalance that says so follows.
        RDKafkaErrorCode::PollExceeded
        | RDKafkaErrorCode::UnknownMemberId
        | RDKafkaErrorCode::IllegalGeneration
        | RDKafkaErrorCode::FencedMemberEpoch
        | RDKafkaErrorCode::MemberIdRequired
        // A handshake also fails when a broker stops in the middle of it.
        | RDKafkaErrorCode::SSL
        | RDKafkaErrorCode::PartitionEOF => None,
        code => Some(errors::kind_of(code)).filter(|kind| *kind != ErrorKind::Retriable),
    }
}

fn describe(
    kind: ErrorKind,
    code: RDKafkaErrorCode,
    text: &str,
    (topic, partition, offset): (&str, i32, i64),
) -> Error {
    let place = match (topic, partition, offset) {
        ("", ..) => "consuming".to_owned(),
        (_, ..0, _) => format!("reading {topic}"),
        (_, _, ..0) => format!("reading {topic}-{partition}"),
        _ => format!("reading {topic}-{partition} at offset {offset}"),
    };
    errors::error_with(kind, code, place, text)
}

/// Refuses what is an input already, or is twice in the list.
pub(super) fn check_new(
    inputs: &[Input],
    is_input: impl Fn(&TopicPartition) -> bool,
) -> Result<()> {
    let mut seen = BTreeSet::new();
    for Input { partition, .. } in inputs {
        if is_input(partition) || !seen.insert(partition) {
            return Err(Error::fatal(format!(
                "reading {partition}: it is an input already"
            )));
        }
    }
    Ok(())
}

/// A list of partitions without offsets.
pub(super) fn list<'a>(
    partitions: impl IntoIterator<Item = &'a TopicPartition>,
) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition(&partition.topic, partition.partition);
    }
    list
}
