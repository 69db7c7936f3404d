//! What the test driver can do beyond Kafka Streams' own.

use super::*;
use crate::processor::{Processor, ProcessorContext};
use crate::serdes::{I64, Utf8};
use crate::stores::{KeyValueStore, StoreHandle, Stores, TimestampedKeyValueStore};
use crate::{
    Consumed, Materialized, Produced, Record, Result, StreamsBuilder, StreamsConfig, Topology,
};
use std::time::Duration;

fn counts() -> Topology {
    let builder = StreamsBuilder::new();
    builder
        .stream("words", Consumed::with(Utf8, Utf8))
        .group_by_key()
        .count_with(Materialized::named("counts"))
        .to_stream()
        .to("counts", Produced::with(Utf8, I64));
    builder.build().expect("a topology")
}

fn handle() -> StoreHandle<TimestampedKeyValueStore<String, i64>> {
    StoreHandle::named("counts")
}

#[test]
fn keys_go_to_the_partitions_of_production() -> Result<()> {
    let mut driver = TopologyTestDriver::builder(&counts())
        .partitions("words", 10)
        .partitions("counts", 2)
        .build()?;
    let words = driver.input("words", Utf8, Utf8);
    let counts = driver.output("counts", Utf8, I64);
    // Partitions 6 and 9 of 10, by Kafka's murmur2.
    driver.pipe_key_values(&words, [("foobar", ""), ("hello", ""), ("foobar", "")])?;
    let foobar = "foobar".to_owned();
    assert_eq!(
        driver.store_of_partition(&handle(), 6)?.get(&foobar)?,
        Some((2, 0))
    );
    assert_eq!(driver.store_of_partition(&handle(), 9)?.get(&foobar)?, None);
    let error = driver.store(&handle()).err().expect("ten shares");
    assert!(error.to_string().contains("store_of_partition"), "{error}");
    let error = driver.store_of_partition(&handle(), 10).err().expect("no");
    assert!(error.to_string().contains("has 10 partitions"), "{error}");
    let changelog = driver.output("test-counts-changelog", Utf8, I64);
    assert_eq!(driver.read_partition(&changelog, 6)?.len(), 2);
    assert_eq!(driver.queue_size(&changelog), 1);
    assert_eq!(driver.read_partition(&counts, 0)?.len(), 2);
    assert_eq!(driver.read_key_values(&counts)?, [("hello".to_owned(), 1)]);
    Ok(())
}

#[test]
fn topics_that_are_joined_need_equal_counts() {
    let builder = StreamsBuilder::new();
    let table = builder.table("table", Consumed::with(Utf8, Utf8), Materialized::new());
    builder
        .stream("stream", Consumed::with(Utf8, Utf8))
        .join(&table, |l: &String, r: &String| format!("{l}{r}"))
        .to("out", Produced::with(Utf8, Utf8));
    let topology = builder.build().expect("a topology");
    let error = TopologyTestDriver::builder(&topology)
        .partitions("table", 2)
        .build()
        .err()
        .expect("1 and 2 partitions");
    assert!(
        error
            .to_string()
            .contains("not co-partitioned: [stream=1, table=2]"),
        "{error}"
    );
    assert!(
        TopologyTestDriver::builder(&topology)
            .default_partitions(2)
            .build()
            .is_ok()
    );
}

#[test]
fn nothing_leaves_the_cache_before_a_commit() -> Result<()> {
    let mut driver = TopologyTestDriver::builder(&counts())
        .commit_explicitly()
        .build()?;
    let words = driver.input("words", Utf8, Utf8);
    let counts = driver.output("counts", Utf8, I64);
    driver.pipe_key_values(&words, [("a", ""), ("b", ""), ("a", "")])?;
    driver.advance_wall_clock(Duration::from_secs(3600))?;
    assert!(driver.is_empty(&counts));
    driver.commit()?;
    assert_eq!(
        driver.read_key_values(&counts)?,
        [("b".to_owned(), 1), ("a".to_owned(), 2)]
    );
    Ok(())
}

