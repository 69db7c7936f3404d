//! Names of the clients' settings: defaults, what is forced, what Java calls otherwise, and who knows what.

/// What is set unless the user sets it. Where Kafka Streams or Java differ from librdkafka, theirs.
pub(super) const COMMON_DEFAULTS: &[(&str, &str)] = &[
    ("reconnect.backoff.ms", "50"),
    ("reconnect.backoff.max.ms", "1000"),
    // Idle connections are closed by brokers all the time.
    ("log.connection.close", "false"),
    ("log.thread.name", "false"),
    // Pushing metrics (KIP-714) holds up closing a client.
    ("enable.metrics.push", "false"),
];
pub(super) const CONSUMER_DEFAULTS: &[(&str, &str)] = &[
    // When a queue that was full is looked at again; librdkafka's default is a second. One of this size is empty sooner.
    ("fetch.queue.backoff.ms", "1"),
    // Of all partitions that share a queue; a record takes half a kilobyte here besides its bytes, and what waits long goes cold.
    ("queued.min.messages", "5000"),
    ("isolation.level", "read_uncommitted"),
    ("allow.auto.create.topics", "false"),
];
/// Of the member of the group. What it has fetched and not yet processed is most of what a stateless application holds: with
/// librdkafka's megabyte for each partition twice as much, for no less time per record. One round trip brings so much of each
/// partition, which over 5 ms is 26 MB a second. The next begins when so few records wait that they last until it is back: with
/// 1,000 of them, looked for every 2 ms, a tumbling mean waited for more than half of its time.
pub(super) const MEMBER_DEFAULTS: &[(&str, &str)] = &[
    ("queued.min.messages", "3000"),
    ("fetch.max.bytes", "4194304"),
    (PARTITION_FETCH_BYTES, "131072"),
];
/// How much one answer has of a partition, and librdkafka's other name for it.
pub(super) const PARTITION_FETCH_BYTES: &str = "max.partition.fetch.bytes";
pub(super) const PARTITION_FETCH_BYTES_ALIAS: &str = "fetch.message.max.bytes";
pub(super) const GROUP_DEFAULTS: &[(&str, &str)] = &[
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    // The position of a batch would count the end-of-partition mark as a record.
    ("enable.partition.eof", "false"),
];
pub(super) const PRODUCER_DEFAULTS: &[(&str, &str)] = &[
    ("enable.idempotence", "true"),
    ("linger.ms", "100"),
    ("queue.buffering.max.kbytes", "65536"),
    // A longer queue only falls out of the processor's caches: twice the time per record. A full one is sent at once, so this
    // is what is under way during one round trip: a million records a second at 5 ms.
    ("queue.buffering.max.messages", "5000"),
];

/// Java's names that librdkafka has under another. Names that it has as an alias are left alone.
pub(super) const TRANSLATIONS: &[(&str, &str)] = &[
    ("fetch.max.wait.ms", "fetch.wait.max.ms"),
    ("receive.buffer.bytes", "socket.receive.buffer.bytes"),
    ("send.buffer.bytes", "socket.send.buffer.bytes"),
    ("max.request.size", "message.max.bytes"),
    ("metadata.max.age.ms", "topic.metadata.refresh.interval.ms"),
    ("message.timeout.ms", "delivery.timeout.ms"),
    ("ssl.truststore.certificates", "ssl.ca.pem"),
    ("ssl.keystore.certificate.chain", "ssl.certificate.pem"),
    ("ssl.keystore.key", "ssl.key.pem"),
];

