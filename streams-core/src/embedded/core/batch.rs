//! The record batch of the log format, magic 2: what a producer sends, a log keeps and a consumer receives.
//!
//! The broker reads only the fixed header and passes the records through unopened. Opening them is the business of
//! [`super::records`], and only compaction and the search by timestamp do it.

#[cfg(test)]
mod tests;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError;

use super::records::Record;

/// Length of the fixed header of a batch in bytes.
pub(crate) const HEADER_LEN: usize = 61;
/// The value of the sequence number and the producer id of a batch that has none.
pub(crate) const NO_PRODUCER_ID: i64 = -1;
/// Length of the two fields, base offset and batch length, that the batch length itself does not count.
const LOG_OVERHEAD: usize = 12;

const ATTRIBUTE_COMPRESSION: i16 = 0x07;
const ATTRIBUTE_LOG_APPEND_TIME: i16 = 0x08;
const ATTRIBUTE_TRANSACTIONAL: i16 = 0x10;
const ATTRIBUTE_CONTROL: i16 = 0x20;
const ATTRIBUTE_DELETE_HORIZON: i16 = 0x40;

const POSITION_BATCH_LENGTH: usize = 8;
const POSITION_LEADER_EPOCH: usize = 12;
const POSITION_MAGIC: usize = 16;
const POSITION_CRC: usize = 17;
const POSITION_ATTRIBUTES: usize = 21;
const POSITION_LAST_OFFSET_DELTA: usize = 23;
const POSITION_BASE_TIMESTAMP: usize = 27;
const POSITION_MAX_TIMESTAMP: usize = 35;
const POSITION_PRODUCER_ID: usize = 43;
const POSITION_PRODUCER_EPOCH: usize = 51;
const POSITION_BASE_SEQUENCE: usize = 53;
const POSITION_RECORD_COUNT: usize = 57;

/// One batch of records: the parsed header beside the whole of its bytes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RecordBatch {
    pub(crate) base_offset: i64,
    pub(crate) last_offset: i64,
    pub(crate) base_timestamp: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) record_count: i32,
    attributes: i16,
    bytes: Bytes,
}

impl RecordBatch {
    /// Reads the batch at the start of `bytes` and checks its length, magic and checksum. The batch is a slice of
    /// `bytes`; nothing is copied.
    ///
    /// # Errors
    /// `CORRUPT_MESSAGE` for a batch that is cut short or fails its checksum, `UNSUPPORTED_FOR_MESSAGE_FORMAT` for
    /// the formats before magic 2, `INVALID_RECORD` for a header that contradicts itself.
    pub(crate) fn parse(bytes: &Bytes) -> Result<Self, ResponseError> {
        let len = batch_len(bytes).ok_or(ResponseError::CorruptMessage)?;
        if bytes.len() <= POSITION_MAGIC {
            return Err(ResponseError::CorruptMessage);
        }
        if bytes[POSITION_MAGIC] != 2 {
            return Err(ResponseError::UnsupportedForMessageFormat);
        }
        if len < HEADER_LEN || bytes.len() < len {
            return Err(ResponseError::CorruptMessage);
        }
        let bytes = bytes.slice(..len);
        let crc = u32::from_be_bytes(field(&bytes, POSITION_CRC));
        if crc != crc32c::crc32c(&bytes[POSITION_ATTRIBUTES..]) {
            return Err(ResponseError::CorruptMessage);
        }
        let base_offset = i64::from_be_bytes(field(&bytes, 0));
        let last_offset_delta = i32::from_be_bytes(field(&bytes, POSITION_LAST_OFFSET_DELTA));
        let record_count = i32::from_be_bytes(field(&bytes, POSITION_RECORD_COUNT));
        let last_offset = base_offset.checked_add(i64::from(last_offset_delta));
        let last_offset = last_offset.ok_or(ResponseError::InvalidRecord)?;
        if last_offset_delta < 0 || record_count < 0 {
            return Err(ResponseError::InvalidRecord);
        }
        Ok(Self {
            base_offset,
            last_offset,
            base_timestamp: i64::from_be_bytes(field(&bytes, POSITION_BASE_TIMESTAMP)),
            max_timestamp: i64::from_be_bytes(field(&bytes, POSITION_MAX_TIMESTAMP)),
            producer_id: i64::from_be_bytes(field(&bytes, POSITION_PRODUCER_ID)),
            producer_epoch: i16::from_be_bytes(field(&bytes, POSITION_PRODUCER_EPOCH)),
            base_sequence: i32::from_be_bytes(field(&bytes, POSITION_BASE_SEQUENCE)),
            record_count,
            attributes: i16::from_be_bytes(field(&bytes, POSITION_ATTRIBUTES)),
            bytes,
        })
    }

