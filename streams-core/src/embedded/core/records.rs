//! The records inside a batch: opening, walking and writing them.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::compression::{Decompressor, Gzip, Lz4, Snappy, Zstd};

use super::batch::RecordBatch;

/// A record as it lies in an opened batch. Headers stay encoded (their count first), because nobody here reads them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Record<'a> {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: &'a [u8],
}

/// A header: its name and its value, which may be null.
#[cfg(feature = "simulation")]
pub(crate) type Header<'a> = (&'a str, Option<&'a [u8]>);

impl Record<'_> {
    /// Appends the record to `out` in the format of magic 2, relative to the two bases of its batch.
    pub(crate) fn encode(&self, out: &mut BytesMut, base_offset: i64, base_timestamp: i64) {
        let mut body = BytesMut::with_capacity(self.encoded_len_hint());
        body.put_u8(0);
        // As Java computes it: a producer may send any two times.
        put_varint(&mut body, self.timestamp.wrapping_sub(base_timestamp));
        put_varint(&mut body, self.offset - base_offset);
        for field in [self.key, self.value] {
            match field {
                None => put_varint(&mut body, -1),
                Some(bytes) => {
                    put_varint(&mut body, bytes.len() as i64);
                    body.extend_from_slice(bytes);
                }
            }
        }
        body.extend_from_slice(self.headers);
        put_varint(out, body.len() as i64);
        out.extend_from_slice(&body);
    }

    /// The headers, or `None` when they are malformed.
    #[cfg(feature = "simulation")]
    pub(crate) fn read_headers(&self) -> Option<Vec<Header<'_>>> {
        let mut rest = self.headers;
        let count = usize::try_from(take_varint(&mut rest)?).ok()?;
        let mut headers = Vec::with_capacity(count.min(rest.len()));
        for _ in 0..count {
            let name = std::str::from_utf8(take_nullable(&mut rest)??).ok()?;
            headers.push((name, take_nullable(&mut rest)?));
        }
        Some(headers)
    }

    /// Roughly how many bytes the encoded record takes, never too few for the usual one.
    pub(crate) fn encoded_len_hint(&self) -> usize {
        32 + self.key.map_or(0, <[u8]>::len)
            + self.value.map_or(0, <[u8]>::len)
            + self.headers.len()
    }
}

/// Headers as they lie in a record, their count first.
#[cfg(feature = "simulation")]
pub(crate) fn encode_headers(headers: &[Header<'_>]) -> BytesMut {
    let mut out = BytesMut::new();
    put_varint(&mut out, headers.len() as i64);
    for (name, value) in headers {
        for field in [Some(name.as_bytes()), *value] {
            match field {
                None => put_varint(&mut out, -1),
                Some(bytes) => {
                    put_varint(&mut out, bytes.len() as i64);
                    out.extend_from_slice(bytes);
                }
            }
        }
    }
    out
}

/// The uncompressed records of a batch, or `None` when they cannot be decompressed.
pub(crate) fn open(batch: &RecordBatch) -> Option<Bytes> {
    let mut payload = batch.payload();
    let whole = |opened: &mut Bytes| Ok(opened.split_off(0));
    match batch.compression() {
        0 => Some(payload),
        1 => Gzip::decompress(&mut payload, whole).ok(),
        2 => Snappy::decompress(&mut payload, whole).ok(),
        3 => Lz4::decompress(&mut payload, whole).ok(),
        4 => Zstd::decompress(&mut payload, whole).ok(),
        _ => None,
    }
}

/// Walks the records of `batch` in `opened`, the bytes [`open`] returned for it. A malformed record ends the walk
/// with `None`.
pub(crate) fn walk<'a>(batch: &RecordBatch, opened: &'a [u8]) -> Option<Vec<Record<'a>>> {
    let mut rest = opened;
    let mut records =
        Vec::with_capacity(usize::try_from(batch.record_count).ok()?.min(opened.len()));
    for _ in 0..batch.record_count {
        let len = usize::try_from(take_varint(&mut rest)?).ok()?;
        let mut body = take(&mut rest, len)?;
        take(&mut body, 1)?;
        let timestamp_delta = take_varint(&mut body)?;
        let offset_delta = take_varint(&mut body)?;
        let key = take_nullable(&mut body)?;
        let value = take_nullable(&mut body)?;
        let timestamp = if batch.is_log_append_time() {
            batch.max_timestamp
        } else {
            batch.base_timestamp.wrapping_add(timestamp_delta)
        };
        records.push(Record {
            offset: batch.base_offset.checked_add(offset_delta)?,
            timestamp,
            key,
            value,
            headers: body,
        });
    }
    Some(records)
}