#[test]
fn a_configuration_turns_the_cache_off() -> Result<()> {
    let config = StreamsConfig::new("app").set("statestore.cache.max.bytes", 0)?;
    let mut driver = TopologyTestDriver::builder(&counts())
        .config(config)
        .commit_explicitly()
        .build()?;
    let words = driver.input("words", Utf8, Utf8);
    driver.pipe_key_values(&words, [("a", ""), ("a", "")])?;
    let counts = driver.output("counts", Utf8, I64);
    assert_eq!(driver.read_values(&counts)?, [1, 2]);
    let names: Vec<_> = driver.produced_topic_names().collect();
    assert_eq!(names, ["app-counts-changelog", "counts"]);
    Ok(())
}

#[test]
fn a_restart_repeats_what_was_not_committed() -> Result<()> {
    for state in [LocalState::Lost, LocalState::Kept] {
        let mut driver = TopologyTestDriver::builder(&counts())
            .commit_explicitly()
            .build()?;
        let words = driver.input("words", Utf8, Utf8);
        let counts = driver.output("counts", Utf8, I64);
        driver.pipe(&words, "a", "")?;
        driver.commit()?;
        driver.pipe_key_values(&words, [("a", ""), ("b", "")])?;
        driver.restart(state)?;
        driver.commit()?;
        assert_eq!(
            driver.read_key_values(&counts)?,
            [
                ("a".to_owned(), 1),
                ("a".to_owned(), 2),
                ("b".to_owned(), 1)
            ],
            "{state:?}"
        );
    }
    Ok(())
}

/// Remembers the last value in a store without a changelog, and forwards it with the task's stream time.
struct Last(StoreHandle<KeyValueStore<String, String>>);

impl Processor<String, String, String, String> for Last {
    fn process(
        &mut self,
        record: Record<'_, String, String>,
        context: &mut ProcessorContext<'_, String, String>,
    ) -> Result<()> {
        let time = context.current_stream_time_ms();
        let mut last = context.store(&self.0)?;
        let before = last.get(record.key)?;
        last.put(record.key, record.value.clone())?;
        context.forward(record.key, &format!("{before:?} {time}"), record.timestamp)
    }
}

fn remember(in_memory: bool, rekey: bool) -> Topology {
    let builder = StreamsBuilder::new();
    let mut store = Stores::key_value("last", Utf8, Utf8).with_logging_disabled();
    if in_memory {
        store = store.in_memory();
    }
    let last = builder.add_state_store(store);
    let name = last.name().to_owned();
    let stream = builder.stream("in", Consumed::with(Utf8, Utf8));
    if rekey {
        stream
            .repartition(crate::Repartitioned::with(Utf8, Utf8))
            .process(move || Last(last.clone()), &[&name])
            .to("out", Produced::with(Utf8, Utf8));
    } else {
        stream
            .process(move || Last(last.clone()), &[&name])
            .to("out", Produced::with(Utf8, Utf8));
    }
    builder.build().expect("a topology")
}

#[test]
fn a_store_that_is_not_logged_survives_with_its_disk_only() -> Result<()> {
    for (in_memory, state, survives) in [
        (false, LocalState::Kept, true),
        (false, LocalState::Lost, false),
        (true, LocalState::Kept, false),
    ] {
        let mut driver = TopologyTestDriver::new(&remember(in_memory, false))?;
        let input = driver.input("in", Utf8, Utf8);
        let output = driver.output("out", Utf8, Utf8);
        driver.pipe_at(&input, "k", "1", 50)?;
        driver.restart(state)?;
        driver.pipe_at(&input, "k", "2", 10)?;
        // The stream time comes from the partition time in the committed offset's metadata.
        let after = match survives {
            true => "Some(\"1\") 50",
            false => "None 50",
        };
        assert_eq!(driver.read_values(&output)?, ["None 50", after]);
    }
    Ok(())
}

