//! Keys of window entries as bytes: in the changelog, and as rows of a store.
//!
//! | where | bytes |
//! |---|---|
//! | changelog (`WindowKeySchema` of Kafka Streams) | `[key][start i64][sequence i32]` |
//! | row, by key | `[segment i64][key][start i64][sequence i32]` |
//! | row, by time | `[start i64][key][sequence i32]` |
//!
//! Integers are big endian. They are never negative, so they sort as the numbers do. Both kinds of rows begin with
//! time, so a dead segment is one contiguous range.

use crate::{Result, StoreError, WindowOrder};

/// Length of the fixed part of a changelog key: window start and sequence.
const SUFFIX_LEN: usize = 12;
/// Length of the segment or the start that a row begins with.
const TIME_LEN: usize = 8;
/// Length of the sequence that a row ends with.
const SEQUENCE_LEN: usize = 4;

/// Appends the changelog key of a window entry to `out`.
///
/// ```
/// use streams_state::key_encoding::{parse_window_changelog_key, write_window_changelog_key};
///
/// let mut key = Vec::new();
/// write_window_changelog_key(b"a", 10, 0, &mut key);
/// assert_eq!(key, *b"a\0\0\0\0\0\0\0\x0a\0\0\0\0");
/// assert_eq!(parse_window_changelog_key(&key)?, (b"a".as_slice(), 10, 0));
/// # Ok::<(), streams_state::StoreError>(())
/// ```
pub fn write_window_changelog_key(key: &[u8], start_ms: i64, sequence: i32, out: &mut Vec<u8>) {
    out.reserve(key.len() + SUFFIX_LEN);
    out.extend_from_slice(key);
    out.extend_from_slice(&start_ms.to_be_bytes());
    out.extend_from_slice(&sequence.to_be_bytes());
}

/// The record key, the window start in milliseconds, and the sequence in a changelog key.
///
/// # Errors
///
/// [`Corruption`](crate::StoreErrorKind::Corruption) when it is too short to be one, or its window start is negative.
pub fn parse_window_changelog_key(bytes: &[u8]) -> Result<(&[u8], i64, i32)> {
    let Some((rest, sequence)) = bytes.split_last_chunk::<SEQUENCE_LEN>() else {
        return Err(not_a_window_key(bytes));
    };
    let Some((key, start)) = rest.split_last_chunk::<TIME_LEN>() else {
        return Err(not_a_window_key(bytes));
    };
    let start_ms = i64::from_be_bytes(*start);
    if start_ms < 0 {
        return Err(StoreError::corruption(format!(
            "a window of the changelog starts at {start_ms} ms, before the epoch"
        )));
    }
    Ok((key, start_ms, i32::from_be_bytes(*sequence)))
}

#[cold]
#[inline(never)]
fn not_a_window_key(bytes: &[u8]) -> StoreError {
    StoreError::corruption(format!(
        "{} bytes are too short for the key of a window, which ends in its start and sequence",
        bytes.len()
    ))
}

/// Appends the changelog key of a session to `out`: `[key][end i64][start i64]` (`SessionKeySchema` of Kafka Streams).
///
/// ```
/// use streams_state::key_encoding::{parse_session_changelog_key, write_session_changelog_key};
///
/// let mut key = Vec::new();
/// write_session_changelog_key(b"a", 10, 12, &mut key);
/// assert_eq!(key, *b"a\0\0\0\0\0\0\0\x0c\0\0\0\0\0\0\0\x0a");
/// assert_eq!(parse_session_changelog_key(&key)?, (b"a".as_slice(), 10, 12));
/// # Ok::<(), streams_state::StoreError>(())
/// ```
pub fn write_session_changelog_key(key: &[u8], start_ms: i64, end_ms: i64, out: &mut Vec<u8>) {
    out.reserve(key.len() + 2 * TIME_LEN);
    out.extend_from_slice(key);
    out.extend_from_slice(&end_ms.to_be_bytes());
    out.extend_from_slice(&start_ms.to_be_bytes());
}

/// The record key, start and end in milliseconds in a changelog key.
///
/// # Errors
///
/// [`Corruption`](crate::StoreErrorKind::Corruption) when it is too short to be one, or the session starts before the epoch
/// or ends before it starts.
pub fn parse_session_changelog_key(bytes: &[u8]) -> Result<(&[u8], i64, i64)> {
    let Some((key, times)) = bytes.split_last_chunk::<{ 2 * TIME_LEN }>() else {
        return Err(StoreError::corruption(format!(
            "{} bytes are too short for the key of a session, which ends in its end and start",
            bytes.len()
        )));
    };
    let time = |bytes: &[u8]| i64::from_be_bytes(bytes.try_into().expect("half of 16 bytes"));
    let (end_ms, start_ms) = (time(&times[..TIME_LEN]), time(&times[TIME_LEN..]));
    if start_ms < 0 || end_ms < start_ms {
        return Err(StoreError::corruption(format!(
            "a session of the changelog goes from {start_ms} to {end_ms} ms"
        )));
    }
    Ok((key, start_ms, end_ms))
}

