//! Which points a reading and a window's result make.

use crate::name::{attribute_segment, segment};
use crate::point::{Point, PointRefused};
use std::collections::HashMap;
use weather_averages::WindowAverages;
use weather_producer::{Attribute, Reading};

/// How many cities are remembered; beyond that all are forgotten and met anew.
const CITIES_MAX: usize = 100_000;

/// Makes points of readings and results: `<prefix>.weather.<city>.<attribute>`.
///
/// A reading makes one point per value under the value's name. A result makes `<attribute>Avg`, `<attribute>Min`,
/// `<attribute>Max` and `<attribute>Count` (of `tempCurrent`: `tempAvg`, `tempMin`, `tempMax`, `tempCount`) and `count`, the
/// number of readings, all at the window's start. The endings are what carbon's aggregation rules go by. So that no series
/// has two sources, a reading's own values of such names (`tempMin`, `tempMax`) are left to the results, where they appear
/// as `tempMinAvg` and so on.
///
/// ```
/// use weather_graphite::Series;
/// use weather_producer::{Attribute, Reading};
///
/// let mut series = Series::new("vlvs_inf19b.demo", 1);
/// let reading = Reading::new("Bad Mergentheim", 1_637_068_282_500).with(Attribute::TempCurrent, 8.84);
/// let points = series.of_reading(&reading);
/// assert_eq!(
///     points[0].to_string(),
///     "vlvs_inf19b.demo.weather.bad-mergentheim.tempCurrent 8.84 1637068282"
/// );
/// ```
#[derive(Debug)]
pub struct Series {
    prefix: String,
    step_s: i64,
    /// `<prefix>.weather.<city>.` by city.
    paths: HashMap<String, String>,
    /// The city that had a segment first.
    owners: HashMap<String, String>,
    collisions: u64,
    refused: u64,
}

impl Series {
    /// Series below a prefix, which is taken as it is. The times of readings are rounded down to multiples of `step_s`
    /// seconds: with the finest step of carbon's retention, the last reading of a step wins whatever the order of writes.
    pub fn new(prefix: impl Into<String>, step_s: i64) -> Self {
        Series {
            prefix: prefix.into(),
            step_s: step_s.max(1),
            paths: HashMap::new(),
            owners: HashMap::new(),
            collisions: 0,
            refused: 0,
        }
    }

    /// The points of a reading.
    pub fn of_reading(&mut self, reading: &Reading) -> Vec<Point> {
        let time_s = reading.time_ms.div_euclid(1000);
        let time_s = time_s - time_s.rem_euclid(self.step_s);
        let base = self.path(&reading.city).to_owned();
        let points: Vec<_> = reading
            .values
            .iter()
            .filter(|(attribute, _)| !belongs_to_results(attribute.name()))
            .map(|(attribute, value)| Point::new(base.clone() + &name(attribute), value, time_s))
            .collect();
        self.accepted(points)
    }

    /// The points of a window's result.
    pub fn of_window(&mut self, window: &WindowAverages) -> Vec<Point> {
        let time_s = window.window_start.0.div_euclid(1000);
        let base = self.path(&window.city).to_owned();
        let point = |name: &str, ending: &str, value: f64| {
            Point::new(format!("{base}{name}{ending}"), value, time_s)
        };
        let mut points = vec![point("count", "", window.count as f64)];
        for (attribute, summary) in &window.values {
            let name = match attribute {
                Attribute::TempCurrent => "temp".into(),
                _ => name(attribute),
            };
            points.push(point(&name, "Avg", summary.mean));
            points.push(point(&name, "Min", summary.min));
            points.push(point(&name, "Max", summary.max));
            points.push(point(&name, "Count", summary.count as f64));
        }
        self.accepted(points)
    }

    /// How often a city was met whose name becomes the same segment as another's.
    pub fn collisions(&self) -> u64 {
        self.collisions
    }

