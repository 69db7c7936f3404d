//! One weather reading, and how it is written on the wire.

use crate::attribute::Attribute;
use crate::city::city_name;
use jiff::Timestamp;
use serde::de::{Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::fmt;

/// What one city reported at one time.
///
/// On the wire it is flat JSON: every measured value under its name, then comment, time, city and the city's id. Values
/// are in the units of [`Attribute`].
///
/// ```
/// use weather_producer::{Attribute, Reading};
///
/// let reading = Reading::new("Bad Mergentheim", 1_637_068_282_000)
///     .with(Attribute::TempCurrent, 8.84)
///     .with_city_id(2_953_402);
/// assert_eq!(
///     serde_json::to_string(&reading)?,
///     r#"{"tempCurrent":8.84,"timeStamp":"2021-11-16T13:11:22.000+00:00","city":"Bad Mergentheim","cityId":2953402}"#,
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// The city, spelled as [`city_name`] has it; also the record's key.
    pub city: String,
    /// The city's number in the sender's catalogue.
    pub city_id: Option<i64>,
    /// When it was measured, in milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// Free text.
    pub comment: Option<String>,
    /// The measured values, in the order they were sent.
    pub values: Values,
}

impl Reading {
    /// A reading without values yet, of a city at a time in milliseconds since the Unix epoch.
    pub fn new(city: &str, time_ms: i64) -> Self {
        Reading {
            city: city_name(city).into_owned(),
            time_ms,
            ..Reading::default()
        }
    }

    /// The reading with this value too.
    pub fn with(mut self, attribute: Attribute, value: f64) -> Self {
        self.values.set(attribute, value);
        self
    }

    /// The reading with this value too, if there is one.
    pub fn with_some(self, attribute: Attribute, value: Option<f64>) -> Self {
        match value {
            Some(value) => self.with(attribute, value),
            None => self,
        }
    }

    /// The reading with a comment.
    pub fn with_comment(mut self, comment: impl Into<String>) -> Self {
        self.comment = Some(comment.into());
        self
    }

    /// The reading with the city's number.
    pub fn with_city_id(mut self, city_id: i64) -> Self {
        self.city_id = Some(city_id);
        self
    }

    /// Forgets everything and keeps the allocations.
    pub fn clear(&mut self) {
        self.city.clear();
        self.city_id = None;
        self.time_ms = 0;
        self.comment = None;
        self.values.0.clear();
    }
}

impl Serialize for Reading {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (attribute, value) in self.values.iter() {
            map.serialize_entry(attribute.name(), &value)?;
        }
        if let Some(comment) = &self.comment {
            map.serialize_entry("comment", comment)?;
        }
        map.serialize_entry("timeStamp", &WireTime(self.time_ms))?;
        map.serialize_entry("city", &self.city)?;
        if let Some(city_id) = self.city_id {
            map.serialize_entry("cityId", &city_id)?;
        }
        map.end()
    }
}

/// The measured values of a reading: at most one of each name, in the order they came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Values(Vec<(Attribute, f64)>);

impl Values {
    /// Sets a value, replacing one of the same name.
    pub fn set(&mut self, attribute: Attribute, value: f64) {
        match self.0.iter_mut().find(|(known, _)| *known == attribute) {
            Some((_, old)) => *old = value,
            None => self.0.push((attribute, value)),
        }
    }

    /// The value of that name.
    pub fn get(&self, attribute: &Attribute) -> Option<f64> {
        self.0
            .iter()
            .find(|(known, _)| known == attribute)
            .map(|&(_, value)| value)
    }

    /// All values.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Attribute, f64)> {
        self.0.iter().map(|(attribute, value)| (attribute, *value))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A time as the wire has it: RFC 3339 with milliseconds and a numeric offset, which is how Jackson writes it.
///
/// ```
/// assert_eq!(weather_producer::WireTime(0).to_string(), "1970-01-01T00:00:00.000+00:00");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireTime(
    /// Milliseconds since the Unix epoch.
    pub i64,
);

impl fmt::Display for WireTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_millisecond(self.0) {
            Ok(time) => write!(f, "{}", time.strftime("%Y-%m-%dT%H:%M:%S.%3f+00:00")),
            // Beyond the year 9999 there is no RFC 3339.
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

impl Serialize for WireTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WireTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = WireTime;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time in RFC 3339, with an offset")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<WireTime, E> {
                text.parse::<Timestamp>()
                    .map(|time| WireTime(time.as_millisecond()))
                    .map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_value_of_the_same_name_replaces_the_first() {
        let reading = Reading::new("Mosbach", 0)
            .with(Attribute::TempCurrent, 1.0)
            .with(Attribute::Humidity, 50.0)
            .with(Attribute::TempCurrent, 2.0);
        assert_eq!(reading.values.len(), 2);
        assert_eq!(reading.values.get(&Attribute::TempCurrent), Some(2.0));
    }

    #[test]
    fn times_have_three_digits_and_an_offset() {
        assert_eq!(
            WireTime(1_637_068_282_007).to_string(),
            "2021-11-16T13:11:22.007+00:00"
        );
        assert_eq!(
            WireTime(i64::MAX).to_string(),
            "9223372036854775807 ms",
            "out of RFC 3339's range"
        );
    }
}