/// How a window store lays out its rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowLayout {
    pub order: WindowOrder,
    pub segment_interval_ms: i64,
}

impl RowLayout {
    /// The segment a window start belongs to.
    pub fn segment(&self, start_ms: i64) -> i64 {
        start_ms / self.segment_interval_ms
    }

    /// Overwrites `out` with the row of an entry.
    pub fn write_row(&self, key: &[u8], start_ms: i64, sequence: i32, out: &mut Vec<u8>) {
        out.clear();
        match self.order {
            WindowOrder::ByKey => {
                out.extend_from_slice(&self.segment(start_ms).to_be_bytes());
                write_window_changelog_key(key, start_ms, sequence, out);
            }
            WindowOrder::ByTime => {
                out.extend_from_slice(&start_ms.to_be_bytes());
                out.extend_from_slice(key);
                out.extend_from_slice(&sequence.to_be_bytes());
            }
        }
    }

    /// The record key, window start and sequence of a row.
    pub fn parse_row<'r>(&self, row: &'r [u8]) -> Result<(&'r [u8], i64, i32)> {
        let Some((time, rest)) = row.split_first_chunk::<TIME_LEN>() else {
            return Err(not_a_window_key(row));
        };
        match self.order {
            WindowOrder::ByKey => parse_window_changelog_key(rest),
            WindowOrder::ByTime => match rest.split_last_chunk::<SEQUENCE_LEN>() {
                Some((key, sequence)) => Ok((
                    key,
                    i64::from_be_bytes(*time),
                    i32::from_be_bytes(*sequence),
                )),
                None => Err(not_a_window_key(row)),
            },
        }
    }

    /// The segment a row lies in.
    pub fn segment_of_row(&self, row: &[u8]) -> Result<i64> {
        let Some((time, _)) = row.split_first_chunk::<TIME_LEN>() else {
            return Err(not_a_window_key(row));
        };
        let time = i64::from_be_bytes(*time);
        Ok(match self.order {
            WindowOrder::ByKey => time,
            WindowOrder::ByTime => self.segment(time),
        })
    }

    /// Where the rows of a segment begin, and with them the rows of the one before end.
    pub fn segment_begin(&self, segment: i64) -> [u8; TIME_LEN] {
        match self.order {
            WindowOrder::ByKey => segment.to_be_bytes(),
            WindowOrder::ByTime => segment
                .saturating_mul(self.segment_interval_ms)
                .to_be_bytes(),
        }
    }
}

/// The largest `[key][start]` of any key up to and including `to` with a start up to `to_ms`.
///
/// It is not simply `[to][to_ms]`: a key that is a prefix of `to` is smaller than `to`, but with its start appended it
/// can be larger (`OrderedBytes.upperRange` of Kafka Streams exists for the same reason).
pub(crate) fn largest_key_and_start(to: &[u8], to_ms: i64) -> Vec<u8> {
    (0..=to.len())
        .map(|len| [&to[..len], &to_ms.to_be_bytes()].concat())
        .max()
        .expect("the range has at least one element")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_both_layouts_come_back() {
        for order in [WindowOrder::ByKey, WindowOrder::ByTime] {
            let layout = RowLayout {
                order,
                segment_interval_ms: 100,
            };
            let mut row = Vec::new();
            layout.write_row(b"key", 250, 7, &mut row);
            assert_eq!(layout.parse_row(&row).unwrap(), (b"key".as_slice(), 250, 7));
            assert_eq!(layout.segment_of_row(&row).unwrap(), 2);
            assert!(row.as_slice() >= layout.segment_begin(2).as_slice());
            assert!(row.as_slice() < layout.segment_begin(3).as_slice());
        }
    }

    #[test]
    fn short_or_negative_keys_are_corruption() {
        assert!(parse_window_changelog_key(&[0; 11]).is_err());
        let mut key = Vec::new();
        write_window_changelog_key(b"a", -1, 0, &mut key);
        assert!(parse_window_changelog_key(&key).is_err());
        assert_eq!(
            parse_window_changelog_key(&[0; 12]).unwrap(),
            ([].as_slice(), 0, 0)
        );
    }

    #[test]
    fn the_upper_bound_covers_prefixes_of_the_last_key() {
        let bound = largest_key_and_start(b"ab", i64::MAX);
        assert!(bound >= [b"a".as_slice(), &i64::MAX.to_be_bytes()].concat());
        assert!(bound >= [b"ab".as_slice(), &i64::MAX.to_be_bytes()].concat());
    }
}
