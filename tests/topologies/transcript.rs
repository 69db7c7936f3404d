//! What a topology answers, as text, and its comparison with a golden.

use std::fmt::Write;
use std::time::Duration;
use streams_core::serdes::{DefaultSerde, I64, Nullable, RawBytes, Utf8};
use streams_core::{
    Consumed, Grouped, Headers, KStream, Produced, StreamsBuilder, TopologyTestDriver,
};

/// Builds the topology, gives it the golden's inputs, and compares all it says with the golden.
#[track_caller]
pub fn check(name: &str, write_down: impl FnOnce(&StreamsBuilder)) {
    let path = format!(
        "{}/topologies/goldens/{name}.txt",
        env!("CARGO_MANIFEST_DIR")
    );
    let golden = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let (version, _) = golden.split_once('\n').expect("a first line");
    assert!(version.starts_with("Kafka Streams "), "{path}: {version}");
    let builder = StreamsBuilder::new();
    write_down(&builder);
    let topology = builder
        .build()
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut text = format!("{version}\n\n{}\n", topology.describe().trim_end());
    let mut driver = TopologyTestDriver::new(&topology).expect("the driver");
    drain(&mut driver, &mut text);
    for input in golden.lines().filter_map(|line| line.strip_prefix("> ")) {
        let _ = writeln!(text, "\n> {input}");
        give(&mut driver, input).unwrap_or_else(|error| panic!("{name}: {input}: {error}"));
        drain(&mut driver, &mut text);
    }
    compare(name, &golden, &text);
}

fn compare(name: &str, golden: &str, text: &str) {
    if golden == text {
        return;
    }
    let mut theirs: Vec<&str> = golden.lines().collect();
    let mut ours: Vec<&str> = text.lines().collect();
    let same = theirs.iter().zip(&ours).take_while(|(a, b)| a == b).count();
    let from = theirs[..same]
        .iter()
        .rposition(|line| line.is_empty())
        .unwrap_or(0);
    theirs.drain(..from);
    ours.drain(..from);
    theirs.truncate(40);
    ours.truncate(40);
    panic!(
        "{name}: line {} differs\n-- Kafka Streams:{}\n-- this library:{}\n",
        same + 1,
        theirs.join("\n"),
        ours.join("\n")
    );
}

fn give(driver: &mut TopologyTestDriver, input: &str) -> streams_core::Result<()> {
    let words: Vec<&str> = input.split(' ').collect();
    if let ["wall", milliseconds] = words[..] {
        let milliseconds = milliseconds.parse().expect("milliseconds");
        return driver.advance_wall_clock(Duration::from_millis(milliseconds));
    }
    let [topic, key, value, timestamp, header_words @ ..] = &words[..] else {
        panic!("an input is topic, key, value, timestamp and headers: {input}");
    };
    let timestamp = timestamp[1..].parse().expect("a timestamp");
    let mut headers = Headers::new();
    for word in header_words {
        let (key, value) = word.split_once('=').expect("key=value");
        headers.add(key, read_bytes(value).as_deref());
    }
    driver.pipe_bytes(
        topic,
        read_bytes(key),
        read_bytes(value),
        timestamp,
        headers,
    )
}

fn drain(driver: &mut TopologyTestDriver, text: &mut String) {
    let topics: Vec<String> = driver.produced_topic_names().map(str::to_owned).collect();
    for topic in topics {
        let output = driver.output(&topic, Nullable(RawBytes), Nullable(RawBytes));
        for record in driver.read_records(&output).expect("bytes are always read") {
            let _ = write!(
                text,
                "{topic} {} {} @{}",
                show_bytes(record.key.as_deref()),
                show_bytes(record.value.as_deref()),
                record.timestamp
            );
            for header in &record.headers {
                let _ = write!(
                    text,
                    " {}={}",
                    header.key,
                    show_bytes(header.value.as_deref())
                );
            }
            text.push('\n');
        }
    }
}

/// `null`, or the bytes in quotes with those that are no visible ASCII in hex.
fn show_bytes(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else {
        return "null".to_owned();
    };
    let mut text = String::from("\"");
    for byte in bytes {
        match byte {
            b'"' | b'\\' => {
                let _ = write!(text, "\\x{byte:02x}");
            }
            0x21..=0x7e => text.push(char::from(*byte)),
            _ => {
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
    text.push('"');
    text
}

/// The other way round; inputs have visible ASCII only.
fn read_bytes(text: &str) -> Option<Vec<u8>> {
    let quoted = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    match quoted {
        Some(bytes) => Some(bytes.as_bytes().to_vec()),
        None => {
            assert_eq!(text, "null");
            None
        }
    }
}

/// A stream whose keys may be null, as those of most goldens.
pub fn stream(builder: &StreamsBuilder, topic: &str) -> KStream<Option<String>, String> {
    builder.stream(topic, Consumed::with(Nullable(Utf8), Utf8))
}

/// How a table with keys that may be null is read.
pub fn rows() -> Consumed<Option<String>, String> {
    Consumed::with(Nullable(Utf8), Utf8)
}

pub fn strings<K: DefaultSerde>() -> Produced<K, String> {
    Produced::with(K::Serde::default(), Utf8)
}

pub fn nullable_strings<K: DefaultSerde>() -> Produced<K, Option<String>> {
    Produced::with(K::Serde::default(), Nullable(Utf8))
}

pub fn numbers<K: DefaultSerde>() -> Produced<K, i64> {
    Produced::with(K::Serde::default(), I64)
}

pub fn nullable_numbers<K: DefaultSerde>() -> Produced<K, Option<i64>> {
    Produced::with(K::Serde::default(), Nullable(I64))
}

pub fn grouped() -> Grouped<Option<String>, String> {
    Grouped::with(Nullable(Utf8), Utf8)
}
