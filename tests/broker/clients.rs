//! Clients, names and waiting.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use streams_core::embedded::EmbeddedBroker;

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a case on an embedded broker of its own.
pub fn with_embedded(case: impl FnOnce(&str)) {
    let broker = EmbeddedBroker::builder()
        .default_partitions(4)
        .consumer_session_timeout_ms(3_000)
        .start()
        .unwrap();
    case(&broker.bootstrap_servers());
    broker.shutdown();
}

/// A name nobody else uses.
pub fn unique(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_nanos();
    format!("{what}-{now}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A client's configuration.
pub fn config(bootstrap: &str, settings: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    for (name, value) in settings {
        config.set(*name, *value);
    }
    config
}

pub fn producer(bootstrap: &str, settings: &[(&str, &str)]) -> BaseProducer {
    config(bootstrap, settings).create().unwrap()
}

pub fn consumer(bootstrap: &str, settings: &[(&str, &str)]) -> BaseConsumer {
    let mut all = vec![
        ("group.id", "unused"),
        ("auto.offset.reset", "earliest"),
        ("enable.auto.commit", "false"),
    ];
    all.extend_from_slice(settings);
    config(bootstrap, &all).create().unwrap()
}

pub fn admin(bootstrap: &str) -> AdminClient<DefaultClientContext> {
    config(bootstrap, &[]).create().unwrap()
}

pub fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(PATIENCE))
        .operation_timeout(Some(PATIENCE))
}

/// Waits for a future of an admin client.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

pub fn create_topic(bootstrap: &str, name: &str, partitions: i32, configs: &[(&str, &str)]) {
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    for (key, value) in configs {
        topic = topic.set(key, value);
    }
    let results = wait(admin(bootstrap).create_topics([&topic], &options())).unwrap();
    assert!(results[0].is_ok(), "{results:?}");
}

/// A new topic with a name of its own.
pub fn new_topic(bootstrap: &str, partitions: i32) -> String {
    let name = unique("topic");
    create_topic(bootstrap, &name, partitions, &[]);
    name
}

pub fn send(producer: &BaseProducer, topic: &str, partition: i32, key: &str, value: Option<&str>) {
    loop {
        let mut record = BaseRecord::<str, str>::to(topic)
            .partition(partition)
            .key(key);
        record.payload = value;
        match producer.send(record) {
            Ok(()) => return,
            Err(_) => {
                producer.poll(Duration::from_millis(10));
            }
        }
    }
}

pub fn flush(producer: &BaseProducer) {
    producer.flush(PATIENCE).unwrap();
}

/// Polls until `done` or the patience is over.
pub fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited too long: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Reads one partition from its start to its end: offset, key and value of every record.
pub fn read_all(
    bootstrap: &str,
    topic: &str,
    partition: i32,
    isolation: &str,
) -> Vec<(i64, String, Option<String>)> {
    let consumer = consumer(
        bootstrap,
        &[
            ("isolation.level", isolation),
            ("enable.partition.eof", "true"),
        ],
    );
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Beginning)
        .unwrap();
    consumer.assign(&list).unwrap();
    let mut read = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(
            Instant::now() < deadline,
            "no end of {topic}-{partition} in sight"
        );
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                read.push((
                    message.offset(),
                    message.key().map(text).unwrap_or_default(),
                    message.payload().map(text),
                ));
            }
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => return read,
            Some(Err(error)) => panic!("{error}"),
            None => {}
        }
    }
}

pub fn values(records: &[(i64, String, Option<String>)]) -> Vec<&str> {
    records
        .iter()
        .filter_map(|(_, _, value)| value.as_deref())
        .collect()
}
