//! What cannot work is an error that says why.

use std::time::{Duration, Instant};

use streams_core::ErrorKind;
use streams_core::kafka::KafkaBroker;
use streams_core::runtime::broker::{Broker, GroupConsumer, GroupEvent, LogProducer};

use super::{TIMEOUT, broker, create, options, send, settings};
use crate::clients::unique;

/// What cannot work is an error that says why, and a record that was not written keeps the flush from succeeding.
pub fn failures(bootstrap: &str) {
    let broker = broker(bootstrap, &[]);
    let unknown = unique("unknown");
    let mut consumer = broker.consumer(&options(&unique("g"), "c")).unwrap();
    consumer.subscribe(&[&unknown]).unwrap();
    let deadline = Instant::now() + 2 * TIMEOUT;
    let error = loop {
        assert!(Instant::now() < deadline);
        match consumer.poll(Duration::from_millis(200), 10, &mut Vec::new()) {
            Ok(Some(GroupEvent::Assigned(none))) => consumer.accept(&none).unwrap(),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Fatal);
    assert!(error.to_string().contains(&unknown), "{error}");
    consumer.close().unwrap();

    let topic = unique("small");
    create(&broker, &topic, 1, &[("max.message.bytes", "1000")]);
    let mut producer = broker.producer("p", None).unwrap();
    let big = "x".repeat(5_000);
    send(&mut producer, &topic, 0, &[&big]);
    let error = producer.flush(TIMEOUT).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    assert!(error.to_string().contains(&format!("{topic}-0")), "{error}");
    producer.flush(TIMEOUT).unwrap();

    let nobody = self::broker(
        "127.0.0.1:1",
        &[
            ("delivery.timeout.ms", "1000"),
            ("default.api.timeout.ms", "1000"),
        ],
    );
    let error = nobody
        .partition_counts(&["t"], Duration::from_secs(1))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retriable);
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    let mut producer = nobody.producer("p", None).unwrap();
    send(&mut producer, "t", 0, &["x"]);
    let error = producer.flush(Duration::from_millis(50)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retriable, "{error}");
    let error = producer.flush(TIMEOUT).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fatal, "{error}");
    // Leaving and dropping end although nobody answers.
    let mut consumer = nobody.consumer(&options("g", "c")).unwrap();
    consumer.subscribe(&["t"]).unwrap();
    consumer
        .poll(Duration::from_millis(500), 10, &mut Vec::new())
        .unwrap();
    let started = Instant::now();
    drop(consumer);
    assert!(started.elapsed() < TIMEOUT);
}

/// TLS and SASL settings that cannot work are errors that name them.
pub fn security_settings(bootstrap: &str) {
    let error = broker(
        bootstrap,
        &[
            ("security.protocol", "SSL"),
            ("ssl.ca.location", "/nowhere/ca.pem"),
        ],
    )
    .producer("p", None)
    .err()
    .unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("ssl.ca.location"), "{error}");
    let error = KafkaBroker::new(settings(
        bootstrap,
        &[
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", "GSSAPI"),
        ],
    ))
    .err()
    .unwrap();
    assert!(error.to_string().contains("SCRAM"), "{error}");
    // TLS towards a listener without: the reason shows in the time-out.
    let error = broker(bootstrap, &[("security.protocol", "SSL")])
        .partition_counts(&["t"], Duration::from_secs(3))
        .unwrap_err();
    assert!(error.to_string().to_lowercase().contains("ssl"), "{error}");
}
