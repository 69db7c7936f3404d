//! What every window store must do.

use crate::{Order, PutOutcome, WindowEntries, WindowOrder, WindowSpec, WindowStore};

type Open<'a> = &'a mut dyn FnMut(&WindowSpec) -> Box<dyn WindowStore>;

const SIZE_MS: i64 = 10;
const RETENTION_MS: i64 = 120_000;
/// With this retention.
const SEGMENT_MS: i64 = 60_000;
const STORED: PutOutcome = PutOutcome::Stored { sequence: 0 };
const BOTH_ORDERS: [WindowOrder; 2] = [WindowOrder::ByKey, WindowOrder::ByTime];

/// Checks a window store. `open` returns a new, empty store for the spec at each call.
///
/// # Panics
///
/// With the rule that the store breaks.
pub fn window(open: Open<'_>) {
    for order in BOTH_ORDERS {
        reads_see_the_last_write(open, order);
        a_window_before_the_epoch_is_refused(open, order);
        fetch_is_ordered_by_start_and_inclusive(open, order);
        keys_that_are_prefixes_of_others_do_not_mix(open, order);
        key_ranges_are_inclusive_and_optional(open, order);
        reads_hide_to_the_millisecond(open, order);
        writes_die_with_their_segment(open, order);
        duplicates_are_numbered(open, order);
        duplicates_are_not_deleted(open, order);
    }
    by_key_is_ordered_by_segment_then_key(open);
    by_time_is_ordered_by_start_then_key(open);
}

fn spec(order: WindowOrder, retain_duplicates: bool) -> WindowSpec {
    WindowSpec {
        retention_ms: RETENTION_MS,
        window_size_ms: SIZE_MS,
        retain_duplicates,
        order,
    }
}

fn put(store: &mut dyn WindowStore, key: &[u8], value: &[u8], start_ms: i64) -> PutOutcome {
    store.put(key, Some(value), start_ms).expect("put")
}

/// Key, start and value of each entry, as text.
fn rows(entries: WindowEntries<'_>) -> Vec<String> {
    entries
        .map(|entry| {
            let (key, value) = entry.expect("entry");
            format!(
                "{} {} {}",
                key.key.escape_ascii(),
                key.start_ms,
                value.escape_ascii()
            )
        })
        .collect()
}

fn fetch(store: &dyn WindowStore, key: &[u8], from_ms: i64, to_ms: i64) -> Vec<String> {
    let forward = rows(
        store
            .fetch(key, from_ms, to_ms, Order::Forward)
            .expect("fetch"),
    );
    let mut backward = rows(
        store
            .fetch(key, from_ms, to_ms, Order::Backward)
            .expect("fetch"),
    );
    backward.reverse();
    assert_eq!(forward, backward, "backward is the reverse of forward");
    forward
}

fn fetch_keys(
    store: &dyn WindowStore,
    from: Option<&[u8]>,
    to: Option<&[u8]>,
    times_ms: (i64, i64),
) -> Vec<String> {
    let scan = |order| {
        let entries = store.fetch_keys(from, to, times_ms.0, times_ms.1, order);
        rows(entries.expect("fetch_keys"))
    };
    let forward = scan(Order::Forward);
    let mut backward = scan(Order::Backward);
    backward.reverse();
    assert_eq!(forward, backward, "backward is the reverse of forward");
    forward
}

fn fetch_all(store: &dyn WindowStore, from_ms: i64, to_ms: i64) -> Vec<String> {
    let all = |order| rows(store.fetch_all(from_ms, to_ms, order).expect("fetch_all"));
    let mut backward = all(Order::Backward);
    backward.reverse();
    assert_eq!(
        all(Order::Forward),
        backward,
        "backward is the reverse of forward"
    );
    backward
}

fn reads_see_the_last_write(open: Open<'_>, order: WindowOrder) {
    let mut store = open(&spec(order, false));
    assert_eq!(
        store.observed_time_ms(),
        None,
        "a new store has seen no time"
    );
    assert_eq!(
        store.get(b"a", 0).expect("get"),
        None,
        "a new store is empty"
    );
    for value in [Some(b"1".as_slice()), Some(b""), None, Some(b"3"), None] {
        assert_eq!(store.put(b"a", value, 20).expect("put"), STORED);
        let read = store.get(b"a", 20).expect("get");
        assert_eq!(read.as_deref(), value, "a read sees the last write");
        let found = fetch(store.as_ref(), b"a", 0, i64::MAX).len();
        assert_eq!(found, usize::from(value.is_some()), "so does a fetch");
    }
    assert_eq!(store.get(b"a", 21).expect("get"), None);
    let mut calls = 0;
    let mut count = |_: Option<&[u8]>| calls += 1;
    store.get_with(b"a", 20, &mut count).expect("get_with");
    assert_eq!(calls, 1, "get_with calls its closure once, found or not");
}

