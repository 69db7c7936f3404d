//! Open-Meteo: `GET /v1/forecast?latitude=..&longitude=..&current=..`. Units are in the answer, times are local.

use super::Location;
use crate::attribute::Attribute;
use crate::reading::Reading;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use serde::Deserialize;
use std::collections::HashMap;

/// What is asked for, and what it is here.
const FIELDS: [(&str, Attribute); 9] = [
    ("temperature_2m", Attribute::TempCurrent),
    ("dew_point_2m", Attribute::DewPoint),
    ("relative_humidity_2m", Attribute::Humidity),
    ("pressure_msl", Attribute::Pressure),
    ("wind_speed_10m", Attribute::WindSpeed),
    ("wind_gusts_10m", Attribute::WindGust),
    ("wind_direction_10m", Attribute::WindDirection),
    ("precipitation", Attribute::Precipitation),
    ("cloud_cover", Attribute::CloudCover),
];

/// The names of the older `current_weather`, whose units are fixed.
const OLDER_FIELDS: [(&str, Attribute, &str); 3] = [
    ("temperature", Attribute::TempCurrent, "°C"),
    ("windspeed", Attribute::WindSpeed, "km/h"),
    ("winddirection", Attribute::WindDirection, "°"),
];

pub(super) fn url(base: &str, location: &Location) -> String {
    let fields: Vec<_> = FIELDS.iter().map(|(name, _)| *name).collect();
    format!(
        "{}/v1/forecast?latitude={}&longitude={}&current={}",
        base.trim_end_matches('/'),
        location.latitude,
        location.longitude,
        fields.join(",")
    )
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    utc_offset_seconds: i32,
    current: Option<Fields>,
    #[serde(default)]
    current_units: HashMap<String, String>,
    current_weather: Option<Fields>,
}

type Fields = HashMap<String, serde_json::Value>;

pub(super) fn parse(location: &Location, body: &str) -> Result<Reading, String> {
    let answer: Answer = serde_json::from_str(body)
        .map_err(|error| format!("the answer is not Open-Meteo's: {error}"))?;
    let (fields, is_older) = match (&answer.current, &answer.current_weather) {
        (Some(fields), _) => (fields, false),
        (None, Some(fields)) => (fields, true),
        (None, None) => {
            return Err("the answer has no `current` values: not Open-Meteo's forecast".into());
        }
    };
    let mut reading = Reading::new(&location.city, time_ms(fields, answer.utc_offset_seconds)?);
    if is_older {
        for (name, attribute, unit) in OLDER_FIELDS {
            if let Some(value) = fields.get(name).and_then(|value| value.as_f64()) {
                let value = in_our_unit(&attribute, value, unit)?;
                reading.values.set(attribute, value);
            }
        }
    } else {
        for (name, attribute) in FIELDS {
            if let Some(value) = fields.get(name).and_then(|value| value.as_f64()) {
                let unit = answer.current_units.get(name).map_or("", String::as_str);
                let value = in_our_unit(&attribute, value, unit)?;
                reading.values.set(attribute, value);
            }
        }
    }
    Ok(reading)
}

/// The time is local, without a zone, or seconds since the Unix epoch when `timeformat=unixtime` was asked for.
fn time_ms(fields: &Fields, utc_offset_seconds: i32) -> Result<i64, String> {
    let time = fields.get("time").ok_or("the answer has no `time`")?;
    if let Some(seconds) = time.as_i64() {
        return Ok(seconds.saturating_mul(1000));
    }
    let text = time.as_str().unwrap_or_default();
    let local: DateTime = text
        .parse()
        .map_err(|error| format!("`time` is not a time: {error}"))?;
    let offset = Offset::from_seconds(utc_offset_seconds)
        .map_err(|error| format!("`utc_offset_seconds` is wrong: {error}"))?;
    let time = offset
        .to_timestamp(local)
        .map_err(|error| format!("`time` is out of range: {error}"))?;
    Ok(time.as_millisecond())
}

fn in_our_unit(attribute: &Attribute, value: f64, unit: &str) -> Result<f64, String> {
    Ok(match (attribute, unit) {
        (_, unit) if unit == attribute.unit() => value,
        (Attribute::TempCurrent | Attribute::DewPoint, "°F") => (value - 32.0) / 1.8,
        (Attribute::WindSpeed | Attribute::WindGust, "km/h") => value / 3.6,
        (Attribute::WindSpeed | Attribute::WindGust, "mp/h") => value * 0.447_04,
        (Attribute::WindSpeed | Attribute::WindGust, "kn") => value * 1852.0 / 3600.0,
        (Attribute::Precipitation, "inch") => value * 25.4,
        _ => return Err(format!("`{attribute}` is in an unknown unit '{unit}'")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mosbach() -> Location {
        "Mosbach=49.35,9.15".parse().unwrap()
    }

    #[test]
    fn local_time_becomes_utc_and_units_are_converted() {
        let body = include_str!("shapes/open_meteo.json");
        let expected = Reading::new("Mosbach", 1_757_307_600_000)
            .with(Attribute::TempCurrent, 14.1)
            .with(Attribute::Humidity, 87.0)
            .with(Attribute::Pressure, 1016.2)
            .with(Attribute::WindSpeed, 2.5)
            .with(Attribute::WindDirection, 214.0)
            .with(Attribute::Precipitation, 0.0)
            .with(Attribute::CloudCover, 100.0);
        assert_eq!(parse(&mosbach(), body).unwrap(), expected);
    }

    #[test]
    fn the_older_shape_is_read_too() {
        let body = include_str!("shapes/open_meteo_older.json");
        let expected = Reading::new("Mosbach", 1_662_310_800_000)
            .with(Attribute::TempCurrent, 21.4)
            .with(Attribute::WindSpeed, 3.0)
            .with(Attribute::WindDirection, 90.0);
        assert_eq!(parse(&mosbach(), body).unwrap(), expected);
    }

    #[test]
    fn an_unknown_unit_is_not_guessed() {
        let body = r#"{"current_units":{"wind_speed_10m":"Bft"},"current":{"time":"2025-09-08T07:00","wind_speed_10m":3}}"#;
        let message = parse(&mosbach(), body).unwrap_err();
        assert!(
            message.contains("`windSpeed`") && message.contains("Bft"),
            "{message}"
        );
    }

    #[test]
    fn an_error_of_the_service_is_not_a_reading() {
        let message = parse(&mosbach(), r#"{"error":true,"reason":"Latitude"}"#).unwrap_err();
        assert!(message.contains("no `current`"), "{message}");
    }
}
