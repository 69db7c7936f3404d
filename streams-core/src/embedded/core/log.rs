//! The log of one partition: segments of batches, found by binary search.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use uuid::Uuid;

use super::batch::RecordBatch;
use super::changes::{Change, Changes, LogChange};
use super::producers::{Admission, Producers};
use super::records;
use super::topic_config::TopicConfig;

/// A run of batches that is rolled, deleted and compacted as one.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) base_offset: i64,
    pub(crate) batches: VecDeque<RecordBatch>,
    pub(crate) size_bytes: u64,
    pub(crate) max_timestamp: i64,
    /// When its first batch was appended, by the broker's clock.
    pub(crate) first_append_ms: Option<i64>,
}

impl Segment {
    /// An empty segment.
    pub(crate) fn new(base_offset: i64) -> Self {
        Self {
            base_offset,
            batches: VecDeque::new(),
            size_bytes: 0,
            max_timestamp: -1,
            first_append_ms: None,
        }
    }

    /// Adds a batch at the end.
    pub(crate) fn push(&mut self, batch: RecordBatch, now_ms: i64) {
        self.size_bytes += batch.size_bytes() as u64;
        self.max_timestamp = self.max_timestamp.max(batch.max_timestamp);
        self.first_append_ms.get_or_insert(now_ms);
        self.batches.push_back(batch);
    }

    /// The newest timestamp in it; where producers set none, when it was written.
    pub(crate) fn newest_ms(&self) -> i64 {
        if self.max_timestamp >= 0 {
            self.max_timestamp
        } else {
            self.first_append_ms.unwrap_or(i64::MAX)
        }
    }
}

/// What an append did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Appended {
    pub(crate) base_offset: i64,
    /// When the broker stamped the batch, if the topic says `LogAppendTime`; else -1.
    pub(crate) log_append_time_ms: i64,
}

/// The log of one partition.
#[derive(Clone, Debug)]
pub(crate) struct PartitionLog {
    topic_id: Uuid,
    partition: usize,
    pub(crate) segments: VecDeque<Segment>,
    pub(crate) start_offset: i64,
    pub(crate) end_offset: i64,
    pub(crate) producers: Producers,
    /// Everything below has been compacted.
    pub(crate) compacted_to: i64,
}

impl PartitionLog {
    /// An empty log.
    pub(crate) fn new(topic_id: Uuid, partition: usize, changes: &mut Changes) -> Self {
        let log = Self::recovered(topic_id, partition, Vec::new(), 0, 0);
        log.note(changes, || LogChange::SegmentStarted { base_offset: 0 });
        log
    }

    /// The log with these segments, oldest first, as they were found on disk.
    pub(crate) fn recovered(
        topic_id: Uuid,
        partition: usize,
        segments: Vec<Segment>,
        start_offset: i64,
        now_ms: i64,
    ) -> Self {
        let mut segments = VecDeque::from(segments);
        if segments.is_empty() {
            segments.push_back(Segment::new(start_offset));
        }
        let mut producers = Producers::default();
        for segment in &mut segments {
            if !segment.batches.is_empty() {
                segment.first_append_ms.get_or_insert(now_ms);
            }
            segment
                .batches
                .iter()
                .for_each(|batch| producers.note(batch));
        }
        let active = segments.back().expect("a log has an active segment");
        let end_offset = active
            .batches
            .back()
            .map_or(active.base_offset, |batch| batch.last_offset + 1);
        let start_offset = start_offset.max(segments[0].base_offset).min(end_offset);
        let mut log = Self {
            topic_id,
            partition,
            segments,
            start_offset,
            end_offset,
            producers,
            compacted_to: 0,
        };
        log.drop_batches_before_start();
        log
    }

    /// Notes a change of this log.
    pub(crate) fn note(&self, changes: &mut Changes, change: impl FnOnce() -> LogChange) {
        changes.push(|| Change::Log {
            topic_id: self.topic_id,
            partition: self.partition,
            change: change(),
        });
    }

