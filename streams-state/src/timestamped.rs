//! A value together with its timestamp: `[timestamp i64 BE][value]`.
//!
//! The bytes are those of Kafka Streams' `ValueAndTimestampSerializer`. In a changelog the timestamp travels as the
//! record's own, so these bytes exist only inside a store.
//!
//! ```
//! use streams_state::timestamped;
//!
//! let mut bytes = Vec::new();
//! timestamped::encode(12, b"abc", &mut bytes);
//! assert_eq!(timestamped::decode(&bytes)?, (12, b"abc".as_slice()));
//! # Ok::<(), streams_state::StoreError>(())
//! ```

use crate::{Result, StoreError};

/// Length of the timestamp in front of the value, in bytes.
pub const TIMESTAMP_LEN: usize = 8;

/// Appends the timestamp (milliseconds) and the value to `out`.
pub fn encode(timestamp_ms: i64, value: &[u8], out: &mut Vec<u8>) {
    out.reserve(TIMESTAMP_LEN + value.len());
    out.extend_from_slice(&timestamp_ms.to_be_bytes());
    out.extend_from_slice(value);
}

/// The timestamp (milliseconds) and the value in `bytes`.
///
/// # Errors
///
/// [`Corruption`](crate::StoreErrorKind::Corruption) when there are fewer bytes than a timestamp has.
pub fn decode(bytes: &[u8]) -> Result<(i64, &[u8])> {
    match bytes.split_first_chunk::<TIMESTAMP_LEN>() {
        Some((timestamp, value)) => Ok((i64::from_be_bytes(*timestamp), value)),
        None => Err(StoreError::corruption(format!(
            "a value with timestamp has {} bytes, which is less than its timestamp",
            bytes.len()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_kafka_streams() {
        let mut bytes = Vec::new();
        encode(0x0102, b"v", &mut bytes);
        assert_eq!(bytes, [0, 0, 0, 0, 0, 0, 1, 2, b'v']);
        encode(-1, b"", &mut bytes);
        assert_eq!(decode(&bytes[9..]).unwrap(), (-1, [].as_slice()));
    }

    #[test]
    fn too_short_is_corruption() {
        let error = decode(&[0; 7]).unwrap_err();
        assert_eq!(error.kind(), crate::StoreErrorKind::Corruption);
    }
}