fn a_window_before_the_epoch_is_refused(open: Open<'_>, order: WindowOrder) {
    let mut store = open(&spec(order, false));
    assert!(
        store.put(b"a", Some(b"1"), -1).is_err(),
        "a window cannot start before the epoch"
    );
    put(store.as_mut(), b"a", b"1", 0);
    assert_eq!(fetch(store.as_ref(), b"a", -5, 0), ["a 0 1"]);
    assert_eq!(store.get(b"a", -1).expect("get"), None);
}

fn fetch_is_ordered_by_start_and_inclusive(open: Open<'_>, order: WindowOrder) {
    let mut store = open(&spec(order, false));
    for start_ms in [70_000, 10, 30, 20, 60_000, 59_999] {
        put(store.as_mut(), b"a", b"v", start_ms);
        put(store.as_mut(), b"b", b"v", start_ms);
    }
    let starts = |from_ms, to_ms| fetch(store.as_ref(), b"a", from_ms, to_ms);
    let all = [
        "a 10 v",
        "a 20 v",
        "a 30 v",
        "a 59999 v",
        "a 60000 v",
        "a 70000 v",
    ];
    assert_eq!(starts(0, i64::MAX), all, "windows come by their start");
    assert_eq!(starts(20, 60_000), all[1..5], "both bounds are inclusive");
    assert_eq!(starts(20, 20), all[1..2]);
    assert!(starts(21, 29).is_empty());
    assert!(
        starts(30, 20).is_empty(),
        "a range that ends before it begins is empty"
    );
    assert_eq!(store.observed_time_ms(), Some(70_000));
}

fn keys_that_are_prefixes_of_others_do_not_mix(open: Open<'_>, order: WindowOrder) {
    let mut store = open(&spec(order, false));
    // The longer keys look like the shorter one followed by a window start and a sequence.
    let long = [b"a".as_slice(), &5_i64.to_be_bytes(), &[0; 4]].concat();
    let longer = [long.as_slice(), &5_i64.to_be_bytes(), &[0; 4]].concat();
    let keys = [b"a".as_slice(), b"a\0", &long, &longer, b"aa"];
    for (index, key) in keys.iter().enumerate() {
        for start_ms in [5, 6] {
            put(store.as_mut(), key, &[b'0' + index as u8], start_ms);
        }
    }
    for (index, key) in keys.iter().enumerate() {
        let expected: Vec<_> = [5, 6]
            .iter()
            .map(|start_ms| format!("{} {start_ms} {index}", key.escape_ascii()))
            .collect();
        let found = fetch(store.as_ref(), key, 0, 1_000);
        assert_eq!(found, expected, "a fetch of one key shows only that key");
        let found = fetch_keys(store.as_ref(), Some(key), Some(key), (0, 1_000));
        assert_eq!(found, expected, "so does a range of one key");
    }
    assert_eq!(fetch_all(store.as_ref(), 5, 5).len(), keys.len());
}

fn key_ranges_are_inclusive_and_optional(open: Open<'_>, order: WindowOrder) {
    let mut store = open(&spec(order, false));
    for key in [b"b", b"d", b"f"] {
        put(store.as_mut(), key, b"v", 10);
        put(store.as_mut(), key, b"v", 20);
    }
    let at_ten = |from, to| fetch_keys(store.as_ref(), from, to, (0, 10));
    let all = ["b 10 v", "d 10 v", "f 10 v"];
    assert_eq!(at_ten(Some(b"b"), Some(b"f")), all);
    assert_eq!(at_ten(Some(b"c"), Some(b"e")), all[1..2]);
    assert_eq!(at_ten(None, Some(b"d")), all[..2]);
    assert_eq!(at_ten(Some(b"d"), None), all[1..]);
    assert_eq!(at_ten(None, None), all);
    assert!(at_ten(Some(b"f"), Some(b"b")).is_empty());
    assert_eq!(fetch_all(store.as_ref(), 0, 10), all);
    assert_eq!(fetch_all(store.as_ref(), 0, i64::MAX).len(), 6);
}

