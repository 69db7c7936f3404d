//! Bright Sky: `GET /current_weather?lat=..&lon=..`, in its default units (°C, km/h, hPa, mm, m).

use super::Location;
use crate::attribute::Attribute;
use crate::reading::Reading;
use serde::Deserialize;

pub(super) fn url(base: &str, location: &Location) -> String {
    format!(
        "{}/current_weather?lat={}&lon={}",
        base.trim_end_matches('/'),
        location.latitude,
        location.longitude
    )
}

#[derive(Deserialize)]
struct Answer {
    weather: Weather,
}

/// Every number may be null: a station need not measure everything.
#[derive(Deserialize)]
struct Weather {
    timestamp: String,
    temperature: Option<f64>,
    dew_point: Option<f64>,
    relative_humidity: Option<f64>,
    pressure_msl: Option<f64>,
    cloud_cover: Option<f64>,
    visibility: Option<f64>,
    precipitation_60: Option<f64>,
    wind_speed_10: Option<f64>,
    wind_speed_30: Option<f64>,
    wind_speed_60: Option<f64>,
    wind_direction_10: Option<f64>,
    wind_direction_30: Option<f64>,
    wind_direction_60: Option<f64>,
    wind_gust_speed_10: Option<f64>,
    wind_gust_speed_30: Option<f64>,
    wind_gust_speed_60: Option<f64>,
    condition: Option<String>,
}

pub(super) fn parse(location: &Location, body: &str) -> Result<Reading, String> {
    let Answer { weather } = serde_json::from_str(body)
        .map_err(|error| format!("the answer is not Bright Sky's current weather: {error}"))?;
    let time: jiff::Timestamp = weather
        .timestamp
        .parse()
        .map_err(|error| format!("`timestamp` is not a time: {error}"))?;
    let metres_per_second = |kilometres_per_hour: f64| kilometres_per_hour / 3.6;
    // The shortest interval is the closest to now; longer ones stand in for it.
    let wind = weather
        .wind_speed_10
        .or(weather.wind_speed_30)
        .or(weather.wind_speed_60);
    let direction = weather
        .wind_direction_10
        .or(weather.wind_direction_30)
        .or(weather.wind_direction_60);
    let gust = weather
        .wind_gust_speed_10
        .or(weather.wind_gust_speed_30)
        .or(weather.wind_gust_speed_60);
    let reading = Reading::new(&location.city, time.as_millisecond())
        .with_some(Attribute::TempCurrent, weather.temperature)
        .with_some(Attribute::DewPoint, weather.dew_point)
        .with_some(Attribute::Humidity, weather.relative_humidity)
        .with_some(Attribute::Pressure, weather.pressure_msl)
        .with_some(Attribute::WindSpeed, wind.map(metres_per_second))
        .with_some(Attribute::WindGust, gust.map(metres_per_second))
        .with_some(Attribute::WindDirection, direction)
        .with_some(Attribute::Precipitation, weather.precipitation_60)
        .with_some(Attribute::Visibility, weather.visibility)
        .with_some(Attribute::CloudCover, weather.cloud_cover);
    Ok(match weather.condition {
        Some(condition) => reading.with_comment(condition),
        None => reading,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mosbach() -> Location {
        "Mosbach=49.35,9.15".parse().unwrap()
    }

    #[test]
    fn kilometres_per_hour_become_metres_per_second_and_nulls_are_left_out() {
        let body = include_str!("shapes/bright_sky.json");
        let reading = parse(&mosbach(), body).unwrap();
        let expected = Reading::new("Mosbach", 1_757_314_800_000)
            .with(Attribute::TempCurrent, 15.2)
            .with(Attribute::DewPoint, 12.3)
            .with(Attribute::Humidity, 83.0)
            .with(Attribute::Pressure, 1015.4)
            .with(Attribute::WindSpeed, 2.0)
            .with(Attribute::WindDirection, 250.0)
            .with(Attribute::Precipitation, 0.2)
            .with(Attribute::Visibility, 39120.0)
            .with_comment("rain");
        assert_eq!(reading, expected);
    }

    #[test]
    fn another_shape_is_an_error_that_says_so() {
        let message = parse(&mosbach(), r#"{"detail":"no sources"}"#).unwrap_err();
        assert!(
            message.contains("Bright Sky") && message.contains("weather"),
            "{message}"
        );
    }

    #[test]
    fn the_address_names_the_place() {
        assert_eq!(
            url("http://localhost/", &mosbach()),
            "http://localhost/current_weather?lat=49.35&lon=9.15"
        );
    }
}
