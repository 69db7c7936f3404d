//! The log of a partition, append by append.

use super::*;
use crate::embedded::core::batch::{RecordBatchBuilder, transaction_marker};

fn config(pairs: &[(&str, &str)]) -> TopicConfig {
    let mut config = TopicConfig::default();
    pairs
        .iter()
        .for_each(|(name, value)| config.set(name, value).unwrap());
    config
}

fn log() -> PartitionLog {
    PartitionLog::new(Uuid::nil(), 0, &mut Changes::new(false))
}

fn batch(timestamps: &[i64]) -> RecordBatch {
    let add =
        |builder: RecordBatchBuilder, ts: &i64| builder.record(*ts, Some(b"key"), Some(b"value"));
    timestamps
        .iter()
        .fold(RecordBatchBuilder::new(), add)
        .build()
}

fn append(log: &mut PartitionLog, batch: &RecordBatch, config: &TopicConfig, now_ms: i64) -> i64 {
    log.append(batch, config, now_ms, &mut Changes::new(false))
        .unwrap()
        .base_offset
}

#[test]
fn reads_start_at_the_batch_that_holds_the_offset() {
    let (mut log, config) = (log(), config(&[("segment.bytes", "300")]));
    for i in 0..20 {
        assert_eq!(append(&mut log, &batch(&[i, i]), &config, 0), i * 2);
    }
    assert!(log.segments.len() > 3);
    for offset in 0..40 {
        let read = log.read(offset, i64::MAX, 1, true);
        assert_eq!(read.len(), 1);
        assert_eq!(
            RecordBatch::parse(&read[0]).unwrap().base_offset,
            offset / 2 * 2
        );
    }
    assert!(log.read(40, i64::MAX, 1_000, true).is_empty());
    assert_eq!(
        log.read(0, 10, 1 << 20, true).len(),
        5,
        "the upper bound is exclusive"
    );
    assert!(log.read(0, 40, 1, false).is_empty());
}

#[test]
fn time_is_searched_record_by_record() {
    let (mut log, config) = (log(), config(&[]));
    append(&mut log, &batch(&[100, 200, 300]), &config, 0);
    append(&mut log, &batch(&[250, 400, 400]), &config, 0);
    assert_eq!(log.offset_for_timestamp(0), Some((0, 100)));
    assert_eq!(log.offset_for_timestamp(201), Some((2, 300)));
    assert_eq!(log.offset_for_timestamp(301), Some((4, 400)));
    assert_eq!(log.offset_for_timestamp(401), None);
    assert_eq!(log.offset_of_max_timestamp(), Some((4, 400)));
}

#[test]
fn delete_before_moves_the_start_and_frees_whole_segments() {
    let (mut log, config) = (log(), config(&[("segment.bytes", "100")]));
    for i in 0..10 {
        append(&mut log, &batch(&[i, i]), &config, 0);
    }
    let mut changes = Changes::new(true);
    assert_eq!(log.delete_before(5, &mut changes), Ok(5));
    assert_eq!(log.segments[0].base_offset, 4);
    assert_eq!(changes.take().len(), 3, "the start offset and two segments");
    assert_eq!(
        log.delete_before(3, &mut changes),
        Ok(5),
        "the start never moves back"
    );
    assert_eq!(
        log.delete_before(21, &mut changes),
        Err(ResponseError::OffsetOutOfRange)
    );
    assert_eq!(log.delete_before(20, &mut changes), Ok(20));
    assert_eq!(log.size_bytes(), 0);
}

#[test]
fn an_open_transaction_holds_the_stable_offset() {
    let (mut log, config) = (log(), config(&[]));
    append(&mut log, &batch(&[1]), &config, 0);
    let transactional = RecordBatchBuilder::new()
        .producer(9, 0, 0)
        .transactional()
        .record(1, Some(b"k"), None)
        .build();
    append(&mut log, &transactional, &config, 0);
    append(&mut log, &batch(&[1]), &config, 0);
    assert_eq!(log.last_stable_offset(), 1);
    log.append_marker(
        &transaction_marker(9, 0, true, 0),
        &config,
        0,
        &mut Changes::new(false),
    );
    assert_eq!(log.last_stable_offset(), 4);
}

#[test]
fn limits_of_the_topic_are_enforced() {
    let mut log = log();
    let append = |log: &mut PartitionLog, config: &TopicConfig, batch: &RecordBatch| {
        log.append(batch, config, 0, &mut Changes::new(false))
            .map(|appended| appended.base_offset)
    };
    let small = config(&[("max.message.bytes", "70")]);
    assert_eq!(
        append(&mut log, &small, &batch(&[1])),
        Err(ResponseError::MessageTooLarge)
    );
    let compacted = config(&[("cleanup.policy", "compact")]);
    let keyless = RecordBatchBuilder::new()
        .record(1, None, Some(b"v"))
        .build();
    assert_eq!(
        append(&mut log, &compacted, &keyless),
        Err(ResponseError::InvalidRecord)
    );
    assert_eq!(append(&mut log, &compacted, &batch(&[1])), Ok(0));
}

#[test]
fn append_time_replaces_the_producers_clock() {
    let (mut log, config) = (
        log(),
        config(&[("message.timestamp.type", "LogAppendTime")]),
    );
    let appended = log
        .append(&batch(&[1, 2]), &config, 9_000, &mut Changes::new(false))
        .unwrap();
    assert_eq!(appended.log_append_time_ms, 9_000);
    assert_eq!(log.offset_for_timestamp(9_000), Some((0, 9_000)));
}
