//! What the averages have to be: a plain fold over the topic of the readings, written without the programs' code.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use streams_core::OwnedRecord;
use streams_core::topic_reader::TopicReader;

use crate::support::wait;

pub const MINUTE_MS: i64 = 60_000;
pub const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

/// One reading as the topic has it.
pub struct Reading {
    pub partition: i32,
    pub offset: i64,
    pub city: String,
    pub time_ms: i64,
    pub values: BTreeMap<String, f64>,
}

/// What is known of one value in one window.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    pub mean: f64,
    pub min: f64,
    pub max: f64,
    pub count: u64,
}

/// One city's window.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    pub count: u64,
    pub values: BTreeMap<String, Statistics>,
}

/// Windows by city and start (milliseconds since the Unix epoch).
pub type Windows = BTreeMap<(String, i64), Window>;

/// The fold's outcome.
pub struct Fold {
    /// Windows that are over, with their grace.
    pub closed: Windows,
    /// Windows that still take readings.
    pub open: Windows,
    /// How many readings came after their window had closed.
    pub late: usize,
}

/// Every record of the topic as a reading, partition by partition in order.
pub fn readings(records: &[(i32, OwnedRecord)]) -> Vec<Reading> {
    let mut readings: Vec<Reading> = records
        .iter()
        .map(|(partition, record)| {
            let bytes = record.value.as_deref().expect("a reading is not null");
            let mut fields: BTreeMap<String, Value> =
                serde_json::from_slice(bytes).expect("a reading is JSON");
            let city = text(&fields.remove("city").expect("a reading has a city"));
            let time_ms = time_ms(&fields.remove("timeStamp").expect("a reading has a time"));
            assert_eq!(record.key.as_deref(), Some(city.as_bytes()));
            Reading {
                partition: *partition,
                offset: record.offset,
                city,
                time_ms,
                values: fields
                    .into_iter()
                    .filter_map(|(name, value)| Some((name, value.as_f64()?)))
                    .collect(),
            }
        })
        .collect();
    readings.sort_by_key(|reading| (reading.partition, reading.offset));
    readings
}

/// Folds readings, which are in the order of the log, into tumbling windows. A partition's time is the latest of its
/// readings so far; a window is closed when that has reached its end and the grace.
pub fn fold(readings: &[Reading], size_ms: i64, grace_ms: i64) -> Fold {
    #[derive(Default)]
    struct Sums {
        partition: i32,
        count: u64,
        values: BTreeMap<String, Vec<f64>>,
    }

    let mut times_ms: BTreeMap<i32, i64> = BTreeMap::new();
    let mut sums: BTreeMap<(String, i64), Sums> = BTreeMap::new();
    let mut late = 0;
    for reading in readings {
        let reached_ms = times_ms.entry(reading.partition).or_insert(reading.time_ms);
        *reached_ms = reading.time_ms.max(*reached_ms);
        let start_ms = reading.time_ms - reading.time_ms.rem_euclid(size_ms);
        if start_ms + size_ms + grace_ms <= *reached_ms {
            late += 1;
            continue;
        }
        let window = sums.entry((reading.city.clone(), start_ms)).or_default();
        window.partition = reading.partition;
        window.count += 1;
        for (name, value) in &reading.values {
            window.values.entry(name.clone()).or_default().push(*value);
        }
    }

    let mut fold = Fold {
        closed: Windows::new(),
        open: Windows::new(),
        late,
    };
    for ((city, start_ms), sums) in sums {
        let is_closed = start_ms + size_ms + grace_ms <= times_ms[&sums.partition];
        let window = Window {
            count: sums.count,
            values: sums
                .values
                .into_iter()
                .map(|(name, values)| {
                    let statistics = statistics(&name, &values);
                    (name, statistics)
                })
                .collect(),
        };
        let windows = match is_closed {
            true => &mut fold.closed,
            false => &mut fold.open,
        };
        windows.insert((city, start_ms), window);
    }
    fold
}

fn statistics(name: &str, values: &[f64]) -> Statistics {
    let mean = match name {
        "windDirection" => {
            let sum = |part: fn(f64) -> f64| -> f64 {
                values
                    .iter()
                    .map(|degrees| part(degrees.to_radians()))
                    .sum()
            };
            sum(f64::sin)
                .atan2(sum(f64::cos))
                .to_degrees()
                .rem_euclid(360.0)
        }
        _ => values.iter().sum::<f64>() / values.len() as f64,
    };
    Statistics {
        mean,
        min: values.iter().copied().fold(f64::INFINITY, f64::min),
        max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        count: values.len() as u64,
    }
}

/// The results in the topic of the averages so far.
pub struct Results {
    reader: TopicReader,
    size_ms: i64,
    windows: Windows,
    repeated: usize,
}

