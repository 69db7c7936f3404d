//! The workloads: what is computed, over how many keys, at how many records a second of event time.

use crate::data::{Mean, MeanSerde, Reading};
use std::time::Duration;
use streams_core::serdes::{
    F64, I64, Nullable, RawBytes, Serde, SessionWindowed, TimeWindowed, Utf8,
};
use streams_core::windowed::Windowed;
use streams_core::{
    Consumed, EmitStrategy, JoinWindows, KStream, Materialized, Produced, Result, SessionWindows,
    SlidingWindows, StreamJoined, StreamsBuilder, TimeWindows, Topology,
};

/// One line of the table.
pub struct Workload {
    pub name: &'static str,
    pub topology: fn() -> Result<Topology>,
    pub keys: u64,
    /// Records a second of event time, all inputs together.
    pub rate: u64,
    pub inputs: usize,
    /// How many records are first read into the second input, a table, one of each key.
    pub rows: u64,
    /// What a run measures.
    pub records: u64,
    /// Whether its instructions are counted; some differ from others in nothing but the number of keys.
    pub is_counted: bool,
    /// CPU time of Kafka Streams per record in nanoseconds, where it was measured.
    pub java_ns: f64,
    /// Records that Kafka Streams sends to the output per record, where it was counted.
    pub java_outputs: f64,
}

const SECOND: Duration = Duration::from_secs(1);

const fn workload(
    name: &'static str,
    topology: fn() -> Result<Topology>,
    keys: u64,
    rate: u64,
    records: u64,
    (java_ns, java_outputs): (f64, f64),
) -> Workload {
    Workload {
        name,
        topology,
        keys,
        rate,
        inputs: 1,
        rows: 0,
        records,
        is_counted: keys <= 10_000 && keys != 30,
        java_ns,
        java_outputs,
    }
}

const NONE: f64 = f64::NAN;

pub const WORKLOADS: [Workload; 13] = [
    workload(
        "W1 pass-through",
        pass,
        10_000,
        100_000,
        2_000_000,
        (1840.0, 1.0),
    ),
    workload(
        "W3 tumbling mean, 30 keys",
        tumbling,
        30,
        100_000,
        2_000_000,
        (1650.0, 0.0),
    ),
    workload(
        "W3 tumbling mean, 10 k keys",
        tumbling,
        10_000,
        100_000,
        2_000_000,
        (2110.0, 0.01),
    ),
    workload(
        "W4 hopping 30x, 100 keys",
        hopping,
        100,
        5_000,
        1_000_000,
        (16_700.0, 0.026),
    ),
    workload(
        "W4 hopping 30x, 10 k keys",
        hopping,
        10_000,
        5_000,
        600_000,
        (153_000.0, 23.7),
    ),
    workload(
        "W4 hopping 30x, 10 k keys, on close",
        closing,
        10_000,
        5_000,
        600_000,
        (151_000.0, 0.99),
    ),
    workload(
        "W5 sliding, 30 per window",
        sliding,
        1_000,
        1_000,
        300_000,
        (100_000.0, 2.7),
    ),
    workload(
        "W6 session, 40 % merge",
        session,
        10_000,
        10_000,
        1_000_000,
        (13_700.0, 0.62),
    ),
    workload(
        "W6 session, 95 % merge",
        session,
        1_000,
        6_000,
        1_000_000,
        (NONE, NONE),
    ),
    Workload {
        inputs: 2,
        rows: 1_000_000,
        is_counted: true,
        ..workload(
            "W7 stream-table join, 1 M rows",
            table_join,
            1_000_000,
            100_000,
            500_000,
            (8_500.0, 1.0),
        )
    },
    Workload {
        inputs: 2,
        is_counted: true,
        ..workload(
            "W8 stream-stream join, 100 k keys",
            stream_join,
            100_000,
            96_000,
            2_000_000,
            (14_800.0, 2.5),
        )
    },
    workload(
        "W9 count, 10 k keys",
        count,
        10_000,
        100_000,
        2_000_000,
        (1660.0, 0.0025),
    ),
    workload(
        "W9 count, 2 M keys",
        count,
        2_000_000,
        100_000,
        2_000_000,
        (6_830.0, 0.96),
    ),
];

fn texts(builder: &StreamsBuilder, topic: &str) -> KStream<String, Vec<u8>> {
    builder.stream(topic, Consumed::with(Utf8, RawBytes))
}

