//! What the embedded broker is sent, and finds in its directory.

use super::Target;
use crate::embedded::core::batch::{RecordBatch, RecordBatchBuilder, put_len_and_crc};
use crate::embedded::core::changes::Change;
use crate::embedded::core::durable::DurableState;
use crate::embedded::core::records::{marker_is_commit, open, walk};
use crate::embedded::storage::journal::{line, parse};
use bytes::{Bytes, BytesMut};

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "record_batch",
        decode: record_batch,
        seeds: || {
            let batch = RecordBatchBuilder::new().producer(1, 2, 3).transactional();
            let batch = batch.record(10, Some(b"k"), Some(b"v"));
            vec![batch.record(20, None, None).build().bytes().to_vec()]
        },
    },
    Target {
        name: "journal",
        decode: journal,
        seeds: || {
            let changes = [
                Change::NextProducerId { producer_id: 3 },
                Change::Cluster {
                    cluster_id: "c".into(),
                },
            ];
            let lines = changes.iter().filter_map(|change| line(change).ok());
            lines.collect()
        },
    },
];

/// The header of a batch.
const HEADER_LEN: usize = 61;

/// As it is, and with the length and checksum that its bytes should have, which chance does not find.
fn record_batch(bytes: &[u8]) -> bool {
    let _ = RecordBatch::parse(&Bytes::copy_from_slice(bytes));
    if bytes.len() < HEADER_LEN {
        return false;
    }
    let mut whole = BytesMut::from(bytes);
    put_len_and_crc(&mut whole);
    let Ok(batch) = RecordBatch::parse(&whole.freeze()) else {
        return false;
    };
    let _ = (batch.last_sequence(), marker_is_commit(&batch));
    let placed = batch.placed_at(1_000, Some(7));
    assert!(RecordBatch::parse(placed.bytes()).is_ok());
    let Some(opened) = open(&batch) else {
        return false;
    };
    if let Some(records) = walk(&batch, &opened) {
        let written = batch.with_records(&records, None);
        assert!(RecordBatch::parse(written.bytes()).is_ok());
        let reopened = open(&written).and_then(|opened| Some(walk(&written, &opened)?.len()));
        assert_eq!(reopened, Some(records.len()));
    }
    true
}

fn journal(bytes: &[u8]) -> bool {
    let Some(change) = parse(bytes) else {
        return false;
    };
    let again = line(&change).ok().and_then(|line| parse(&line));
    assert_eq!(again.as_ref(), Some(&change));
    DurableState::default().apply(change);
    true
}
