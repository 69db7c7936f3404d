//! Which record goes next, and what time it is then: the cases of Kafka's `PartitionGroupTest` and `RecordQueueTest`.

use super::*;
use crate::exception_handlers::{ExceptionHandlers, LogAndContinue};
use crate::processor::{Processor, ProcessorContext};
use crate::record::{OwnedRecord, Record};
use crate::serdes::{I64, Utf8};
use crate::timestamp_extractor::{ExtractorRecord, TimestampExtractor};
use crate::{Consumed, StreamsBuilder};
use std::sync::Mutex;
use streams_state::{StoreResources, StoreSpec};

/// What was processed: value, timestamp, stream time.
type Seen = Arc<Mutex<Vec<(i64, i64, i64)>>>;

struct Watch(Seen);

impl Processor<String, i64, String, i64> for Watch {
    fn process(
        &mut self,
        record: Record<'_, String, i64>,
        context: &mut ProcessorContext<'_, String, i64>,
    ) -> Result<()> {
        let stream_time = context.current_stream_time_ms();
        let seen = (*record.value, record.timestamp, stream_time);
        self.0.lock().expect("one thread").push(seen);
        Ok(())
    }
}

/// Takes the partition time where the value is 0, and counts it as invalid where it is negative.
struct ByValue;

impl TimestampExtractor<String, i64> for ByValue {
    fn extract(
        &self,
        record: &ExtractorRecord<'_, String, i64>,
        partition_time_ms: i64,
    ) -> Result<i64> {
        Ok(match *record.value {
            0 => partition_time_ms,
            value if value < 0 => -1,
            _ => record.timestamp,
        })
    }
}

struct OnePartition;

impl TopicMetadata for OnePartition {
    fn partition_count(&self, _: &str) -> Result<i32> {
        Ok(1)
    }
}

/// A task with the inputs a and b.
fn task(idle_ms: Option<u64>, skips: bool) -> (Task<OwnedRecord>, Seen) {
    let builder = StreamsBuilder::new();
    let consumed = || Consumed::with(Utf8, I64).with_timestamp_extractor(ByValue);
    let (a, b) = (
        builder.stream("a", consumed()),
        builder.stream("b", consumed()),
    );
    let seen = Seen::default();
    let watched = seen.clone();
    a.merge(&b).process(move || Watch(watched.clone()), &[]);
    let topology = builder.build().expect("a topology");
    let mut handlers = ExceptionHandlers::default();
    if skips {
        handlers.deserialization = Arc::new(LogAndContinue);
    }
    let resources = StoreResources::in_memory();
    let no_stores: [StoreSpec; 0] = [];
    let id = TaskId {
        sub_topology: 0,
        partition: 0,
    };
    let task = Task::new(
        &topology,
        id,
        TaskStores::open(None, &no_stores, &resources).expect("no stores"),
        GlobalStores::open(&topology, None, &resources, &handlers).expect("no tables"),
        Arc::new(OnePartition),
        &TaskOptions {
            application_id: "app".into(),
            handlers,
            max_task_idle: idle_ms.map(Duration::from_millis),
            cache_enabled: true,
            outer_join_emit_interval: Duration::ZERO,
        },
    )
    .expect("a task");
    (task, seen)
}

fn record(offset: i64, timestamp: i64, value: &[u8]) -> OwnedRecord {
    OwnedRecord {
        offset,
        timestamp,
        key: Some(b"k".to_vec()),
        value: Some(value.to_vec()),
        ..OwnedRecord::default()
    }
}

/// Adds records of these times, with their times as values.
fn add(task: &mut Task<OwnedRecord>, input: usize, first_offset: i64, times: &[i64]) {
    for (offset, time) in (first_offset..).zip(times) {
        task.add_record(input, record(offset, *time, &time.to_be_bytes()));
    }
}

fn taken(seen: &Seen) -> Vec<(i64, i64)> {
    let seen = std::mem::take(&mut *seen.lock().expect("one thread"));
    seen.into_iter()
        .map(|(_, timestamp, stream_time)| (timestamp, stream_time))
        .collect()
}

fn committed(task: &mut Task<OwnedRecord>) -> Vec<(usize, i64, Option<i64>)> {
    let offsets = task.offsets(&|_| None);
    offsets
        .into_iter()
        .map(|(input, committed)| {
            let metadata = OffsetMetadata::decode(&committed.metadata).metadata;
            (input, committed.offset, metadata.partition_time_ms)
        })
        .collect()
}

