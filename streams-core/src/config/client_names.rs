//! Names of the clients' settings: which are known to whom, and which cannot be set.

use super::{names, settings};

/// What the name of a setting for some clients, or for internal topics, begins with.
pub(super) const PREFIXES: [&str; 7] = [
    "main.consumer.",
    "restore.consumer.",
    "global.consumer.",
    "consumer.",
    "producer.",
    "admin.",
    TOPIC_PREFIX,
];
/// What the name of a setting for internal topics begins with.
pub(super) const TOPIC_PREFIX: &str = "topic.";

/// What every client knows, by the names of Java's clients and of librdkafka.
pub(super) const EVERY: &[&str] = &[
    "api.version.fallback.ms",
    "api.version.request",
    "api.version.request.timeout.ms",
    "broker.address.family",
    "broker.address.ttl",
    "broker.version.fallback",
    "client.dns.lookup",
    "client.rack",
    "connections.max.idle.ms",
    "debug",
    "default.api.timeout.ms",
    "enable.metrics.push",
    "enable.random.seed",
    "enable.sasl.oauthbearer.unsecure.jwt",
    "enable.ssl.certificate.verification",
    "https.ca.location",
    "https.ca.pem",
    "log.connection.close",
    "log_level",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "message.copy.max.bytes",
    "message.max.bytes",
    "metadata.recovery.rebootstrap.trigger.ms",
    "metadata.recovery.strategy",
    "plugin.library.paths",
    "receive.buffer.bytes",
    "receive.message.max.bytes",
    "reconnect.backoff.jitter.ms",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "sasl.kerberos.keytab",
    "sasl.kerberos.kinit.cmd",
    "sasl.kerberos.min.time.before.relogin",
    "sasl.kerberos.principal",
    "sasl.kerberos.service.name",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.oauthbearer.assertion.algorithm",
    "sasl.oauthbearer.assertion.claim.aud",
    "sasl.oauthbearer.assertion.claim.exp.seconds",
    "sasl.oauthbearer.assertion.claim.iss",
    "sasl.oauthbearer.assertion.claim.jti.include",
    "sasl.oauthbearer.assertion.claim.nbf.seconds",
    "sasl.oauthbearer.assertion.claim.sub",
    "sasl.oauthbearer.assertion.file",
    "sasl.oauthbearer.assertion.jwt.template.file",
    "sasl.oauthbearer.assertion.private.key.file",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
    "sasl.oauthbearer.client.credentials.client.id",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.extensions",
    "sasl.oauthbearer.grant.type",
    "sasl.oauthbearer.metadata.authentication.type",
    "sasl.oauthbearer.method",
    "sasl.oauthbearer.scope",
    "sasl.oauthbearer.token.endpoint.url",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "send.buffer.bytes",
    "socket.blocking.max.ms",
    "socket.connection.setup.timeout.ms",
    "socket.keepalive.enable",
    "socket.max.fails",
    "socket.nagle.disable",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "socket.timeout.ms",
    "ssl.ca.certificate.stores",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.cipher.suites",
    "ssl.crl.location",
    "ssl.curves.list",
    "ssl.endpoint.identification.algorithm",
    "ssl.engine.id",
    "ssl.engine.location",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.keystore.type",
    "ssl.providers",
    "ssl.sigalgs.list",
    "ssl.truststore.certificates",
    "ssl.truststore.location",
    "ssl.truststore.password",
    "ssl.truststore.type",
    "statistics.interval.ms",
];

/// What consumers know besides.
pub(super) const CONSUMER: &[&str] = &[
    "check.crcs",
    "coordinator.query.interval.ms",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.max.wait.ms",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "group.instance.id",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "isolation.level",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "session.timeout.ms",
];

/// What producers know besides.
pub(super) const PRODUCER: &[&str] = &[
    "acks",
    "batch.num.messages",
    "batch.size",
    "buffer.memory",
    "compression.codec",
    "compression.gzip.level",
    "compression.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "delivery.timeout.ms",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "linger.ms",
    "max.block.ms",
    "max.request.size",
    "message.send.max.retries",
    "message.timeout.ms",
    "queue.buffering.backpressure.threshold",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queue.buffering.max.ms",
    "request.required.acks",
    "retries",
    "sticky.partitioning.linger.ms",
    "transaction.timeout.ms",
];

