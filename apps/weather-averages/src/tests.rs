//! The topology on the test driver.

use crate::{Settings, WindowAverages, dead_letter_header, topology};
use std::collections::BTreeMap;
use std::time::Duration;
use streams_core::serdes::{Json, RawBytes, TimeWindowed, Utf8};
use streams_core::windowed::{Window, Windowed};
use streams_core::{Headers, Result, TestRecord, TopologyTestDriver};
use weather_producer::{Attribute, CityKey, Reading, Reason, Rejections, Replay};

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;
/// 2021-11-16T13:00:00Z.
const START_MS: i64 = 1_637_067_600_000;

struct Averages {
    driver: TopologyTestDriver,
    settings: Settings,
    rejections: Rejections,
}

impl Averages {
    fn new(settings: Settings) -> Result<Self> {
        let rejections = Rejections::default();
        let driver = TopologyTestDriver::new(&topology(&settings, &rejections)?)?;
        Ok(Averages {
            driver,
            settings,
            rejections,
        })
    }

    fn pipe_bytes(&mut self, key: Option<&str>, value: Option<&[u8]>) -> Result<()> {
        let key = key.map(|key| key.as_bytes().to_vec());
        let value = value.map(<[u8]>::to_vec);
        // The record's own timestamp says nothing about the weather.
        let sent_ms = i64::MAX / 2;
        self.driver
            .pipe_bytes("weather", key, value, sent_ms, Headers::new())
    }

    fn pipe(&mut self, reading: &Reading) -> Result<()> {
        let json = serde_json::to_vec(reading).expect("a reading is JSON");
        self.pipe_bytes(Some(&reading.city), Some(&json))
    }

    fn results(&mut self) -> Result<Vec<(Windowed<String>, WindowAverages)>> {
        let key = TimeWindowed::new(Utf8, self.settings.window);
        let output = self.driver.output("weather-averages", key, Json);
        self.driver.read_key_values(&output)
    }

    fn dead_letters(&mut self) -> Result<Vec<TestRecord<String, Vec<u8>>>> {
        let output = self.driver.output("weather.dlq", CityKey, RawBytes);
        self.driver.read_records(&output)
    }
}

fn temp(city: &str, minute: i64, value: f64) -> Reading {
    Reading::new(city, START_MS + minute * MINUTE_MS).with(Attribute::TempCurrent, value)
}

#[test]
fn a_window_is_one_final_result_after_its_grace() -> Result<()> {
    let mut averages = Averages::new(Settings::default())?;
    averages.pipe(&temp("Mosbach", 0, 8.0))?;
    averages.pipe(&temp("Mosbach", 9, 9.0).with(Attribute::Humidity, 80.0))?;
    // The window is over but its grace is not: this one still counts.
    averages.pipe(&temp("Mosbach", 10, 20.0))?;
    averages.pipe(&temp("Mosbach", 5, 10.0))?;
    assert_eq!(averages.results()?, []);
    averages.pipe(&temp("Mosbach", 11, 20.0))?;
    // This one is too late.
    averages.pipe(&temp("Mosbach", 9, -50.0))?;

    let results = averages.results()?;
    assert_eq!(results.len(), 1);
    let (key, result) = &results[0];
    let window = Window::new(START_MS, START_MS + 10 * MINUTE_MS);
    assert_eq!(*key, Windowed::new("Mosbach".to_owned(), window));
    assert_eq!(
        result.to_string(),
        "Mosbach 2021-11-16T13:00:00Z: 3 readings, tempCurrent 9 °C (8 to 10), humidity 80 % (80 to 80)"
    );
    assert_eq!(result.values[&Attribute::Humidity].count, 1);
    assert_eq!(averages.driver.dropped_records(), 1);
    Ok(())
}