    /// The batch as it goes into the log: at `base_offset`, leader epoch 0, in a buffer of its own so that it does
    /// not keep the whole request alive. With `append_time_ms` the log's clock replaces the producer's.
    pub(crate) fn placed_at(&self, base_offset: i64, append_time_ms: Option<i64>) -> Self {
        let mut bytes = BytesMut::from(&self.bytes[..]);
        bytes[..8].copy_from_slice(&base_offset.to_be_bytes());
        bytes[POSITION_LEADER_EPOCH..POSITION_MAGIC].fill(0);
        let mut placed = Self {
            base_offset,
            last_offset: base_offset + (self.last_offset - self.base_offset),
            ..self.clone()
        };
        if let Some(now_ms) = append_time_ms {
            placed.attributes |= ATTRIBUTE_LOG_APPEND_TIME;
            placed.max_timestamp = now_ms;
            put_field(
                &mut bytes,
                POSITION_ATTRIBUTES,
                placed.attributes.to_be_bytes(),
            );
            put_field(&mut bytes, POSITION_MAX_TIMESTAMP, now_ms.to_be_bytes());
            put_crc(&mut bytes);
        }
        placed.bytes = bytes.freeze();
        placed
    }

    /// The batch with only those records left that `kept` holds in their encoded form, uncompressed, at the same
    /// offsets: what compaction writes. `delete_horizon_ms` is when its tombstones may go.
    pub(crate) fn with_records(&self, kept: &[Record<'_>], delete_horizon_ms: Option<i64>) -> Self {
        let mut attributes = self.attributes & !ATTRIBUTE_COMPRESSION;
        let mut base_timestamp = self.base_timestamp;
        let mut bytes = BytesMut::with_capacity(
            HEADER_LEN + kept.iter().map(|r| r.encoded_len_hint()).sum::<usize>(),
        );
        bytes.extend_from_slice(&self.bytes[..HEADER_LEN]);
        if let Some(horizon_ms) = delete_horizon_ms {
            attributes |= ATTRIBUTE_DELETE_HORIZON;
            base_timestamp = horizon_ms;
        }
        for record in kept {
            record.encode(&mut bytes, self.base_offset, base_timestamp);
        }
        let max_timestamp = if self.is_log_append_time() {
            self.max_timestamp
        } else {
            kept.iter()
                .map(|r| r.timestamp)
                .max()
                .unwrap_or(self.max_timestamp)
        };
        let record_count = i32::try_from(kept.len()).expect("a batch never gains records");
        put_field(&mut bytes, POSITION_ATTRIBUTES, attributes.to_be_bytes());
        put_field(
            &mut bytes,
            POSITION_BASE_TIMESTAMP,
            base_timestamp.to_be_bytes(),
        );
        put_field(
            &mut bytes,
            POSITION_MAX_TIMESTAMP,
            max_timestamp.to_be_bytes(),
        );
        put_field(
            &mut bytes,
            POSITION_RECORD_COUNT,
            record_count.to_be_bytes(),
        );
        put_len_and_crc(&mut bytes);
        Self {
            attributes,
            base_timestamp,
            max_timestamp,
            record_count,
            bytes: bytes.freeze(),
            ..self.clone()
        }
    }

    /// The whole batch as it goes over the wire.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The records, still compressed if the batch is.
    pub(crate) fn payload(&self) -> Bytes {
        self.bytes.slice(HEADER_LEN..)
    }

    pub(crate) fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The codec of the records: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
    pub(crate) fn compression(&self) -> i16 {
        self.attributes & ATTRIBUTE_COMPRESSION
    }

    pub(crate) fn is_log_append_time(&self) -> bool {
        self.attributes & ATTRIBUTE_LOG_APPEND_TIME != 0
    }

    pub(crate) fn is_transactional(&self) -> bool {
        self.attributes & ATTRIBUTE_TRANSACTIONAL != 0
    }

    pub(crate) fn is_control(&self) -> bool {
        self.attributes & ATTRIBUTE_CONTROL != 0
    }

    /// When tombstones and markers of this batch may go, if compaction has seen them once.
    pub(crate) fn delete_horizon_ms(&self) -> Option<i64> {
        (self.attributes & ATTRIBUTE_DELETE_HORIZON != 0).then_some(self.base_timestamp)
    }

    /// The sequence number of the last record of an idempotent producer's batch. Sequences wrap at `i32::MAX` to 0.
    pub(crate) fn last_sequence(&self) -> i32 {
        add_sequence(
            self.base_sequence,
            i32::try_from(self.last_offset - self.base_offset).unwrap_or(i32::MAX),
        )
    }
}

/// `sequence + increment` in the arithmetic of producer sequences, which wrap from `i32::MAX` to 0.
pub(crate) fn add_sequence(sequence: i32, increment: i32) -> i32 {
    let sum = i64::from(sequence) + i64::from(increment);
    i32::try_from(sum % (i64::from(i32::MAX) + 1)).expect("the remainder is below 2^31")
}

/// The length of the batch at the start of `bytes`, header included, if the length field is there and sane.
pub(crate) fn batch_len(bytes: &[u8]) -> Option<usize> {
    let declared: [u8; 4] = bytes
        .get(POSITION_BATCH_LENGTH..LOG_OVERHEAD)?
        .try_into()
        .ok()?;
    usize::try_from(i32::from_be_bytes(declared))
        .ok()?
        .checked_add(LOG_OVERHEAD)
}

/// Builds a batch record by record, as a producer does. The broker itself writes transaction markers with it.
#[derive(Clone, Debug)]
pub(crate) struct RecordBatchBuilder {
    attributes: i16,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    base_timestamp: Option<i64>,
    max_timestamp: i64,
    record_count: i32,
    records: BytesMut,
}

impl RecordBatchBuilder {
    /// An empty batch of a producer without an id.
    pub(crate) fn new() -> Self {
        Self {
            attributes: 0,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: -1,
            base_sequence: -1,
            base_timestamp: None,
            max_timestamp: -1,
            record_count: 0,
            records: BytesMut::new(),
        }
    }

