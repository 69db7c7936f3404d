//! Records of a stream that wait for a table to catch up, in the order of their timestamps.
//!
//! The rules and bytes are Kafka's `RocksDBTimeOrderedKeyValueBuffer`: a record's row is `00 [timestamp i64][key][sequence i32]`,
//! and its value says where it came from and what it is. Store and changelog have the same rows and values.

use super::record_context::{RecordContext, read_sized, write_sized};
use super::{AnyState, Changelog, StoreIo};
use crate::error::Result;
use crate::record::Headers;
use crate::serdes::SerdeError;
use crate::topology::store::StateArguments;
use std::any::Any;
use streams_state::Order;

/// In front of every row, as in a store that is ordered by time.
const TIME_FIRST: u8 = 0;
const KEY_AT: usize = 1 + 8;
const SEQUENCE_LEN: usize = 4;
/// The sequence after the last one is 0 again.
const SEQUENCE_MASK: i32 = i32::MAX;

pub(crate) struct GraceBufferState {
    index: usize,
    changelog: Option<Changelog>,
    /// What the rows say: read when the buffer is first used, since they may have been restored by then.
    known: Option<Known>,
    value_bytes: Vec<u8>,
}

#[derive(Clone, Copy, Default)]
struct Known {
    /// The largest timestamp put.
    observed_ms: Option<i64>,
    /// Nothing that waits is older.
    first_ms: Option<i64>,
    sequence: i32,
}

/// A record whose time has come.
pub(crate) struct Due {
    pub(crate) row: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

impl Due {
    pub(crate) fn key(&self) -> &[u8] {
        &self.row[KEY_AT..self.row.len() - SEQUENCE_LEN]
    }

    /// Where the record came from, and the bytes of its value.
    pub(crate) fn content(&self) -> Result<(RecordContext, Option<&[u8]>), SerdeError> {
        let mut bytes = self.value.as_slice();
        let context = RecordContext::read(&mut bytes)?;
        // Of a table's change these would be the value before the buffer's and before the change.
        let (_prior, _old) = (read_sized(&mut bytes)?, read_sized(&mut bytes)?);
        Ok((context, read_sized(&mut bytes)?))
    }
}

impl GraceBufferState {
    pub(crate) fn new(arguments: &StateArguments) -> Self {
        GraceBufferState {
            index: arguments.index,
            changelog: arguments.changelog.clone().map(Changelog::new),
            known: None,
            value_bytes: Vec::new(),
        }
    }

    /// What is known of the rows. Kafka Streams knows nothing after a restart; here it is as it was before.
    fn known(&mut self, io: &StoreIo) -> Result<Known> {
        if let Some(known) = self.known {
            return Ok(known);
        }
        let mut known = Known::default();
        let rows = io
            .stores
            .key_value(self.index)
            .range(None, None, Order::Forward)?;
        for row in rows {
            let (row, _) = row?;
            let (timestamp, sequence) = split(&row)?;
            known.first_ms = known.first_ms.or(Some(timestamp));
            known.observed_ms = Some(timestamp);
            known.sequence = known.sequence.max(sequence);
        }
        self.known = Some(known);
        Ok(known)
    }

    /// Whether a record is young enough to wait.
    pub(crate) fn takes(&mut self, timestamp: i64, grace_ms: i64, io: &StoreIo) -> Result<bool> {
        let observed = self.known(io)?.observed_ms;
        Ok(observed.is_none_or(|observed| observed.saturating_sub(grace_ms) <= timestamp))
    }

    /// Lets a record wait.
    pub(crate) fn put(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        (offset, topic, partition): (i64, &str, i32),
        (timestamp, headers): (i64, &Headers),
        io: &mut StoreIo,
    ) -> Result<()> {
        let mut known = self.known(io)?;
        known.sequence = known.sequence.wrapping_add(1) & SEQUENCE_MASK;
        known.observed_ms = known.observed_ms.max(Some(timestamp));
        known.first_ms = Some(
            known
                .first_ms
                .map_or(timestamp, |first| first.min(timestamp)),
        );
        self.known = Some(known);
        let row = [
            &[TIME_FIRST],
            timestamp.to_be_bytes().as_slice(),
            key,
            &known.sequence.to_be_bytes(),
        ]
        .concat();
        let bytes = &mut self.value_bytes;
        bytes.clear();
        RecordContext::write(timestamp, offset, (topic, partition), headers, bytes);
        write_sized(None, bytes);
        write_sized(None, bytes);
        write_sized(value, bytes);
        // The time of a buffer that evicts by another one than the record's.
        bytes.extend_from_slice(&0_i64.to_be_bytes());
        io.stores.key_value_mut(self.index).put(&row, Some(bytes))?;
        if let Some(changelog) = &self.changelog {
            changelog.log_now(io, &row, Some(bytes));
        }
        Ok(())
    }

    /// The records that have waited for the whole grace period, the oldest first. They stay until they are removed.
    pub(crate) fn due(&mut self, grace_ms: i64, io: &StoreIo) -> Result<Vec<Due>> {
        let mut known = self.known(io)?;
        let mut due = Vec::new();
        let (Some(observed), Some(first)) = (known.observed_ms, known.first_ms) else {
            return Ok(due);
        };
        let until = observed.saturating_sub(grace_ms);
        if first > until {
            return Ok(due);
        }
        known.first_ms = None;
        let rows = io
            .stores
            .key_value(self.index)
            .range(None, None, Order::Forward)?;
        for row in rows {
            let (row, value) = row?;
            let (timestamp, _) = split(&row)?;
            if timestamp > until {
                known.first_ms = Some(timestamp);
                break;
            }
            due.push(Due { row, value });
        }
        self.known = Some(known);
        Ok(due)
    }

    pub(crate) fn remove(&mut self, due: &Due, io: &mut StoreIo) -> Result<()> {
        io.stores.key_value_mut(self.index).put(&due.row, None)?;
        if let Some(changelog) = &self.changelog {
            changelog.log_now(io, &due.row, None);
        }
        Ok(())
    }
}

/// Timestamp and sequence of a row.
pub(crate) fn split(row: &[u8]) -> Result<(i64, i32), SerdeError> {
    let timestamp = row.get(1..).and_then(|rest| rest.first_chunk());
    match (timestamp, row.last_chunk()) {
        (Some(timestamp), Some(sequence)) if row.len() >= KEY_AT + SEQUENCE_LEN => Ok((
            i64::from_be_bytes(*timestamp),
            i32::from_be_bytes(*sequence),
        )),
        _ => Err(SerdeError::new("a row of a buffer has no timestamp")),
    }
}

impl AnyState for GraceBufferState {
    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn memory_bytes(&self) -> usize {
        0
    }

    fn forget_clean(&mut self) {}

    fn write_changed(&mut self, _io: &mut StoreIo) -> Result<bool> {
        Ok(true)
    }
}