/// `PartitionGroupTest#testTimeTracking`.
#[test]
fn the_earliest_head_goes_first_and_stream_time_never_falls() -> Result<()> {
    let (mut task, seen) = task(None, false);
    add(&mut task, 0, 0, &[1, 3, 5]);
    add(&mut task, 1, 0, &[2, 4, 6]);
    assert_eq!(task.process(2, 0)?, 2);
    assert_eq!(taken(&seen), [(1, 1), (2, 2)]);
    assert_eq!(committed(&mut task), [(0, 1, Some(1)), (1, 1, Some(2))]);
    add(&mut task, 0, 3, &[2, 4]);
    assert_eq!(task.process(usize::MAX, 0)?, 6);
    assert_eq!(
        taken(&seen),
        [(3, 3), (4, 4), (5, 5), (2, 5), (4, 5), (6, 6)]
    );
    assert_eq!(committed(&mut task), [(0, 5, Some(5)), (1, 3, Some(6))]);
    Ok(())
}

/// `PartitionGroupTest#shouldNeverWaitIfIdlingIsDisabled`.
#[test]
fn without_an_idle_time_nothing_is_waited_for() -> Result<()> {
    let (mut task, seen) = task(None, false);
    add(&mut task, 0, 0, &[1]);
    assert_eq!(task.process(usize::MAX, 0)?, 1);
    assert_eq!(taken(&seen), [(1, 1)]);
    Ok(())
}

/// `PartitionGroupTest#shouldBeReadyIfAllPartitionsAreBuffered`, `#shouldWaitForFetchesWhenMetadataIsIncomplete`,
/// `#shouldWaitForPollWhenLagIsNonzero`.
#[test]
fn with_an_idle_time_of_zero_known_records_are_waited_for() -> Result<()> {
    let (mut task, seen) = task(Some(0), false);
    add(&mut task, 0, 0, &[1, 5]);
    assert_eq!(task.process(usize::MAX, 0)?, 0);
    add(&mut task, 1, 0, &[2]);
    assert_eq!(task.process(usize::MAX, 0)?, 2);
    assert_eq!(taken(&seen), [(1, 1), (2, 2)]);
    assert_eq!(task.process(usize::MAX, 0)?, 0);
    task.set_caught_up(1, true);
    assert_eq!(task.process(usize::MAX, 0)?, 1);
    Ok(())
}

/// `PartitionGroupTest#shouldIdleAsSpecifiedWhenLagIsZero`.
#[test]
fn the_idle_time_begins_when_an_input_is_found_empty() -> Result<()> {
    let (mut task, seen) = task(Some(1), false);
    task.set_caught_up(0, true);
    task.set_caught_up(1, true);
    add(&mut task, 0, 0, &[1, 2]);
    assert_eq!(task.process(1, 0)?, 0);
    assert_eq!(task.process(1, 1)?, 1);
    add(&mut task, 1, 0, &[3]);
    assert_eq!(task.process(usize::MAX, 1)?, 1);
    assert_eq!(taken(&seen), [(1, 1), (2, 2)]);
    // Now the other one is empty, since 1.
    assert_eq!(task.process(usize::MAX, 1)?, 0);
    task.set_caught_up(0, false);
    assert_eq!(task.process(usize::MAX, 2)?, 0);
    task.set_caught_up(0, true);
    // The log had something meanwhile, so the time begins anew.
    assert_eq!(task.process(usize::MAX, 2)?, 0);
    assert_eq!(task.process(usize::MAX, 3)?, 1);
    Ok(())
}

/// The deadlines of `PartitionGroup#readyToProcess` run while nothing is buffered at all.
#[test]
fn the_idle_time_runs_while_every_input_is_empty() -> Result<()> {
    let (mut task, _) = task(Some(10), false);
    task.set_caught_up(0, true);
    task.set_caught_up(1, true);
    // The first input is waited for first, the second from then on.
    assert_eq!(task.process(usize::MAX, 0)?, 0);
    assert_eq!(task.process(usize::MAX, 10)?, 0);
    add(&mut task, 0, 0, &[1]);
    assert_eq!(task.process(usize::MAX, 20)?, 1);
    Ok(())
}

