//! What Kafka Streams has no answer to: values changed in place, panics of handlers, kinds and causes of errors.

use super::*;
use crate::processor::{Processor, ProcessorContext};
use crate::serdes::{Json, Utf8};
use crate::{
    Consumed, Error, Materialized, Produced, Record, Result, StreamsBuilder, TopologyTestDriver,
};

#[test]
fn an_aggregate_changed_halfway_is_as_it_was_before() {
    let builder = StreamsBuilder::new();
    builder
        .stream("in", Consumed::with(Utf8, Utf8))
        .group_by_key()
        .aggregate(
            Vec::new,
            |_key: &String, value: &String, all: &mut Vec<String>| {
                all.push(value.clone());
                if value == "bad" {
                    std::panic::resume_unwind(Box::new("a bad value"));
                }
            },
            Materialized::named("all").with_value(Json),
        )
        .to_stream()
        .to("out", Produced::with(Utf8, Json));
    let mut driver = TopologyTestDriver::builder(&builder.build().unwrap())
        .processing_exception_handler(LogAndContinue)
        .commit_explicitly()
        .build()
        .unwrap();
    let input = driver.input("in", Utf8, Utf8);
    let output = driver.output::<String, Vec<String>>("out", Utf8, Json);
    let records = [("a", "1"), ("a", "bad"), ("a", "2"), ("b", "bad")];
    driver.pipe_key_values(&input, records).unwrap();
    driver.commit().unwrap();
    let expected = ("a".to_owned(), vec!["1".to_owned(), "2".to_owned()]);
    assert_eq!(driver.read_key_values(&output).unwrap(), [expected]);
    assert_eq!(driver.dropped_records(), 2);
}

/// Fails with an error of the value's kind.
struct Fails;

impl Processor<String, String, String, String> for Fails {
    fn process(
        &mut self,
        record: Record<'_, String, String>,
        _context: &mut ProcessorContext<'_, String, String>,
    ) -> Result<()> {
        match &**record.value {
            "fatal" => Err(Error::fatal("nothing can go on")),
            "data" => Err(Error::data("no number").with_source("x".parse::<i64>().unwrap_err())),
            _ => Ok(()),
        }
    }
}

fn failing(handler: impl ProcessingExceptionHandler) -> TopologyTestDriver {
    let builder = StreamsBuilder::new();
    builder
        .stream("in", Consumed::with(Utf8, Utf8))
        .process(|| Fails, &[]);
    TopologyTestDriver::builder(&builder.build().unwrap())
        .config(
            crate::StreamsConfig::new("test")
                .set("errors.dead.letter.queue.topic.name", "dead")
                .unwrap(),
        )
        .processing_exception_handler(handler)
        .build()
        .unwrap()
}

#[test]
fn nobody_is_asked_about_errors_that_are_not_about_data() {
    let mut driver = failing(LogAndContinue);
    let input = driver.input("in", Utf8, Utf8);
    driver.pipe(&input, "a", "data").unwrap();
    let error = driver.pipe(&input, "a", "fatal").unwrap_err();
    let place = "in-0 at offset 1: in KSTREAM-PROCESSOR-0000000001: nothing can go on";
    assert!(error.to_string().contains(place), "{error}");
}

#[test]
fn a_dead_letter_names_the_type_of_the_cause() {
    // Also when the application stops.
    let mut driver = failing(LogAndFail);
    let input = driver.input("in", Utf8, Utf8);
    let dead = driver.output("dead", Utf8, Utf8);
    driver.pipe(&input, "a", "data").unwrap_err();
    let letter = driver.read_record(&dead).unwrap().unwrap();
    let header = |name| String::from_utf8_lossy(letter.headers.last(name).unwrap()).into_owned();
    assert_eq!(
        header(DeadLetter::EXCEPTION),
        "core::num::error::ParseIntError"
    );
    assert_eq!(header(DeadLetter::MESSAGE), "no number");
    assert_eq!(
        header(DeadLetter::STACKTRACE),
        "core::num::error::ParseIntError: no number\nCaused by: invalid digit found in string\n"
    );
}

#[derive(Debug)]
struct Panics;

