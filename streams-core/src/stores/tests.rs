//! Stores as processors see them, opened through the test driver.

use super::*;
use crate::processor::{Processor, ProcessorContext};
use crate::serdes::{I64, Utf8};
use crate::{
    Consumed, LocalState, Materialized, Record, Result, StreamsBuilder, TopologyTestDriver,
};

struct Idle;

impl Processor<String, String, String, String> for Idle {
    fn process(
        &mut self,
        _: Record<'_, String, String>,
        _: &mut ProcessorContext<'_, String, String>,
    ) -> Result<()> {
        Ok(())
    }
}

/// A driver of a processor that does nothing but be connected to a store.
fn driver_of<S: StoreType>(store: StoreBuilder<S>) -> (TopologyTestDriver, StoreHandle<S>) {
    let builder = StreamsBuilder::new();
    let handle = builder.add_state_store(store);
    builder
        .stream("in", Consumed::with(Utf8, Utf8))
        .process(|| Idle, &[handle.name()]);
    let topology = builder.build().expect("a topology");
    (
        TopologyTestDriver::new(&topology).expect("a driver"),
        handle,
    )
}

fn owned(keys: &[&str]) -> Vec<(String, String)> {
    keys.iter()
        .map(|key| ((*key).to_owned(), format!("{key}!")))
        .collect()
}

fn keys<V>(entries: impl Iterator<Item = Result<(String, V)>>) -> String {
    let keys: Vec<String> = entries
        .map(|entry| entry.map(|(key, _)| key))
        .collect::<Result<_>>()
        .expect("readable entries");
    keys.join(" ")
}

#[test]
fn a_handle_of_other_types_is_an_error_that_says_so() {
    let builder = StreamsBuilder::new();
    builder
        .stream::<String, String>("in", Consumed::new())
        .group_by_key()
        .count_with(Materialized::named("counts"));
    let topology = builder.build().expect("a topology");
    let mut driver = TopologyTestDriver::new(&topology).expect("a driver");
    let handle: StoreHandle<KeyValueStore<String, String>> = StoreHandle::named("counts");
    let error = driver.store(&handle).err().expect("counts are numbers");
    assert!(error.to_string().contains("'counts' is no"), "{error}");
    let handle: StoreHandle<KeyValueStore<String, i64>> = StoreHandle::named("counts");
    assert!(driver.store(&handle).is_ok());
}

#[test]
fn key_value_stores_are_scanned_in_both_directions_with_the_cache_laid_over() -> Result<()> {
    for cached in [false, true] {
        let mut store = Stores::key_value("store", Utf8, Utf8);
        if cached {
            store = store.with_caching_enabled();
        }
        let (mut driver, handle) = driver_of(store);
        let mut store = driver.store(&handle)?;
        store.put_all(owned(&["ab", "b", "a", "c", "abc"]))?;
        assert_eq!(store.delete(&"c".to_owned())?.as_deref(), Some("c!"));
        assert_eq!(keys(store.all()?), "a ab abc b");
        assert_eq!(keys(store.reverse_all()?), "b abc ab a");
        assert_eq!(keys(store.prefix_scan(&"ab".to_owned(), Utf8)?), "ab abc");
        let (from, to) = ("ab".to_owned(), "b".to_owned());
        assert_eq!(keys(store.range(&from, &to)?), "ab abc b");
        assert_eq!(keys(store.reverse_range(&from, &to)?), "b abc ab");
        assert_eq!(keys(store.range(&to, &from)?), "");
        assert_eq!(keys(store.range_from(&from)?), "ab abc b");
        assert_eq!(keys(store.range_to(&from)?), "a ab");
        let before = store.put_if_absent(&from, "other".to_owned())?;
        assert_eq!(before.as_deref(), Some("ab!"));
    }
    Ok(())
}

