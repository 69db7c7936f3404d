//! The settings of the clients: Kafka Streams' defaults, what may not be changed, and Java's names in librdkafka's.

use super::setting_names::{
    COMMON_DEFAULTS, CONSUMER_DEFAULTS, CONSUMER_ONLY, FORCED, GROUP_DEFAULTS, GROUP_ONLY,
    MEMBER_DEFAULTS, NOT_OF_CLIENT, PARTITION_FETCH_BYTES, PARTITION_FETCH_BYTES_ALIAS,
    PRODUCER_DEFAULTS, PRODUCER_ONLY, TRANSLATIONS, UNSUPPORTED,
};
use crate::error::{Error, Result};
use rdkafka::ClientConfig;
use rdkafka::config::{NativeClientConfig, RDKafkaLogLevel};
use std::collections::BTreeMap;
use std::time::Duration;

/// Settings of the clients that a [`super::KafkaBroker`] makes, by name.
///
/// Names are Kafka's; where librdkafka has another name for the same thing, both work. `common` holds for every client that
/// knows the setting, the others only for theirs and before `common`. Restore and global consumers take `consumer` first,
/// as in Kafka Streams.
///
/// ```
/// use streams_core::kafka::KafkaSettings;
///
/// let mut settings = KafkaSettings::default();
/// settings.common.insert("bootstrap.servers".into(), "kafka-1:9092".into());
/// settings.producer.insert("compression.type".into(), "zstd".into());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KafkaSettings {
    /// For every client: `bootstrap.servers`, `security.protocol`, `sasl.*`, `ssl.*`.
    pub common: BTreeMap<String, String>,
    /// For consumers.
    pub consumer: BTreeMap<String, String>,
    /// For readers of changelogs, before `consumer`.
    pub restore_consumer: BTreeMap<String, String>,
    /// For readers of global topics, before `consumer`.
    pub global_consumer: BTreeMap<String, String>,
    /// For producers.
    pub producer: BTreeMap<String, String>,
    /// For the client that administers topics.
    pub admin: BTreeMap<String, String>,
}

/// Which client settings are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A member of the group.
    Consumer,
    /// A reader of changelogs.
    RestoreConsumer,
    /// A reader of global topics.
    GlobalConsumer,
    /// A producer without transactions.
    Producer,
    /// A producer with a transactional id.
    TransactionalProducer,
    /// Topics and their configuration.
    Admin,
}

impl Role {
    fn is_producer(self) -> bool {
        matches!(self, Role::Producer | Role::TransactionalProducer)
    }
}

/// Settings ready for librdkafka, and the few that are for this side of it.
pub(super) struct Resolved {
    pub(super) config: ClientConfig,
    /// How long a producer waits for room in its queue: Java's `max.block.ms`, or as long as a record may take to be
    /// delivered, after which there is room or an error.
    pub(super) block_max: Duration,
    /// How long a call to the brokers may take: Java's `default.api.timeout.ms`.
    pub(super) api_timeout: Duration,
}

const DELIVERY_TIMEOUT_MS: u64 = 120_000;
const DELIVERY_MARGIN_MS: u64 = 10_000;
const API_TIMEOUT_MS: u64 = 60_000;
const TRANSACTION_TIMEOUT_MS: u64 = 10_000;
/// How long a connection of a transactional producer may be idle at most. While librdkafka looks for the coordinator of a group
/// whose broker has left the cluster, it waits for any connection to come or go, without a limit and whatever time-out the
/// call has (its issues 5456 and 5511), and the thread with it. So one goes, a little later.
const IDLE_MAX: &str = "connections.max.idle.ms";
const TRANSACTIONAL_IDLE_MAX_MS: u64 = 10_000;

