//! Changelogs: a store that has taken what a changelog says can be read.

use super::Target;
use streams_state::{
    Change, Order, SessionSpec, StoreBackend, StoreResources, StoreSpec, TaskStores, VersionedSpec,
    WindowOrder, WindowSpec, versioned_change,
};

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "restore_key_value",
        decode: |bytes| {
            let spec = StoreSpec::key_value("store", StoreBackend::Memory);
            let Some(stores) = restored(spec, bytes) else {
                return false;
            };
            readable(stores.key_value(0).range(None, None, Order::Forward));
            true
        },
        seeds: || vec![log(&[(b"k", Some(b"v")), (b"l", None)])],
    },
    Target {
        name: "restore_windows",
        decode: |bytes| {
            for (order, retain_duplicates) in [
                (WindowOrder::ByKey, false),
                (WindowOrder::ByTime, false),
                (WindowOrder::ByTime, true),
            ] {
                let window = WindowSpec {
                    retention_ms: 1_000,
                    window_size_ms: 10,
                    retain_duplicates,
                    order,
                };
                let spec = StoreSpec::window("store", window, StoreBackend::Memory);
                let Some(stores) = restored(spec, bytes) else {
                    return false;
                };
                let windows = stores.window(0);
                for order in [Order::Forward, Order::Backward] {
                    readable(windows.fetch_keys(None, None, 0, i64::MAX, order));
                    readable(windows.fetch(b"k", 0, i64::MAX, order));
                }
            }
            true
        },
        seeds: || {
            let (key, later) = (
                b"k\0\0\0\0\0\0\0\x0a\0\0\0\0",
                b"k\0\0\0\0\0\x01\0\x0a\0\0\0\x01",
            );
            vec![log(&[(key, Some(b"v")), (later, Some(b"w"))])]
        },
    },
    Target {
        name: "restore_sessions",
        decode: |bytes| {
            for order in [WindowOrder::ByKey, WindowOrder::ByTime] {
                let session = SessionSpec {
                    retention_ms: 1_000,
                    order,
                };
                let spec = StoreSpec::session("store", session, StoreBackend::Memory);
                let Some(stores) = restored(spec, bytes) else {
                    return false;
                };
                let sessions = stores.session(0);
                for order in [Order::Forward, Order::Backward] {
                    readable(sessions.find_keys(None, None, 0, i64::MAX, order));
                    readable(sessions.find(b"k", 0, i64::MAX, order));
                }
            }
            true
        },
        seeds: || {
            let key = b"k\0\0\0\0\0\0\0\x0a\0\0\0\0\0\0\0\x03";
            vec![log(&[(key, Some(b"v")), (key, None)])]
        },
    },
    Target {
        name: "restore_versions",
        decode: |bytes| {
            let spec = VersionedSpec::with_history_retention_ms(1_000);
            let spec = StoreSpec::versioned("store", spec, StoreBackend::Memory);
            let Some(mut stores) = restored(spec, bytes) else {
                return false;
            };
            for key in [b"k".as_slice(), b""] {
                for time_ms in [0, 500, 1_000_000] {
                    assert!(stores.versioned(0).get_as_of(key, time_ms).is_ok());
                }
                assert!(stores.versioned_mut(0).put(key, Some(b"v"), 700).is_ok());
                assert!(stores.versioned(0).get(key).is_ok());
            }
            true
        },
        seeds: || {
            let change = |time_ms, value| {
                let mut change = Vec::new();
                versioned_change(time_ms, value, &mut change);
                change
            };
            let (put, deleted) = (change(10, Some(b"v".as_slice())), change(900, None));
            vec![log(&[(b"k", Some(&put)), (b"k", Some(&deleted))])]
        },
    },
];

/// The set bit of a length says that there is no value.
const NO_VALUE: u8 = 0x80;

/// `[key length][value length]` and both, for each record.
fn log(records: &[(&[u8], Option<&[u8]>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in records {
        bytes.push(key.len() as u8);
        bytes.push(value.map_or(NO_VALUE, |value| value.len() as u8));
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value.unwrap_or_default());
    }
    bytes
}

/// A store in memory with what [`log`] wrote; `None` when it is refused.
fn restored(spec: StoreSpec, mut bytes: &[u8]) -> Option<TaskStores> {
    let mut changes = Vec::new();
    while let [key_len, value_len, rest @ ..] = bytes {
        let (key, rest) = rest.split_at_checked((*key_len).into())?;
        let (value, rest) = match value_len & NO_VALUE {
            0 => {
                let (value, rest) = rest.split_at_checked((*value_len).into())?;
                (Some(value), rest)
            }
            _ => (None, rest),
        };
        changes.push(Change { key, value });
        bytes = rest;
    }
    let mut stores = TaskStores::open(None, &[spec], &StoreResources::in_memory()).ok()?;
    let end = changes.len() as i64;
    stores.restore(0, &changes, end).ok()?;
    Some(stores)
}

/// Panics unless every entry can be read.
fn readable<T>(
    entries: streams_state::Result<Box<dyn Iterator<Item = streams_state::Result<T>> + '_>>,
) {
    match entries {
        Ok(entries) => entries.for_each(|entry| assert!(entry.is_ok())),
        Err(error) => panic!("{error}"),
    }
}