#[test]
fn windows_are_fetched_by_key_range_and_time_in_both_directions() -> Result<()> {
    let hour = Duration::from_secs(3600);
    let (mut driver, handle) = driver_of(Stores::window("windows", Utf8, I64, hour, hour));
    let mut windows = driver.store(&handle)?;
    for (key, start_ms) in [("a", 10), ("b", 20), ("c", 30), ("b", 40)] {
        windows.put(&key.to_owned(), start_ms, start_ms)?;
    }
    fn starts(entries: impl Iterator<Item = Result<(String, i64, i64)>>) -> Vec<(String, i64)> {
        entries
            .map(|entry| entry.map(|(key, start_ms, _)| (key, start_ms)))
            .collect::<Result<_>>()
            .expect("readable entries")
    }
    let named = |expected: &[(&str, i64)]| -> Vec<(String, i64)> {
        expected
            .iter()
            .map(|(key, start_ms)| ((*key).to_owned(), *start_ms))
            .collect()
    };
    let (a, b) = ("a".to_owned(), "b".to_owned());
    let all = named(&[("a", 10), ("b", 20), ("b", 40), ("c", 30)]);
    assert_eq!(starts(windows.all()?), all);
    assert_eq!(
        starts(windows.backward_all()?),
        all.iter().rev().cloned().collect::<Vec<_>>()
    );
    assert_eq!(
        starts(windows.fetch_keys(Some(&a), Some(&b), 0, 20)?),
        named(&[("a", 10), ("b", 20)])
    );
    assert_eq!(
        starts(windows.backward_fetch_keys(Some(&b), None, 20, 30)?),
        named(&[("c", 30), ("b", 20)])
    );
    assert_eq!(
        starts(windows.backward_fetch_all(20, 30)?),
        named(&[("c", 30), ("b", 20)])
    );
    let of_b: Vec<_> = windows
        .backward_fetch_range(&b, 0, 100)?
        .collect::<Result<_>>()?;
    assert_eq!(of_b, [(40, 40), (20, 20)]);
    Ok(())
}

#[test]
fn a_key_that_goes_for_another_is_deleted_in_the_changelog_first() -> Result<()> {
    let (mut driver, handle) = driver_of(Stores::lru_map("recent", Utf8, Utf8, 2));
    let mut recent = driver.store(&handle)?;
    recent.put_all(owned(&["a", "b"]))?;
    // Reading counts as use.
    recent.get(&"a".to_owned())?;
    recent.put_all(owned(&["c"]))?;
    assert_eq!(keys(recent.all()?), "a c");
    assert_eq!(recent.approximate_len()?, 2);
    driver.advance_wall_clock(Duration::ZERO)?;
    let mut logged = Vec::new();
    while let Some(record) = driver.read_produced("test-recent-changelog")? {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        logged.push((record.key.map(text), record.value.map(text)));
    }
    let entry = |key: &str, value: Option<&str>| (Some(key.to_owned()), value.map(str::to_owned));
    assert_eq!(
        logged,
        [
            entry("a", Some("a!")),
            entry("b", Some("b!")),
            entry("b", None),
            entry("c", Some("c!"))
        ]
    );
    driver.restart(LocalState::Lost)?;
    let mut recent = driver.store(&handle)?;
    recent.put_all(owned(&["d"]))?;
    assert_eq!(keys(recent.all()?), "c d");
    Ok(())
}

#[test]
fn global_stores_are_read_by_name_and_type() -> Result<()> {
    let builder = StreamsBuilder::new();
    builder.global_table::<String, String>(
        "names",
        Consumed::with(Utf8, Utf8),
        Materialized::named("names"),
    );
    let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    let names = driver.input("names", Utf8, Utf8);
    driver.pipe_key_values_at(&names, owned(&["a", "b"]), 5, Duration::from_millis(1))?;
    let handle: StoreHandle<TimestampedKeyValueStore<String, String>> = StoreHandle::named("names");
    let mut store = driver.global_store(&handle)?;
    assert_eq!(store.get(&"a".to_owned())?.as_deref(), Some("a!"));
    let found = store.get_with_timestamp(&"b".to_owned())?;
    assert_eq!(found, Some(("b!".to_owned(), 6)));
    assert_eq!(store.reverse_all()?[0].0, "b");
    assert_eq!(store.prefix_scan(&"a".to_owned(), Utf8)?.len(), 1);
    assert_eq!(store.approximate_len()?, 2);
    let wrong: StoreHandle<TimestampedKeyValueStore<String, i64>> = StoreHandle::named("names");
    assert!(driver.global_store(&wrong).is_err());
    let unknown: StoreHandle<KeyValueStore<String, String>> = StoreHandle::named("name");
    let error = driver.global_store(&unknown).err().expect("no such store");
    assert!(error.to_string().ends_with("it has: names"), "{error}");
    Ok(())
}
