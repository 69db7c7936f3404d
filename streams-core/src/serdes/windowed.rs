//! Windowed keys as sinks write them.

use std::time::Duration;

use super::error::excerpt;
use super::{Serde, SerdeError};
use crate::windowed::{Window, Windowed};

/// The size of a window's bound.
const BOUND_SIZE_BYTES: usize = size_of::<i64>();

/// The key of a time window as `[key][start i64]`, as Kafka Streams' `TimeWindowedSerializer` writes it.
///
/// The end is not in the bytes: on reading it is the start plus the window size given here.
///
/// ```
/// use std::time::Duration;
/// use streams_core::serdes::{Serde, TimeWindowed, Utf8};
/// use streams_core::windowed::{Window, Windowed};
///
/// let serde = TimeWindowed::new(Utf8, Duration::from_millis(10));
/// let key = Windowed { key: "a".to_owned(), window: Window { start_ms: 20, end_ms: 30 } };
/// let mut bytes = Vec::new();
/// serde.serialize(&key, &mut bytes)?;
/// assert_eq!(bytes, [b'a', 0, 0, 0, 0, 0, 0, 0, 20]);
/// assert_eq!(serde.deserialize(&bytes)?, key);
/// # Ok::<(), streams_core::serdes::SerdeError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TimeWindowed<S> {
    inner: S,
    window_size_ms: i64,
}

impl<S> TimeWindowed<S> {
    /// A serde for windows of that size (whole milliseconds) around keys of the inner serde.
    pub fn new(inner: S, window_size: Duration) -> Self {
        TimeWindowed {
            inner,
            window_size_ms: i64::try_from(window_size.as_millis()).unwrap_or(i64::MAX),
        }
    }

    fn split<'a>(&self, bytes: &'a [u8]) -> Result<(&'a [u8], Window), SerdeError> {
        let Some((key, start)) = bytes.split_last_chunk::<BOUND_SIZE_BYTES>() else {
            return Err(too_short("time", BOUND_SIZE_BYTES, bytes));
        };
        let start_ms = i64::from_be_bytes(*start);
        let end_ms = start_ms.saturating_add(self.window_size_ms);
        Ok((key, Window { start_ms, end_ms }))
    }
}

/// The key of a session as `[key][end i64][start i64]`, as Kafka Streams' `SessionWindowedSerializer` writes it.
///
/// ```
/// use streams_core::serdes::{Serde, SessionWindowed, Utf8};
/// use streams_core::windowed::{Window, Windowed};
///
/// let serde = SessionWindowed::new(Utf8);
/// let key = Windowed { key: "a".to_owned(), window: Window { start_ms: 20, end_ms: 30 } };
/// let mut bytes = Vec::new();
/// serde.serialize(&key, &mut bytes)?;
/// assert_eq!(bytes, [b'a', 0, 0, 0, 0, 0, 0, 0, 30, 0, 0, 0, 0, 0, 0, 0, 20]);
/// assert_eq!(serde.deserialize(&bytes)?, key);
/// # Ok::<(), streams_core::serdes::SerdeError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SessionWindowed<S> {
    inner: S,
}

impl<S> SessionWindowed<S> {
    /// A serde for sessions around keys of the inner serde.
    pub fn new(inner: S) -> Self {
        SessionWindowed { inner }
    }

    fn split<'a>(&self, bytes: &'a [u8]) -> Result<(&'a [u8], Window), SerdeError> {
        if let Some((rest, start)) = bytes.split_last_chunk::<BOUND_SIZE_BYTES>()
            && let Some((key, end)) = rest.split_last_chunk::<BOUND_SIZE_BYTES>()
        {
            let start_ms = i64::from_be_bytes(*start);
            let end_ms = i64::from_be_bytes(*end);
            return Ok((key, Window { start_ms, end_ms }));
        }
        Err(too_short("session", 2 * BOUND_SIZE_BYTES, bytes))
    }
}

#[cold]
#[inline(never)]
fn too_short(what: &str, size_min: usize, bytes: &[u8]) -> SerdeError {
    SerdeError::new(format!(
        "a {what} windowed key ends with {size_min} bytes of window; got {} bytes: {}",
        bytes.len(),
        excerpt(bytes)
    ))
}

impl<K, S: Serde<K>> Serde<Windowed<K>> for TimeWindowed<S> {
    fn serialize(&self, value: &Windowed<K>, bytes: &mut Vec<u8>) -> Result<(), SerdeError> {
        self.inner.serialize(&value.key, bytes)?;
        bytes.extend_from_slice(&value.window.start_ms.to_be_bytes());
        Ok(())
    }

