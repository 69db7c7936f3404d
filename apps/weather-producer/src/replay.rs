//! A replay of real observations: one year, hourly, at three New York airports.

use crate::attribute::Attribute;
use crate::reading::Reading;
use flate2::read::GzDecoder;
use std::io::Read;

/// See `data/README.md` for source and licence.
const NEW_YORK_2013: &[u8] = include_bytes!("../data/new_york_2013.csv.gz");

const DAY_MS: i64 = 24 * 3600 * 1000;

/// The hourly observations of 2013 at Newark (`EWR`), John F. Kennedy (`JFK`) and LaGuardia (`LGA`) airports, in the order
/// of their times: 26,115 readings from 2013-01-01T06:00Z to 2013-12-30T23:00Z, in the units of [`Attribute`].
///
/// Nothing is smoothed: hours are missing, values are missing, and one wind speed is impossible, as in the source.
///
/// ```
/// use weather_producer::{Attribute, Replay};
///
/// let replay = Replay::new_york_2013();
/// let first = replay.readings().next().unwrap();
/// assert_eq!(first.city, "EWR");
/// assert_eq!(first.values.get(&Attribute::TempCurrent), Some(3.9));
/// assert_eq!(replay.readings().count(), 26_115);
/// ```
#[derive(Clone, Debug)]
pub struct Replay {
    csv: String,
    shift_ms: i64,
}

impl Replay {
    /// The cities of the replay.
    pub const CITIES: [&str; 3] = ["EWR", "JFK", "LGA"];

    /// The observations with their own dates.
    pub fn new_york_2013() -> Self {
        let mut csv = String::new();
        GzDecoder::new(NEW_YORK_2013)
            .read_to_string(&mut csv)
            .expect("the packed data is part of the program, and a test reads all of it");
        Replay { csv, shift_ms: 0 }
    }

    /// The same observations with later dates: moved by whole days so that they end on the day before `now_ms`
    /// (milliseconds since the Unix epoch). Graphite forgets what is older than its longest retention; this it keeps.
    pub fn ending_before(self, now_ms: i64) -> Self {
        let last_ms = self.readings().last().map_or(0, |reading| reading.time_ms);
        let days = now_ms.div_euclid(DAY_MS) - 1 - last_ms.div_euclid(DAY_MS);
        Replay {
            shift_ms: self.shift_ms + days * DAY_MS,
            ..self
        }
    }

    /// By how many days the dates were moved.
    pub fn days_moved(&self) -> i64 {
        self.shift_ms / DAY_MS
    }

    /// The readings, in the order of their times.
    pub fn readings(&self) -> impl Iterator<Item = Reading> + '_ {
        self.csv.lines().skip(1).map(|line| {
            let mut reading = parse_line(line)
                .expect("the packed data is part of the program, and a test reads all of it");
            reading.time_ms += self.shift_ms;
            reading
        })
    }
}

/// One line: `time_hour,origin,temp,dewp,humid,wind_dir,wind_speed,wind_gust,precip,pressure,visib`.
fn parse_line(line: &str) -> Option<Reading> {
    let mut columns = line.split(',');
    let time: jiff::Timestamp = columns.next()?.parse().ok()?;
    let station = columns.next()?;
    let mut values = [None; 9];
    for value in &mut values {
        *value = match columns.next()? {
            "NA" => None,
            number => Some(number.parse::<f64>().ok()?),
        };
    }
    let [
        temp,
        dewp,
        humid,
        wind_dir,
        wind_speed,
        wind_gust,
        precip,
        pressure,
        visib,
    ] = values;
    let celsius = |fahrenheit: f64| tidy((fahrenheit - 32.0) / 1.8);
    let metres_per_second = |miles_per_hour: f64| tidy(miles_per_hour * 0.447_04);
    let reading = Reading::new(station, time.as_millisecond())
        .with_some(Attribute::TempCurrent, temp.map(celsius))
        .with_some(Attribute::DewPoint, dewp.map(celsius))
        .with_some(Attribute::Humidity, humid)
        .with_some(Attribute::WindDirection, wind_dir)
        .with_some(Attribute::WindSpeed, wind_speed.map(metres_per_second))
        .with_some(Attribute::WindGust, wind_gust.map(metres_per_second))
        .with_some(
            Attribute::Precipitation,
            precip.map(|inches| tidy(inches * 25.4)),
        )
        .with_some(Attribute::Pressure, pressure)
        .with_some(
            Attribute::Visibility,
            visib.map(|miles| tidy(miles * 1609.344)),
        );
    Some(reading.with_comment(airport(station)?))
}

