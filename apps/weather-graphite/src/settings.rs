//! Where the points go, and under which names.

use crate::name::segment;
use crate::sink::SinkSettings;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;
use streams_core::{Error, Result};
use weather_producer::PARTITIONS;

/// The settings of the Graphite writer, as the command line and the environment give them.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct Settings {
    /// Graphite's plaintext receiver, as host or host:port
    #[arg(long, env = "GRAPHITE_HOST", default_value = "localhost")]
    pub graphite: String,
    /// First part of the paths [default: vlvs_inf19b. and the user id]
    #[arg(long, env = "GRAPHITE_PREFIX")]
    pub prefix: Option<String>,
    /// Your part of the default prefix
    #[arg(long, env = "GRAPHITE_USER_ID", default_value = "demo")]
    pub user_id: String,
    /// Topic of the readings
    #[arg(long, env = "WEATHER_TOPIC", default_value = "weather")]
    pub readings: String,
    /// Topic of the results
    #[arg(
        long,
        env = "WEATHER_AVERAGES_TOPIC",
        default_value = "weather-averages"
    )]
    pub averages: String,
    /// Seconds to whose multiples the times of readings are rounded down: the finest step of carbon's retention
    #[arg(long, env = "GRAPHITE_STEP_S", default_value_t = 1, value_parser = clap::value_parser!(i64).range(1..))]
    pub step_s: i64,
    /// Milliseconds after which a point counts as delivered on a connection that is still alive
    #[arg(long, env = "GRAPHITE_SETTLE_MS", default_value_t = 5000)]
    pub settle_ms: u64,
    /// Milliseconds that points wait for others to go with them
    #[arg(long, env = "GRAPHITE_LINGER_MS", default_value_t = 200)]
    pub linger_ms: u64,
    /// Milliseconds that connecting and one write may take
    #[arg(long, env = "GRAPHITE_TIMEOUT_MS", default_value_t = 5000, value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout_ms: u64,
    /// Milliseconds without Graphite after which the program ends with an error
    #[arg(long, env = "GRAPHITE_MAX_OUTAGE_MS", default_value_t = 600_000)]
    pub max_outage_ms: u64,
    /// Bytes of points that may wait for Graphite; then reading from Kafka pauses
    #[arg(long, env = "GRAPHITE_BUFFER_MAX_BYTES", default_value_t = 64 * 1024 * 1024)]
    pub buffer_max_bytes: usize,
    /// Partitions of the topics if they do not exist yet
    #[arg(long, env = "WEATHER_PARTITIONS", default_value_t = PARTITIONS, value_parser = clap::value_parser!(i32).range(1..))]
    pub partitions: i32,
    /// Name of the application: instances of one name share the work
    #[arg(long, env = "WEATHER_GRAPHITE_ID", default_value = "weather-graphite")]
    pub application_id: String,
    /// File with settings of the stream processing, one `name = value` a line; the environment wins over it
    #[arg(long, env = "WEATHER_CONFIG")]
    pub config: Option<PathBuf>,
}

impl Settings {
    /// The settings for a Graphite at that host or host:port, everything else as it is by default.
    ///
    /// ```
    /// let settings = weather_graphite::Settings::new("graphite:2003");
    /// assert_eq!(settings.prefix()?, "vlvs_inf19b.demo");
    /// # Ok::<(), streams_core::Error>(())
    /// ```
    pub fn new(graphite: &str) -> Self {
        Settings {
            graphite: graphite.into(),
            prefix: None,
            user_id: "demo".into(),
            readings: "weather".into(),
            averages: "weather-averages".into(),
            step_s: 1,
            settle_ms: 5000,
            linger_ms: 200,
            timeout_ms: 5000,
            max_outage_ms: 600_000,
            buffer_max_bytes: 64 * 1024 * 1024,
            partitions: PARTITIONS,
            application_id: "weather-graphite".into(),
            config: None,
        }
    }

    /// The first part of every path.
    ///
    /// # Errors
    /// When it could not be part of one.
    pub fn prefix(&self) -> Result<String> {
        let Some(prefix) = &self.prefix else {
            return Ok(format!("vlvs_inf19b.{}", segment(&self.user_id)));
        };
        let is_fine = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
        };
        if prefix.split('.').all(is_fine) {
            return Ok(prefix.clone());
        }
        Err(Error::config(format!(
            "--prefix must be parts of letters, digits, '_' and '-', with single dots between them; got '{prefix}'"
        )))
    }

    /// How to reach Graphite.
    pub fn sink(&self) -> SinkSettings {
        SinkSettings {
            settle: Duration::from_millis(self.settle_ms),
            linger: Duration::from_millis(self.linger_ms),
            timeout: Duration::from_millis(self.timeout_ms),
            outage_max: Duration::from_millis(self.max_outage_ms),
            buffer_bytes_max: self.buffer_max_bytes,
            ..SinkSettings::new(&self.graphite)
        }
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
        let parsed = Program::parse_from(["x", "--graphite", "g"]).settings;
        assert_eq!(parsed, Settings::new("g"));
        assert_eq!(parsed.sink(), SinkSettings::new("g"));
    }

    #[test]
    fn a_prefix_is_checked_and_a_user_id_cleaned() {
        let with = |line: &str| Program::parse_from(line.split(' ')).settings.prefix();
        assert_eq!(with("x --prefix a.b-c").unwrap(), "a.b-c");
        assert_eq!(
            with("x --user-id Jürgen.M").unwrap(),
            "vlvs_inf19b.juergen-m"
        );
        for wrong in ["a..b", ".a", "a.", "a/b", "a;b"] {
            let message = with(&format!("x --prefix {wrong}"))
                .unwrap_err()
                .to_string();
            assert!(message.contains("--prefix"), "{message}");
        }
    }
}
