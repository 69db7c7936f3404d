//! The final result of a window.

use crate::city_window::CityWindow;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use streams_core::windowed::Window;
use weather_producer::{Attribute, WireTime};

/// Everything about one city in one closed window: the value of the topic `weather-averages`, as JSON.
///
/// It names its city and window itself, so a reader needs no key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WindowAverages {
    /// The city.
    pub city: String,
    /// The window's first moment.
    pub window_start: WireTime,
    /// The first moment behind it.
    pub window_end: WireTime,
    /// How many readings were in it.
    pub count: u64,
    /// Every measured value.
    pub values: BTreeMap<Attribute, Summary>,
}

/// What a window says about one measured value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The arithmetic mean; of wind directions, the direction of the mean vector.
    pub mean: f64,
    /// The lowest value.
    pub min: f64,
    /// The highest value.
    pub max: f64,
    /// How many readings had the value.
    pub count: u64,
}

impl WindowAverages {
    /// The result of a city's window.
    ///
    /// ```
    /// use streams_core::windowed::Window;
    /// use weather_averages::{CityWindow, WindowAverages};
    /// use weather_producer::{Attribute, Reading};
    ///
    /// let mut state = CityWindow::default();
    /// state.add(&Reading::new("Mosbach", 60_000).with(Attribute::TempCurrent, 8.5));
    /// let averages = WindowAverages::new("Mosbach", Window::new(0, 600_000), &state);
    /// assert_eq!(
    ///     averages.to_string(),
    ///     "Mosbach 1970-01-01T00:00:00Z: 1 reading, tempCurrent 8.5 °C (8.5 to 8.5)"
    /// );
    /// ```
    pub fn new(city: &str, window: Window, state: &CityWindow) -> Self {
        WindowAverages {
            city: city.to_owned(),
            window_start: WireTime(window.start_ms),
            window_end: WireTime(window.end_ms),
            count: state.readings(),
            values: state
                .values()
                .map(|(attribute, statistics)| {
                    let summary = Summary {
                        mean: statistics.mean(attribute),
                        min: statistics.min,
                        max: statistics.max,
                        count: statistics.count,
                    };
                    (attribute.clone(), summary)
                })
                .collect(),
        }
    }
}

/// One line for people, with two decimals at most.
impl fmt::Display for WindowAverages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = self.window_start.to_string().replace(".000+00:00", "Z");
        let plural = if self.count == 1 { "" } else { "s" };
        write!(f, "{} {start}: {} reading{plural}", self.city, self.count)?;
        for (attribute, summary) in &self.values {
            let unit = attribute.unit();
            let space = if unit.is_empty() { "" } else { " " };
            write!(
                f,
                ", {attribute} {}{space}{unit} ({} to {})",
                short(summary.mean),
                short(summary.min),
                short(summary.max)
            )?;
        }
        Ok(())
    }
}

fn short(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use weather_producer::Reading;

    #[test]
    fn the_json_is_what_the_topic_promises() {
        let mut state = CityWindow::default();
        for value in [1.0, 2.0] {
            state.add(
                &Reading::new("JFK", 0)
                    .with(Attribute::TempCurrent, value)
                    .with(Attribute::named("co2"), 400.0),
            );
        }
        let averages = WindowAverages::new("JFK", Window::new(0, 600_000), &state);
        let json = serde_json::to_string(&averages).unwrap();
        assert_eq!(
            json,
            r#"{"city":"JFK","windowStart":"1970-01-01T00:00:00.000+00:00","windowEnd":"1970-01-01T00:10:00.000+00:00","count":2,"values":{"tempCurrent":{"mean":1.5,"min":1.0,"max":2.0,"count":2},"co2":{"mean":400.0,"min":400.0,"max":400.0,"count":2}}}"#
        );
        assert_eq!(
            serde_json::from_str::<WindowAverages>(&json).unwrap(),
            averages
        );
    }
}