fn airport(station: &str) -> Option<&'static str> {
    Some(match station {
        "EWR" => "Newark Liberty International Airport",
        "JFK" => "John F. Kennedy International Airport",
        "LGA" => "LaGuardia Airport",
        _ => return None,
    })
}

/// Six decimals: far finer than any instrument, and without the noise that converting binary fractions leaves behind.
fn tidy(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rejection::Reason;
    use crate::rules::Rules;

    #[test]
    fn only_the_impossible_wind_breaks_a_rule() {
        let replay = Replay::new_york_2013();
        let rules = Rules::default();
        let broken: Vec<_> = replay
            .readings()
            .filter_map(|reading| reading.check(&rules).err().map(|why| (reading, why)))
            .collect();
        assert_eq!(broken.len(), 1, "{broken:?}");
        let (reading, why) = &broken[0];
        assert_eq!(
            (reading.city.as_str(), why.reason),
            ("EWR", Reason::OutOfRange)
        );
        assert_eq!(reading.time_ms, 1_360_656_000_000);
        let wind = reading.values.get(&Attribute::WindSpeed).unwrap();
        assert!((wind - 468.659).abs() < 1e-3, "{wind}");
    }

    #[test]
    fn times_never_run_back_and_each_city_has_its_own_count() {
        let replay = Replay::new_york_2013();
        let mut last_ms = i64::MIN;
        let mut counts = [0; 3];
        for reading in replay.readings() {
            assert!(reading.time_ms >= last_ms);
            last_ms = reading.time_ms;
            counts[Replay::CITIES
                .iter()
                .position(|city| *city == reading.city)
                .unwrap()] += 1;
        }
        assert_eq!(counts, [8703, 8706, 8706]);
    }

    #[test]
    fn daily_means_equal_independent_figures() {
        let replay = Replay::new_york_2013();
        let mean = |city: &str, day_ms: i64| {
            let values: Vec<f64> = replay
                .readings()
                .filter(|reading| {
                    reading.city == city && reading.time_ms / DAY_MS == day_ms / DAY_MS
                })
                .filter_map(|reading| reading.values.get(&Attribute::TempCurrent))
                .collect();
            (
                values.len(),
                values.iter().sum::<f64>() / values.len() as f64,
            )
        };
        for (city, day_ms, count, expected) in [
            ("JFK", 1_356_998_400_000, 17, 3.847059),
            ("JFK", 1_374_192_000_000, 24, 30.1875),
            ("EWR", 1_374_192_000_000, 24, 32.870833),
            ("LGA", 1_388_361_600_000, 24, 4.483333),
        ] {
            let (n, mean) = mean(city, day_ms);
            assert_eq!(n, count, "{city}");
            assert!((mean - expected).abs() < 1e-6, "{city}: {mean}");
        }
    }

    #[test]
    fn moved_dates_keep_the_hour_and_end_yesterday() {
        let now_ms = 1_800_000_000_000;
        let real: Vec<_> = Replay::new_york_2013().readings().take(50).collect();
        let replay = Replay::new_york_2013().ending_before(now_ms);
        for (moved, real) in replay.readings().zip(&real) {
            assert_eq!(moved.time_ms - real.time_ms, replay.days_moved() * DAY_MS);
            assert_eq!(moved.values, real.values);
        }
        let last_ms = replay.readings().last().unwrap().time_ms;
        assert_eq!(last_ms / DAY_MS, now_ms / DAY_MS - 1);
    }
}
