//! Clients of the cluster that are not the library's: what they see is what any other program sees.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::FromClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

/// How many partitions each topic has.
pub const PARTITIONS: i32 = 4;
pub const PAYMENTS: &str = "payments";
pub const RECEIPTS: &str = "receipts";
pub const OWNERS: &str = "owners";
/// The topics with results.
pub const OUTPUTS: [&str; 3] = ["totals", "windows", "settled"];

const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// A client with these settings.
pub fn client<C: FromClientConfig>(bootstrap: &str, settings: &[(&str, &str)]) -> C {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        // Brokers are killed on purpose, which is no news.
        .set("log_level", "2")
        .set("reconnect.backoff.max.ms", "1000")
        .set("topic.metadata.refresh.interval.ms", "5000");
    for (name, value) in settings {
        config.set(*name, *value);
    }
    config
        .create()
        .expect("the settings of a client of the tests are right")
}

/// A consumer that is used to ask brokers, and reads what it is told to.
pub fn reader(bootstrap: &str) -> BaseConsumer {
    client(
        bootstrap,
        &[
            ("group.id", "chaos"),
            ("enable.auto.commit", "false"),
            ("isolation.level", "read_committed"),
            ("auto.offset.reset", "earliest"),
        ],
    )
}

/// Makes all topics of the workload.
pub fn create_topics(bootstrap: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    let admin: AdminClient<DefaultClientContext> = client(bootstrap, &[]);
    let topics: Vec<NewTopic<'_>> = [PAYMENTS, RECEIPTS, OWNERS]
        .into_iter()
        .chain(OUTPUTS)
        .map(|name| NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(3)))
        .collect();
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
    let created = runtime
        .block_on(admin.create_topics(&topics, &options))
        .expect("the cluster creates topics");
    for topic in created {
        topic.expect("a topic can be created");
    }
}

/// Whether `count` brokers are there, all in the metadata.
pub fn brokers_are_there(asking: &BaseConsumer, count: usize) -> bool {
    asking
        .fetch_metadata(None, ANSWER_TIMEOUT)
        .is_ok_and(|metadata| metadata.brokers().len() == count)
}

/// Whether each partition of each topic has all its copies in step, so that any broker can be lost.
pub fn all_copies_are_in_step(asking: &BaseConsumer) -> bool {
    asking
        .fetch_metadata(None, ANSWER_TIMEOUT)
        .is_ok_and(|metadata| {
            metadata.topics().iter().all(|topic| {
                topic
                    .partitions()
                    .iter()
                    .all(|partition| partition.isr().len() == partition.replicas().len())
            })
        })
}
