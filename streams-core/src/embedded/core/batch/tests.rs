//! Batches built, parsed, placed and stamped.

use super::*;

fn batch() -> RecordBatch {
    RecordBatchBuilder::new()
        .record(10, Some(b"a"), Some(b"1"))
        .record(30, None, None)
        .record(20, Some(b"b"), None)
        .build()
}

#[test]
fn built_batch_parses_back() {
    let batch = batch();
    let parsed = RecordBatch::parse(batch.bytes()).unwrap();
    assert_eq!(parsed, batch);
    assert_eq!(
        (
            parsed.base_offset,
            parsed.last_offset,
            parsed.max_timestamp,
            parsed.record_count
        ),
        (0, 2, 30, 3)
    );
}

#[test]
fn a_flipped_bit_is_corrupt() {
    let mut bytes = BytesMut::from(&batch().bytes()[..]);
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    assert_eq!(
        RecordBatch::parse(&bytes.freeze()),
        Err(ResponseError::CorruptMessage)
    );
}

#[test]
fn every_cut_is_an_error_and_never_a_panic() {
    let whole = batch();
    for len in 0..whole.bytes().len() {
        assert!(
            RecordBatch::parse(&whole.bytes().slice(..len)).is_err(),
            "cut at {len}"
        );
    }
}

#[test]
fn placing_keeps_the_checksum_valid_and_append_time_replaces_the_timestamp() {
    let placed = batch().placed_at(100, None);
    assert_eq!(RecordBatch::parse(placed.bytes()).unwrap(), placed);
    assert_eq!((placed.base_offset, placed.last_offset), (100, 102));
    let stamped = batch().placed_at(7, Some(5_000));
    assert_eq!(RecordBatch::parse(stamped.bytes()).unwrap(), stamped);
    assert!(stamped.is_log_append_time());
    assert_eq!(stamped.max_timestamp, 5_000);
}

#[test]
fn sequences_wrap_to_zero() {
    assert_eq!(add_sequence(i32::MAX, 1), 0);
    assert_eq!(add_sequence(i32::MAX - 1, 3), 1);
    assert_eq!(add_sequence(5, 1), 6);
}

#[test]
fn a_marker_is_a_transactional_control_batch_of_one_record() {
    let marker = transaction_marker(7, 3, true, 99);
    assert!(marker.is_control() && marker.is_transactional());
    assert_eq!(
        (
            marker.producer_id,
            marker.producer_epoch,
            marker.record_count
        ),
        (7, 3, 1)
    );
    assert_eq!(
        crate::embedded::core::records::marker_is_commit(&marker),
        Some(true)
    );
    let marker = transaction_marker(7, 3, false, 99);
    assert_eq!(
        crate::embedded::core::records::marker_is_commit(&marker),
        Some(false)
    );
}