#[test]
fn a_window_before_a_long_silence_is_not_lost() -> Result<()> {
    let mut averages = Averages::new(Settings::default())?;
    for hour in 0..3 {
        averages.pipe(&temp("Mosbach", hour * 60, hour as f64))?;
    }
    averages.pipe(&temp("Mosbach", 100_000, 0.0))?;
    let means: Vec<f64> = averages
        .results()?
        .iter()
        .map(|(_, result)| result.values[&Attribute::TempCurrent].mean)
        .collect();
    assert_eq!(means, [0.0, 1.0, 2.0]);
    Ok(())
}

#[test]
fn every_kind_of_bad_record_is_set_aside_with_its_reason() -> Result<()> {
    let time = r#""timeStamp":"2021-11-16T13:01:00.000+00:00""#;
    let bad: Vec<(Option<&str>, Option<String>, Reason)> = vec![
        (Some("Mosbach"), Some("hello".into()), Reason::NotJson),
        (Some("Mosbach"), None, Reason::NotJson),
        (None, None, Reason::NotJson),
        (
            Some("Mosbach"),
            Some(format!(r#"{{"tempCurrent":1,{time}}}"#)),
            Reason::NoCity,
        ),
        (
            Some("Mosbach"),
            Some(r#"{"tempCurrent":1,"city":"Mosbach"}"#.into()),
            Reason::NoTime,
        ),
        (
            Some("Mosbach"),
            Some(format!(
                r#"{{"tempCurrent":"n/a","city":"Mosbach",{time}}}"#
            )),
            Reason::NotANumber,
        ),
        (
            Some("Mosbach"),
            Some(format!(r#"{{"tempCurrent":NaN,"city":"Mosbach",{time}}}"#)),
            Reason::NotANumber,
        ),
        (
            Some("Mosbach"),
            Some(format!(
                r#"{{"tempCurrent":-Infinity,"city":"Mosbach",{time}}}"#
            )),
            Reason::NotANumber,
        ),
        (
            Some("Mosbach"),
            Some(r#"{"tempCurrent":1,"city":"Mosbach","timeStamp":1637067660000}"#.into()),
            Reason::TimeFormat,
        ),
        (
            Some("Mosbach"),
            Some(r#"{"tempCurrent":1,"city":"Mosbach","timeStamp":"9999-01-01T00:00:00Z"}"#.into()),
            Reason::TimeInFuture,
        ),
        (
            Some("Mosbach"),
            Some(r#"{"tempCurrent":1,"city":"Mosbach","timeStamp":-5}"#.into()),
            Reason::TimeNegative,
        ),
        (
            Some("Mosbach"),
            Some(format!(r#"{{"windSpeed":468.66,"city":"Mosbach",{time}}}"#)),
            Reason::OutOfRange,
        ),
        (
            Some("Mosbach"),
            Some(format!(r#"{{"city":"Mosbach",{time}}}"#)),
            Reason::NoValues,
        ),
        (
            Some("Ulm"),
            Some(format!(r#"{{"tempCurrent":1.0,{time},"city":"Mosbach"}}"#)),
            Reason::WrongKey,
        ),
        (
            None,
            Some(format!(r#"{{"tempCurrent":1.0,{time},"city":"Mosbach"}}"#)),
            Reason::WrongKey,
        ),
    ];
    let mut averages = Averages::new(Settings::default())?;
    for (offset, (key, value, reason)) in bad.iter().enumerate() {
        let offset = 2 * offset as i64;
        averages.pipe_bytes(*key, value.as_ref().map(String::as_bytes))?;
        averages.pipe(&temp("Mosbach", 1, 1.0))?;
        let letters = averages.driver.output(
            "weather.dlq",
            CityKey,
            streams_core::serdes::Nullable(RawBytes),
        );
        let letters = averages.driver.read_records(&letters)?;
        assert_eq!(letters.len(), 1, "{value:?}");
        let letter = &letters[0];
        assert_eq!(letter.key, key.unwrap_or_default());
        assert_eq!(
            letter.value.as_deref(),
            value.as_ref().map(String::as_bytes)
        );
        let header = |name| dead_letter_header(&letter.headers, name);
        assert_eq!(
            header("reason").as_deref(),
            Some(reason.as_str()),
            "{value:?}"
        );
        assert_eq!(header("topic").as_deref(), Some("weather"));
        assert_eq!(header("partition").as_deref(), Some("0"));
        assert_eq!(header("offset"), Some(offset.to_string()));
        assert!(header("message").is_some_and(|message| !message.is_empty()));
    }
    assert_eq!(averages.rejections.total(), bad.len() as u64);
    assert_eq!(averages.rejections.of(Reason::NotJson), 3);

    // None of them has closed a window, and each good record between them counts.
    assert_eq!(averages.results()?, []);
    averages.pipe(&temp("Mosbach", 11, 1.0))?;
    let results = averages.results()?;
    assert_eq!(results[0].1.count, bad.len() as u64);
    Ok(())
}

#[test]
fn with_rekey_the_city_is_the_readings() -> Result<()> {
    let mut averages = Averages::new(Settings {
        rekey: true,
        ..Settings::default()
    })?;
    for (key, minute) in [
        (None, 0),
        (Some("station 7"), 1),
        (Some("Mosbach"), 2),
        (None, 11),
    ] {
        let json = serde_json::to_vec(&temp("Mosbach", minute, 4.0)).expect("JSON");
        averages.pipe_bytes(key, Some(&json))?;
    }
    let results = averages.results()?;
    assert_eq!(results.len(), 1);
    assert_eq!(results[0].1.count, 3);
    assert_eq!(averages.dead_letters()?.len(), 0);
    Ok(())
}

#[test]
fn daily_means_of_real_data_equal_independent_figures() -> Result<()> {
    let mut averages = Averages::new(Settings {
        window: Duration::from_secs(24 * 3600),
        ..Settings::default()
    })?;
    for reading in Replay::new_york_2013().readings() {
        averages.pipe(&reading)?;
    }
    // Later than everything, so that the last windows close.
    for city in Replay::CITIES {
        averages.pipe(&Reading::new(city, 1_388_620_800_000).with(Attribute::TempCurrent, 0.0))?;
    }
    let results: BTreeMap<(String, i64), WindowAverages> = averages
        .results()?
        .into_iter()
        .map(|(key, result)| ((key.key, key.window.start_ms / DAY_MS), result))
        .collect();
    assert_eq!(results.len(), 1092);
    for (city, day, count, mean) in [
        ("JFK", 15_706, 17, 3.847059),
        ("JFK", 15_905, 24, 30.1875),
        ("EWR", 15_905, 24, 32.870833),
        ("LGA", 16_069, 24, 4.483333),
    ] {
        let result = &results[&(city.to_owned(), day)];
        let temp = &result.values[&Attribute::TempCurrent];
        assert_eq!((result.count, temp.count), (count, count), "{city} {day}");
        assert!(
            (temp.mean - mean).abs() < 5e-7,
            "{city} {day}: {}",
            temp.mean
        );
    }

    // The hour with the impossible wind is missing in its day, whole.
    let letters = averages.dead_letters()?;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].key, "EWR");
    let header = |name| dead_letter_header(&letters[0].headers, name);
    assert_eq!(header("reason").as_deref(), Some("out-of-range"));
    assert!(header("message").is_some_and(|message| message.contains("windSpeed")));
    let day = &results[&("EWR".to_owned(), 15_748)];
    assert_eq!(day.count, 23);
    assert!(day.values[&Attribute::WindSpeed].max < 120.0);
    Ok(())
}

#[test]
fn the_topology_is_what_it_was() -> Result<()> {
    let description = topology(&Settings::default(), &Rejections::default())?.describe();
    for part in [
        "topics: [weather]",
        "topic: weather-averages",
        "topic: weather.dlq",
        "stores: [city-windows]",
    ] {
        assert!(description.contains(part), "{part} in {description}");
    }
    assert!(!description.contains("repartition"), "{description}");
    Ok(())
}
