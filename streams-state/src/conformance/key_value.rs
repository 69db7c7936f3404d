//! What every key-value store must do.

use crate::{Entries, KeyValueStore, Order};

type Open<'a> = &'a mut dyn FnMut() -> Box<dyn KeyValueStore>;

/// Checks a key-value store. `open` returns a new, empty store at each call.
///
/// # Panics
///
/// With the rule that the store breaks.
pub fn key_value(open: Open<'_>) {
    reads_see_the_last_write(open);
    empty_is_a_value_and_a_key(open);
    read_is_called_once(open);
    keys_are_ordered_as_unsigned_bytes(open);
    range_bounds_are_inclusive_and_optional(open);
    prefixes_end_where_the_prefix_ends(open);
    scans_see_overwrites_and_deletions(open);
    length_is_about_right(open);
    prefetching_changes_nothing(open);
}

fn put(store: &mut dyn KeyValueStore, key: &[u8], value: Option<&[u8]>) {
    store.put(key, value).expect("put");
}

fn keys(entries: Entries<'_>) -> Vec<Vec<u8>> {
    entries.map(|entry| entry.expect("entry").0).collect()
}

fn range(
    store: &dyn KeyValueStore,
    from: Option<&[u8]>,
    to: Option<&[u8]>,
    order: Order,
) -> Vec<Vec<u8>> {
    keys(store.range(from, to, order).expect("range"))
}

fn reads_see_the_last_write(open: Open<'_>) {
    let mut store = open();
    assert_eq!(store.get(b"a").expect("get"), None, "a new store is empty");
    for value in [Some(b"1".as_slice()), Some(b"22"), None, Some(b"3"), None] {
        put(store.as_mut(), b"a", value);
        let read = store.get(b"a").expect("get");
        assert_eq!(read.as_deref(), value, "a read sees the last write");
    }
    put(store.as_mut(), b"never there", None);
    assert_eq!(store.get(b"never there").expect("get"), None);
}

fn empty_is_a_value_and_a_key(open: Open<'_>) {
    let mut store = open();
    put(store.as_mut(), b"a", Some(b""));
    put(store.as_mut(), b"", Some(b"1"));
    let read = store.get(b"a").expect("get");
    assert_eq!(
        read.as_deref(),
        Some(b"".as_slice()),
        "an empty value is a value"
    );
    let read = store.get(b"").expect("get");
    assert_eq!(
        read.as_deref(),
        Some(b"1".as_slice()),
        "the empty key is a key"
    );
    assert_eq!(
        range(store.as_ref(), None, None, Order::Forward),
        [b"".as_slice(), b"a"],
        "the empty key is the first"
    );
}

fn read_is_called_once(open: Open<'_>) {
    let mut store = open();
    put(store.as_mut(), b"a", Some(b"1"));
    for key in [b"a", b"b"] {
        let mut calls = 0;
        store.get_with(key, &mut |_| calls += 1).expect("get_with");
        assert_eq!(calls, 1, "get_with calls its closure once, found or not");
    }
}

fn keys_are_ordered_as_unsigned_bytes(open: Open<'_>) {
    let mut store = open();
    let mut sorted: Vec<&[u8]> = vec![
        b"",
        b"\0",
        b"\0\0",
        b"\x01",
        b"a",
        b"a\0",
        b"aa",
        b"b",
        b"\x7f",
        b"\x80",
        b"\xff",
        b"\xff\xff",
    ];
    for key in sorted.iter().rev() {
        put(store.as_mut(), key, Some(b"v"));
    }
    let forward = range(store.as_ref(), None, None, Order::Forward);
    assert_eq!(forward, sorted, "keys are ordered by their unsigned bytes");
    sorted.reverse();
    let backward = range(store.as_ref(), None, None, Order::Backward);
    assert_eq!(backward, sorted, "backward is the reverse of forward");
}