impl Results {
    /// Results of windows of that size, from the beginning of the topic.
    pub fn new(reader: TopicReader, size_ms: i64) -> Results {
        Results {
            reader,
            size_ms,
            windows: Windows::new(),
            repeated: 0,
        }
    }

    /// Waits until there are results of `count` windows.
    #[track_caller]
    pub fn wait_for(&mut self, count: usize, deadline: Duration) {
        wait::until(&format!("{count} results"), deadline, || {
            let records = self
                .reader
                .poll(Duration::from_millis(100))
                .expect("the results can be read");
            self.add(&records);
            self.windows.len() >= count
        });
    }

    /// Reads the topic to its end, and gives what is in it and how many results came more than once.
    ///
    /// # Panics
    ///
    /// When two results of one window differ.
    pub fn finish(mut self) -> (Windows, usize) {
        let records = self
            .reader
            .read_to_end(Duration::from_secs(60))
            .expect("the results can be read");
        self.add(&records);
        (self.windows, self.repeated)
    }

    fn add(&mut self, records: &[(i32, OwnedRecord)]) {
        for (_, record) in records {
            let (key, window) = self.result(record);
            if let Some(before) = self.windows.get(&key) {
                assert_eq!(*before, window, "{key:?} has two results");
                self.repeated += 1;
            }
            self.windows.insert(key, window);
        }
    }

    fn result(&self, record: &OwnedRecord) -> ((String, i64), Window) {
        let value: Value =
            serde_json::from_slice(record.value.as_deref().expect("a result is not null"))
                .expect("a result is JSON");
        let city = text(&value["city"]);
        let start_ms = time_ms(&value["windowStart"]);
        assert_eq!(time_ms(&value["windowEnd"]), start_ms + self.size_ms);
        let key = [city.as_bytes(), &start_ms.to_be_bytes()].concat();
        assert_eq!(record.key.as_deref(), Some(&key[..]), "a Kafka Streams key");
        let values = value["values"].as_object().expect("a result has values");
        let window = Window {
            count: count(&value["count"]),
            values: values
                .iter()
                .map(|(name, value)| {
                    let number = |name: &str| value[name].as_f64().expect("a number");
                    let statistics = Statistics {
                        mean: number("mean"),
                        min: number("min"),
                        max: number("max"),
                        count: count(&value["count"]),
                    };
                    (name.clone(), statistics)
                })
                .collect(),
        };
        ((city, start_ms), window)
    }
}

/// Expects that the results are those of the fold: the same windows, the same numbers to the last bit. Only the mean of
/// directions is compared with a tolerance, since it goes through functions that round as they like.
#[track_caller]
pub fn assert_same(results: &Windows, expected: &Windows) {
    let missing: Vec<_> = expected
        .keys()
        .filter(|key| !results.contains_key(*key))
        .collect();
    let unexpected: Vec<_> = results
        .keys()
        .filter(|key| !expected.contains_key(*key))
        .collect();
    let different: Vec<_> = results
        .iter()
        .filter_map(|(key, window)| {
            let expected = expected.get(key)?;
            (!is_same(window, expected)).then_some((key, window, expected))
        })
        .collect();
    assert!(
        missing.is_empty() && unexpected.is_empty() && different.is_empty(),
        "of {} windows {} are missing, such as {:?}; {} are not expected, such as {:?}; {} differ (result, expected), such as {:#?}",
        expected.len(),
        missing.len(),
        missing.first(),
        unexpected.len(),
        unexpected.first(),
        different.len(),
        different.first()
    );
}

fn is_same(result: &Window, expected: &Window) -> bool {
    const TOLERANCE_DEGREES: f64 = 1e-6;
    let names = |window: &Window| window.values.keys().cloned().collect::<Vec<_>>();
    result.count == expected.count
        && names(result) == names(expected)
        && result.values.iter().all(|(name, statistics)| {
            let other = &expected.values[name];
            let apart = (statistics.mean - other.mean).abs();
            let is_same_mean = match name.as_str() {
                "windDirection" => apart.min(360.0 - apart) < TOLERANCE_DEGREES,
                _ => apart == 0.0,
            };
            let mean = other.mean;
            is_same_mean
                && Statistics {
                    mean,
                    ..statistics.clone()
                } == *other
        })
}

fn text(value: &Value) -> String {
    value.as_str().expect("it is text").to_owned()
}

fn count(value: &Value) -> u64 {
    value.as_u64().expect("it is a count")
}

fn time_ms(value: &Value) -> i64 {
    let text = value.as_str().expect("a time is text");
    text.parse::<jiff::Timestamp>()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
        .as_millisecond()
}
