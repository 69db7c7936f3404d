use crate::partitioner::{Partitions, by};
use crate::serdes::{Nullable, Utf8};
use crate::testing::LocalState;
use crate::{
    Consumed, Error, Headers, KTable, Materialized, Produced, StreamsBuilder, TableJoined,
    TestRecord, TopologyTestDriver,
};
use std::collections::BTreeMap;

type Table = KTable<String, String>;

fn table(builder: &StreamsBuilder, topic: &str) -> Table {
    builder.table(topic, Consumed::new(), Materialized::new())
}

/// What stands in front of the bar.
fn foreign_key(value: &str) -> Option<String> {
    value.split_once('|').map(|(key, _)| key.to_owned())
}

fn joined(
    left: &Table,
    right: &Table,
    options: TableJoined<String, String, String, String>,
) -> Table {
    left.left_join_foreign_key_with(
        right,
        |_, value| foreign_key(value),
        |left, right| format!("{left}+{}", right.map_or("?", String::as_str)),
        options,
        Materialized::new(),
    )
}

fn builder(options: TableJoined<String, String, String, String>) -> StreamsBuilder {
    let builder = StreamsBuilder::new();
    let (left, right) = (table(&builder, "l"), table(&builder, "r"));
    joined(&left, &right, options)
        .to_stream()
        .to("out", Produced::new());
    builder
}

fn pipe(driver: &mut TopologyTestDriver, topic: &str, key: &str, value: Option<&str>) {
    let bytes = |text: &str| Some(text.as_bytes().to_vec());
    driver
        .pipe_bytes(topic, bytes(key), value.and_then(bytes), 0, Headers::new())
        .unwrap();
}

fn record(key: &str, value: &str) -> TestRecord<String, String> {
    TestRecord::new(key.to_owned(), value.to_owned(), 0)
}

fn read(driver: &mut TopologyTestDriver) -> Vec<(String, Option<String>)> {
    let output = driver.output("out", Utf8, Nullable(Utf8));
    driver.read_key_values(&output).unwrap()
}

fn row(key: &str, value: &str) -> (String, Option<String>) {
    (key.to_owned(), Some(value.to_owned()))
}

#[test]
fn subscriptions_survive_a_restart() {
    for state in [LocalState::Lost, LocalState::Kept] {
        let topology = builder(TableJoined::new()).build().unwrap();
        let mut driver = TopologyTestDriver::new(&topology).unwrap();
        pipe(&mut driver, "l", "a", Some("r1|x"));
        pipe(&mut driver, "l", "b", Some("r1|y"));
        pipe(&mut driver, "l", "b", Some("r2|y"));
        pipe(&mut driver, "l", "c", Some("r1|z"));
        pipe(&mut driver, "l", "c", None);
        read(&mut driver);
        driver.restart(state).unwrap();
        pipe(&mut driver, "r", "r1", Some("R"));
        assert_eq!(read(&mut driver), [row("a", "r1|x+R")]);
        driver.restart(state).unwrap();
        pipe(&mut driver, "l", "b", Some("r1|w"));
        pipe(&mut driver, "r", "r2", Some("nobody's"));
        assert_eq!(read(&mut driver), [row("b", "r1|w+R")]);
    }
}

#[test]
fn everybody_is_told_once_however_many_they_are() {
    let topology = builder(TableJoined::new()).build().unwrap();
    for count in [255, 256, 257, 1000] {
        let mut driver = TopologyTestDriver::new(&topology).unwrap();
        let keys: Vec<String> = (0..count).map(|number| format!("{number:04}")).collect();
        for key in &keys {
            pipe(&mut driver, "l", key, Some("r|x"));
        }
        pipe(&mut driver, "l", "other", Some("rr|x"));
        read(&mut driver);
        pipe(&mut driver, "r", "r", Some("R"));
        let expected: Vec<_> = keys.iter().map(|key| row(key, "r|x+R")).collect();
        assert_eq!(read(&mut driver), expected);
    }
}