    fn deserialize(&self, bytes: &[u8]) -> Result<Windowed<K>, SerdeError> {
        let (key, window) = self.split(bytes)?;
        let key = self.inner.deserialize(key)?;
        Ok(Windowed { key, window })
    }

    fn deserialize_into(&self, bytes: &[u8], value: &mut Windowed<K>) -> Result<(), SerdeError> {
        let (key, window) = self.split(bytes)?;
        self.inner.deserialize_into(key, &mut value.key)?;
        value.window = window;
        Ok(())
    }

    fn partition_bytes<'a>(&self, key: &'a [u8]) -> &'a [u8] {
        let inner = key.len().saturating_sub(BOUND_SIZE_BYTES);
        self.inner.partition_bytes(&key[..inner])
    }
}

impl<K, S: Serde<K>> Serde<Windowed<K>> for SessionWindowed<S> {
    fn serialize(&self, value: &Windowed<K>, bytes: &mut Vec<u8>) -> Result<(), SerdeError> {
        self.inner.serialize(&value.key, bytes)?;
        bytes.extend_from_slice(&value.window.end_ms.to_be_bytes());
        bytes.extend_from_slice(&value.window.start_ms.to_be_bytes());
        Ok(())
    }

    fn deserialize(&self, bytes: &[u8]) -> Result<Windowed<K>, SerdeError> {
        let (key, window) = self.split(bytes)?;
        let key = self.inner.deserialize(key)?;
        Ok(Windowed { key, window })
    }

    fn deserialize_into(&self, bytes: &[u8], value: &mut Windowed<K>) -> Result<(), SerdeError> {
        let (key, window) = self.split(bytes)?;
        self.inner.deserialize_into(key, &mut value.key)?;
        value.window = window;
        Ok(())
    }

    fn partition_bytes<'a>(&self, key: &'a [u8]) -> &'a [u8] {
        let inner = key.len().saturating_sub(2 * BOUND_SIZE_BYTES);
        self.inner.partition_bytes(&key[..inner])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Utf8;
    use super::super::tests::check;
    use super::*;

    fn key(key: &str, start_ms: i64, end_ms: i64) -> Windowed<String> {
        Windowed {
            key: key.to_owned(),
            window: Window { start_ms, end_ms },
        }
    }

    #[test]
    fn a_time_window_is_its_start() {
        check(
            &TimeWindowed::new(Utf8, Duration::from_millis(10)),
            key("k", 0x0102, 0x010c),
            b"k\0\0\0\0\0\0\x01\x02",
            key("", 0, 0),
        );
    }

    #[test]
    fn a_session_is_its_end_and_start() {
        check(
            &SessionWindowed::new(Utf8),
            key("k", 1, 2),
            b"k\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x01",
            key("", 0, 0),
        );
    }

    #[test]
    fn the_end_saturates() {
        let serde = TimeWindowed::new(Utf8, Duration::MAX);
        let bytes = i64::MAX.to_be_bytes();
        let windowed = serde.deserialize(&bytes).expect("key");
        assert_eq!(windowed, key("", i64::MAX, i64::MAX));
    }

    #[test]
    fn too_few_bytes_are_an_error() {
        let time = TimeWindowed::new(Utf8, Duration::from_secs(1));
        assert_eq!(
            time.deserialize(b"1234567").unwrap_err().to_string(),
            "a time windowed key ends with 8 bytes of window; got 7 bytes: 31323334353637"
        );
        assert!(SessionWindowed::new(Utf8).deserialize(&[0; 15]).is_err());
        assert!(SessionWindowed::new(Utf8).deserialize(&[0; 7]).is_err());
    }

    proptest! {
        #[test]
        fn every_windowed_key_comes_back(text: String, start_ms: i64, end_ms: i64, size_ms: u32) {
            let serde = SessionWindowed::new(Utf8);
            let mut bytes = Vec::new();
            serde.serialize(&key(&text, start_ms, end_ms), &mut bytes).expect("serialize");
            prop_assert_eq!(serde.deserialize(&bytes).expect("session"), key(&text, start_ms, end_ms));

            let serde = TimeWindowed::new(Utf8, Duration::from_millis(size_ms.into()));
            let windowed = key(&text, start_ms, start_ms.saturating_add(size_ms.into()));
            bytes.clear();
            serde.serialize(&windowed, &mut bytes).expect("serialize");
            prop_assert_eq!(serde.deserialize(&bytes).expect("window"), windowed);
        }
    }
}
