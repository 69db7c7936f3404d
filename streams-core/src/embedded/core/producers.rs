//! What a partition knows of the producers that write to it: sequence numbers, epochs and transactions.
//!
//! The rules are those of Kafka's `ProducerStateManager` and `ProducerAppendInfo`. All of it follows from the batches in
//! the log, so it is rebuilt by replaying them.

use std::collections::{HashMap, VecDeque};

use kafka_protocol::ResponseError;

use super::batch::{NO_PRODUCER_ID, RecordBatch, add_sequence};
use super::records::marker_is_commit;

/// How many batches a producer may have in flight, and so how far back a duplicate is recognised.
const BATCHES_REMEMBERED: usize = 5;

/// A transaction that was aborted, as a fetch with `read_committed` must report it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct AbortedTransaction {
    pub(crate) producer_id: i64,
    pub(crate) first_offset: i64,
    /// The offset of the abort marker.
    pub(crate) last_offset: i64,
}

/// What to do with a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Admission {
    /// It is new: append it.
    Append,
    /// It is in the log already, at this offset: answer as if it had just been appended.
    Duplicate { base_offset: i64 },
}

#[derive(Clone, Copy, Debug)]
struct BatchMark {
    base_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
}

/// The state of one producer on one partition.
#[derive(Clone, Debug)]
pub(crate) struct ProducerState {
    pub(crate) epoch: i16,
    batches: VecDeque<BatchMark>,
    pub(crate) transaction_first_offset: Option<i64>,
    pub(crate) last_timestamp: i64,
}

impl ProducerState {
    /// The sequence number of the last record, or -1 before the first.
    pub(crate) fn last_sequence(&self) -> i32 {
        self.batches.back().map_or(-1, |mark| mark.last_sequence)
    }
}

/// The producers of one partition.
#[derive(Clone, Debug, Default)]
pub(crate) struct Producers {
    states: HashMap<i64, ProducerState>,
    aborted: Vec<AbortedTransaction>,
}

impl Producers {
    /// Whether `batch` may be appended.
    ///
    /// # Errors
    /// `INVALID_PRODUCER_EPOCH` for a producer that has been fenced, `OUT_OF_ORDER_SEQUENCE_NUMBER` for a gap.
    pub(crate) fn admit(&self, batch: &RecordBatch) -> Result<Admission, ResponseError> {
        let Some(state) = self.states.get(&batch.producer_id) else {
            return Ok(Admission::Append);
        };
        if batch.producer_epoch < state.epoch {
            return Err(ResponseError::InvalidProducerEpoch);
        }
        if batch.producer_epoch > state.epoch {
            return if batch.base_sequence == 0 {
                Ok(Admission::Append)
            } else {
                Err(ResponseError::OutOfOrderSequenceNumber)
            };
        }
        let (first, last) = (batch.base_sequence, batch.last_sequence());
        if let Some(mark) = state
            .batches
            .iter()
            .find(|mark| mark.base_sequence == first && mark.last_sequence == last)
        {
            return Ok(Admission::Duplicate {
                base_offset: mark.base_offset,
            });
        }
        let expected = state
            .batches
            .back()
            .map_or(0, |mark| add_sequence(mark.last_sequence, 1));
        if first == expected {
            Ok(Admission::Append)
        } else {
            Err(ResponseError::OutOfOrderSequenceNumber)
        }
    }

    /// Takes note of a batch that has been appended.
    pub(crate) fn note(&mut self, batch: &RecordBatch) {
        if batch.producer_id == NO_PRODUCER_ID {
            return;
        }
        let state = self
            .states
            .entry(batch.producer_id)
            .or_insert_with(|| ProducerState {
                epoch: batch.producer_epoch,
                batches: VecDeque::new(),
                transaction_first_offset: None,
                last_timestamp: -1,
            });
        if batch.producer_epoch != state.epoch {
            state.epoch = batch.producer_epoch;
            state.batches.clear();
        }
        state.last_timestamp = batch.max_timestamp;
        if batch.is_control() {
            let first_offset = state.transaction_first_offset.take();
            if let (Some(first_offset), Some(false)) = (first_offset, marker_is_commit(batch)) {
                self.aborted.push(AbortedTransaction {
                    producer_id: batch.producer_id,
                    first_offset,
                    last_offset: batch.base_offset,
                });
            }
            return;
        }
        if state.batches.len() == BATCHES_REMEMBERED {
            state.batches.pop_front();
        }
        state.batches.push_back(BatchMark {
            base_sequence: batch.base_sequence,
            last_sequence: batch.last_sequence(),
            base_offset: batch.base_offset,
        });
        if batch.is_transactional() {
            state
                .transaction_first_offset
                .get_or_insert(batch.base_offset);
        }
    }

    /// The offset of the first record of the oldest open transaction, if one is open.
    pub(crate) fn first_open_offset(&self) -> Option<i64> {
        self.states
            .values()
            .filter_map(|state| state.transaction_first_offset)
            .min()
    }

