//! What the averages are made of.

use clap::Args;
use std::path::PathBuf;
use std::time::Duration;
use streams_core::{Error, Result};
use weather_producer::{PARTITIONS, Rules};

/// The settings of the averages, as the command line and the environment give them.
///
/// ```
/// use std::time::Duration;
/// use weather_averages::Settings;
///
/// let settings = Settings::default();
/// assert_eq!(settings.window, Duration::from_secs(600));
/// assert_eq!(settings.grace, Duration::from_secs(60));
/// assert_eq!(settings.output, "weather-averages");
/// ```
#[derive(Args, Clone, Debug, PartialEq)]
pub struct Settings {
    /// How long a window is, such as 10m, 1h, 1day
    #[arg(long, env = "WEATHER_WINDOW", default_value = "10m", value_parser = humantime::parse_duration)]
    pub window: Duration,
    /// How long after its end a window still takes readings that come late
    #[arg(long, env = "WEATHER_GRACE", default_value = "1m", value_parser = humantime::parse_duration)]
    pub grace: Duration,
    /// Topic of the readings
    #[arg(long, env = "WEATHER_TOPIC", default_value = "weather")]
    pub input: String,
    /// Topic of the results; created if it does not exist
    #[arg(
        long,
        env = "WEATHER_AVERAGES_TOPIC",
        default_value = "weather-averages"
    )]
    pub output: String,
    /// Topic of the records that are no readings; created if it does not exist
    #[arg(long, env = "WEATHER_DLQ_TOPIC", default_value = "weather.dlq")]
    pub dead_letters: String,
    /// Take the city from the reading whatever the record's key is; costs another topic on the way
    #[arg(long, env = "WEATHER_REKEY")]
    pub rekey: bool,
    /// How far ahead of the clock a reading may be before it counts as wrong
    #[arg(long, env = "WEATHER_FUTURE_MAX", default_value = "1h", value_parser = humantime::parse_duration)]
    pub future_max: Duration,
    /// Partitions of the topics that do not exist yet
    #[arg(long, env = "WEATHER_PARTITIONS", default_value_t = PARTITIONS, value_parser = clap::value_parser!(i32).range(1..))]
    pub partitions: i32,
    /// Name of the application: instances of one name share the work
    #[arg(long, env = "WEATHER_AVERAGES_ID", default_value = "weather-averages")]
    pub application_id: String,
    /// File with settings of the stream processing, one `name = value` a line; the environment wins over it
    #[arg(long, env = "WEATHER_CONFIG")]
    pub config: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            window: Duration::from_secs(600),
            grace: Duration::from_secs(60),
            input: "weather".into(),
            output: "weather-averages".into(),
            dead_letters: "weather.dlq".into(),
            rekey: false,
            future_max: Rules::FUTURE_MAX,
            partitions: PARTITIONS,
            application_id: "weather-averages".into(),
            config: None,
        }
    }
}

impl Settings {
    /// Checks what one value alone does not show.
    ///
    /// # Errors
    /// When the window has no whole milliseconds, or two of the topics are one.
    pub fn check(&self) -> Result<()> {
        if self.window.as_millis() == 0 || !self.window.subsec_nanos().is_multiple_of(1_000_000) {
            return Err(Error::config(format!(
                "--window must be whole milliseconds, at least one; got {}",
                humantime::format_duration(self.window)
            )));
        }
        if self.input == self.output
            || self.input == self.dead_letters
            || self.output == self.dead_letters
        {
            return Err(Error::config(
                "--input, --output and --dead-letters must be three different topics",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        settings: Settings,
    }

    #[test]
    fn the_defaults_of_code_and_command_line_are_the_same() {
        assert_eq!(Program::parse_from(["x"]).settings, Settings::default());
    }

    #[test]
    fn wrong_settings_say_what_is_wrong() {
        assert!(Program::try_parse_from(["x", "--window", "soon"]).is_err());
        let zero = Program::parse_from(["x", "--window", "0s"]).settings;
        assert!(zero.check().unwrap_err().to_string().contains("--window"));
        let loops = Program::parse_from(["x", "--output", "weather"]).settings;
        assert!(loops.check().unwrap_err().to_string().contains("different"));
    }
}