fn range_bounds_are_inclusive_and_optional(open: Open<'_>) {
    let mut store = open();
    for key in [b"b", b"d", b"f"] {
        put(store.as_mut(), key, Some(b"v"));
    }
    let check = |from: Option<&str>, to: Option<&str>, expected: &[&str]| {
        let (from, to) = (from.map(str::as_bytes), to.map(str::as_bytes));
        let mut expected: Vec<_> = expected.iter().map(|key| key.as_bytes()).collect();
        let forward = range(store.as_ref(), from, to, Order::Forward);
        assert_eq!(forward, expected, "range {from:?}..={to:?}");
        expected.reverse();
        let backward = range(store.as_ref(), from, to, Order::Backward);
        assert_eq!(backward, expected, "range {from:?}..={to:?} backward");
    };
    check(Some("b"), Some("f"), &["b", "d", "f"]);
    check(Some("c"), Some("e"), &["d"]);
    check(Some("d"), Some("d"), &["d"]);
    check(None, Some("d"), &["b", "d"]);
    check(Some("d"), None, &["d", "f"]);
    check(Some("e"), Some("e"), &[]);
    check(Some("f"), Some("b"), &[]);
    check(Some("g"), None, &[]);
    check(None, Some("a"), &[]);
}

fn prefixes_end_where_the_prefix_ends(open: Open<'_>) {
    let mut store = open();
    let all: [&[u8]; 8] = [
        b"a",
        b"ab",
        b"ab\xff",
        b"ab\xff\xff",
        b"ac",
        b"\xfe",
        b"\xff",
        b"\xff\xff",
    ];
    for key in all {
        put(store.as_mut(), key, Some(b"v"));
    }
    let scan = |prefix: &[u8]| keys(store.prefix_scan(prefix).expect("prefix_scan"));
    assert_eq!(scan(b"ab"), all[1..4]);
    assert_eq!(scan(b"ab\xff"), all[2..4]);
    assert_eq!(scan(b"\xff"), all[6..]);
    assert_eq!(scan(b""), all, "the empty prefix is everything");
    assert!(scan(b"b").is_empty());
}

fn scans_see_overwrites_and_deletions(open: Open<'_>) {
    let mut store = open();
    for key in [b"a", b"b", b"c"] {
        put(store.as_mut(), key, Some(b"1"));
    }
    put(store.as_mut(), b"a", None);
    put(store.as_mut(), b"b", Some(b"2"));
    let entries: Vec<_> = store
        .range(None, None, Order::Forward)
        .expect("range")
        .map(|entry| entry.expect("entry"))
        .collect();
    let expected = [
        (b"b".to_vec(), b"2".to_vec()),
        (b"c".to_vec(), b"1".to_vec()),
    ];
    assert_eq!(entries, expected, "a scan sees every write before it");
}

fn length_is_about_right(open: Open<'_>) {
    let mut store = open();
    assert_eq!(store.approximate_len().expect("approximate_len"), 0);
    for key in 0..100_u8 {
        put(store.as_mut(), &[key], Some(b"v"));
    }
    let len = store.approximate_len().expect("approximate_len");
    assert_eq!(
        len, 100,
        "as long as nothing was overwritten the length is exact"
    );
}

fn prefetching_changes_nothing(open: Open<'_>) {
    let mut store = open();
    put(store.as_mut(), b"a", Some(b"1"));
    put(store.as_mut(), b"b", Some(b"2"));
    put(store.as_mut(), b"b", None);
    let wanted: [&[u8]; 4] = [b"a", b"b", b"c", b""];
    for keys in [&wanted[..0], &wanted[..1], &wanted] {
        let helped = store.prefetch(keys);
        assert!(helped <= keys.len(), "no more keys are helped than came");
        let read = wanted.map(|key| store.get(key).expect("get"));
        let expected = [Some(b"1".to_vec()), None, None, None];
        assert_eq!(read, expected, "reads are as before");
    }
    put(store.as_mut(), b"c", Some(b"3"));
    assert_eq!(
        keys(store.range(None, None, Order::Forward).expect("range")),
        [b"a", b"c"]
    );
}