fn reads_hide_to_the_millisecond(open: Open<'_>, order: WindowOrder) {
    let mut store = open(&spec(order, false));
    let observed_ms = 2 * RETENTION_MS;
    let first_ms = observed_ms - RETENTION_MS + 1;
    put(store.as_mut(), b"a", b"v", first_ms - 1);
    put(store.as_mut(), b"a", b"v", first_ms);
    assert!(
        store.get(b"a", first_ms - 1).expect("get").is_some(),
        "not old yet"
    );
    put(store.as_mut(), b"b", b"v", observed_ms);
    assert_eq!(
        store.get(b"a", first_ms - 1).expect("get"),
        None,
        "reads hide start < observed - retention + 1"
    );
    assert!(store.get(b"a", first_ms).expect("get").is_some());
    let visible = [format!("a {first_ms} v")];
    assert_eq!(fetch(store.as_ref(), b"a", 0, i64::MAX), visible);
    assert_eq!(fetch_all(store.as_ref(), 0, first_ms), visible);
    assert_eq!(
        fetch_keys(store.as_ref(), None, Some(b"a"), (0, first_ms)),
        visible
    );
}

fn writes_die_with_their_segment(open: Open<'_>, order: WindowOrder) {
    let mut store = open(&spec(order, false));
    let observed_ms = RETENTION_MS + SEGMENT_MS + 20_000;
    assert_eq!(put(store.as_mut(), b"a", b"v", observed_ms), STORED);
    assert_eq!(
        put(store.as_mut(), b"a", b"v", SEGMENT_MS),
        STORED,
        "the segment that holds observed - retention takes writes"
    );
    assert_eq!(
        put(store.as_mut(), b"a", b"v", SEGMENT_MS - 1),
        PutOutcome::Expired,
        "the segment before it does not"
    );
    assert_eq!(
        store.get(b"a", SEGMENT_MS).expect("get"),
        None,
        "taking a write is not showing it"
    );
    assert_eq!(store.observed_time_ms(), Some(observed_ms));
}

fn duplicates_are_numbered(open: Open<'_>, order: WindowOrder) {
    let mut store = open(&spec(order, true));
    let sequences = [(b"a", 10), (b"a", 10), (b"b", 10), (b"a", 20), (b"a", 10)];
    for (index, (key, start_ms)) in sequences.into_iter().enumerate() {
        let value = [b'1' + index as u8];
        let outcome = put(store.as_mut(), key, &value, start_ms);
        let sequence = index as i32 + 1;
        assert_eq!(
            outcome,
            PutOutcome::Stored { sequence },
            "every put of the store counts"
        );
    }
    assert_eq!(
        fetch(store.as_ref(), b"a", 0, i64::MAX),
        ["a 10 1", "a 10 2", "a 10 5", "a 20 4"],
        "duplicates are kept, in the order of the puts"
    );
    let last = store.get(b"a", 10).expect("get");
    assert_eq!(last.as_deref(), Some(b"5".as_slice()), "get shows the last");
}

fn duplicates_are_not_deleted(open: Open<'_>, order: WindowOrder) {
    let mut store = open(&spec(order, true));
    put(store.as_mut(), b"a", b"1", 10);
    let outcome = store.put(b"a", None, 900_000).expect("put");
    assert_eq!(outcome, STORED, "a deletion among duplicates does nothing");
    assert_eq!(store.observed_time_ms(), Some(10), "nor does it move time");
    assert_eq!(
        put(store.as_mut(), b"a", b"2", 10),
        PutOutcome::Stored { sequence: 2 },
        "nor does it take a number"
    );
    assert_eq!(fetch(store.as_ref(), b"a", 10, 10), ["a 10 1", "a 10 2"]);
}

fn by_key_is_ordered_by_segment_then_key(open: Open<'_>) {
    let mut store = open(&spec(WindowOrder::ByKey, false));
    for (key, start_ms) in [
        (b"b", 10),
        (b"a", SEGMENT_MS),
        (b"a", 20),
        (b"b", 5),
        (b"a", 30),
    ] {
        put(store.as_mut(), key, b"v", start_ms);
    }
    assert_eq!(
        fetch_all(store.as_ref(), 0, i64::MAX),
        ["a 20 v", "a 30 v", "b 5 v", "b 10 v", "a 60000 v"],
        "by segment, key, start"
    );
}

fn by_time_is_ordered_by_start_then_key(open: Open<'_>) {
    let mut store = open(&spec(WindowOrder::ByTime, false));
    for (key, start_ms) in [
        (b"b", 10),
        (b"a", SEGMENT_MS),
        (b"c", 5),
        (b"a", 10),
        (b"b", 5),
    ] {
        put(store.as_mut(), key, b"v", start_ms);
    }
    assert_eq!(
        fetch_all(store.as_ref(), 0, i64::MAX),
        ["b 5 v", "c 5 v", "a 10 v", "b 10 v", "a 60000 v"],
        "by start, key"
    );
    assert_eq!(
        fetch_keys(store.as_ref(), Some(b"b"), None, (0, 10)),
        ["b 5 v", "c 5 v", "b 10 v"]
    );
}
