//! Compaction: of each key, only the latest record stays.
//!
//! The rules are those of Kafka's `LogCleaner`: closed segments below the last stable offset are rewritten once enough of
//! them is new; offsets and order stay; records of aborted transactions go; tombstones and transaction markers stay until
//! `delete.retention.ms` after a first pass has seen them.

use std::collections::{HashMap, HashSet};

use super::batch::RecordBatch;
use super::changes::{Changes, LogChange};
use super::log::{PartitionLog, Segment};
use super::producers::Producers;
use super::records::{Record, open, walk};
use super::topic_config::TopicConfig;

/// A log that is due for compaction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Due {
    /// How many of the oldest segments take part.
    segment_count: usize,
    /// How much of them is new, from 0 to 1.
    pub(crate) dirty_ratio: f64,
}

/// Whether it is time to compact the log. Closes the active segment if its first record has waited for longer than
/// `max.compaction.lag.ms`.
pub(crate) fn due(
    log: &mut PartitionLog,
    config: &TopicConfig,
    now_ms: i64,
    changes: &mut Changes,
) -> Option<Due> {
    if !config.is_compacted() {
        return None;
    }
    let is_overdue =
        |first_ms: i64| now_ms.saturating_sub(first_ms) > config.max_compaction_lag_ms();
    if !log.active().batches.is_empty() && log.active().first_append_ms.is_some_and(is_overdue) {
        log.roll(changes);
    }
    due_segments(log, config, now_ms)
}

/// Compacts the log.
pub(crate) fn compact(
    log: &mut PartitionLog,
    due: Due,
    config: &TopicConfig,
    now_ms: i64,
    changes: &mut Changes,
) {
    let segment_count = due.segment_count;
    let cleanable_end = log.segments[segment_count].base_offset;
    let latest = latest_offsets(log, segment_count);
    let mut pass = Pass {
        producers: &log.producers,
        latest: &latest,
        config,
        now_ms,
        with_data: HashSet::new(),
    };
    let cleaned: Vec<Segment> = log
        .segments
        .iter()
        .take(segment_count)
        .map(|segment| pass.clean(segment))
        .collect();
    let merged = merged(cleaned, config.segment_bytes());
    for (segment, sources) in &merged {
        log.note(changes, || LogChange::SegmentsReplaced {
            base_offset: segment.base_offset,
            batches: segment
                .batches
                .iter()
                .map(|batch| batch.bytes().clone())
                .collect(),
            merged: sources.clone(),
        });
    }
    log.segments.drain(..segment_count);
    merged
        .into_iter()
        .rev()
        .for_each(|(segment, _)| log.segments.push_front(segment));
    log.producers.forget_aborted_before(cleanable_end);
    log.compacted_to = cleanable_end;
}

fn due_segments(log: &PartitionLog, config: &TopicConfig, now_ms: i64) -> Option<Due> {
    let stable_offset = log.last_stable_offset();
    let is_settled = |index: usize| {
        let next_base_offset = log.segments[index + 1].base_offset;
        let lag_ms = config.min_compaction_lag_ms();
        let is_old_enough =
            lag_ms == 0 || now_ms.saturating_sub(log.segments[index].newest_ms()) > lag_ms;
        next_base_offset <= stable_offset && (next_base_offset <= log.compacted_to || is_old_enough)
    };
    let segment_count = (0..log.segments.len() - 1)
        .take_while(|index| is_settled(*index))
        .count();
    let (mut clean_bytes, mut dirty_bytes, mut oldest_dirty_ms) = (0, 0, i64::MAX);
    for segment in log.segments.iter().take(segment_count) {
        if segment.base_offset < log.compacted_to {
            clean_bytes += segment.size_bytes;
        } else {
            dirty_bytes += segment.size_bytes;
            oldest_dirty_ms = oldest_dirty_ms.min(segment.first_append_ms.unwrap_or(i64::MAX));
        }
    }
    if dirty_bytes == 0 {
        return None;
    }
    let dirty_ratio = dirty_bytes as f64 / (clean_bytes + dirty_bytes) as f64;
    let is_overdue = now_ms.saturating_sub(oldest_dirty_ms) > config.max_compaction_lag_ms();
    (dirty_ratio > config.min_cleanable_dirty_ratio() || is_overdue).then_some(Due {
        segment_count,
        dirty_ratio,
    })
}