impl KafkaSettings {
    /// Everything for one client, in librdkafka's names.
    pub(super) fn resolve(&self, role: Role) -> Result<Resolved> {
        let layers: &[&BTreeMap<String, String>] = match role {
            Role::Consumer => &[&self.common, &self.consumer],
            Role::RestoreConsumer => &[&self.common, &self.consumer, &self.restore_consumer],
            Role::GlobalConsumer => &[&self.common, &self.consumer, &self.global_consumer],
            Role::Producer | Role::TransactionalProducer => &[&self.common, &self.producer],
            Role::Admin => &[&self.common, &self.admin],
        };
        let mut given = BTreeMap::new();
        for layer in layers {
            for (name, value) in *layer {
                let (name, value) = translate(role, name, value)?;
                if is_known_to(role, name) {
                    given.insert(name.to_owned(), value);
                }
            }
        }
        if given
            .get("bootstrap.servers")
            .is_none_or(|servers| servers.trim().is_empty())
        {
            return Err(Error::config(
                "bootstrap.servers is not set: give the brokers as host:port, separated by commas",
            ));
        }
        let resolved_millis = |name: &str, default: u64| {
            given.get(name).map_or(Ok(default), |value| {
                value.trim().parse::<u64>().map_err(|_| {
                    Error::config(format!(
                        "{name} must be a number of milliseconds, got '{value}'"
                    ))
                })
            })
        };
        let delivery_max = resolved_millis("delivery.timeout.ms", DELIVERY_TIMEOUT_MS)?;
        let block_max = Duration::from_millis(resolved_millis(
            "max.block.ms",
            delivery_max.saturating_add(DELIVERY_MARGIN_MS),
        )?);
        let transaction_timeout_ms =
            resolved_millis("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS)?;
        let api_timeout =
            Duration::from_millis(resolved_millis("default.api.timeout.ms", API_TIMEOUT_MS)?);
        let idle_max = match resolved_millis(IDLE_MAX, TRANSACTIONAL_IDLE_MAX_MS)? {
            0 => TRANSACTIONAL_IDLE_MAX_MS,
            ms => ms.min(TRANSACTIONAL_IDLE_MAX_MS),
        };
        given.retain(|name, _| !NOT_OF_CLIENT.contains(&name.as_str()));
        if role == Role::TransactionalProducer && delivery_max > transaction_timeout_ms {
            // librdkafka refuses what is longer than the transaction may last, such as Kafka Streams' "for ever", and takes as
            // long as that when it is told nothing.
            given.remove("delivery.timeout.ms");
        }

        if role == Role::TransactionalProducer {
            given.insert(IDLE_MAX.to_owned(), idle_max.to_string());
        }

        let mut settings = defaults(role, &given);
        settings.extend(given);
        let mut config: ClientConfig = settings.into_iter().collect();
        // The level is librdkafka's own; what is shown is decided by the tracing subscriber.
        config.set_log_level(RDKafkaLogLevel::Info);
        Ok(Resolved {
            config,
            block_max,
            api_timeout,
        })
    }

    /// Checks every client's settings without making one.
    pub(super) fn check(&self) -> Result<()> {
        for role in [
            Role::Consumer,
            Role::RestoreConsumer,
            Role::GlobalConsumer,
            Role::Producer,
            Role::Admin,
        ] {
            self.resolve(role)?.native()?;
        }
        Ok(())
    }
}

impl Resolved {
    /// The settings as librdkafka takes them; the first it refuses is named.
    pub(super) fn native(&self) -> Result<NativeClientConfig> {
        self.config
            .create_native_config()
            .map_err(super::errors::not_created)
    }
}

fn is_known_to(role: Role, name: &str) -> bool {
    match role {
        Role::Consumer => !PRODUCER_ONLY.contains(&name),
        Role::RestoreConsumer | Role::GlobalConsumer => {
            !PRODUCER_ONLY.contains(&name) && !GROUP_ONLY.contains(&name)
        }
        Role::Producer | Role::TransactionalProducer => !CONSUMER_ONLY.contains(&name),
        Role::Admin => !CONSUMER_ONLY.contains(&name) && !PRODUCER_ONLY.contains(&name),
    }
}

fn defaults(role: Role, given: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut settings: Vec<(&str, &str)> = COMMON_DEFAULTS.to_vec();
    match role {
        Role::Consumer => {
            settings.extend(CONSUMER_DEFAULTS);
            let is_said = |name: &str| {
                name == PARTITION_FETCH_BYTES && given.contains_key(PARTITION_FETCH_BYTES_ALIAS)
            };
            settings.extend(MEMBER_DEFAULTS.iter().filter(|(name, _)| !is_said(name)));
            settings.extend(GROUP_DEFAULTS);
            // The broker's own protocol (KIP-848) has no client-side strategy and librdkafka refuses to be given one.
            if given.get("group.protocol").map(String::as_str) != Some("consumer") {
                settings.push(("partition.assignment.strategy", "cooperative-sticky"));
            }
        }
        Role::RestoreConsumer | Role::GlobalConsumer => {
            settings.extend(CONSUMER_DEFAULTS);
            settings.extend(GROUP_DEFAULTS);
            // A reader that lost its place must say so, not start anywhere else.
            settings.push(("auto.offset.reset", "error"));
        }
        Role::Producer => {
            settings.extend(PRODUCER_DEFAULTS);
            settings.push(("delivery.timeout.ms", "120000"));
        }
        Role::TransactionalProducer => {
            settings.extend(PRODUCER_DEFAULTS);
            settings.push(("transaction.timeout.ms", "10000"));
        }
        // Asking about a topic must not create it.
        Role::Admin => settings.push(("allow.auto.create.topics", "false")),
    }
    let is_encrypted = given
        .get("security.protocol")
        .is_some_and(|protocol| protocol.to_ascii_lowercase().ends_with("ssl"));
    if is_encrypted && !given.contains_key("ssl.ca.location") && !given.contains_key("ssl.ca.pem") {
        // OpenSSL is linked in and does not know where this system keeps its certificates.
        settings.push(("ssl.ca.location", "probe"));
    }
    settings
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// librdkafka's name and value for a setting.
fn translate<'a>(role: Role, name: &'a str, value: &str) -> Result<(&'a str, String)> {
    let value = value.trim();
    if name == "request.timeout.ms" && !role.is_producer() {
        // librdkafka has this for produce requests; for all others it is the socket's.
        return Ok(("socket.timeout.ms", value.to_owned()));
    }
    if let Some((_, only, reason)) = FORCED.iter().find(|(known, ..)| *known == name) {
        if !value.eq_ignore_ascii_case(only) {
            return Err(Error::config(format!(
                "{name} must be {only}, because {reason}; leave it out"
            )));
        }
        return Ok((name, (*only).to_owned()));
    }
    if let Some((_, translated)) = TRANSLATIONS.iter().find(|(java, _)| *java == name) {
        return Ok((translated, value.to_owned()));
    }
    if let Some((_, advice)) = UNSUPPORTED.iter().find(|(known, _)| matches(known, name)) {
        return Err(Error::config(format!(
            "{name} is a setting of Kafka's Java clients that does not exist here: {advice}"
        )));
    }
    let value = match name {
        "buffer.memory" => {
            let bytes: u64 = value.parse().map_err(|_| {
                Error::config(format!(
                    "buffer.memory must be a number of bytes, got '{value}'"
                ))
            })?;
            return Ok((
                "queue.buffering.max.kbytes",
                (bytes / 1024).max(1).to_string(),
            ));
        }
        "ssl.keystore.type" => {
            if !matches!(value.to_ascii_uppercase().as_str(), "PKCS12" | "PEM") {
                return Err(Error::config(format!(
                    "ssl.keystore.type={value} cannot be read: convert the key store with \
                     keytool -importkeystore -deststoretype PKCS12"
                )));
            }
            value.to_owned()
        }
        "ssl.endpoint.identification.algorithm" if value.is_empty() => "none".to_owned(),
        "partition.assignment.strategy" => value
            .split(',')
            .map(strategy)
            .collect::<Result<Vec<_>>>()?
            .join(","),
        "auto.offset.reset" if value == "none" => "error".to_owned(),
        "sasl.mechanism" | "sasl.mechanisms" if value == "GSSAPI" => {
            return Err(Error::config(
                "sasl.mechanism=GSSAPI (Kerberos) is not built in: use PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER",
            ));
        }
        // Java writes these in capitals, librdkafka in small letters.
        "security.protocol" | "group.protocol" | "isolation.level" => value.to_ascii_lowercase(),
        _ => value.to_owned(),
    };
    Ok((name, value))
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => pattern == name,
    }
}