    /// Appends a producer's batch.
    ///
    /// # Errors
    /// What [`Producers::admit`] refuses, and `MESSAGE_TOO_LARGE` and `INVALID_RECORD` by the topic's configuration.
    pub(crate) fn append(
        &mut self,
        batch: &RecordBatch,
        config: &TopicConfig,
        now_ms: i64,
        changes: &mut Changes,
    ) -> Result<Appended, ResponseError> {
        if batch.size_bytes() as u64 > config.max_message_bytes() {
            return Err(ResponseError::MessageTooLarge);
        }
        if i64::from(batch.record_count) != batch.last_offset - batch.base_offset + 1 {
            return Err(ResponseError::InvalidRecord);
        }
        if config.is_compacted() {
            let opened = records::open(batch).ok_or(ResponseError::CorruptMessage)?;
            let records = records::walk(batch, &opened).ok_or(ResponseError::InvalidRecord)?;
            if records.iter().any(|record| record.key.is_none()) {
                return Err(ResponseError::InvalidRecord);
            }
        }
        if let Admission::Duplicate { base_offset } = self.producers.admit(batch)? {
            return Ok(Appended {
                base_offset,
                log_append_time_ms: -1,
            });
        }
        let append_time_ms = config.is_log_append_time().then_some(now_ms);
        let base_offset = self.place(batch, append_time_ms, config, now_ms, changes);
        Ok(Appended {
            base_offset,
            log_append_time_ms: append_time_ms.unwrap_or(-1),
        })
    }

    /// Appends a batch the broker made itself and returns its offset.
    pub(crate) fn append_marker(
        &mut self,
        marker: &RecordBatch,
        config: &TopicConfig,
        now_ms: i64,
        changes: &mut Changes,
    ) -> i64 {
        self.place(marker, None, config, now_ms, changes)
    }

    fn place(
        &mut self,
        batch: &RecordBatch,
        append_time_ms: Option<i64>,
        config: &TopicConfig,
        now_ms: i64,
        changes: &mut Changes,
    ) -> i64 {
        let active = self.active();
        let is_full = active.size_bytes + batch.size_bytes() as u64 > config.segment_bytes();
        let is_old = active
            .first_append_ms
            .is_some_and(|first| now_ms.saturating_sub(first) > config.segment_ms());
        if !active.batches.is_empty() && (is_full || is_old) {
            self.roll(changes);
        }
        let base_offset = self.end_offset;
        let placed = batch.placed_at(base_offset, append_time_ms);
        self.end_offset = placed.last_offset + 1;
        self.producers.note(&placed);
        let segment_base_offset = self.active().base_offset;
        self.note(changes, || LogChange::Appended {
            segment_base_offset,
            batch: placed.bytes().clone(),
        });
        self.segments
            .back_mut()
            .expect("a log has an active segment")
            .push(placed, now_ms);
        base_offset
    }

    /// The segment that takes appends.
    pub(crate) fn active(&self) -> &Segment {
        self.segments.back().expect("a log has an active segment")
    }

    /// Closes the active segment and starts an empty one.
    pub(crate) fn roll(&mut self, changes: &mut Changes) {
        let base_offset = self.end_offset;
        self.note(changes, || LogChange::SegmentStarted { base_offset });
        self.segments.push_back(Segment::new(base_offset));
    }

    /// The last stable offset: below it every transaction has been decided.
    pub(crate) fn last_stable_offset(&self) -> i64 {
        self.producers
            .first_open_offset()
            .unwrap_or(self.end_offset)
    }

    /// The batches from the one that holds `from` up to `to` (exclusive), at most `bytes_max` together, the first one
    /// whatever its size if `at_least_one`.
    pub(crate) fn read(
        &self,
        from: i64,
        to: i64,
        bytes_max: usize,
        at_least_one: bool,
    ) -> Vec<Bytes> {
        let mut taken = Vec::new();
        let mut taken_bytes = 0;
        for batch in self.batches_from(from) {
            let is_first = taken.is_empty() && at_least_one;
            if batch.base_offset >= to
                || (taken_bytes + batch.size_bytes() > bytes_max && !is_first)
            {
                break;
            }
            taken_bytes += batch.size_bytes();
            taken.push(batch.bytes().clone());
        }
        taken
    }

