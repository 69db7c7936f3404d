//! `Segment`: what one segment of a versioned store knows about one key.
//!
//! The bytes are those of Kafka Streams' `RocksDBVersionedStoreSegmentValueFormatter`:
//! `[next i64][min i64] ([from i64][length i32, -1 for a deletion])*` with the versions from the newest to the oldest, then
//! their values from the oldest to the newest.

use crate::{Result, StoreError};

const TIME_LEN: usize = 8;
const VERSION_LEN: usize = TIME_LEN + 4;
const DELETION: i32 = -1;

/// One version: the time it is valid from, and its value unless it is a deletion.
type Version<'a> = (i64, Option<&'a [u8]>);

/// The versions of one key that stop being valid in this segment.
///
/// A deletion that nothing precedes is a segment with `min == next`, which holds no time at all; it only says that there is
/// nothing from there on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Segment<'a> {
    /// When the newest of them stopped being valid.
    next_ms: i64,
    /// From the newest to the oldest.
    versions: Vec<Version<'a>>,
}

/// The version of a segment that was valid at some time.
pub(super) struct Found<'a> {
    index: usize,
    pub valid_from_ms: i64,
    pub valid_to_ms: i64,
    pub value: Option<&'a [u8]>,
}

/// When the newest version of a stored segment stopped being valid.
pub(super) fn next_ms(bytes: &[u8]) -> Result<i64> {
    time_at(bytes, 0)
}

/// The time of the oldest version of a stored segment.
pub(super) fn min_ms(bytes: &[u8]) -> Result<i64> {
    time_at(bytes, TIME_LEN)
}

fn time_at(bytes: &[u8], start: usize) -> Result<i64> {
    match bytes.get(start..).and_then(|rest| rest.first_chunk()) {
        Some(time) => Ok(i64::from_be_bytes(*time)),
        None => Err(corrupt()),
    }
}

#[cold]
fn corrupt() -> StoreError {
    StoreError::corruption("a segment of a versioned store ends early")
}

impl<'a> Segment<'a> {
    /// A segment of one version.
    pub fn new(value: Option<&'a [u8]>, valid_from_ms: i64, valid_to_ms: i64) -> Self {
        Segment {
            next_ms: valid_to_ms,
            versions: vec![(valid_from_ms, value)],
        }
    }

    pub fn decode(bytes: &'a [u8]) -> Result<Self> {
        let next_ms = next_ms(bytes)?;
        let min_ms = min_ms(bytes)?;
        let mut versions = Vec::new();
        let mut at = 2 * TIME_LEN;
        let mut end = bytes.len();
        loop {
            let from_ms = time_at(bytes, at)?;
            let len = bytes
                .get(at + TIME_LEN..)
                .and_then(|rest| rest.first_chunk());
            let len = i32::from_be_bytes(*len.ok_or_else(corrupt)?);
            at += VERSION_LEN;
            let value = match usize::try_from(len) {
                Ok(len) => {
                    let start = end.checked_sub(len).filter(|start| *start >= at);
                    let value = &bytes[start.ok_or_else(corrupt)?..end];
                    end -= len;
                    Some(value)
                }
                Err(_) => None,
            };
            versions.push((from_ms, value));
            if from_ms == min_ms {
                return Ok(Segment { next_ms, versions });
            }
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let values: usize = self
            .versions
            .iter()
            .filter_map(|(_, value)| Some(value.as_ref()?.len()))
            .sum();
        let mut bytes =
            Vec::with_capacity(2 * TIME_LEN + self.versions.len() * VERSION_LEN + values);
        bytes.extend_from_slice(&self.next_ms.to_be_bytes());
        bytes.extend_from_slice(&self.min_ms().to_be_bytes());
        for (from_ms, value) in &self.versions {
            bytes.extend_from_slice(&from_ms.to_be_bytes());
            let len = value.map_or(DELETION, |value| value.len() as i32);
            bytes.extend_from_slice(&len.to_be_bytes());
        }
        for (_, value) in self.versions.iter().rev() {
            bytes.extend_from_slice(value.unwrap_or_default());
        }
        bytes
    }

    fn min_ms(&self) -> i64 {
        self.versions
            .last()
            .map_or(self.next_ms, |(from_ms, _)| *from_ms)
    }

    fn is_degenerate(&self) -> bool {
        self.min_ms() == self.next_ms
    }

    /// The version valid at a time that lies in `min..next`.
    pub fn find(&self, time_ms: i64) -> Result<Found<'a>> {
        let mut valid_to_ms = self.next_ms;
        for (index, (from_ms, value)) in self.versions.iter().enumerate() {
            if *from_ms <= time_ms {
                return Ok(Found {
                    index,
                    valid_from_ms: *from_ms,
                    valid_to_ms,
                    value: *value,
                });
            }
            valid_to_ms = *from_ms;
        }
        Err(corrupt())
    }