/// The offset of the last record of each key in the segments that have not been compacted yet.
fn latest_offsets(log: &PartitionLog, segment_count: usize) -> HashMap<Vec<u8>, i64> {
    let mut latest = HashMap::new();
    let dirty = log
        .segments
        .iter()
        .take(segment_count)
        .filter(|segment| segment.base_offset >= log.compacted_to);
    for batch in dirty.flat_map(|segment| segment.batches.iter()) {
        if batch.is_control() || log.producers.is_aborted(batch) {
            continue;
        }
        let Some(opened) = open(batch) else { continue };
        for record in walk(batch, &opened).unwrap_or_default() {
            if let Some(key) = record.key {
                latest.insert(key.to_vec(), record.offset);
            }
        }
    }
    latest
}

/// One pass over the segments, oldest first.
struct Pass<'a> {
    producers: &'a Producers,
    latest: &'a HashMap<Vec<u8>, i64>,
    config: &'a TopicConfig,
    now_ms: i64,
    /// Producers with records left of a transaction whose marker has not come by yet.
    with_data: HashSet<i64>,
}

impl Pass<'_> {
    fn clean(&mut self, segment: &Segment) -> Segment {
        let mut cleaned = Segment::new(segment.base_offset);
        for batch in &segment.batches {
            if let Some(batch) = self.clean_batch(batch) {
                cleaned.push(batch, segment.first_append_ms.unwrap_or(self.now_ms));
            }
        }
        cleaned.first_append_ms = segment.first_append_ms;
        cleaned
    }

    fn clean_batch(&mut self, batch: &RecordBatch) -> Option<RecordBatch> {
        // What cannot be opened is not understood, and so kept as it is.
        let Some(opened) = open(batch) else {
            return Some(batch.clone());
        };
        let Some(records) = walk(batch, &opened) else {
            return Some(batch.clone());
        };
        let horizon_ms = batch.delete_horizon_ms();
        let is_past_horizon = horizon_ms.is_some_and(|horizon_ms| horizon_ms <= self.now_ms);
        let new_horizon_ms = || {
            horizon_ms.unwrap_or(
                self.now_ms
                    .saturating_add(self.config.delete_retention_ms()),
            )
        };
        if batch.is_control() {
            let has_data = self.with_data.remove(&batch.producer_id);
            if is_past_horizon && !has_data {
                return None;
            }
            return Some(if horizon_ms.is_some() {
                batch.clone()
            } else {
                batch.with_records(&records, Some(new_horizon_ms()))
            });
        }
        if self.producers.is_aborted(batch) {
            return None;
        }
        let is_kept = |record: &&Record<'_>| {
            let is_latest = record.key.is_some_and(|key| {
                self.latest
                    .get(key)
                    .is_none_or(|offset| *offset <= record.offset)
            });
            is_latest && !(record.value.is_none() && is_past_horizon)
        };
        let kept: Vec<Record<'_>> = records.iter().filter(is_kept).copied().collect();
        if kept.is_empty() {
            return None;
        }
        if batch.is_transactional() {
            self.with_data.insert(batch.producer_id);
        }
        let has_new_tombstone =
            horizon_ms.is_none() && kept.iter().any(|record| record.value.is_none());
        if kept.len() == records.len() && !has_new_tombstone {
            return Some(batch.clone());
        }
        let horizon_ms = if has_new_tombstone {
            Some(new_horizon_ms())
        } else {
            horizon_ms
        };
        Some(batch.with_records(&kept, horizon_ms))
    }
}