    /// How many points carbon would have lost and were not made.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    fn accepted(&mut self, points: Vec<Result<Point, PointRefused>>) -> Vec<Point> {
        let all = points.len();
        let accepted: Vec<_> = points.into_iter().filter_map(Result::ok).collect();
        self.refused += (all - accepted.len()) as u64;
        accepted
    }

    fn path(&mut self, city: &str) -> &str {
        if !self.paths.contains_key(city) {
            self.meet(city);
        }
        &self.paths[city]
    }

    #[cold]
    fn meet(&mut self, city: &str) {
        if self.paths.len() >= CITIES_MAX {
            self.paths.clear();
            self.owners.clear();
        }
        let segment = segment(city);
        let path = format!("{}.weather.{segment}.", self.prefix);
        match self.owners.get(&segment) {
            Some(owner) => {
                self.collisions += 1;
                tracing::warn!(
                    city,
                    owner,
                    segment,
                    "two cities share one path in Graphite: their points overwrite each other; rename one of them"
                );
            }
            None => {
                self.owners.insert(segment, city.to_owned());
            }
        }
        self.paths.insert(city.to_owned(), path);
    }
}

fn name(attribute: &Attribute) -> String {
    match attribute {
        Attribute::Other(name) => attribute_segment(name),
        known => known.name().to_owned(),
    }
}

fn belongs_to_results(name: &str) -> bool {
    name == "count"
        || ["Avg", "Min", "Max", "Count"]
            .iter()
            .any(|ending| name.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;
    use streams_core::windowed::Window;
    use weather_averages::CityWindow;

    fn lines(points: &[Point]) -> Vec<String> {
        points.iter().map(Point::to_string).collect()
    }

    #[test]
    fn a_window_is_written_at_its_start_with_endings_carbon_knows() {
        let mut state = CityWindow::default();
        for temp in [3.0, 4.0] {
            state.add(
                &Reading::new("Würzburg", 0)
                    .with(Attribute::TempCurrent, temp)
                    .with(Attribute::named("pm2.5"), 12.0),
            );
        }
        let window = Window::new(1_356_998_400_000, 1_356_999_000_000);
        let averages = WindowAverages::new("Würzburg", window, &state);
        let points = Series::new("p", 1).of_window(&averages);
        assert_eq!(
            lines(&points),
            [
                "p.weather.wuerzburg.count 2 1356998400",
                "p.weather.wuerzburg.tempAvg 3.5 1356998400",
                "p.weather.wuerzburg.tempMin 3 1356998400",
                "p.weather.wuerzburg.tempMax 4 1356998400",
                "p.weather.wuerzburg.tempCount 2 1356998400",
                "p.weather.wuerzburg.pm2-5Avg 12 1356998400",
                "p.weather.wuerzburg.pm2-5Min 12 1356998400",
                "p.weather.wuerzburg.pm2-5Max 12 1356998400",
                "p.weather.wuerzburg.pm2-5Count 2 1356998400",
            ]
        );
    }

    #[test]
    fn a_reading_leaves_the_results_their_names_and_keeps_the_step() {
        let reading = Reading::new("Mosbach", 1_637_068_289_999)
            .with(Attribute::TempCurrent, 8.84)
            .with(Attribute::TempMin, 7.2)
            .with(Attribute::named("count"), 5.0);
        let points = Series::new("p", 10).of_reading(&reading);
        assert_eq!(
            lines(&points),
            ["p.weather.mosbach.tempCurrent 8.84 1637068280"]
        );
    }

    #[test]
    fn cities_that_share_a_path_are_counted() {
        let mut series = Series::new("p", 1);
        for city in [
            "Bad Mergentheim",
            "bad mergentheim",
            "Bad Mergentheim",
            "Ulm",
        ] {
            series.of_reading(&Reading::new(city, 0).with(Attribute::TempCurrent, 1.0));
        }
        assert_eq!(series.collisions(), 1);
    }

    #[test]
    fn what_carbon_would_lose_is_counted() {
        let mut series = Series::new("p", 1);
        let reading = Reading::new("Ulm", -1).with(Attribute::TempCurrent, 1.0);
        assert_eq!(series.of_reading(&reading), []);
        assert_eq!(series.refused(), 1);
    }
}