/// librdkafka's second names, and the names they are merged under.
pub(super) const ALIASES: &[(&str, &str)] = &[
    ("compression.codec", "compression.type"),
    ("fetch.message.max.bytes", "max.partition.fetch.bytes"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
    ("message.send.max.retries", "retries"),
    ("message.timeout.ms", "delivery.timeout.ms"),
    ("queue.buffering.max.ms", "linger.ms"),
    ("request.required.acks", "acks"),
    ("sasl.mechanisms", "sasl.mechanism"),
];

/// What is set for consumers whatever anyone says, so that saying the same is no mistake.
pub(super) const FORCED: &[(&str, &str)] = &[
    ("allow.auto.create.topics", "false"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
];

/// What cannot be set for clients, and what to do instead; `*` stands for any end.
const REFUSED: &[(&str, &str)] = &[
    (
        "allow.auto.create.topics",
        "inputs must exist and internal topics are created when needed; leave it out",
    ),
    (
        "auto.commit.interval.ms",
        "offsets are committed with the results; set commit.interval.ms",
    ),
    (
        "enable.auto.commit",
        "offsets are committed with the results; set commit.interval.ms",
    ),
    (
        "enable.auto.offset.store",
        "offsets are committed with the results; leave it out",
    ),
    (
        "exclude.internal.topics",
        "inputs are named by the topology; leave it out",
    ),
    ("group.id", "it is the application.id; set that"),
    (
        "interceptor.classes",
        "interceptors are code of Java's clients; use an operator instead",
    ),
    (
        "key.deserializer",
        "a serde is given in code, for instance Consumed::with(Utf8, Json)",
    ),
    (
        "key.serializer",
        "a serde is given in code, for instance Produced::with(Utf8, Json)",
    ),
    ("metadata.broker.list", "set bootstrap.servers"),
    (
        "partition.assignment.strategy",
        "tasks are assigned by the group's protocol; set group.protocol",
    ),
    (
        "partitioner*",
        "a partitioner is given in code, with Produced or Repartitioned; the default is Kafka's",
    ),
    (
        "sasl.client.callback.handler.class",
        "it is code of Java's clients; set sasl.mechanism and the settings it needs",
    ),
    (
        "sasl.jaas.config",
        "it is code of Java's clients; set sasl.username and sasl.password",
    ),
    (
        "sasl.login.*",
        "it is code of Java's clients; set sasl.mechanism and the settings it needs",
    ),
    (
        "security.providers",
        "it is code of Java's clients; set ssl.providers",
    ),
    (
        "transaction.two.phase.commit.enable",
        "transactions are the library's; set processing.guarantee",
    ),
    (
        "transactional.id",
        "transactions are the library's; set processing.guarantee",
    ),
    (
        "value.deserializer",
        "a serde is given in code, for instance Consumed::with(Utf8, Json)",
    ),
    (
        "value.serializer",
        "a serde is given in code, for instance Produced::with(Utf8, Json)",
    ),
];

/// Settings of the library that cannot differ between clients.
const WITHOUT_PREFIX: [&str; 3] = ["bootstrap.servers", "client.id", "group.protocol"];

/// The names known at the top level.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    EVERY.iter().chain(CONSUMER).chain(PRODUCER).copied()
}

/// Whether this is a setting of clients or of internal topics, and if it is one that cannot be set, what to do instead.
pub(super) fn check(name: &str, value: &str) -> Result<bool, String> {
    let Some((prefix, rest)) = split(name) else {
        refuse(name, name, value)?;
        return Ok(names().any(|known| known == name) || is_forced(name, value));
    };
    if rest.is_empty() {
        return Err(format!(
            "'{name}' is a prefix; write the setting behind it, for instance '{name}{}'",
            if prefix == TOPIC_PREFIX {
                "segment.bytes"
            } else {
                "client.rack"
            }
        ));
    }
    if prefix == TOPIC_PREFIX {
        return Ok(true);
    }
    refuse(name, rest, value)?;
    if WITHOUT_PREFIX.contains(&rest) {
        return Err(format!(
            "'{name}' cannot differ between clients; set '{rest}'"
        ));
    }
    if let Some(setting) = settings::find(rest) {
        settings::check_value(name, setting, value)?;
    }
    Ok(true)
}

fn split(name: &str) -> Option<(&'static str, &str)> {
    PREFIXES
        .iter()
        .find_map(|prefix| Some((*prefix, name.strip_prefix(prefix)?)))
}

fn is_forced(name: &str, value: &str) -> bool {
    FORCED.contains(&(name, value))
}

fn refuse(name: &str, rest: &str, value: &str) -> Result<(), String> {
    match names::instead(REFUSED, rest) {
        Some(instead) if !is_forced(rest, value) => {
            Err(format!("'{name}' cannot be set: {instead}"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::StreamsConfig;
    use super::*;

    #[test]
    fn names_are_sorted_and_of_clients_alone() {
        for names in [EVERY, CONSUMER, PRODUCER] {
            assert!(names.is_sorted());
        }
        for name in names() {
            assert!(settings::find(name).is_none(), "{name}");
            assert!(names::instead(REFUSED, name).is_none(), "{name}");
            assert!(split(name).is_none(), "{name}");
        }
    }

    #[test]
    fn what_the_library_decides_is_refused() {
        for (name, value, words) in [
            ("enable.auto.commit", "true", "commit.interval.ms"),
            ("consumer.enable.auto.commit", "true", "commit.interval.ms"),
            ("group.id", "g", "application.id"),
            ("sasl.jaas.config", "secret", "sasl.username"),
            ("partitioner.class", "Mine", "given in code"),
            ("producer.transactional.id", "t", "processing.guarantee"),
            ("consumer.client.id", "c", "set 'client.id'"),
            ("admin.bootstrap.servers", "a:1", "set 'bootstrap.servers'"),
            (
                "main.consumer.group.protocol",
                "classic",
                "set 'group.protocol'",
            ),
            ("consumer.auto.offset.reset", "now", "earliest or latest"),
            ("consumer.", "1", "is a prefix"),
        ] {
            let text = StreamsConfig::new("app")
                .set(name, value)
                .unwrap_err()
                .to_string();
            assert!(text.contains(words), "{name}: {text}");
            assert!(!text.contains("secret"), "{text}");
        }
    }
}
