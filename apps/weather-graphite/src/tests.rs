//! The topology on the test driver.

use crate::{Made, Output, Point, Settings, Source, topology};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use streams_core::windowed::Window;
use streams_core::{Error, Headers, Result, TopologyTestDriver};
use weather_averages::{CityWindow, WindowAverages};
use weather_producer::{Attribute, Reading};

/// An output that remembers, and fails or fills up when told.
#[derive(Default)]
struct Memory {
    lines: Mutex<Vec<String>>,
    sources: Mutex<Vec<(String, i64)>>,
    restarts: Mutex<Vec<String>>,
    is_full: AtomicBool,
    has_failed: AtomicBool,
}

impl Output for Memory {
    fn has_room(&self) -> bool {
        !self.is_full.load(Ordering::Relaxed)
    }

    fn take(&self, points: &[Point], _made: Made<'_>, source: Source<'_>) -> Result<()> {
        let mut lines = self.lines.lock().unwrap();
        lines.extend(points.iter().map(Point::to_string));
        let mut sources = self.sources.lock().unwrap();
        sources.push((source.topic.to_owned(), source.offset));
        Ok(())
    }

    fn oldest_pending(&self, _topic: &str, _partition: i32) -> Option<i64> {
        None
    }

    fn restart(&self, topic: &str, _partition: i32) {
        self.restarts.lock().unwrap().push(topic.to_owned());
    }

    fn failure(&self) -> Option<Error> {
        self.has_failed
            .load(Ordering::Relaxed)
            .then(|| Error::fatal("Graphite is away"))
    }
}

impl Memory {
    fn lines(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock().unwrap())
    }
}

fn driver(output: &Arc<Memory>) -> Result<TopologyTestDriver> {
    let settings = Settings::new("localhost");
    TopologyTestDriver::new(&topology(&settings, output.clone())?)
}

fn pipe(driver: &mut TopologyTestDriver, topic: &str, value: &[u8]) -> Result<()> {
    let value = Some(value.to_vec());
    driver.pipe_bytes(topic, Some(b"x".to_vec()), value, 0, Headers::new())
}

fn reading() -> Vec<u8> {
    let reading =
        Reading::new("Bad Mergentheim", 1_637_068_282_000).with(Attribute::TempCurrent, 8.84);
    serde_json::to_vec(&reading).unwrap()
}

#[test]
fn readings_and_results_become_lines() -> Result<()> {
    let output = Arc::new(Memory::default());
    let mut driver = driver(&output)?;
    pipe(&mut driver, "weather", &reading())?;
    let expected = "vlvs_inf19b.demo.weather.bad-mergentheim.tempCurrent 8.84 1637068282";
    assert_eq!(output.lines(), [expected]);

    let mut state = CityWindow::default();
    state.add(&Reading::new("JFK", 0).with(Attribute::TempCurrent, 3.5));
    let window = Window::new(1_356_998_400_000, 1_356_999_000_000);
    let averages = WindowAverages::new("JFK", window, &state);
    pipe(
        &mut driver,
        "weather-averages",
        &serde_json::to_vec(&averages).unwrap(),
    )?;
    assert_eq!(
        output.lines(),
        [
            "vlvs_inf19b.demo.weather.jfk.count 1 1356998400",
            "vlvs_inf19b.demo.weather.jfk.tempAvg 3.5 1356998400",
            "vlvs_inf19b.demo.weather.jfk.tempMin 3.5 1356998400",
            "vlvs_inf19b.demo.weather.jfk.tempMax 3.5 1356998400",
            "vlvs_inf19b.demo.weather.jfk.tempCount 1 1356998400",
        ]
    );
    let mut restarts = output.restarts.lock().unwrap().clone();
    restarts.sort();
    assert_eq!(restarts, ["weather", "weather-averages"]);
    Ok(())
}

#[test]
fn what_cannot_be_read_makes_no_point_and_stops_nothing() -> Result<()> {
    let output = Arc::new(Memory::default());
    let mut driver = driver(&output)?;
    for topic in ["weather", "weather-averages"] {
        pipe(&mut driver, topic, b"hello")?;
        driver.pipe_bytes(topic, None, None, -1, Headers::new())?;
    }
    pipe(&mut driver, "weather", &reading())?;
    assert_eq!(output.lines().len(), 1);
    assert_eq!(*output.sources.lock().unwrap(), [("weather".to_owned(), 2)]);
    Ok(())
}

#[test]
fn an_output_that_failed_stops_the_application() -> Result<()> {
    let output = Arc::new(Memory::default());
    let mut driver = driver(&output)?;
    driver.advance_wall_clock(Duration::from_secs(2))?;
    output.has_failed.store(true, Ordering::Relaxed);
    let error = driver
        .advance_wall_clock(Duration::from_secs(2))
        .unwrap_err();
    assert!(error.to_string().contains("Graphite is away"), "{error}");
    Ok(())
}

#[test]
fn a_full_output_is_given_nothing() -> Result<()> {
    let output = Arc::new(Memory::default());
    let mut driver = driver(&output)?;
    output.is_full.store(true, Ordering::Relaxed);
    pipe(&mut driver, "weather", &reading())?;
    assert!(output.lines().is_empty());
    output.is_full.store(false, Ordering::Relaxed);
    pipe(&mut driver, "weather", &reading())?;
    assert_eq!(output.lines().len(), 2);
    Ok(())
}