/// Java's names that have no place here, and what to do instead; `*` stands for any end.
pub(super) const UNSUPPORTED: &[(&str, &str)] = &[
    (
        "sasl.jaas.config",
        "set sasl.username and sasl.password, and sasl.mechanism=PLAIN or SCRAM-SHA-256 or SCRAM-SHA-512",
    ),
    (
        "sasl.login.*",
        "login classes are Java's; set sasl.username and sasl.password",
    ),
    (
        "sasl.client.callback.handler.class",
        "callback classes are Java's; set sasl.username and sasl.password",
    ),
    (
        "ssl.truststore.*",
        "give the certificate authority as a PEM file in ssl.ca.location",
    ),
    (
        "ssl.protocol",
        "OpenSSL takes the newest version both sides know; leave it out",
    ),
    (
        "ssl.enabled.protocols",
        "OpenSSL takes the newest version both sides know; leave it out",
    ),
    ("ssl.provider", "leave it out"),
    ("ssl.keymanager.algorithm", "leave it out"),
    ("ssl.trustmanager.algorithm", "leave it out"),
    ("ssl.secure.random.implementation", "leave it out"),
    ("ssl.engine.factory.class", "leave it out"),
    ("security.providers", "leave it out"),
    (
        "metric.reporters",
        "reporters are Java classes; see the metrics settings of streams",
    ),
    ("auto.include.jmx.reporter", "leave it out"),
    ("metrics.num.samples", "leave it out"),
    ("metrics.sample.window.ms", "leave it out"),
    ("metrics.recording.level", "leave it out"),
    (
        "interceptor.classes",
        "interceptors are Java classes; leave it out",
    ),
    ("key.serializer", "serdes are part of the topology"),
    ("value.serializer", "serdes are part of the topology"),
    ("key.deserializer", "serdes are part of the topology"),
    ("value.deserializer", "serdes are part of the topology"),
    (
        "partitioner.class",
        "give the partitioner in the topology (Produced)",
    ),
    (
        "partitioner",
        "give the partitioner in the topology (Produced)",
    ),
    (
        "partitioner.ignore.keys",
        "give the partitioner in the topology (Produced)",
    ),
    ("partitioner.adaptive.partitioning.enable", "leave it out"),
    ("partitioner.availability.timeout.ms", "leave it out"),
    ("exclude.internal.topics", "leave it out"),
    (
        "plugin.library.paths",
        "plug-ins are not loaded; leave it out",
    ),
];

/// Settings that this library decides, with the only value allowed.
pub(super) const FORCED: &[(&str, &str, &str)] = &[
    (
        "enable.auto.commit",
        "false",
        "offsets are committed with the state they belong to",
    ),
    (
        "enable.auto.offset.store",
        "false",
        "offsets are committed with the state they belong to",
    ),
    (
        "enable.partition.eof",
        "false",
        "the runtime asks for end offsets",
    ),
    (
        "delivery.report.only.error",
        "false",
        "the runtime needs to know what was written",
    ),
    (
        "produce.offset.report",
        "true",
        "the runtime needs to know what was written",
    ),
    ("log.queue", "false", "log lines go to tracing as they come"),
];

/// Settings of this library's own, or that it gives to each client itself.
pub(super) const NOT_OF_CLIENT: &[&str] = &[
    "client.id",
    "default.api.timeout.ms",
    "group.id",
    "max.block.ms",
    "max.poll.records",
    // librdkafka's key store is PKCS#12 and has no setting for that.
    "ssl.keystore.type",
    "transactional.id",
];

/// What a consumer knows and a producer does not; left out of the others' when set in `common`.
pub(super) const CONSUMER_ONLY: &[&str] = &[
    "group.instance.id",
    "partition.assignment.strategy",
    "session.timeout.ms",
    "heartbeat.interval.ms",
    "group.protocol",
    "group.remote.assignor",
    "coordinator.query.interval.ms",
    "max.poll.interval.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "auto.commit.interval.ms",
    "queued.min.messages",
    "queued.max.messages.kbytes",
    "fetch.wait.max.ms",
    "fetch.queue.backoff.ms",
    "fetch.message.max.bytes",
    "max.partition.fetch.bytes",
    "fetch.max.bytes",
    "fetch.min.bytes",
    "fetch.error.backoff.ms",
    "isolation.level",
    "enable.partition.eof",
    "check.crcs",
    "auto.offset.reset",
    "allow.auto.create.topics",
];

/// What belongs to a group and a reader outside any does not know.
pub(super) const GROUP_ONLY: &[&str] = &[
    "group.instance.id",
    "partition.assignment.strategy",
    "session.timeout.ms",
    "heartbeat.interval.ms",
    "group.protocol",
    "group.remote.assignor",
    "coordinator.query.interval.ms",
    "max.poll.interval.ms",
    "auto.offset.reset",
];

/// What a producer knows and a consumer does not.
pub(super) const PRODUCER_ONLY: &[&str] = &[
    "transaction.timeout.ms",
    "enable.idempotence",
    "queue.buffering.max.messages",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.ms",
    "linger.ms",
    "message.send.max.retries",
    "retries",
    "queue.buffering.backpressure.threshold",
    "compression.codec",
    "compression.type",
    "compression.level",
    "batch.num.messages",
    "batch.size",
    "sticky.partitioning.linger.ms",
    "request.required.acks",
    "acks",
    "request.timeout.ms",
    "message.timeout.ms",
    "delivery.timeout.ms",
];
