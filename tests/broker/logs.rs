//! Records in and out.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::producer::BaseRecord;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use streams_core::embedded::EmbeddedBroker;

use crate::clients::{
    PATIENCE, consumer, create_topic, eventually, flush, new_topic, producer, read_all, send,
    unique, values,
};

pub fn many_records_come_back_in_order(bootstrap: &str) {
    const RECORDS: usize = 300_000;
    let topic = new_topic(bootstrap, 1);
    let writer = producer(
        bootstrap,
        &[
            ("linger.ms", "5"),
            ("queue.buffering.max.messages", "1000000"),
        ],
    );
    for i in 0..RECORDS {
        send(
            &writer,
            &topic,
            0,
            &i.to_string(),
            Some(&format!("{i:0100}")),
        );
    }
    flush(&writer);
    assert_eq!(
        consumer(bootstrap, &[])
            .fetch_watermarks(&topic, 0, PATIENCE)
            .unwrap(),
        (0, RECORDS as i64)
    );
    let read = read_all(bootstrap, &topic, 0, "read_committed");
    assert_eq!(read.len(), RECORDS);
    assert!(
        read.iter()
            .enumerate()
            .all(|(i, (offset, key, _))| *offset == i as i64 && *key == i.to_string())
    );
}

pub fn offsets_are_found_by_time(bootstrap: &str) {
    let topic = unique("times");
    // The records are of 1970: by default a broker deletes them when it next looks.
    create_topic(bootstrap, &topic, 1, &[("retention.ms", "-1")]);
    let writer = producer(bootstrap, &[("linger.ms", "50")]);
    for timestamp in [1_000, 2_000, 3_000, 2_500, 5_000] {
        let record = BaseRecord::<str, str>::to(&topic)
            .partition(0)
            .key("k")
            .payload("v")
            .timestamp(timestamp);
        writer.send(record).map_err(|(error, _)| error).unwrap();
    }
    flush(&writer);
    let reader = consumer(bootstrap, &[]);
    let at = |timestamp| {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&topic, 0, Offset::Offset(timestamp))
            .unwrap();
        reader.offsets_for_times(list, PATIENCE).unwrap().elements()[0].offset()
    };
    assert_eq!(at(0), Offset::Offset(0));
    assert_eq!(at(1_001), Offset::Offset(1));
    assert_eq!(at(2_600), Offset::Offset(2));
    assert_eq!(at(3_001), Offset::Offset(4));
    assert_eq!(at(5_001), Offset::End);
}

pub fn an_idempotent_producer_writes_once(bootstrap: &str) {
    let topic = new_topic(bootstrap, 2);
    let writer = producer(
        bootstrap,
        &[("enable.idempotence", "true"), ("batch.num.messages", "7")],
    );
    for i in 0..1_000 {
        send(&writer, &topic, i % 2, "k", Some(&i.to_string()));
    }
    flush(&writer);
    for partition in 0..2 {
        let read = read_all(bootstrap, &topic, partition, "read_uncommitted");
        let expected: Vec<String> = (0..1_000)
            .filter(|i| i % 2 == partition)
            .map(|i| i.to_string())
            .collect();
        assert_eq!(values(&read), expected);
    }
}

pub fn every_compression_passes_through(bootstrap: &str) {
    let topic = unique("compressed");
    create_topic(bootstrap, &topic, 1, &[("cleanup.policy", "compact")]);
    let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
    for codec in codecs {
        let writer = producer(
            bootstrap,
            &[("compression.codec", codec), ("linger.ms", "20")],
        );
        for i in 0..50 {
            send(
                &writer,
                &topic,
                0,
                &format!("{codec}-{i}"),
                Some(&codec.repeat(20)),
            );
        }
        flush(&writer);
    }
    let read = read_all(bootstrap, &topic, 0, "read_uncommitted");
    assert_eq!(read.len(), 50 * codecs.len());
    assert!(read.iter().all(
        |(_, key, value)| value.as_deref() == Some(&*key.split('-').next().unwrap().repeat(20))
    ));
}

