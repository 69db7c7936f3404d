use crate::processor::{Processor, ProcessorContext};
use crate::serdes::{I64, Nullable, Utf8};
use crate::stores::{StoreHandle, TimestampedKeyValueStore};
use crate::testing::LocalState;
use crate::{
    Consumed, Grouped, JoinWindows, KStream, Materialized, Produced, Record, Repartitioned, Result,
    StreamJoined, StreamsBuilder, StreamsConfig, Topology, TopologyTestDriver,
    WindowBytesStoreSupplier,
};
use std::time::Duration;

struct Sink;

impl Processor<String, String, String, String> for Sink {
    fn process(
        &mut self,
        _: Record<'_, String, String>,
        _: &mut ProcessorContext<'_, String, String>,
    ) -> Result<()> {
        Ok(())
    }
}

/// The topology of Kafka's `RepartitionOptimizingTest`, whose expectations are in the two files beside this one.
fn four_repartitions(optimization: &str) -> Topology {
    let builder = StreamsBuilder::new();
    let mapped = builder
        .stream::<String, String>("input", Consumed::new().named("sourceStream"))
        .named("source-map")
        .map(|key, value| (key.to_uppercase(), value.clone()));
    mapped
        .named("process-filter")
        .filter(|key, _| key == "B")
        .named("process-mapValues")
        .map_values(|value| value.to_uppercase())
        .named("process")
        .process(|| Sink, &[]);
    let counts = mapped
        .group_by_key_with(Grouped::new().named("count-groupByKey"))
        .named("count")
        .count_with(Materialized::named("count-store"))
        .named("count-toStream")
        .to_stream();
    counts.to("outputTopic_0", Produced::new().named("count-to"));
    mapped
        .group_by_key_with(Grouped::new().named("aggregate-groupByKey"))
        .named("aggregate")
        .aggregate(
            || 0i64,
            |_, value, length| *length += value.len() as i64,
            Materialized::named("aggregate-store"),
        )
        .named("aggregate-toStream")
        .to_stream()
        .to("outputTopic_1", Produced::new().named("reduce-to"));
    mapped
        .named("reduce-filter")
        .filter(|_, _| true)
        .named("reduce-peek")
        .peek(|_, _| {})
        .group_by_key_with(Grouped::new().named("reduce-groupByKey"))
        .named("reducer")
        .reduce_with(
            |a, b| format!("{a}:{b}"),
            Materialized::named("reduce-store"),
        )
        .named("reduce-toStream")
        .to_stream()
        .to("outputTopic_2", Produced::new());
    let (day, span) = (Duration::from_secs(24 * 60 * 60), Duration::from_secs(10));
    let windows = JoinWindows::of_time_difference_and_grace(span / 2, day - span);
    let store = |name: &str| WindowBytesStoreSupplier::in_memory(name, day, span, true);
    mapped
        .named("join-filter")
        .filter(|key, _| key == "A")
        .join_stream_with(
            &counts,
            |value, count| format!("{value}:{count}"),
            windows,
            StreamJoined::with(Utf8, Utf8, I64)
                .named("join")
                .with_this_store(store("join-store"))
                .with_other_store(store("other-join-store")),
        )
        .to("joinedOutputTopic", Produced::new().named("join-to"));
    let config = StreamsConfig::new("app")
        .set("topology.optimization", optimization)
        .expect("a setting");
    builder.build_with(&config).expect("a topology")
}

fn results(topology: &Topology, topic: &str) -> Vec<(String, i64)> {
    let mut driver = TopologyTestDriver::new(topology).expect("a driver");
    let input = driver.input("input", Utf8, Utf8);
    for key in ["a", "b", "c"] {
        for value in ["foo", "bar", "baz"] {
            driver.pipe(&input, key, value).expect("a record");
        }
    }
    let output = driver.output(topic, Utf8, I64);
    let map = driver.read_map(&output).expect("results");
    let mut sorted: Vec<(String, i64)> = map.into_iter().collect();
    sorted.sort();
    sorted
}

#[test]
fn operations_behind_one_change_of_keys_share_a_repartition_topic() {
    let merged = four_repartitions("all");
    assert_eq!(merged.describe(), include_str!("merged.txt"));
    let apart = four_repartitions("none");
    assert_eq!(apart.describe(), include_str!("apart.txt"));
    for topology in [merged, apart] {
        let of = |count| ["A", "B", "C"].map(|key| (key.to_owned(), count));
        assert_eq!(results(&topology, "outputTopic_0"), of(3));
        assert_eq!(results(&topology, "outputTopic_1"), of(9));
    }
}

fn build(write: impl FnOnce(&StreamsBuilder)) -> String {
    let builder = StreamsBuilder::new();
    write(&builder);
    let config = StreamsConfig::new("app")
        .set("topology.optimization", "all")
        .expect("a setting");
    builder.build_with(&config).expect("a topology").describe()
}

