//! Keys, values and metadata in topics.

use super::Target;
use crate::operators::foreign_key_join::{ResponseSerde, SubscriptionSerde};
use crate::operators::table_repartition::GroupChangeSerde;
use crate::record::Headers;
use crate::runtime::state_directory::parse_task_id;
use crate::serdes::{
    Bool, F32, F64, I16, I32, I64, Json, List, Nullable, Serde, SessionWindowed, TimeWindowed,
    Utf8, UuidText,
};
use crate::task::offset_metadata::OffsetMetadata;
use crate::task::stores::Held;
use crate::task::stores::grace_buffer::{Due, split};
use crate::task::stores::outer_join::{Unmatched, list_size};
use crate::task::stores::suppress_changelog::{Logged, upgrade};
use std::sync::Arc;
use std::time::Duration;
use streams_state::key_encoding::{
    parse_session_changelog_key, parse_window_changelog_key, write_session_changelog_key,
    write_window_changelog_key,
};
use streams_state::timestamped;

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "offset_metadata",
        decode: offset_metadata,
        seeds: || {
            let metadata = OffsetMetadata {
                partition_time_ms: Some(1_000),
                processor: [("store".to_owned(), 7)].into(),
            };
            vec![metadata.encode().into_bytes(), b"AQAAAAAAAAPo".to_vec()]
        },
    },
    Target {
        name: "windowed_keys",
        decode: windowed_keys,
        seeds: || {
            let (mut window, mut session) = (Vec::new(), Vec::new());
            write_window_changelog_key(b"key", 10, 3, &mut window);
            write_session_changelog_key(b"key", 10, 20, &mut session);
            vec![b"key\0\0\0\0\0\0\0\x0a".to_vec(), window, session]
        },
    },
    Target {
        name: "timestamped_values",
        decode: timestamped_values,
        seeds: || vec![b"\0\0\0\0\0\0\0\x0avalue".to_vec()],
    },
    Target {
        name: "suppress_changelog",
        decode: suppress_changelog,
        seeds: || {
            let mut held = vec![3];
            held.extend_from_slice(CONTEXT);
            held.extend_from_slice(b"\0\0\0\x01p\xff\xff\xff\xfe\0\0\0\x01n\0\0\0\0\0\0\0\x09");
            let mut second = vec![1];
            second.extend_from_slice(b"\0\0\0\0\0\0\0\x09");
            second.extend_from_slice(CONTEXT);
            second.extend_from_slice(b"\0\0\0\x09\xff\xff\xff\xff\0\0\0\x01n");
            vec![held, second]
        },
    },
    Target {
        name: "grace_buffer",
        decode: grace_buffer,
        seeds: || {
            let mut bytes = b"\x01\0\0\0\0\0\0\0\x09k\0\0\0\x01".to_vec();
            bytes.insert(0, bytes.len() as u8);
            bytes.extend_from_slice(CONTEXT);
            bytes.extend_from_slice(b"\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\x01v\0\0\0\0\0\0\0\0");
            vec![bytes]
        },
    },
    Target {
        name: "outer_join",
        decode: outer_join,
        seeds: || {
            let mut bytes = b"\0\0\0\0\0\0\0\x09\x01k".to_vec();
            bytes.insert(0, bytes.len() as u8);
            bytes.extend_from_slice(b"\x01\0\0\0\x01\0\0\0\x02\x01v");
            vec![bytes]
        },
    },
    Target {
        name: "foreign_key_messages",
        decode: foreign_key_messages,
        seeds: || {
            vec![
                b"\x01\x030123456789abcdefa\0\0\0\0".to_vec(),
                b"\x81\x01a\0\0\x01\x02".to_vec(),
                b"\x000123456789abcdefR1".to_vec(),
            ]
        },
    },
    Target {
        name: "group_changes",
        decode: group_changes,
        seeds: || {
            vec![
                b"\x04x2x1\x02".to_vec(),
                b"x2\x01".to_vec(),
                b"x1\0\0\x03".to_vec(),
            ]
        },
    },
    Target {
        name: "serdes",
        decode: serdes,
        seeds: || {
            let mut list = Vec::new();
            let texts = vec!["a".to_owned(), "bc".to_owned()];
            // A serde of texts takes any text.
            let _ = List(Utf8).serialize(&texts, &mut list);
            vec![
                list,
                b"{\"a\": [1, 2.5, null]}".to_vec(),
                b"123e4567-e89b-12d3-a456-426614174000".to_vec(),
                b"\0\0\0\0\0\0\0\x01".to_vec(),
            ]
        },
    },
    Target {
        name: "task_folders",
        decode: |bytes| {
            let id = std::str::from_utf8(bytes).ok().and_then(parse_task_id);
            id.is_some_and(|id| {
                assert_eq!(parse_task_id(&id.to_string()), Some(id));
                true
            })
        },
        seeds: || vec![b"0_1".to_vec(), b"12_345".to_vec()],
    },
];

