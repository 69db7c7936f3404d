//! Polling a weather service over HTTP, on a schedule.

mod bright_sky;
mod http;
mod open_meteo;

use crate::reading::Reading;
use crate::stop::Stop;
use http::Client;
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A weather service and the shape of its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Bright Sky, the open data of the German weather service (DWD): `/current_weather`.
    BrightSky,
    /// Open-Meteo: `/v1/forecast` with `current` values.
    OpenMeteo,
}

impl Service {
    /// Where the service is on the Internet.
    pub fn default_url(self) -> &'static str {
        match self {
            Service::BrightSky => "https://api.brightsky.dev",
            Service::OpenMeteo => "https://api.open-meteo.com",
        }
    }

    fn url(self, base: &str, location: &Location) -> String {
        match self {
            Service::BrightSky => bright_sky::url(base, location),
            Service::OpenMeteo => open_meteo::url(base, location),
        }
    }

    fn parse(self, location: &Location, body: &str) -> Result<Reading, String> {
        match self {
            Service::BrightSky => bright_sky::parse(location, body),
            Service::OpenMeteo => open_meteo::parse(location, body),
        }
    }
}

/// A city and where it is: the services know places by coordinates only.
///
/// ```
/// let location: weather_producer::Location = "Bad Mergentheim=49.49,9.77".parse()?;
/// assert_eq!(location.city, "Bad Mergentheim");
/// assert_eq!((location.latitude, location.longitude), (49.49, 9.77));
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Location {
    /// The city's name.
    pub city: String,
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
}

impl Location {
    /// Mosbach, Stuttgart and Bad Mergentheim.
    pub fn defaults() -> Vec<Location> {
        [
            ("Mosbach", 49.35, 9.15),
            ("Stuttgart", 48.78, 9.18),
            ("Bad Mergentheim", 49.49, 9.77),
        ]
        .map(|(city, latitude, longitude)| Location {
            city: city.into(),
            latitude,
            longitude,
        })
        .to_vec()
    }
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (city, place) = text.split_once('=')?;
            let (latitude, longitude) = place.split_once(',')?;
            let latitude: f64 = latitude.trim().parse().ok()?;
            let longitude: f64 = longitude.trim().parse().ok()?;
            let city = crate::city_name(city).into_owned();
            let fine = !city.is_empty()
                && (-90.0..=90.0).contains(&latitude)
                && (-180.0..=180.0).contains(&longitude);
            fine.then_some(Location {
                city,
                latitude,
                longitude,
            })
        };
        parse().ok_or_else(|| {
            format!("expected NAME=LATITUDE,LONGITUDE in degrees, such as Mosbach=49.35,9.15, got '{text}'")
        })
    }
}

/// How a [`Poller`] asks.
#[derive(Clone, Debug, PartialEq)]
pub struct PollSettings {
    /// Whom to ask.
    pub service: Service,
    /// Where it is, such as `https://api.brightsky.dev`.
    pub base_url: String,
    /// Which places to ask for.
    pub locations: Vec<Location>,
    /// How long one request may take, from connecting to the last byte.
    pub timeout: Duration,
    /// How often a request is tried before the place is given up for this round.
    pub tries_max: u32,
    /// The wait after the first failure; it doubles up to 30 times itself.
    pub first_wait: Duration,
}

impl PollSettings {
    /// The service on the Internet, for [`Location::defaults`], with 10 s for a request and 5 tries.
    pub fn new(service: Service) -> Self {
        PollSettings {
            service,
            base_url: service.default_url().into(),
            locations: Location::defaults(),
            timeout: Duration::from_secs(10),
            tries_max: 5,
            first_wait: Duration::from_secs(1),
        }
    }
}

/// Asks a service for the current readings and remembers which are known already.
///
/// Time-outs, connections that fail, and the answers 429 and 5xx are tried again with growing waits, or after the time a
/// `Retry-After` asks for. Any other answer that is no reading is given up at once: asking again would not change it.
pub struct Poller {
    settings: PollSettings,
    client: Client,
    /// The time of the last reading per city, in milliseconds since the Unix epoch.
    known: HashMap<String, i64>,
}

impl Poller {
    /// A poller that has not asked yet.
    pub fn new(settings: PollSettings) -> Self {
        Poller {
            client: Client::new(&settings),
            settings,
            known: HashMap::new(),
        }
    }

    /// One round: what is new at each place. A place that fails does not keep the others from being asked.
    pub fn poll(&mut self, stop: &Stop) -> Round {
        let mut round = Round::default();
        for location in &self.settings.locations {
            if stop.is_requested() {
                break;
            }
            let url = self.settings.service.url(&self.settings.base_url, location);
            let answer = self.client.get(&url, stop).and_then(|body| {
                self.settings
                    .service
                    .parse(location, &body)
                    .map_err(|message| format!("{url}: {message}"))
            });
            match answer {
                Ok(reading) => {
                    let last = self.known.insert(reading.city.clone(), reading.time_ms);
                    if last != Some(reading.time_ms) {
                        round.readings.push(reading);
                    }
                }
                Err(message) => round.failures.push(Failure {
                    city: location.city.clone(),
                    message,
                }),
            }
        }
        round
    }
}

/// What one round of polling brought.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Round {
    /// Readings that were not known before.
    pub readings: Vec<Reading>,
    /// Places without an answer.
    pub failures: Vec<Failure>,
}

/// A place without an answer, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The city.
    pub city: String,
    /// What went wrong.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.city, self.message)
    }
}

#[cfg(test)]
mod tests;