/// `RecordQueueTest#shouldDropOnNegativeTimestamp`, `#shouldPassPartitionTimeToTimestampExtractor` and the cases of skipped
/// records.
#[test]
fn skipped_records_are_passed_and_counted() -> Result<()> {
    let (mut task, seen) = task(None, true);
    task.add_record(0, record(0, 7, &7i64.to_be_bytes()));
    task.add_record(0, record(1, 9, b"no number"));
    task.add_record(0, record(2, 9, &(-5i64).to_be_bytes()));
    // Takes the partition's time.
    task.add_record(0, record(3, 9, &0i64.to_be_bytes()));
    task.add_record(1, record(0, 1, b"no number"));
    assert_eq!(task.process(usize::MAX, 0)?, 2);
    assert_eq!(taken(&seen), [(7, 7), (7, 7)]);
    assert_eq!(task.dropped_records(), 3);
    assert!(task.commit_needed());
    assert_eq!(committed(&mut task), [(0, 4, Some(7)), (1, 1, None)]);
    // What comes behind nothing but skipped records is found.
    add(&mut task, 1, 1, &[3]);
    assert_eq!(task.process(usize::MAX, 0)?, 1);
    assert_eq!(taken(&seen), [(3, 7)]);
    Ok(())
}

/// `RecordQueueTest#shouldThrowStreamsExceptionWhenValueDeserializationFails`.
#[test]
fn an_unreadable_record_stops_the_task_unless_it_is_skipped() {
    let (mut task, _) = task(None, false);
    task.add_record(0, record(3, 9, b"no number"));
    let error = task.process(usize::MAX, 0).expect_err("no number");
    assert!(error.to_string().contains("a-0 at offset 3"), "{error}");
}

/// `PartitionGroupTest#shouldSetPartitionTimestampAndStreamTime`.
#[test]
fn committed_partition_times_are_taken_up() -> Result<()> {
    let (mut task, seen) = task(None, false);
    for (input, partition_time_ms) in [(0, 200), (1, 100)] {
        let metadata = OffsetMetadata {
            partition_time_ms: Some(partition_time_ms),
            ..OffsetMetadata::default()
        };
        let committed = CommittedOffset {
            offset: 5,
            metadata: metadata.encode(),
        };
        task.initialize(input, Some(&committed));
    }
    task.add_record(1, record(5, 3, &0i64.to_be_bytes()));
    assert_eq!(task.process(usize::MAX, 0)?, 1);
    assert_eq!(taken(&seen), [(100, 200)]);
    assert_eq!(committed(&mut task), [(1, 6, Some(100))]);
    Ok(())
}

/// Writes down which keys it was told, in groups.
struct Told(Rc<RefCell<Vec<Vec<u8>>>>);

impl stores::AnyState for Told {
    fn as_any_mut(&mut self) -> &mut dyn std::any::Any {
        self
    }

    fn memory_bytes(&self) -> usize {
        0
    }

    fn forget_clean(&mut self) {}

    fn write_changed(&mut self, _io: &mut StoreIo) -> Result<bool> {
        Ok(true)
    }

    fn prefetch(&mut self, keys: &[&[u8]], _io: &StoreIo) {
        let keys = keys.iter().map(|key| key[0]).collect();
        self.0.borrow_mut().push(keys);
    }
}

#[test]
fn stores_are_told_each_key_once_ahead() -> Result<()> {
    let (mut task, seen) = task(None, true);
    let told = Rc::new(RefCell::new(Vec::new()));
    task.context.states.push(Box::new(Told(told.clone())));
    let mut next_offset = 0;
    let mut fetch = |task: &mut Task<OwnedRecord>, keys: &[u8]| {
        for key in keys {
            let mut record = record(next_offset, next_offset, &1_i64.to_be_bytes());
            record.key = (*key > 0).then(|| vec![*key]);
            task.add_record(0, record);
            next_offset += 1;
        }
    };
    // The last one has no key, and is skipped.
    fetch(&mut task, &[1, 2, 3, 4, 0]);
    assert_eq!(task.process(3, 0)?, 3);
    assert_eq!(*told.borrow(), [vec![1, 2, 3, 4]]);
    // One that was told is left; few are not worth a call.
    fetch(&mut task, &[5, 6, 7]);
    assert_eq!(task.process(0, 0)?, 0);
    assert_eq!(told.borrow().len(), 1);
    fetch(&mut task, &(8..40).collect::<Vec<_>>());
    while task.process(16, 0)? > 0 {}
    assert_eq!(seen.lock().expect("one thread").len(), 39);
    let told = told.borrow();
    assert!(told.iter().all(|keys| keys.len() <= stores::AT_ONCE));
    let all = told.concat();
    assert!(all.is_sorted_by(|a, b| a < b), "once, in order: {all:?}");
    assert!(all.len() > 36, "but for a few at the end: {all:?}");
    Ok(())
}