#[test]
fn one_partition_is_one_task_and_several_are_many() -> Result<()> {
    let topology = remember(false, true);
    let run = |partitions| -> Result<Vec<String>> {
        let mut driver = TopologyTestDriver::builder(&topology)
            .default_partitions(partitions)
            .commit_explicitly()
            .build()?;
        let input = driver.input("in", Utf8, Utf8);
        let output = driver.output("out", Utf8, Utf8);
        // The same key, so the same partition of the repartition topic.
        driver.pipe_key_values_at(&input, [("k", "1"), ("k", "2")], 7, Duration::ZERO)?;
        driver.read_values(&output)
    };
    assert_eq!(run(1)?, run(3)?);
    let mut driver = TopologyTestDriver::builder(&topology)
        .default_partitions(3)
        .build()?;
    let input = driver.input("in", Utf8, Utf8);
    driver.pipe_at(&input, "k", "1", 7)?;
    assert_eq!(driver.store_names(), ["last"]);
    Ok(())
}

#[test]
fn global_tables_are_restored() -> Result<()> {
    let builder = StreamsBuilder::new();
    let table = builder.global_table::<String, String>(
        "names",
        Consumed::with(Utf8, Utf8),
        Materialized::new(),
    );
    builder
        .stream("in", Consumed::with(Utf8, Utf8))
        .join_global(
            &table,
            |key: &String, _: &String| key.clone(),
            |_: &String, value: &String, name: &String| format!("{value} {name}"),
        )
        .to("out", Produced::with(Utf8, Utf8));
    let mut driver = TopologyTestDriver::new(&builder.build()?)?;
    let names = driver.input("names", Utf8, Utf8);
    let input = driver.input("in", Utf8, Utf8);
    driver.pipe(&names, "k", "name")?;
    driver.restart(LocalState::Lost)?;
    driver.pipe(&input, "k", "a")?;
    let output = driver.output("out", Utf8, Utf8);
    assert_eq!(driver.read_values(&output)?, ["a name"]);
    Ok(())
}

#[test]
fn a_task_waits_for_an_empty_input_as_long_as_it_is_told() -> Result<()> {
    let builder = StreamsBuilder::new();
    let left = builder.stream("left", Consumed::with(Utf8, Utf8));
    let right = builder.stream("right", Consumed::with(Utf8, Utf8));
    left.merge(&right).to("out", Produced::with(Utf8, Utf8));
    let config = StreamsConfig::new("app").set("max.task.idle.ms", 100)?;
    let mut driver = TopologyTestDriver::builder(&builder.build()?)
        .config(config)
        .build()?;
    let left = driver.input("left", Utf8, Utf8);
    let right = driver.input("right", Utf8, Utf8);
    let output = driver.output("out", Utf8, Utf8);
    driver.pipe_at(&left, "k", "2", 2)?;
    assert!(driver.is_empty(&output));
    driver.pipe_at(&right, "k", "1", 1)?;
    assert_eq!(driver.read_values(&output)?, ["1"]);
    driver.advance_wall_clock(Duration::from_millis(99))?;
    assert!(driver.is_empty(&output));
    driver.advance_wall_clock(Duration::from_millis(1))?;
    assert_eq!(driver.read_values(&output)?, ["2"]);
    Ok(())
}

#[test]
fn wrong_topics_get_advice() -> Result<()> {
    let mut driver = TopologyTestDriver::new(&counts())?;
    let typo = driver.input("word", Utf8, Utf8);
    let error = driver.pipe(&typo, "a", "").expect_err("nobody reads it");
    assert!(error.to_string().ends_with("it reads: words"), "{error}");
    let typo = driver.output("count", Utf8, I64);
    let error = driver.read_record(&typo).expect_err("nobody writes it");
    assert!(
        error
            .to_string()
            .ends_with("it writes to: counts, test-counts-changelog"),
        "{error}"
    );
    let counts = driver.output("counts", Utf8, I64);
    assert_eq!(driver.read_record(&counts)?, None);
    let words = driver.input("words", Utf8, Utf8);
    let record = TestRecord::new("a".to_owned(), String::new(), 0);
    let error = driver.pipe_to_partition(&words, 1, &record).err();
    let error = error.expect("one partition").to_string();
    assert!(error.contains("no partition 1 but 1"), "{error}");
    Ok(())
}
