//! Made-up readings for load: the same seed makes the same readings.

use crate::attribute::Attribute;
use crate::reading::Reading;
use std::f64::consts::TAU;

const DAY_MS: f64 = 24.0 * 3600.0 * 1000.0;

/// What a [`Generator`] makes.
#[derive(Clone, Debug, PartialEq)]
pub struct GeneratorSettings {
    /// The same seed makes the same readings.
    pub seed: u64,
    /// The cities, which take turns.
    pub cities: Vec<String>,
    /// When the first round of readings is, in milliseconds since the Unix epoch.
    pub start_ms: i64,
    /// How much later the next reading of the same city is, in milliseconds.
    pub step_ms: i64,
    /// How far a reading's time may lie before its turn, in milliseconds: 0 sends them in the order of their times.
    pub out_of_order_ms_max: i64,
}

impl Default for GeneratorSettings {
    /// Mosbach, Stuttgart and Bad Mergentheim, one reading a minute each, in order.
    fn default() -> Self {
        GeneratorSettings {
            seed: 1,
            cities: ["Mosbach", "Stuttgart", "Bad Mergentheim"]
                .map(String::from)
                .to_vec(),
            start_ms: 1_600_000_000_000,
            step_ms: 60_000,
            out_of_order_ms_max: 0,
        }
    }
}

/// Endless readings with a plausible course of the day.
///
/// ```
/// use weather_producer::{Generator, GeneratorSettings};
///
/// let readings: Vec<_> = Generator::new(GeneratorSettings::default()).take(4).collect();
/// assert_eq!(readings[2].city, "Bad Mergentheim");
/// assert_eq!(readings[3].time_ms - readings[0].time_ms, 60_000);
/// assert_eq!(readings, Generator::new(GeneratorSettings::default()).take(4).collect::<Vec<_>>());
/// ```
#[derive(Clone, Debug)]
pub struct Generator {
    settings: GeneratorSettings,
    random: fastrand::Rng,
    made: u64,
}

impl Generator {
    /// A generator at its first reading. Without cities it makes none.
    pub fn new(settings: GeneratorSettings) -> Self {
        Generator {
            random: fastrand::Rng::with_seed(settings.seed),
            settings,
            made: 0,
        }
    }

    /// Uniform between the two.
    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + self.random.f64() * (high - low)
    }
}

impl Iterator for Generator {
    type Item = Reading;

    fn next(&mut self) -> Option<Reading> {
        let city_count = self.settings.cities.len() as u64;
        let city_index = self.made.checked_rem(city_count)?;
        let round = i64::try_from(self.made / city_count).ok()?;
        self.made += 1;

        let turn_ms = self.settings.start_ms + round * self.settings.step_ms;
        let early_ms = match self.settings.out_of_order_ms_max {
            0 => 0,
            most => self.random.i64(0..=most),
        };
        let time_ms = (turn_ms - early_ms).max(0);
        // Warmest in the afternoon, and each city a little different.
        let of_day = (time_ms as f64 / DAY_MS + 0.6) * TAU;
        let base = 8.0 + (city_index % 7) as f64;
        let temp = base + 6.0 * of_day.sin() + self.between(-0.5, 0.5);
        let humidity = (70.0 - 20.0 * of_day.sin() + self.between(-3.0, 3.0)).clamp(0.0, 100.0);
        let pressure = 1013.0 + self.between(-8.0, 8.0);
        let wind = self.between(0.0, 12.0);
        let city = &self.settings.cities[city_index as usize];
        Some(
            Reading::new(city, time_ms)
                .with(Attribute::TempCurrent, hundredths(temp))
                .with(Attribute::TempMax, hundredths(temp + 1.0))
                .with(Attribute::TempMin, hundredths(temp - 1.0))
                .with(Attribute::Humidity, hundredths(humidity))
                .with(Attribute::Pressure, hundredths(pressure))
                .with(Attribute::WindSpeed, hundredths(wind)),
        )
    }
}

fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Rules;

    #[test]
    fn every_reading_keeps_the_rules() {
        let rules = Rules::default();
        for reading in Generator::new(GeneratorSettings::default()).take(20_000) {
            reading.check(&rules).unwrap();
        }
    }

    #[test]
    fn times_lie_before_their_turn_by_no_more_than_allowed() {
        let settings = GeneratorSettings {
            out_of_order_ms_max: 90_000,
            ..GeneratorSettings::default()
        };
        let mut ran_back = false;
        let mut last_ms = 0;
        for (turn, reading) in Generator::new(settings.clone()).take(3000).enumerate() {
            let turn_ms = settings.start_ms + (turn as i64 / 3) * settings.step_ms;
            assert!((turn_ms - 90_000..=turn_ms).contains(&reading.time_ms));
            ran_back |= reading.time_ms < last_ms;
            last_ms = reading.time_ms;
        }
        assert!(ran_back);
    }

    #[test]
    fn another_seed_makes_other_values() {
        let other = GeneratorSettings {
            seed: 2,
            ..GeneratorSettings::default()
        };
        assert_ne!(
            Generator::new(other).next(),
            Generator::new(GeneratorSettings::default()).next()
        );
        let nobody = GeneratorSettings {
            cities: Vec::new(),
            ..GeneratorSettings::default()
        };
        assert_eq!(Generator::new(nobody).next(), None);
    }
}
