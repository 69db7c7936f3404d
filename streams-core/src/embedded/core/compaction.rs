//! Compaction: of each key, only the latest record stays.
//!
//! The rules are those of Kafka's `LogCleaner`: closed segments below the last stable offset are rewritten once enough of
//! them is new; offsets and order stay; records of aborted transactions go; tombstones and transaction markers stay until
//! `delete.retention.ms` after a first pass has seen them.

#[cfg(test)]
mod tests;

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