/// Needs the embedded broker: a real one compacts when it sees fit.
pub fn compaction_keeps_the_latest_of_each_key() {
    let broker = EmbeddedBroker::builder()
        .cleaner_interval_ms(20)
        .start()
        .unwrap();
    let bootstrap = broker.bootstrap_servers();
    let topic = unique("compacted");
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "2000"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("delete.retention.ms", "200"),
    ];
    create_topic(&bootstrap, &topic, 1, &settings);
    let mut round = 0;
    let mut write = |compression: &str| {
        let writer = producer(
            &bootstrap,
            &[
                ("compression.codec", compression),
                ("batch.num.messages", "10"),
            ],
        );
        for i in 0..200 {
            let value = (i % 10 != 9).then(|| format!("round {round}"));
            send(
                &writer,
                &topic,
                0,
                &format!("key-{}", i % 10),
                value.as_deref(),
            );
        }
        flush(&writer);
        round += 1;
    };
    write("lz4");
    write("none");
    let mut kept = Vec::new();
    eventually("old values go", || {
        kept = read_all(&bootstrap, &topic, 0, "read_committed");
        kept.len() < 60
    });
    let end = consumer(&bootstrap, &[])
        .fetch_watermarks(&topic, 0, PATIENCE)
        .unwrap()
        .1;
    assert_eq!(end, 400, "offsets stay");
    for i in 0..10 {
        let (_, _, value) = kept
            .iter()
            .rev()
            .find(|(_, key, _)| *key == format!("key-{i}"))
            .unwrap();
        assert_eq!(value.as_deref(), (i != 9).then_some("round 1"));
    }
    assert!(kept.is_sorted_by_key(|(offset, _, _)| *offset));
    // Tombstones go once they have been seen for long enough and more is cleaned.
    eventually("the first tombstones go", || {
        write("none");
        let first = read_all(&bootstrap, &topic, 0, "read_committed");
        first
            .iter()
            .filter(|(offset, key, _)| *offset < 400 && key == "key-9")
            .count()
            == 0
    });
}

/// Needs the embedded broker: a real one looks every five minutes.
pub fn old_records_go_by_time_and_by_size() {
    let broker = EmbeddedBroker::builder()
        .cleaner_interval_ms(20)
        .start()
        .unwrap();
    let bootstrap = broker.bootstrap_servers();
    let (by_time, by_size) = (unique("by-time"), unique("by-size"));
    create_topic(&bootstrap, &by_time, 1, &[("retention.ms", "300")]);
    create_topic(
        &bootstrap,
        &by_size,
        1,
        &[("retention.bytes", "5000"), ("segment.bytes", "1000")],
    );
    let writer = producer(&bootstrap, &[("batch.num.messages", "5")]);
    for i in 0..200 {
        send(&writer, &by_time, 0, "k", Some(&format!("{i:050}")));
        send(&writer, &by_size, 0, "k", Some(&format!("{i:050}")));
    }
    flush(&writer);
    let reader = consumer(&bootstrap, &[]);
    let low = |topic: &str| reader.fetch_watermarks(topic, 0, PATIENCE).unwrap().0;
    eventually("all records are too old", || low(&by_time) == 200);
    eventually("the oldest records make place", || low(&by_size) > 50);
    let kept = read_all(&bootstrap, &by_size, 0, "read_uncommitted");
    assert!(kept.len() > 20 && kept.last().unwrap().0 == 199);
}

pub fn rubbish_does_not_hurt(bootstrap: &str) {
    let rubbish: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01],
        &[0xff; 64],
        &[0, 0, 0, 9, 0, 0, 0, 9, 0, 0, 0, 1, 0xff],
        &[
            0, 0, 0, 20, 0, 3, 0, 12, 0, 0, 0, 1, 0, 4, b'a', b'b', b'c', b'd', 0, 0, 0, 0, 0, 0,
        ],
        &[0, 0],
    ];
    for bytes in rubbish {
        let mut stream = TcpStream::connect(bootstrap).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        // Closed, by end of file or by reset; what counts is that it ends and the broker goes on.
        let _ = stream.read(&mut [0; 64]);
    }
    let half_open = TcpStream::connect(bootstrap).unwrap();
    let topic = new_topic(bootstrap, 1);
    let writer = producer(bootstrap, &[]);
    send(&writer, &topic, 0, "k", Some("still here"));
    flush(&writer);
    assert_eq!(
        values(&read_all(bootstrap, &topic, 0, "read_uncommitted")),
        ["still here"]
    );
    drop(half_open);
}
