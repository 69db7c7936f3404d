//! What the program is told on its command line.

use crate::generate::{Generator, GeneratorSettings};
use crate::pace::Pace;
use crate::poll::{Location, PollSettings, Service};
use crate::replay::Replay;
use crate::rules::system_time_ms;
use crate::topics::PARTITIONS;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// Everything the producer is told.
#[derive(Args, Clone, Debug)]
pub struct ProducerArguments {
    /// Topic the readings go to; created if it does not exist
    #[arg(long, env = "WEATHER_TOPIC", default_value = "weather")]
    pub topic: String,
    /// Partitions of the topic if it does not exist yet
    #[arg(long, env = "WEATHER_PARTITIONS", default_value_t = PARTITIONS, value_parser = clap::value_parser!(i32).range(1..))]
    pub partitions: i32,
    /// File with settings of Kafka clients, one `name = value` a line; the environment wins over it
    #[arg(long, env = "WEATHER_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where the readings come from.
    #[command(subcommand)]
    pub source: Source,
}

/// Where readings come from.
#[derive(Clone, Debug, Subcommand)]
pub enum Source {
    /// Replay real observations: 2013, hourly, at three New York airports
    Replay(ReplayArguments),
    /// Ask a weather service on a schedule
    Poll(PollArguments),
    /// Make readings up, for load
    Generate(GenerateArguments),
}

/// How observations are replayed.
#[derive(Args, Clone, Copy, Debug)]
pub struct ReplayArguments {
    /// Seconds of the observations for each second of the clock; 0 for as fast as possible [default: a day a second]
    #[arg(long, default_value_t = 86_400.0, value_parser = not_negative, hide_default_value = true)]
    pub speed: f64,
    /// Move the dates by whole days so that the observations end yesterday: Graphite forgets what is too old
    #[arg(long)]
    pub recent: bool,
    /// How many readings to send [default: all]
    #[arg(long)]
    pub count: Option<usize>,
}

/// How a service is asked.
#[derive(Args, Clone, Debug)]
pub struct PollArguments {
    /// Whom to ask
    #[arg(long, value_enum, default_value_t = ServiceName::BrightSky)]
    pub service: ServiceName,
    /// Where the service is [default: its address on the Internet]
    #[arg(long)]
    pub url: Option<String>,
    /// A place, as NAME=LATITUDE,LONGITUDE in degrees; may be repeated [default: Mosbach, Stuttgart, Bad Mergentheim]
    #[arg(long = "location")]
    pub locations: Vec<Location>,
    /// Seconds from one round to the next
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..))]
    pub interval_s: u64,
    /// Seconds one request may take
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout_s: u64,
    /// Ask once, then end
    #[arg(long)]
    pub once: bool,
}

/// The services, as the command line names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ServiceName {
    /// Bright Sky: measurements of the German weather service
    BrightSky,
    /// Open-Meteo: models, for anywhere
    OpenMeteo,
}

/// How readings are made up.
#[derive(Args, Clone, Debug)]
pub struct GenerateArguments {
    /// The same seed makes the same readings
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How many readings [default: endless]
    #[arg(long)]
    pub count: Option<usize>,
    /// Readings per second; 0 for as fast as possible
    #[arg(long, default_value_t = 10.0, value_parser = not_negative)]
    pub rate: f64,
    /// A city; may be repeated [default: Mosbach, Stuttgart, Bad Mergentheim]
    #[arg(long = "city")]
    pub cities: Vec<String>,
    /// Seconds from one reading of a city to its next, in the readings' time
    #[arg(long, default_value_t = 60.0, value_parser = not_negative)]
    pub step_s: f64,
    /// Time of the first reading, RFC 3339 [default: now]
    #[arg(long)]
    pub start: Option<jiff::Timestamp>,
    /// How many seconds a reading may lie before its turn
    #[arg(long, default_value_t = 0.0, value_parser = not_negative)]
    pub out_of_order_s: f64,
}

impl ReplayArguments {
    /// The observations, with their dates moved if that was asked for.
    pub fn replay(&self) -> Replay {
        let replay = Replay::new_york_2013();
        if self.recent {
            replay.ending_before(system_time_ms())
        } else {
            replay
        }
    }

    /// How fast they follow each other.
    pub fn pace(&self) -> Pace {
        match self.speed {
            0.0 => Pace::Unlimited,
            speed => Pace::EventTime { speed },
        }
    }
}

impl PollArguments {
    /// How the poller asks.
    pub fn settings(&self) -> PollSettings {
        let service = match self.service {
            ServiceName::BrightSky => Service::BrightSky,
            ServiceName::OpenMeteo => Service::OpenMeteo,
        };
        let mut settings = PollSettings::new(service);
        if let Some(url) = &self.url {
            settings.base_url.clone_from(url);
        }
        if !self.locations.is_empty() {
            settings.locations.clone_from(&self.locations);
        }
        settings.timeout = Duration::from_secs(self.timeout_s);
        settings
    }
}

impl GenerateArguments {
    /// The generator.
    pub fn generator(&self) -> Generator {
        let mut settings = GeneratorSettings {
            seed: self.seed,
            start_ms: self
                .start
                .map_or_else(system_time_ms, |start| start.as_millisecond()),
            step_ms: (self.step_s * 1000.0) as i64,
            out_of_order_ms_max: (self.out_of_order_s * 1000.0) as i64,
            ..GeneratorSettings::default()
        };
        if !self.cities.is_empty() {
            settings.cities.clone_from(&self.cities);
        }
        Generator::new(settings)
    }

    /// How fast they follow each other.
    pub fn pace(&self) -> Pace {
        match self.rate {
            0.0 => Pace::Unlimited,
            per_s => Pace::Rate { per_s },
        }
    }
}

fn not_negative(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number >= 0.0 && number.is_finite() => Ok(number),
        _ => Err("expected a number, 0 or more".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        arguments: ProducerArguments,
    }

    fn source(line: &str) -> Source {
        Program::try_parse_from(line.split(' '))
            .unwrap_or_else(|error| panic!("{error}"))
            .arguments
            .source
    }

    #[test]
    fn what_is_not_said_has_a_sensible_value() {
        let Source::Replay(replay) = source("x replay") else {
            panic!("a replay")
        };
        assert_eq!(replay.pace(), Pace::EventTime { speed: 86_400.0 });
        let Source::Poll(poll) = source("x poll --service open-meteo") else {
            panic!("a poll")
        };
        assert_eq!(poll.settings(), PollSettings::new(Service::OpenMeteo));
        let Source::Generate(generate) = source("x generate --rate 0") else {
            panic!("a generator")
        };
        assert_eq!(generate.pace(), Pace::Unlimited);
        assert_eq!(generate.generator().next().unwrap().city, "Mosbach");
    }

    #[test]
    fn places_and_numbers_are_checked() {
        let Source::Poll(poll) = source("x poll --location Ulm=48.4,9.98 --url http://localhost:1")
        else {
            panic!("a poll")
        };
        assert_eq!(poll.settings().locations[0].city, "Ulm");
        for wrong in [
            "x replay --speed -1",
            "x generate --rate NaN",
            "x poll --location Ulm",
            "x poll --location Ulm=99,0",
            "x --partitions 0 replay",
        ] {
            assert!(
                Program::try_parse_from(wrong.split(' ')).is_err(),
                "{wrong}"
            );
        }
    }
}
