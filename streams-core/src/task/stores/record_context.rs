//! Where a record came from, as bytes beside a record that waits in a buffer: Kafka's `ProcessorRecordContext`.

use crate::record::Headers;
use crate::serdes::SerdeError;

/// The length of what is null.
const NULL: i32 = -1;

/// Where a buffered record came from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RecordContext {
    pub(crate) timestamp: i64,
    pub(crate) offset: i64,
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) headers: Headers,
}

impl RecordContext {
    /// Appends `[timestamp i64][offset i64][topic][partition i32][count i32]`, then key and value of each header; texts and
    /// values are behind their length, which is -1 for a null value.
    pub(crate) fn write(
        timestamp: i64,
        offset: i64,
        (topic, partition): (&str, i32),
        headers: &Headers,
        bytes: &mut Vec<u8>,
    ) {
        bytes.extend_from_slice(&timestamp.to_be_bytes());
        bytes.extend_from_slice(&offset.to_be_bytes());
        write_sized(Some(topic.as_bytes()), bytes);
        bytes.extend_from_slice(&partition.to_be_bytes());
        bytes.extend_from_slice(&(headers.len() as i32).to_be_bytes());
        for header in headers {
            write_sized(Some(header.key.as_bytes()), bytes);
            write_sized(header.value.as_deref(), bytes);
        }
    }

    /// Takes what [`RecordContext::write`] appended from the front of `bytes`.
    pub(crate) fn read(bytes: &mut &[u8]) -> Result<Self, SerdeError> {
        let timestamp = i64::from_be_bytes(take(bytes)?);
        let offset = i64::from_be_bytes(take(bytes)?);
        let topic = read_text(bytes)?;
        let partition = i32::from_be_bytes(take(bytes)?);
        let mut headers = Headers::new();
        for _ in 0..i32::from_be_bytes(take(bytes)?) {
            let key = read_text(bytes)?;
            headers.add(key, read_sized(bytes)?);
        }
        Ok(RecordContext {
            timestamp,
            offset,
            topic,
            partition,
            headers,
        })
    }
}

/// Appends a value behind its length, null as a length of -1.
pub(crate) fn write_sized(value: Option<&[u8]>, bytes: &mut Vec<u8>) {
    let len = value.map_or(NULL, |value| value.len() as i32);
    bytes.extend_from_slice(&len.to_be_bytes());
    bytes.extend_from_slice(value.unwrap_or_default());
}

/// Takes what [`write_sized`] appended from the front of `bytes`.
pub(crate) fn read_sized<'a>(bytes: &mut &'a [u8]) -> Result<Option<&'a [u8]>, SerdeError> {
    let len = i32::from_be_bytes(take(bytes)?);
    if len == NULL {
        return Ok(None);
    }
    let len = usize::try_from(len).map_err(|_| ends_early())?;
    let (value, rest) = bytes.split_at_checked(len).ok_or_else(ends_early)?;
    *bytes = rest;
    Ok(Some(value))
}

fn read_text(bytes: &mut &[u8]) -> Result<String, SerdeError> {
    let text = read_sized(bytes)?.unwrap_or_default().to_vec();
    String::from_utf8(text)
        .map_err(|_| SerdeError::new("a topic or header of a buffered record is not UTF-8"))
}

pub(crate) fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], SerdeError> {
    let (first, rest) = bytes.split_first_chunk().ok_or_else(ends_early)?;
    *bytes = rest;
    Ok(*first)
}

#[cold]
fn ends_early() -> SerdeError {
    SerdeError::new("a buffered record ends early")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_kafka_streams() {
        let mut headers = Headers::new();
        headers.add("hk", Some(b"h1"));
        let mut bytes = Vec::new();
        RecordContext::write(3, 0, ("in", 0), &headers, &mut bytes);
        let expected = b"\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\0\0\0\0\x02in\0\0\0\0\0\0\0\x01\0\0\0\x02hk\0\0\0\x02h1";
        assert_eq!(bytes, expected);
        let mut rest = bytes.as_slice();
        let context = RecordContext::read(&mut rest).unwrap();
        assert!(rest.is_empty());
        assert_eq!((context.timestamp, context.topic.as_str()), (3, "in"));
        assert_eq!(context.headers, headers);
    }

    #[test]
    fn what_ends_early_is_an_error() {
        let mut headers = Headers::new();
        headers.add("k", None);
        let mut bytes = Vec::new();
        RecordContext::write(3, 0, ("in", 0), &headers, &mut bytes);
        for len in 0..bytes.len() {
            assert!(RecordContext::read(&mut &bytes[..len]).is_err(), "{len}");
        }
    }
}