    /// Marks the batch as of an idempotent producer, `base_sequence` being the number of its first record.
    pub(crate) fn producer(
        mut self,
        producer_id: i64,
        producer_epoch: i16,
        base_sequence: i32,
    ) -> Self {
        (self.producer_id, self.producer_epoch, self.base_sequence) =
            (producer_id, producer_epoch, base_sequence);
        self
    }

    /// Marks the batch as part of a transaction.
    pub(crate) fn transactional(mut self) -> Self {
        self.attributes |= ATTRIBUTE_TRANSACTIONAL;
        self
    }

    /// Adds a record.
    pub(crate) fn record(self, timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> Self {
        self.record_with_headers(timestamp, key, value, &[0])
    }

    /// Adds a record with headers, encoded, their count first.
    pub(crate) fn record_with_headers(
        mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[u8],
    ) -> Self {
        let base_timestamp = *self.base_timestamp.get_or_insert(timestamp);
        let record = Record {
            offset: i64::from(self.record_count),
            timestamp,
            key,
            value,
            headers,
        };
        record.encode(&mut self.records, 0, base_timestamp);
        self.record_count += 1;
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self
    }

    /// The finished batch, at offset 0 until a log places it.
    pub(crate) fn build(self) -> RecordBatch {
        let mut bytes = BytesMut::with_capacity(HEADER_LEN + self.records.len());
        bytes.put_i64(0);
        bytes.put_i32(0);
        bytes.put_i32(0);
        bytes.put_i8(2);
        bytes.put_u32(0);
        bytes.put_i16(self.attributes);
        bytes.put_i32((self.record_count - 1).max(0));
        bytes.put_i64(self.base_timestamp.unwrap_or(-1));
        bytes.put_i64(self.max_timestamp);
        bytes.put_i64(self.producer_id);
        bytes.put_i16(self.producer_epoch);
        bytes.put_i32(self.base_sequence);
        bytes.put_i32(self.record_count);
        bytes.extend_from_slice(&self.records);
        put_len_and_crc(&mut bytes);
        RecordBatch::parse(&bytes.freeze()).expect("a batch built here is well formed")
    }
}

/// The marker that ends a transaction on a partition: a control batch with one record, its key `version 0` and the
/// type (0 abort, 1 commit), its value `version 0` and the coordinator's epoch.
pub(crate) fn transaction_marker(
    producer_id: i64,
    producer_epoch: i16,
    committed: bool,
    now_ms: i64,
) -> RecordBatch {
    let key = [0, 0, 0, u8::from(committed)];
    let mut builder = RecordBatchBuilder::new()
        .producer(producer_id, producer_epoch, -1)
        .transactional();
    builder.attributes |= ATTRIBUTE_CONTROL;
    builder.record(now_ms, Some(&key), Some(&[0; 6])).build()
}

fn field<const N: usize>(bytes: &[u8], position: usize) -> [u8; N] {
    bytes[position..position + N]
        .try_into()
        .expect("the header was checked to be complete")
}

fn put_field<const N: usize>(bytes: &mut BytesMut, position: usize, value: [u8; N]) {
    bytes[position..position + N].copy_from_slice(&value);
}

pub(crate) fn put_len_and_crc(bytes: &mut BytesMut) {
    let len =
        i32::try_from(bytes.len() - LOG_OVERHEAD).expect("a batch is at most as long as a request");
    put_field(bytes, POSITION_BATCH_LENGTH, len.to_be_bytes());
    put_crc(bytes);
}

fn put_crc(bytes: &mut BytesMut) {
    let crc = crc32c::crc32c(&bytes[POSITION_ATTRIBUTES..]);
    put_field(bytes, POSITION_CRC, crc.to_be_bytes());
}