/// Joins neighbours that fit into one segment. Beside each segment stand the base offsets of all it is made of, its own
/// first.
fn merged(cleaned: Vec<Segment>, segment_bytes: u64) -> Vec<(Segment, Vec<i64>)> {
    let mut merged: Vec<(Segment, Vec<i64>)> = Vec::new();
    for segment in cleaned {
        match merged.last_mut() {
            Some((into, sources)) if into.size_bytes + segment.size_bytes <= segment_bytes => {
                sources.push(segment.base_offset);
                into.size_bytes += segment.size_bytes;
                into.max_timestamp = into.max_timestamp.max(segment.max_timestamp);
                into.batches.extend(segment.batches);
            }
            _ => {
                let base_offset = segment.base_offset;
                merged.push((segment, vec![base_offset]));
            }
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::batch::{RecordBatchBuilder, transaction_marker};
    use super::*;

    struct Bench {
        log: PartitionLog,
        config: TopicConfig,
        now_ms: i64,
    }

    impl Bench {
        fn new(settings: &[(&str, &str)]) -> Self {
            let mut config = TopicConfig::default();
            let defaults = [
                ("cleanup.policy", "compact"),
                ("min.cleanable.dirty.ratio", "0.1"),
                ("delete.retention.ms", "100"),
            ];
            defaults
                .iter()
                .chain(settings)
                .for_each(|(name, value)| config.set(name, value).unwrap());
            Self {
                log: PartitionLog::new(Uuid::nil(), 0, &mut Changes::new(false)),
                config,
                now_ms: 0,
            }
        }

        fn append(&mut self, builder: RecordBatchBuilder) {
            self.log
                .append(
                    &builder.build(),
                    &self.config,
                    self.now_ms,
                    &mut Changes::new(false),
                )
                .unwrap();
        }

        fn put(&mut self, key: &str, value: Option<&str>) {
            let now_ms = self.now_ms;
            self.append(RecordBatchBuilder::new().record(
                now_ms,
                Some(key.as_bytes()),
                value.map(str::as_bytes),
            ));
        }

        fn roll(&mut self) {
            self.log.roll(&mut Changes::new(false));
        }

        fn compact(&mut self) -> bool {
            let mut changes = Changes::new(false);
            let Some(due) = due(&mut self.log, &self.config, self.now_ms, &mut changes) else {
                return false;
            };
            compact(&mut self.log, due, &self.config, self.now_ms, &mut changes);
            true
        }

        fn records(&self) -> Vec<(i64, String, Option<String>)> {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let mut all = Vec::new();
            for batch in self.log.batches_from(0).filter(|batch| !batch.is_control()) {
                let opened = open(batch).unwrap();
                for record in walk(batch, &opened).unwrap() {
                    all.push((
                        record.offset,
                        text(record.key.unwrap()),
                        record.value.map(text),
                    ));
                }
            }
            all
        }
    }

    fn row(offset: i64, key: &str, value: Option<&str>) -> (i64, String, Option<String>) {
        (offset, key.to_owned(), value.map(str::to_owned))
    }

    #[test]
    fn the_latest_of_each_key_stays_at_its_offset() {
        let mut bench = Bench::new(&[]);
        bench.append(
            RecordBatchBuilder::new()
                .record(0, Some(b"a"), Some(b"1"))
                .record(0, Some(b"b"), Some(b"1")),
        );
        bench.put("a", Some("2"));
        bench.roll();
        bench.put("b", Some("2"));
        assert!(bench.compact());
        assert_eq!(
            bench.records(),
            [
                row(1, "b", Some("1")),
                row(2, "a", Some("2")),
                row(3, "b", Some("2"))
            ]
        );
        assert!(!bench.compact(), "nothing new");
        bench.roll();
        assert!(bench.compact());
        assert_eq!(
            bench.records(),
            [row(2, "a", Some("2")), row(3, "b", Some("2"))]
        );
        assert_eq!((bench.log.start_offset, bench.log.end_offset), (0, 4));
        assert_eq!(bench.log.segments.len(), 2, "small segments are joined");
    }

    #[test]
    fn tombstones_stay_for_their_time() {
        let mut bench = Bench::new(&[]);
        bench.put("a", Some("1"));
        bench.put("a", None);
        bench.roll();
        assert!(bench.compact());
        assert_eq!(bench.records(), [row(1, "a", None)]);
        bench.now_ms = 99;
        bench.put("b", Some("1"));
        bench.roll();
        assert!(bench.compact());
        assert_eq!(bench.records().len(), 2);
        bench.now_ms = 101;
        bench.put("c", Some("1"));
        bench.roll();
        assert!(bench.compact());
        assert_eq!(
            bench.records(),
            [row(2, "b", Some("1")), row(3, "c", Some("1"))]
        );
    }

    #[test]
    fn the_dirty_ratio_and_the_lags_decide_when() {
        let mut bench = Bench::new(&[
            ("min.cleanable.dirty.ratio", "0.5"),
            ("max.compaction.lag.ms", "1000"),
        ]);
        for i in 0..10 {
            bench.put(&format!("k{i}"), Some("1"));
        }
        bench.roll();
        assert!(bench.compact());
        bench.now_ms = 10;
        bench.put("k1", Some("2"));
        bench.roll();
        assert!(!bench.compact(), "a tenth is dirty");
        bench.now_ms = 1_011;
        assert!(bench.compact(), "it has waited long enough");
        let mut bench = Bench::new(&[("min.compaction.lag.ms", "500")]);
        bench.put("a", Some("1"));
        bench.roll();
        bench.now_ms = 500;
        assert!(!bench.compact());
        bench.now_ms = 501;
        assert!(bench.compact());
    }

    #[test]
    fn an_idle_segment_is_closed_when_compaction_may_wait_no_longer() {
        let mut bench = Bench::new(&[("max.compaction.lag.ms", "100")]);
        bench.put("a", Some("1"));
        bench.put("a", Some("2"));
        assert!(!bench.compact());
        bench.now_ms = 101;
        assert!(bench.compact());
        assert_eq!(bench.records(), [row(1, "a", Some("2"))]);
    }

    #[test]
    fn aborted_records_go_and_open_transactions_stop_it() {
        let mut bench = Bench::new(&[]);
        let in_transaction = |sequence, value: &[u8]| {
            RecordBatchBuilder::new()
                .producer(1, 0, sequence)
                .transactional()
                .record(0, Some(b"a"), Some(value))
        };
        let end = |bench: &mut Bench, is_commit| {
            let marker = transaction_marker(1, 0, is_commit, 0);
            bench
                .log
                .append_marker(&marker, &bench.config, 0, &mut Changes::new(false));
        };
        bench.put("a", Some("plain"));
        bench.append(in_transaction(0, b"aborted"));
        bench.roll();
        assert!(!bench.compact(), "the transaction is open");
        end(&mut bench, false);
        bench.roll();
        assert!(bench.compact());
        assert_eq!(bench.records(), [row(0, "a", Some("plain"))]);
        assert_eq!(
            bench.log.producers.aborted_between(0, 100).count(),
            0,
            "nothing aborted is left to be skipped"
        );
        bench.append(in_transaction(1, b"committed"));
        end(&mut bench, true);
        bench.roll();
        assert!(bench.compact());
        assert_eq!(bench.records(), [row(3, "a", Some("committed"))]);
        bench.now_ms = 1_000;
        bench.put("z", Some("1"));
        bench.roll();
        assert!(bench.compact());
        let markers: Vec<i64> = bench
            .log
            .batches_from(0)
            .filter(|b| b.is_control())
            .map(|b| b.base_offset)
            .collect();
        assert_eq!(
            markers,
            [4],
            "the marker of records that are still there stays, so that a replay sees them committed"
        );
    }
}
