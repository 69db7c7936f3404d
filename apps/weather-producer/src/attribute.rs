//! What a reading can hold: the names of measured values, their units and the range that is physically possible.

use serde::de::{Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};
use std::fmt;

/// The name of a measured value.
///
/// The names of the table below are known: they have a unit, a possible range and spellings that mean the same. Any other
/// number in a reading is kept under its own name, unchecked.
///
/// | name | unit | possible | also read as |
/// |---|---|---|---|
/// | `tempCurrent` | °C | -90 to 60 | `tmpCurrent`, `temp`, `temperature` |
/// | `tempMin` | °C | -90 to 60 | `tmpMin` |
/// | `tempMax` | °C | -90 to 60 | `tmpMax` |
/// | `dewPoint` | °C | -100 to 40 | |
/// | `humidity` | % | 0 to 100 | `relativeHumidity` |
/// | `pressure` | hPa | 800 to 1100 | |
/// | `windSpeed` | m/s | 0 to 120 | `wind` |
/// | `windGust` | m/s | 0 to 120 | `gust` |
/// | `windDirection` | degrees of the compass | 0 to 360 | |
/// | `precipitation` | mm | 0 to 500 | |
/// | `visibility` | m | 0 to 500,000 | |
/// | `cloudCover` | % | 0 to 100 | |
///
/// ```
/// use weather_producer::Attribute;
///
/// assert_eq!(Attribute::named("tmpCurrent"), Attribute::TempCurrent);
/// assert_eq!(Attribute::named("co2").name(), "co2");
/// assert!(!Attribute::WindSpeed.allows(468.7));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Attribute {
    /// Air temperature, °C.
    TempCurrent,
    /// Lowest air temperature, °C, over the time the sender chose.
    TempMin,
    /// Highest air temperature, °C, over the time the sender chose.
    TempMax,
    /// Dew point, °C.
    DewPoint,
    /// Relative humidity, %.
    Humidity,
    /// Air pressure, hPa.
    Pressure,
    /// Wind speed, m/s.
    WindSpeed,
    /// Fastest wind of the interval, m/s.
    WindGust,
    /// Where the wind comes from, degrees clockwise from north.
    WindDirection,
    /// Precipitation of the interval, mm.
    Precipitation,
    /// How far one sees, m.
    Visibility,
    /// Part of the sky that clouds cover, %.
    CloudCover,
    /// Any other number, under the name the sender gave it.
    Other(Box<str>),
}

impl Attribute {
    /// Every known name, in the order they are written.
    pub const KNOWN: [Attribute; 12] = [
        Attribute::TempCurrent,
        Attribute::TempMin,
        Attribute::TempMax,
        Attribute::DewPoint,
        Attribute::Humidity,
        Attribute::Pressure,
        Attribute::WindSpeed,
        Attribute::WindGust,
        Attribute::WindDirection,
        Attribute::Precipitation,
        Attribute::Visibility,
        Attribute::CloudCover,
    ];

    /// The attribute of that name or alias.
    pub fn named(name: &str) -> Attribute {
        Attribute::known(name).unwrap_or_else(|| Attribute::Other(name.into()))
    }

    /// The known attribute of that name or alias, if it is one.
    pub fn known(name: &str) -> Option<Attribute> {
        Some(match name {
            "tempCurrent" | "tmpCurrent" | "temp" | "temperature" => Attribute::TempCurrent,
            "tempMin" | "tmpMin" => Attribute::TempMin,
            "tempMax" | "tmpMax" => Attribute::TempMax,
            "dewPoint" => Attribute::DewPoint,
            "humidity" | "relativeHumidity" => Attribute::Humidity,
            "pressure" => Attribute::Pressure,
            "windSpeed" | "wind" => Attribute::WindSpeed,
            "windGust" | "gust" => Attribute::WindGust,
            "windDirection" => Attribute::WindDirection,
            "precipitation" => Attribute::Precipitation,
            "visibility" => Attribute::Visibility,
            "cloudCover" => Attribute::CloudCover,
            _ => return None,
        })
    }

    /// Its name on the wire and in Graphite.
    pub fn name(&self) -> &str {
        match self {
            Attribute::TempCurrent => "tempCurrent",
            Attribute::TempMin => "tempMin",
            Attribute::TempMax => "tempMax",
            Attribute::DewPoint => "dewPoint",
            Attribute::Humidity => "humidity",
            Attribute::Pressure => "pressure",
            Attribute::WindSpeed => "windSpeed",
            Attribute::WindGust => "windGust",
            Attribute::WindDirection => "windDirection",
            Attribute::Precipitation => "precipitation",
            Attribute::Visibility => "visibility",
            Attribute::CloudCover => "cloudCover",
            Attribute::Other(name) => name,
        }
    }

    /// The lowest and highest value that can be true, in the attribute's unit; `None` for names that are not known.
    pub fn range(&self) -> Option<(f64, f64)> {
        match self {
            Attribute::TempCurrent | Attribute::TempMin | Attribute::TempMax => Some((-90.0, 60.0)),
            Attribute::DewPoint => Some((-100.0, 40.0)),
            Attribute::Humidity | Attribute::CloudCover => Some((0.0, 100.0)),
            Attribute::Pressure => Some((800.0, 1100.0)),
            Attribute::WindSpeed | Attribute::WindGust => Some((0.0, 120.0)),
            Attribute::WindDirection => Some((0.0, 360.0)),
            Attribute::Precipitation => Some((0.0, 500.0)),
            Attribute::Visibility => Some((0.0, 500_000.0)),
            Attribute::Other(_) => None,
        }
    }

    /// Whether the value is a number and within [`Attribute::range`].
    pub fn allows(&self, value: f64) -> bool {
        match self.range() {
            Some((lowest, highest)) => (lowest..=highest).contains(&value),
            None => value.is_finite(),
        }
    }

    /// The attribute's unit as people write it, empty for names that are not known.
    pub fn unit(&self) -> &'static str {
        match self {
            Attribute::TempCurrent
            | Attribute::TempMin
            | Attribute::TempMax
            | Attribute::DewPoint => "°C",
            Attribute::Humidity | Attribute::CloudCover => "%",
            Attribute::Pressure => "hPa",
            Attribute::WindSpeed | Attribute::WindGust => "m/s",
            Attribute::WindDirection => "°",
            Attribute::Precipitation => "mm",
            Attribute::Visibility => "m",
            Attribute::Other(_) => "",
        }
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Attribute {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Attribute {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Attribute;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a measured value")
            }

            fn visit_str<E>(self, name: &str) -> Result<Attribute, E> {
                Ok(Attribute::named(name))
            }
        }
        deserializer.deserialize_str(Name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_read_back() {
        for attribute in Attribute::KNOWN {
            assert_eq!(Attribute::known(attribute.name()), Some(attribute));
        }
    }

    #[test]
    fn what_is_not_a_number_is_never_allowed() {
        for attribute in [Attribute::TempCurrent, Attribute::named("co2")] {
            assert!(!attribute.allows(f64::NAN));
            assert!(!attribute.allows(f64::INFINITY));
            assert!(!attribute.allows(f64::NEG_INFINITY));
        }
        assert!(Attribute::named("co2").allows(-1e300));
    }
}