/// Timestamp 3, offset 0, topic `in`, partition 0 and a header.
const CONTEXT: &[u8] =
    b"\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\0\0\0\0\x02in\0\0\0\0\0\0\0\x01\0\0\0\x02hk\0\0\0\x02h1";

fn offset_metadata(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let decoded = OffsetMetadata::decode(&text);
    let taken = decoded.warning.is_none();
    if taken {
        let again = OffsetMetadata::decode(&decoded.metadata.encode());
        assert_eq!(again.metadata, decoded.metadata);
        assert_eq!(again.warning, None);
    }
    taken
}

/// What a serde takes it writes as it was, or at least as something that means the same.
fn round_trip<T>(serde: &impl Serde<T>, bytes: &[u8]) -> bool {
    let Ok(value) = serde.deserialize(bytes) else {
        return false;
    };
    let mut written = Vec::new();
    if serde.serialize(&value, &mut written).is_err() {
        return false;
    }
    let again = serde.deserialize(&written);
    assert!(again.is_ok(), "{written:?}");
    let mut twice = Vec::new();
    let rewritten = again.and_then(|again| serde.serialize(&again, &mut twice));
    assert!(
        rewritten.is_ok() && twice == written,
        "{written:?} {twice:?}"
    );
    true
}

fn windowed_keys(bytes: &[u8]) -> bool {
    let mut taken = round_trip(&TimeWindowed::new(Utf8, Duration::from_millis(10)), bytes);
    taken |= round_trip(&SessionWindowed::new(Utf8), bytes);
    if let Ok((key, start_ms, sequence)) = parse_window_changelog_key(bytes) {
        let mut written = Vec::new();
        write_window_changelog_key(key, start_ms, sequence, &mut written);
        assert_eq!(written, bytes);
        taken = true;
    }
    if let Ok((key, start_ms, end_ms)) = parse_session_changelog_key(bytes) {
        let mut written = Vec::new();
        write_session_changelog_key(key, start_ms, end_ms, &mut written);
        assert_eq!(written, bytes);
        taken = true;
    }
    taken
}

fn timestamped_values(bytes: &[u8]) -> bool {
    let Ok((timestamp, value)) = timestamped::decode(bytes) else {
        return false;
    };
    let mut written = Vec::new();
    timestamped::encode(timestamp, value, &mut written);
    assert_eq!(written, bytes);
    true
}

/// The first byte is the version in the header, 0 for none.
fn suppress_changelog(bytes: &[u8]) -> bool {
    let Some((&version, value)) = bytes.split_first() else {
        return false;
    };
    let mut headers = Headers::new();
    if version > 0 {
        headers.add("v", Some(&[version]));
    }
    let record = Logged {
        value,
        headers: &headers,
        topic: "changelog",
        partition: 0,
        offset: 1,
        timestamp: 2,
    };
    let Ok(current) = upgrade(&record, None) else {
        return false;
    };
    // The buffer reads what a restore has left.
    assert!(Held::read(&mut current.as_slice()).is_ok());
    assert!(upgrade(&record, Some(&current)).is_ok());
    true
}

/// A row behind its length, then its value.
fn row_and_value(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&len, rest) = bytes.split_first()?;
    rest.split_at_checked(len.into())
}

fn grace_buffer(bytes: &[u8]) -> bool {
    let Some((row, value)) = row_and_value(bytes) else {
        return false;
    };
    let due = Due {
        row: row.to_vec(),
        value: value.to_vec(),
    };
    split(row).is_ok() && due.key().len() < row.len() && due.content().is_ok()
}

fn outer_join(bytes: &[u8]) -> bool {
    let Some((row, list)) = row_and_value(bytes) else {
        return false;
    };
    let unmatched = Unmatched {
        row: row.to_vec(),
        list: list.to_vec(),
    };
    list_size(list).is_ok()
        && unmatched.parse().is_ok()
        && unmatched.values().all(|value| value.is_ok())
}

fn foreign_key_messages(bytes: &[u8]) -> bool {
    let subscription = round_trip(&SubscriptionSerde(Arc::new(Utf8)), bytes);
    round_trip(&ResponseSerde(Arc::new(Utf8)), bytes) || subscription
}

fn group_changes(bytes: &[u8]) -> bool {
    round_trip(&GroupChangeSerde(Arc::new(Utf8)), bytes)
}

fn serdes(bytes: &[u8]) -> bool {
    let taken = [
        round_trip(&Utf8, bytes),
        round_trip(&UuidText, bytes),
        round_trip(&I16, bytes),
        round_trip(&I32, bytes),
        round_trip(&I64, bytes),
        round_trip(&F32, bytes),
        round_trip(&F64, bytes),
        round_trip(&Bool, bytes),
        round_trip(&Nullable(I64), bytes),
        round_trip(&List(Utf8), bytes),
        round_trip(&List(I32), bytes),
        round_trip::<serde_json::Value>(&Json, bytes),
    ];
    taken.contains(&true)
}
