//! What is known of one city in one window, reading by reading.

use serde::{Deserialize, Serialize};
use weather_producer::{Attribute, Reading};

/// The running statistics of one city and window: the state of the aggregation.
///
/// ```
/// use weather_averages::CityWindow;
/// use weather_producer::{Attribute, Reading};
///
/// let mut window = CityWindow::default();
/// window.add(&Reading::new("Mosbach", 0).with(Attribute::TempCurrent, 8.0));
/// window.add(&Reading::new("Mosbach", 60_000).with(Attribute::TempCurrent, 9.0));
/// let (attribute, statistics) = window.values().next().unwrap();
/// assert_eq!((attribute, statistics.mean(attribute)), (&Attribute::TempCurrent, 8.5));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CityWindow {
    readings: u64,
    values: Vec<(Attribute, Statistics)>,
}

impl CityWindow {
    /// Adds every measured value of a reading.
    pub fn add(&mut self, reading: &Reading) {
        self.readings += 1;
        for (place, (attribute, value)) in reading.values.iter().enumerate() {
            self.statistics(place, attribute).add(attribute, value);
        }
    }

    /// The statistics of an attribute. A city's readings are mostly alike, so it is looked for where it was in the reading.
    fn statistics(&mut self, place: usize, attribute: &Attribute) -> &mut Statistics {
        let is_it = |(known, _): &(Attribute, Statistics)| known == attribute;
        let index = match self.values.get(place) {
            Some(value) if is_it(value) => place,
            _ => self.values.iter().position(is_it).unwrap_or_else(|| {
                self.values.push((attribute.clone(), Statistics::default()));
                self.values.len() - 1
            }),
        };
        &mut self.values[index].1
    }

    /// How many readings were added.
    pub fn readings(&self) -> u64 {
        self.readings
    }

    /// The statistics of every measured value.
    pub fn values(&self) -> impl Iterator<Item = (&Attribute, &Statistics)> {
        self.values
            .iter()
            .map(|(attribute, statistics)| (attribute, statistics))
    }
}

/// Count, sum, lowest and highest of one measured value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// How many values there were.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The lowest.
    pub min: f64,
    /// The highest.
    pub max: f64,
    /// Of directions, the sum of their sines and of their cosines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<(f64, f64)>,
}

impl Statistics {
    fn add(&mut self, attribute: &Attribute, value: f64) {
        if self.count == 0 {
            (self.min, self.max) = (value, value);
        } else {
            self.min = self.min.min(value);
            self.max = self.max.max(value);
        }
        self.count += 1;
        self.sum += value;
        if *attribute == Attribute::WindDirection {
            let (sines, cosines) = self.direction.unwrap_or_default();
            let (sine, cosine) = value.to_radians().sin_cos();
            self.direction = Some((sines + sine, cosines + cosine));
        }
    }

    /// The mean of the values. Of directions it is the direction of the mean vector, in degrees from 0 to 360: the mean of
    /// 350° and 10° is north, not south.
    pub fn mean(&self, attribute: &Attribute) -> f64 {
        match self.direction {
            Some((sines, cosines)) if *attribute == Attribute::WindDirection => {
                sines.atan2(cosines).to_degrees().rem_euclid(360.0)
            }
            _ => self.sum / self.count as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn direction(degrees: f64) -> Reading {
        Reading::new("Mosbach", 0).with(Attribute::WindDirection, degrees)
    }

    #[test]
    fn each_value_has_its_own_count() {
        let mut window = CityWindow::default();
        let temp = |value| Reading::new("Mosbach", 0).with(Attribute::TempCurrent, value);
        window.add(&temp(1.0));
        window.add(
            &Reading::new("Mosbach", 0)
                .with(Attribute::Humidity, 50.0)
                .with(Attribute::TempCurrent, -3.0),
        );
        window.add(&temp(2.0));
        assert_eq!(window.readings(), 3);
        let values: Vec<_> = window
            .values()
            .map(|(attribute, s)| (attribute.name(), s.count, s.sum, s.min, s.max))
            .collect();
        assert_eq!(
            values,
            [
                ("tempCurrent", 3, 0.0, -3.0, 2.0),
                ("humidity", 1, 50.0, 50.0, 50.0)
            ]
        );
    }

    #[test]
    fn the_mean_wind_of_north_west_and_north_east_is_north() {
        let mut window = CityWindow::default();
        window.add(&direction(350.0));
        window.add(&direction(10.0));
        let (attribute, statistics) = window.values().next().unwrap();
        let mean = statistics.mean(attribute);
        let from_north = mean.min(360.0 - mean);
        assert!(from_north < 1e-9, "{mean}");
        assert_eq!((statistics.min, statistics.max), (10.0, 350.0));
    }

    #[test]
    fn what_is_stored_comes_back_to_the_last_bit() {
        let mut window = CityWindow::default();
        for n in 0..1000 {
            window.add(
                &direction(f64::from(n) / 3.0)
                    .with(Attribute::TempCurrent, f64::from(n).sqrt() / 7.0),
            );
        }
        let json = serde_json::to_vec(&window).unwrap();
        assert_eq!(serde_json::from_slice::<CityWindow>(&json).unwrap(), window);
    }
}