    /// The batches from the one that holds `offset`, or the first after it, to the end of the log.
    pub(crate) fn batches_from(&self, offset: i64) -> impl Iterator<Item = &RecordBatch> {
        let segment = self
            .segments
            .partition_point(|segment| segment.base_offset <= offset)
            .saturating_sub(1);
        let batch = self.segments[segment]
            .batches
            .partition_point(|batch| batch.last_offset < offset);
        let rest = self
            .segments
            .range(segment + 1..)
            .flat_map(|segment| segment.batches.iter());
        self.segments[segment].batches.range(batch..).chain(rest)
    }

    /// The first record at or after `timestamp_ms`: its offset and its timestamp.
    pub(crate) fn offset_for_timestamp(&self, timestamp_ms: i64) -> Option<(i64, i64)> {
        let segments = self
            .segments
            .iter()
            .filter(|segment| segment.max_timestamp >= timestamp_ms);
        let mut batches = segments.flat_map(|segment| segment.batches.iter());
        batches.find_map(|batch| self.first_record(batch, |record_ms| record_ms >= timestamp_ms))
    }

    /// The first record with the newest timestamp of the log: its offset and its timestamp.
    pub(crate) fn offset_of_max_timestamp(&self) -> Option<(i64, i64)> {
        let batches = || {
            self.segments
                .iter()
                .flat_map(|segment| segment.batches.iter())
                .filter(|batch| !batch.is_control())
        };
        let max_ms = batches().map(|batch| batch.max_timestamp).max()?;
        let mut newest = batches().filter(|batch| batch.max_timestamp == max_ms);
        newest.find_map(|batch| self.first_record(batch, |record_ms| record_ms == max_ms))
    }

    /// The first record of `batch`, not deleted, whose timestamp is `wanted`. A batch that cannot be opened answers with
    /// its own first offset, as the position from which a reader is sure to meet the record.
    fn first_record(
        &self,
        batch: &RecordBatch,
        wanted: impl Fn(i64) -> bool,
    ) -> Option<(i64, i64)> {
        if !wanted(batch.max_timestamp) || batch.is_control() {
            return None;
        }
        let Some(opened) = records::open(batch) else {
            return Some((batch.base_offset, batch.max_timestamp));
        };
        let records = records::walk(batch, &opened)?;
        let mut records = records
            .iter()
            .filter(|record| record.offset >= self.start_offset);
        records
            .find(|record| wanted(record.timestamp))
            .map(|record| (record.offset, record.timestamp))
    }

    /// Deletes the records below `offset` and returns the new start of the log.
    ///
    /// # Errors
    /// `OFFSET_OUT_OF_RANGE` beyond the end of the log.
    pub(crate) fn delete_before(
        &mut self,
        offset: i64,
        changes: &mut Changes,
    ) -> Result<i64, ResponseError> {
        if offset > self.end_offset || offset < 0 {
            return Err(ResponseError::OffsetOutOfRange);
        }
        if offset > self.start_offset {
            self.start_offset = offset;
            let (topic_id, partition) = (self.topic_id, self.partition);
            changes.push(|| Change::StartOffset {
                topic_id,
                partition,
                offset,
            });
            let is_passed = |log: &Self| {
                log.segments
                    .get(1)
                    .is_some_and(|next| next.base_offset <= log.start_offset)
            };
            while is_passed(self) {
                self.delete_oldest_segment(changes);
            }
            self.drop_batches_before_start();
        }
        Ok(self.start_offset)
    }

    /// Deletes the oldest segment, which must not be the active one.
    pub(crate) fn delete_oldest_segment(&mut self, changes: &mut Changes) {
        let Some(segment) = self.segments.pop_front() else {
            return;
        };
        self.note(changes, || LogChange::SegmentDeleted {
            base_offset: segment.base_offset,
        });
        self.start_offset = self.start_offset.max(self.segments[0].base_offset);
        self.producers.forget_aborted_before(self.start_offset);
    }

    fn drop_batches_before_start(&mut self) {
        let start_offset = self.start_offset;
        for segment in &mut self.segments {
            while segment
                .batches
                .front()
                .is_some_and(|batch| batch.last_offset < start_offset)
            {
                let batch = segment
                    .batches
                    .pop_front()
                    .expect("the front was just seen");
                segment.size_bytes -= batch.size_bytes() as u64;
            }
        }
        self.producers.forget_aborted_before(start_offset);
    }

    /// The size of all batches in bytes.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size_bytes).sum()
    }
}