fn readings(builder: &StreamsBuilder) -> KStream<String, f64> {
    builder.stream("readings", Consumed::with(Utf8, Reading))
}

fn means(
    windows: streams_core::KTable<Windowed<String>, Mean, streams_core::Permanent>,
    key: impl Serde<Windowed<String>> + Clone,
) {
    windows
        .to_stream()
        .map_values(|mean| mean.sum / mean.count as f64)
        .to("means", Produced::with(key, F64));
}

fn pass() -> Result<Topology> {
    let builder = StreamsBuilder::new();
    texts(&builder, "readings")
        .filter(|_, value| value[0] != 0xff)
        .map_values(|value| value.clone())
        .to("out", Produced::with(Utf8, RawBytes));
    builder.build()
}

fn tumbling() -> Result<Topology> {
    let (builder, size) = (StreamsBuilder::new(), 10 * SECOND);
    let table = readings(&builder)
        .group_by_key()
        .windowed_by(TimeWindows::of_size(size))
        .aggregate(
            Mean::default,
            |_, reading, mean| mean.add(*reading),
            Materialized::named("means").with_value(MeanSerde),
        );
    means(table, TimeWindowed::new(Utf8, size));
    builder.build()
}

fn hopping_means(emit: EmitStrategy) -> Result<Topology> {
    let (builder, size) = (StreamsBuilder::new(), 30 * SECOND);
    let table = readings(&builder)
        .group_by_key()
        .windowed_by(TimeWindows::of_size(size).advance_by(SECOND))
        .emit_strategy(emit)
        .aggregate(
            Mean::default,
            |_, reading, mean| mean.add(*reading),
            Materialized::named("means").with_value(MeanSerde),
        );
    means(table, TimeWindowed::new(Utf8, size));
    builder.build()
}

fn hopping() -> Result<Topology> {
    hopping_means(EmitStrategy::on_window_update())
}

fn closing() -> Result<Topology> {
    hopping_means(EmitStrategy::on_window_close())
}

fn sliding() -> Result<Topology> {
    let (builder, difference) = (StreamsBuilder::new(), 30 * SECOND);
    let table = readings(&builder)
        .group_by_key()
        .windowed_by(SlidingWindows::of_time_difference(difference))
        .aggregate(
            Mean::default,
            |_, reading, mean| mean.add(*reading),
            Materialized::named("means").with_value(MeanSerde),
        );
    means(table, TimeWindowed::new(Utf8, difference));
    builder.build()
}

fn session() -> Result<Topology> {
    let builder = StreamsBuilder::new();
    readings(&builder)
        .group_by_key()
        .windowed_by(SessionWindows::of_inactivity_gap(SECOND / 2))
        .aggregate(
            Mean::default,
            |_, reading, mean| mean.add(*reading),
            |_, mean, other| {
                mean.sum += other.sum;
                mean.count += other.count;
            },
            Materialized::named("means").with_value(MeanSerde),
        )
        .to_stream()
        .map_values(|mean| mean.as_ref().map(|mean| mean.sum / mean.count as f64))
        .to(
            "means",
            Produced::with(SessionWindowed::new(Utf8), Nullable(F64)),
        );
    builder.build()
}

fn table_join() -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let stream = texts(&builder, "stream");
    let table = builder.table(
        "table",
        Consumed::with(Utf8, RawBytes),
        Materialized::named("rows"),
    );
    stream
        .join(&table, |value: &Vec<u8>, row: &Vec<u8>| {
            value[..8]
                .iter()
                .chain(&row[..8])
                .copied()
                .collect::<Vec<u8>>()
        })
        .to("out", Produced::with(Utf8, RawBytes));
    builder.build()
}

fn stream_join() -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let (left, right) = (texts(&builder, "left"), texts(&builder, "right"));
    left.join_stream_with(
        &right,
        |left: &Vec<u8>, right: &Vec<u8>| {
            left[..8]
                .iter()
                .chain(&right[..8])
                .copied()
                .collect::<Vec<u8>>()
        },
        JoinWindows::of_time_difference_with_no_grace(5 * SECOND),
        StreamJoined::with(Utf8, RawBytes, RawBytes),
    )
    .to("out", Produced::with(Utf8, RawBytes));
    builder.build()
}

fn count() -> Result<Topology> {
    let builder = StreamsBuilder::new();
    texts(&builder, "readings")
        .group_by_key()
        .count_with(Materialized::named("counts"))
        .to_stream()
        .to("counts", Produced::with(Utf8, I64));
    builder.build()
}