fn topics_of(description: &str) -> usize {
    description.matches("-repartition)").count()
}

fn twice_counted<P>(stream: &KStream<String, String, P>)
where
    P: crate::RepartitionSerdes<String, String>,
{
    stream.group_by_key().count();
    stream.group_by_key().count();
}

#[test]
fn nothing_is_moved_in_front_of_an_operation_on_values() {
    let description = build(|builder| {
        let values = builder
            .stream::<String, String>("in", Consumed::new())
            .select_key(|_, value| value.clone())
            .map_values(|value| value.clone());
        twice_counted(&values);
    });
    assert_eq!(topics_of(&description), 2, "{description}");
}

#[test]
fn user_code_in_between_keeps_topics_where_they_are() {
    let description = build(|builder| {
        let processed = builder
            .stream::<String, String>("in", Consumed::new())
            .select_key(|_, value| value.clone())
            .process(|| Sink, &[]);
        twice_counted(&processed);
    });
    assert_eq!(topics_of(&description), 2, "{description}");
}

#[test]
fn streams_that_are_merged_are_repartitioned_behind_the_merge() {
    let description = build(|builder| {
        let rekeyed = |topic: &str| {
            builder
                .stream::<String, String>(topic, Consumed::new())
                .select_key(|_, value| value.clone())
        };
        twice_counted(&rekeyed("a").merge(&rekeyed("b")));
    });
    assert_eq!(topics_of(&description), 1, "{description}");
    assert!(
        description.contains("Processor: KSTREAM-MERGE-0000000004 (stores: [])\n      --> KSTREAM-AGGREGATE-STATE-STORE-0000000005-repartition-filter\n"),
        "{description}"
    );
}

#[test]
fn records_without_a_value_pass_through_the_shared_topic() {
    let description = build(|builder| {
        let rekeyed = builder
            .stream("in", Consumed::with(Utf8, Nullable(Utf8)))
            .select_key(|key, _| key.clone());
        rekeyed.group_by_key().drop_null_values().count();
        rekeyed
            .drop_null_values()
            .filter(|_, value| !value.is_empty())
            .group_by_key()
            .count();
    });
    assert_eq!(topics_of(&description), 1, "{description}");
}

#[test]
fn what_the_user_asked_for_stays() {
    let description = build(|builder| {
        let rekeyed = builder
            .stream::<String, String>("in", Consumed::new())
            .select_key(|_, value| value.clone());
        rekeyed
            .repartition(Repartitioned::new().named("mine"))
            .group_by_key()
            .count();
        rekeyed.group_by_key().count();
    });
    assert_eq!(topics_of(&description), 2, "{description}");
}

#[test]
fn a_tables_topic_is_its_changelog() {
    let builder = StreamsBuilder::new();
    builder
        .table::<String, i64>("in", Consumed::new(), Materialized::named("rows"))
        .to_stream()
        .for_each(|_, _| {});
    let config = StreamsConfig::new("app")
        .set("topology.optimization", "reuse.ktable.source.topics")
        .expect("a setting");
    let topology = builder.build_with(&config).expect("a topology");
    let mut driver = TopologyTestDriver::new(&topology).expect("a driver");
    let input = driver.input("in", Utf8, I64);
    driver.pipe(&input, "a", 1).expect("a record");
    assert_eq!(driver.produced_topic_names().count(), 0);
    driver.restart(LocalState::Lost).expect("a restart");
    let rows = StoreHandle::<TimestampedKeyValueStore<String, i64>>::named("rows");
    let row = driver.store(&rows).expect("a store").get(&"a".to_owned());
    assert_eq!(row.expect("a row").map(|(value, _)| value), Some(1));
}

#[test]
fn every_record_reaches_a_shared_topic() {
    let rekeyed = |builder: &StreamsBuilder, topic: &str| {
        builder
            .stream::<String, String>(topic, Consumed::new())
            .select_key(|_, value| value.clone())
    };
    // Behind the last merge, not behind the first.
    let description = build(|builder| {
        let [a, b, c] = ["a", "b", "c"].map(|topic| rekeyed(builder, topic));
        twice_counted(&a.merge(&b).merge(&c));
    });
    assert_eq!(topics_of(&description), 1, "{description}");
    assert!(
        description.contains("Processor: KSTREAM-MERGE-0000000007 (stores: [])\n      --> KSTREAM-AGGREGATE-STATE-STORE-0000000008-repartition-filter\n"),
        "{description}"
    );
    // A topic of two streams does not move in front of one of them.
    let description = build(|builder| {
        let [a, b] = ["a", "b"].map(|topic| rekeyed(builder, topic));
        a.group_by_key().count();
        a.merge(&b).group_by_key().count();
    });
    assert_eq!(topics_of(&description), 2, "{description}");
}