    /// Adds a version behind all others; between them and it there was nothing.
    pub fn insert_as_latest(
        &mut self,
        valid_from_ms: i64,
        valid_to_ms: i64,
        value: Option<&'a [u8]>,
    ) {
        debug_assert!(valid_from_ms >= self.next_ms, "versions do not overlap");
        if self.is_degenerate() {
            self.versions.clear();
        }
        if self.next_ms != valid_from_ms {
            self.versions.insert(0, (self.next_ms, None));
        }
        self.versions.insert(0, (valid_from_ms, value));
        self.next_ms = valid_to_ms;
    }

    /// Adds a version before all others.
    pub fn insert_as_earliest(&mut self, valid_from_ms: i64, value: Option<&'a [u8]>) {
        if self.is_degenerate() {
            self.versions.clear();
        }
        self.versions.push((valid_from_ms, value));
    }

    /// Ends a found version where the new one begins.
    pub fn insert_after(&mut self, found: &Found<'_>, valid_from_ms: i64, value: Option<&'a [u8]>) {
        self.versions.insert(found.index, (valid_from_ms, value));
    }

    /// Puts another version in the place of a found one.
    pub fn replace(&mut self, found: &Found<'_>, valid_from_ms: i64, value: Option<&'a [u8]>) {
        self.versions[found.index] = (valid_from_ms, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_kafka_streams() {
        // a: 1 at 10, 2 at 20, deleted at 30, as Java stores it in segment 0.
        let mut segment = Segment::new(Some(b"1"), 10, 20);
        segment.insert_as_latest(20, 30, Some(b"2"));
        let expected = [
            &30_i64.to_be_bytes()[..],
            &10_i64.to_be_bytes(),
            &20_i64.to_be_bytes(),
            &1_i32.to_be_bytes(),
            &10_i64.to_be_bytes(),
            &1_i32.to_be_bytes(),
            b"12",
        ]
        .concat();
        assert_eq!(segment.encode(), expected);
        assert_eq!(Segment::decode(&expected).unwrap(), segment);
        assert_eq!(next_ms(&expected).unwrap(), 30);
        assert_eq!(min_ms(&expected).unwrap(), 10);
    }

    #[test]
    fn a_lone_deletion_gives_way_to_what_comes_around_it() {
        let deletion = || Segment::new(None, 10, 10);
        let mut before = deletion();
        before.insert_as_earliest(5, Some(b"v"));
        assert_eq!(before, Segment::new(Some(b"v"), 5, 10));

        let mut at_once = deletion();
        at_once.insert_as_latest(10, 20, Some(b"v"));
        assert_eq!(at_once, Segment::new(Some(b"v"), 10, 20));

        let mut later = deletion();
        later.insert_as_latest(15, 20, Some(b"v"));
        assert_eq!(later.versions, [(15, Some(b"v".as_slice())), (10, None)]);
        assert_eq!(later.find(12).unwrap().value, None);
        assert_eq!(later.find(12).unwrap().valid_to_ms, 15);
    }

    #[test]
    fn broken_bytes_are_errors() {
        let bytes = Segment::new(Some(b"value"), 10, 20).encode();
        for len in 0..bytes.len() {
            assert!(Segment::decode(&bytes[..len]).is_err(), "{len}");
        }
    }
}