fn strategy(name: &str) -> Result<String> {
    let name = name.trim();
    match name.rsplit('.').next().unwrap_or(name) {
        "RangeAssignor" | "range" => Ok("range".to_owned()),
        "RoundRobinAssignor" | "roundrobin" => Ok("roundrobin".to_owned()),
        "CooperativeStickyAssignor" | "cooperative-sticky" => Ok("cooperative-sticky".to_owned()),
        _ => Err(Error::config(format!(
            "partition.assignment.strategy={name} does not exist here: use cooperative-sticky, range or roundrobin"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn settings(common: &[(&str, &str)]) -> KafkaSettings {
        let mut settings = KafkaSettings::default();
        settings
            .common
            .insert("bootstrap.servers".into(), "localhost:9092".into());
        for (name, value) in common {
            settings.common.insert((*name).into(), (*value).into());
        }
        settings
    }

    fn refusal(name: &str, value: &str) -> String {
        let error = settings(&[(name, value)]).check().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        error.to_string()
    }

    fn value(settings: &KafkaSettings, role: Role, name: &str) -> Option<String> {
        settings
            .resolve(role)
            .unwrap()
            .config
            .get(name)
            .map(str::to_owned)
    }

    #[test]
    fn defaults_are_accepted_by_librdkafka() {
        settings(&[]).check().unwrap();
        settings(&[])
            .resolve(Role::TransactionalProducer)
            .unwrap()
            .native()
            .unwrap();
        settings(&[("group.protocol", "CONSUMER")]).check().unwrap();
    }

    #[test]
    fn either_name_of_a_setting_replaces_its_default() {
        let (name, alias) = (PARTITION_FETCH_BYTES, PARTITION_FETCH_BYTES_ALIAS);
        let unset = settings(&[]);
        assert_eq!(
            value(&unset, Role::Consumer, name).as_deref(),
            Some("131072")
        );
        assert_eq!(value(&unset, Role::RestoreConsumer, name), None);
        let given = settings(&[(alias, "500000")]);
        assert_eq!(value(&given, Role::Consumer, name), None);
        assert_eq!(
            value(&given, Role::Consumer, alias).as_deref(),
            Some("500000")
        );
        given.check().unwrap();
        // A record that is larger than all of them must still come.
        settings(&[("message.max.bytes", "50000000")])
            .check()
            .unwrap();
    }

    #[test]
    fn an_unknown_setting_is_named() {
        let text = refusal("fetch.min.byte", "1");
        assert!(text.contains("fetch.min.byte"), "{text}");
    }

    #[test]
    fn java_only_settings_say_what_to_do() {
        assert!(refusal("sasl.jaas.config", "x").contains("sasl.username"));
        assert!(refusal("ssl.truststore.location", "/t.jks").contains("ssl.ca.location"));
        assert!(refusal("ssl.keystore.type", "JKS").contains("PKCS12"));
        assert!(refusal("enable.auto.commit", "true").contains("must be false"));
    }

    #[test]
    fn java_names_become_librdkafkas() {
        let settings = settings(&[
            ("fetch.max.wait.ms", "100"),
            ("buffer.memory", "33554432"),
            ("security.protocol", "SASL_SSL"),
            (
                "partition.assignment.strategy",
                "org.apache.kafka.clients.consumer.RangeAssignor",
            ),
        ]);
        let consumer = |name| value(&settings, Role::Consumer, name);
        assert_eq!(consumer("fetch.wait.max.ms").as_deref(), Some("100"));
        assert_eq!(consumer("security.protocol").as_deref(), Some("sasl_ssl"));
        assert_eq!(consumer("ssl.ca.location").as_deref(), Some("probe"));
        assert_eq!(
            consumer("partition.assignment.strategy").as_deref(),
            Some("range")
        );
        assert_eq!(
            value(&settings, Role::Producer, "queue.buffering.max.kbytes").as_deref(),
            Some("32768")
        );
    }

    #[test]
    fn a_setting_reaches_only_who_knows_it() {
        let mut settings = settings(&[("linger.ms", "5"), ("session.timeout.ms", "9000")]);
        assert_eq!(value(&settings, Role::Consumer, "linger.ms"), None);
        assert_eq!(value(&settings, Role::Producer, "session.timeout.ms"), None);
        assert_eq!(
            value(&settings, Role::RestoreConsumer, "session.timeout.ms"),
            None
        );
        settings.producer.insert("linger.ms".into(), "7".into());
        assert_eq!(
            value(&settings, Role::Producer, "linger.ms").as_deref(),
            Some("7")
        );
    }

    #[test]
    fn a_record_is_not_waited_for_longer_than_its_transaction() {
        let delivery = |set: &[(&str, &str)]| {
            let settings = settings(set);
            value(
                &settings,
                Role::TransactionalProducer,
                "delivery.timeout.ms",
            )
        };
        assert_eq!(delivery(&[("delivery.timeout.ms", "2147483647")]), None);
        let shorter = delivery(&[("delivery.timeout.ms", "9000")]);
        assert_eq!(shorter.as_deref(), Some("9000"));
        let longer = [
            ("delivery.timeout.ms", "20000"),
            ("transaction.timeout.ms", "30000"),
        ];
        assert_eq!(delivery(&longer).as_deref(), Some("20000"));
    }

    #[test]
    fn connections_of_a_transactional_producer_come_and_go() {
        let name = "connections.max.idle.ms";
        for (set, expected) in [("540000", "10000"), ("0", "10000"), ("5000", "5000")] {
            let settings = settings(&[(name, set)]);
            let found = value(&settings, Role::TransactionalProducer, name);
            assert_eq!(found.as_deref(), Some(expected));
            let plain = value(&settings, Role::Producer, name);
            assert_eq!(plain.as_deref(), Some(set));
        }
        let unset = value(&settings(&[]), Role::TransactionalProducer, name);
        assert_eq!(unset.as_deref(), Some("10000"));
    }

    #[test]
    fn brokers_must_be_given() {
        let error = KafkaSettings::default().check().unwrap_err();
        assert!(error.to_string().contains("bootstrap.servers"), "{error}");
    }
}