    /// Whether this producer has a transaction open here.
    pub(crate) fn has_open_transaction(&self, producer_id: i64) -> bool {
        self.states
            .get(&producer_id)
            .is_some_and(|state| state.transaction_first_offset.is_some())
    }

    /// The aborted transactions with records or a marker in `from..to`.
    pub(crate) fn aborted_between(
        &self,
        from: i64,
        to: i64,
    ) -> impl Iterator<Item = &AbortedTransaction> {
        self.aborted
            .iter()
            .filter(move |aborted| aborted.last_offset >= from && aborted.first_offset < to)
    }

    /// Whether the data batch at this offset belongs to an aborted transaction.
    pub(crate) fn is_aborted(&self, batch: &RecordBatch) -> bool {
        batch.is_transactional()
            && self.aborted.iter().any(|aborted| {
                aborted.producer_id == batch.producer_id
                    && (aborted.first_offset..=aborted.last_offset).contains(&batch.base_offset)
            })
    }

    /// Forgets aborted transactions that ended before `offset`, when none of their records is left.
    pub(crate) fn forget_aborted_before(&mut self, offset: i64) {
        self.aborted.retain(|aborted| aborted.last_offset >= offset);
    }

    /// Forgets producers that have not written since `before_ms` and have no open transaction.
    pub(crate) fn expire(&mut self, before_ms: i64) {
        self.states.retain(|_, state| {
            state.transaction_first_offset.is_some() || state.last_timestamp >= before_ms
        });
    }

    /// Every producer, lowest id first.
    pub(crate) fn list(&self) -> Vec<(i64, &ProducerState)> {
        let mut list: Vec<_> = self.states.iter().map(|(id, state)| (*id, state)).collect();
        list.sort_unstable_by_key(|(id, _)| *id);
        list
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::{RecordBatchBuilder, transaction_marker};
    use super::*;

    fn batch(epoch: i16, sequence: i32, offset: i64) -> RecordBatch {
        RecordBatchBuilder::new()
            .producer(1, epoch, sequence)
            .transactional()
            .record(5, Some(b"k"), None)
            .record(6, Some(b"l"), None)
            .build()
            .placed_at(offset, None)
    }

    #[test]
    fn sequences_must_follow_and_duplicates_are_recognised() {
        let mut producers = Producers::default();
        assert_eq!(
            producers.admit(&batch(0, 40, 0)),
            Ok(Admission::Append),
            "an unknown producer may start anywhere"
        );
        producers.note(&batch(0, 0, 100));
        assert_eq!(
            producers.admit(&batch(0, 0, 0)),
            Ok(Admission::Duplicate { base_offset: 100 })
        );
        assert_eq!(producers.admit(&batch(0, 2, 0)), Ok(Admission::Append));
        assert_eq!(
            producers.admit(&batch(0, 4, 0)),
            Err(ResponseError::OutOfOrderSequenceNumber)
        );
    }

    #[test]
    fn a_new_epoch_starts_at_sequence_zero_and_fences_the_old_one() {
        let mut producers = Producers::default();
        producers.note(&batch(3, 0, 0));
        assert_eq!(
            producers.admit(&batch(4, 2, 0)),
            Err(ResponseError::OutOfOrderSequenceNumber)
        );
        assert_eq!(producers.admit(&batch(4, 0, 0)), Ok(Admission::Append));
        assert_eq!(
            producers.admit(&batch(2, 2, 0)),
            Err(ResponseError::InvalidProducerEpoch)
        );
    }

    #[test]
    fn transactions_open_with_the_first_batch_and_end_with_the_marker() {
        let mut producers = Producers::default();
        producers.note(&batch(0, 0, 10));
        producers.note(&batch(0, 2, 12));
        assert_eq!(producers.first_open_offset(), Some(10));
        producers.note(&transaction_marker(1, 0, false, 7).placed_at(14, None));
        assert_eq!(producers.first_open_offset(), None);
        let aborted: Vec<_> = producers.aborted_between(0, 100).copied().collect();
        assert_eq!(
            aborted,
            [AbortedTransaction {
                producer_id: 1,
                first_offset: 10,
                last_offset: 14
            }]
        );
        assert_eq!(producers.aborted_between(15, 100).count(), 0);
        assert_eq!(producers.aborted_between(0, 10).count(), 0);
        assert!(producers.is_aborted(&batch(0, 2, 12)));
        assert!(!producers.is_aborted(&batch(0, 4, 20)));
    }

    #[test]
    fn expiry_spares_open_transactions() {
        let mut producers = Producers::default();
        producers.note(&batch(0, 0, 10));
        producers.expire(1_000);
        assert_eq!(producers.list().len(), 1);
        producers.note(&transaction_marker(1, 0, true, 7).placed_at(12, None));
        producers.expire(1_000);
        assert!(producers.list().is_empty());
    }
}