/// Whether a control batch commits (`true`) or aborts (`false`) its transaction; `None` for any other batch.
pub(crate) fn marker_is_commit(batch: &RecordBatch) -> Option<bool> {
    if !batch.is_control() {
        return None;
    }
    let opened = batch.payload();
    let records = walk(batch, &opened)?;
    let mut key = records.first()?.key?;
    if key.len() < 4 {
        return None;
    }
    key.advance(2);
    match key.get_i16() {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    Some(head)
}

fn take_nullable<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    match take_varint(rest)? {
        -1 => Some(None),
        len => take(rest, usize::try_from(len).ok()?).map(Some),
    }
}

fn take_varint(rest: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let byte = *take(rest, 1)?.first()?;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

fn put_varint(out: &mut BytesMut, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.put_u8((rest as u8 & 0x7f) | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::super::batch::RecordBatchBuilder;
    use super::*;

    #[test]
    fn varints_round_trip_at_the_edges() {
        for value in [
            0,
            1,
            -1,
            63,
            -64,
            64,
            300,
            i64::from(i32::MAX),
            i64::MAX,
            i64::MIN,
        ] {
            let mut out = BytesMut::new();
            put_varint(&mut out, value);
            assert_eq!(take_varint(&mut &out[..]), Some(value));
        }
        assert_eq!(take_varint(&mut &[0x80u8; 3][..]), None, "cut short");
    }

    #[test]
    fn walk_returns_what_was_put_in() {
        let batch = RecordBatchBuilder::new()
            .record(100, Some(b"k"), Some(b"v"))
            .record(90, None, Some(b""))
            .record(120, Some(b""), None)
            .build()
            .placed_at(1_000, None);
        let opened = open(&batch).unwrap();
        let records = walk(&batch, &opened).unwrap();
        let seen: Vec<_> = records
            .iter()
            .map(|r| (r.offset, r.timestamp, r.key, r.value))
            .collect();
        assert_eq!(
            seen,
            [
                (1_000, 100, Some(&b"k"[..]), Some(&b"v"[..])),
                (1_001, 90, None, Some(&b""[..])),
                (1_002, 120, Some(&b""[..]), None),
            ]
        );
    }

    #[test]
    #[cfg(feature = "simulation")]
    fn headers_round_trip() {
        let headers = [("a", Some(&b"1"[..])), ("a", None), ("", Some(&b""[..]))];
        let batch = RecordBatchBuilder::new()
            .record_with_headers(0, None, None, &encode_headers(&headers))
            .record(0, None, None)
            .build();
        let opened = open(&batch).unwrap();
        let records = walk(&batch, &opened).unwrap();
        assert_eq!(records[0].read_headers().unwrap(), headers);
        assert_eq!(records[1].read_headers().unwrap(), []);
    }

    #[test]
    fn a_filtered_batch_keeps_offsets_and_timestamps() {
        let batch = RecordBatchBuilder::new()
            .record(1, Some(b"a"), Some(b"1"))
            .record(2, Some(b"b"), Some(b"2"))
            .record(3, Some(b"c"), Some(b"3"))
            .build()
            .placed_at(10, None);
        let opened = open(&batch).unwrap();
        let records = walk(&batch, &opened).unwrap();
        let kept = batch.with_records(&records[1..2], Some(77));
        let parsed = RecordBatch::parse(kept.bytes()).unwrap();
        assert_eq!(parsed, kept);
        assert_eq!(
            (kept.base_offset, kept.last_offset, kept.record_count),
            (10, 12, 1)
        );
        assert_eq!(kept.delete_horizon_ms(), Some(77));
        let opened = open(&kept).unwrap();
        let records = walk(&kept, &opened).unwrap();
        assert_eq!(
            (records[0].offset, records[0].timestamp, records[0].key),
            (11, 2, Some(&b"b"[..]))
        );
    }
}