impl ProcessingExceptionHandler for Panics {
    fn handle_error(
        &self,
        _context: &ErrorHandlerContext<'_>,
        _record: Option<&FailedRecord<'_>>,
        _error: &Error,
    ) -> HandlerResponse {
        std::panic::resume_unwind(Box::new("no idea"))
    }
}

#[test]
fn a_handler_that_panics_stops_the_application() {
    let mut driver = failing(Panics);
    let input = driver.input("in", Utf8, Utf8);
    let error = driver.pipe(&input, "a", "data").unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Fatal);
    let text = error.to_string();
    assert!(
        text.contains("no idea") && text.contains("no number"),
        "{text}"
    );
}

/// What the topic of late records has got: each value, with why it is there.
fn late_records(
    driver: &mut TopologyTestDriver,
    late: &crate::TestOutputTopic<String, String>,
) -> Vec<(String, String)> {
    let mut records = Vec::new();
    while let Some(record) = driver.read_record(late).unwrap() {
        assert_eq!(
            record.headers.last(DeadLetter::EXCEPTION),
            Some(&b"late"[..])
        );
        assert_eq!(record.headers.last(DeadLetter::TOPIC), Some(&b"in"[..]));
        let why = record.headers.last(DeadLetter::MESSAGE).unwrap();
        records.push((record.value, String::from_utf8(why.to_vec()).unwrap()));
    }
    records
}

fn late_driver(build: impl FnOnce(&StreamsBuilder)) -> TopologyTestDriver {
    let builder = StreamsBuilder::new();
    build(&builder);
    let config = crate::StreamsConfig::new("test").set("late.records.topic.name", "late");
    TopologyTestDriver::builder(&builder.build().unwrap())
        .config(config.unwrap())
        .build()
        .unwrap()
}

#[test]
fn what_is_late_for_windows_of_any_kind_goes_to_its_topic_once() {
    use crate::{SessionWindows, SlidingWindows, TimeWindows};
    use std::time::Duration;
    const SIZE: Duration = Duration::from_millis(10);
    let grouped = |builder: &StreamsBuilder| {
        let stream = builder.stream::<String, String>("in", Consumed::with(Utf8, Utf8));
        stream.group_by_key()
    };
    let hopping =
        TimeWindows::of_size_and_grace(SIZE, Duration::ZERO).advance_by(Duration::from_millis(5));
    let drivers = [
        late_driver(|builder| {
            let _ = grouped(builder).windowed_by(hopping).count();
        }),
        late_driver(|builder| {
            let windows = SlidingWindows::of_time_difference_and_grace(SIZE, Duration::ZERO);
            let _ = grouped(builder).windowed_by(windows).count();
        }),
        late_driver(|builder| {
            let windows = SessionWindows::of_inactivity_gap_and_grace(SIZE, Duration::ZERO);
            let _ = grouped(builder).windowed_by(windows).count();
        }),
    ];
    for (mut driver, reason) in drivers.into_iter().zip([
        "its window is closed",
        "its windows are closed",
        "its session is closed",
    ]) {
        let input = driver.input("in", Utf8, Utf8);
        let late = driver.output("late", Utf8, Utf8);
        driver.pipe_at(&input, "a", "first", 1000).unwrap();
        driver.pipe_at(&input, "a", "late", 100).unwrap();
        driver.pipe_at(&input, "b", "in time", 1000).unwrap();
        let why = format!("{reason}: its time is 100, that of the stream 1000");
        let records = late_records(&mut driver, &late);
        assert_eq!(records, [("late".to_owned(), why)]);
    }
}

#[test]
fn the_late_are_dropped_without_a_topic_for_them() {
    use crate::TimeWindows;
    use std::time::Duration;
    let builder = StreamsBuilder::new();
    let windows = TimeWindows::of_size_and_grace(Duration::from_millis(10), Duration::ZERO);
    let stream = builder.stream::<String, String>("in", Consumed::with(Utf8, Utf8));
    let _ = stream.group_by_key().windowed_by(windows).count();
    let mut driver = TopologyTestDriver::new(&builder.build().unwrap()).unwrap();
    let input = driver.input("in", Utf8, Utf8);
    driver.pipe_at(&input, "a", "first", 1000).unwrap();
    driver.pipe_at(&input, "a", "late", 100).unwrap();
    assert_eq!(driver.dropped_records(), 1);
}