/// Rows lie where they were put, not where the hash of their key says, and are found there again.
#[test]
fn responses_go_to_the_partition_their_row_came_from() {
    let topology = builder(TableJoined::new()).build().unwrap();
    let mut driver = TopologyTestDriver::builder(&topology)
        .partitions("l", 3)
        .partitions("r", 2)
        .build()
        .unwrap();
    let left = driver.input("l", Utf8, Utf8);
    for partition in 0..3 {
        let key = format!("row {partition}");
        driver
            .pipe_to_partition(
                &left,
                partition,
                &record("row", &format!("r{partition}|{key}")),
            )
            .unwrap();
        pipe(&mut driver, "r", &format!("r{partition}"), Some("R"));
    }
    let results: BTreeMap<_, _> = read(&mut driver)
        .into_iter()
        .filter_map(|(_, value)| value)
        .map(|value| (value.clone(), ()))
        .collect();
    let expected = [
        "r0|row 0+?",
        "r0|row 0+R",
        "r1|row 1+?",
        "r1|row 1+R",
        "r2|row 2+?",
        "r2|row 2+R",
    ];
    assert_eq!(results.into_keys().collect::<Vec<_>>(), expected);
}

/// A result is partitioned like the left table, also where it is joined again.
#[test]
fn partition_counts_are_those_of_the_tables() {
    let builder = StreamsBuilder::new();
    let [left, right, next] = ["l", "r", "n"].map(|topic| table(&builder, topic));
    let first = joined(&left, &right, TableJoined::new().named("first"));
    let second = joined(&first, &next, TableJoined::new().named("second"));
    second
        .join(&left, |a, b| format!("{a}{b}"))
        .to_stream()
        .to("out", Produced::new());
    let topology = builder.build().unwrap();
    let counts = [("l", 2), ("r", 4), ("n", 8)].map(|(topic, count)| (topic.to_owned(), count));
    let plan = crate::runtime::partition_plan::PartitionPlan::new(
        &topology,
        "app",
        &counts.into_iter().collect(),
    )
    .unwrap();
    for (topic, count) in [
        ("first-subscription-registration", 4),
        ("first-subscription-response", 2),
        ("second-subscription-registration", 8),
        ("second-subscription-response", 2),
    ] {
        assert_eq!(plan.counts[&format!("app-{topic}-topic")], count, "{topic}");
    }
}

#[test]
fn partitioners_choose_one_partition() {
    let first = by(|key: &String, _: &(), count| i32::from(key.as_bytes()[0]) % count);
    let options = TableJoined::new().with_partitioner(first);
    let topology = builder(options).build().unwrap();
    let mut driver = TopologyTestDriver::builder(&topology)
        .default_partitions(2)
        .build()
        .unwrap();
    let left = driver.input("l", Utf8, Utf8);
    driver
        .pipe_to_partition(&left, 1, &record("a", "r1|x"))
        .unwrap();
    driver
        .pipe_to_partition(&left, 0, &record("b", "r1|x"))
        .unwrap();
    assert_eq!(read(&mut driver).len(), 2);

    let none = |_: &str, _: &String, _: &(), _: i32| Partitions::Many(vec![]);
    let topology = builder(TableJoined::new().with_other_partitioner(none))
        .build()
        .unwrap();
    let mut driver = TopologyTestDriver::new(&topology).unwrap();
    let left = driver.input("l", Utf8, Utf8);
    // A row without foreign key goes anywhere.
    driver.pipe(&left, "a", "none").unwrap();
    let error: Error = driver.pipe(&left, "a", "r1|x").unwrap_err();
    assert!(error.to_string().contains("exactly one"), "{error}");
}

/// A message of a stranger is an error that names where it came from, and no panic.
#[test]
fn what_is_no_message_is_an_error() {
    for (topic, value) in [
        ("app-fk-subscription-registration-topic", &b"\x01\x07"[..]),
        ("app-fk-subscription-response-topic", b"\x00"),
    ] {
        let topology = builder(TableJoined::new().named("fk")).build().unwrap();
        let mut driver = TopologyTestDriver::builder(&topology)
            .application_id("app")
            .build()
            .unwrap();
        let key = Some(b"a".to_vec());
        let error = driver
            .pipe_bytes(topic, key, Some(value.to_vec()), 0, Headers::new())
            .unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains(topic) && error.contains("ends early"),
            "{error}"
        );
    }
}
