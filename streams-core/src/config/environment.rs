//! Settings from environment variables.

use std::collections::BTreeMap;

use super::client_names;
use super::names;
use super::settings::SETTINGS;
use crate::error::{Error, Result};

/// What the name of a setting's variable begins with.
const PREFIX: &str = "STREAMS_";
/// The variable other tools use too.
const BOOTSTRAP_SERVERS: &str = "KAFKA_BOOTSTRAP_SERVERS";

/// The variables of this process that are settings by their name.
pub(super) fn of_this_process() -> Result<Vec<(String, String)>> {
    std::env::vars_os()
        .filter_map(|(variable, value)| {
            let variable = variable.into_string().ok()?;
            is_setting(&variable).then_some((variable, value))
        })
        .map(|(variable, value)| match value.into_string() {
            Ok(value) => Ok((variable, value)),
            Err(_) => Err(Error::config(format!(
                "environment variable {variable}: its value must be UTF-8"
            ))),
        })
        .collect()
}

/// The variables that are settings, those that win last.
pub(super) fn by_precedence<N: AsRef<str>, V: AsRef<str>>(
    variables: impl IntoIterator<Item = (N, V)>,
) -> Vec<(String, String)> {
    let mut settings: BTreeMap<String, String> = variables
        .into_iter()
        .filter(|(variable, _)| is_setting(variable.as_ref()))
        .map(|(variable, value)| (variable.as_ref().to_owned(), value.as_ref().to_owned()))
        .collect();
    let shared = settings.remove_entry(BOOTSTRAP_SERVERS);
    shared.into_iter().chain(settings).collect()
}

fn is_setting(variable: &str) -> bool {
    variable == BOOTSTRAP_SERVERS || variable.starts_with(PREFIX)
}

/// The setting a variable stands for.
pub(super) fn setting(variable: &str) -> Result<String, String> {
    if variable == BOOTSTRAP_SERVERS {
        return Ok("bootstrap.servers".to_owned());
    }
    let known = SETTINGS
        .iter()
        .map(|setting| setting.name)
        .chain(client_names::names());
    // Known names are compared as variables, since some have underscores of their own.
    for name in known {
        if variable_of(name) == variable {
            return Ok(name.to_owned());
        }
    }
    for prefix in client_names::PREFIXES {
        if let Some(rest) = variable.strip_prefix(&variable_of(prefix)) {
            let name = client_names::names()
                .find(|name| variable_of(name) == format!("{PREFIX}{rest}"))
                .map_or_else(|| rest.to_lowercase().replace('_', "."), str::to_owned);
            return Ok(format!("{prefix}{name}"));
        }
    }
    let variables: Vec<String> = names::candidates()
        .iter()
        .map(|name| variable_of(name))
        .collect();
    Err(match names::nearest(variable, &variables) {
        Some(nearest) => format!("no such setting; did you mean {nearest}?"),
        None => names::unknown(&variable[PREFIX.len()..].to_lowercase().replace('_', ".")),
    })
}

fn variable_of(name: &str) -> String {
    format!("{PREFIX}{}", name.to_uppercase().replace(['.', '-'], "_"))
}

#[cfg(test)]
mod tests {
    use super::super::StreamsConfig;
    use super::*;

    #[test]
    fn dots_are_underscores() {
        for (variable, name) in [
            ("STREAMS_COMMIT_INTERVAL_MS", "commit.interval.ms"),
            ("STREAMS_SASL_USERNAME", "sasl.username"),
            ("STREAMS_LOG_LEVEL", "log_level"),
            ("STREAMS_PRODUCER_LINGER_MS", "producer.linger.ms"),
            (
                "STREAMS_MAIN_CONSUMER_MAX_POLL_RECORDS",
                "main.consumer.max.poll.records",
            ),
            ("STREAMS_CONSUMER_LOG_LEVEL", "consumer.log_level"),
            ("STREAMS_TOPIC_SEGMENT_BYTES", "topic.segment.bytes"),
            ("STREAMS_CONSUMER_NEW_THING", "consumer.new.thing"),
            ("KAFKA_BOOTSTRAP_SERVERS", "bootstrap.servers"),
        ] {
            assert_eq!(setting(variable).as_deref(), Ok(name));
        }
    }

    #[test]
    fn an_unknown_variable_is_an_error_that_suggests() {
        let error = StreamsConfig::new("app")
            .with_variables([
                ("STREAMS_COMMIT_INTERVALL_MS", "5"),
                ("STREAMS_POLL_MS", "soon"),
                ("STREAMS_ROCKSDB_CONFIG_SETTER", "Mine"),
                ("STREAMLINE", "is nothing of ours"),
            ])
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "environment variable STREAMS_COMMIT_INTERVALL_MS: no such setting; \
             did you mean STREAMS_COMMIT_INTERVAL_MS?\n\
             environment variable STREAMS_POLL_MS: poll.ms must be a whole number of milliseconds, 0 or more; \
             got 'soon'\n\
             environment variable STREAMS_ROCKSDB_CONFIG_SETTER: 'rocksdb.config.setter' is a setting of Kafka Streams \
             in Java: RocksDB works within one memory budget; set memory.max.bytes"
        );
    }

    #[test]
    fn our_own_variable_wins_over_the_shared_one() {
        for variables in [
            [
                ("STREAMS_BOOTSTRAP_SERVERS", "a:1"),
                (BOOTSTRAP_SERVERS, "b:1"),
            ],
            [
                (BOOTSTRAP_SERVERS, "b:1"),
                ("STREAMS_BOOTSTRAP_SERVERS", "a:1"),
            ],
        ] {
            let config = StreamsConfig::new("app")
                .with_variables(variables)
                .expect("config");
            assert_eq!(config.bootstrap_servers(), Some("a:1"));
        }
    }

    #[test]
    fn this_process_has_an_environment() {
        let config = StreamsConfig::new("app").with_environment();
        assert_eq!(config.expect("config").application_id(), "app");
    }
}
