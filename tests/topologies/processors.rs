//! User code with stores and timers.

use crate::transcript::{check, nullable_strings, numbers, stream, strings};
use std::time::Duration;
use streams_core::processor::{
    FixedKeyContext, FixedKeyProcessor, FixedKeyRecord, Processor, ProcessorContext,
    PunctuationType, Schedule,
};
use streams_core::serdes::{I64, Nullable, Utf8};
use streams_core::stores::{
    KeyValueStore, StoreHandle, Stores, TimestampedKeyValueStore, WindowStore,
};
use streams_core::{Consumed, Headers, Materialized, Produced, Record, Result, StreamsBuilder};

/// Uses everything a processor may use.
struct Everything {
    plain: StoreHandle<KeyValueStore<String, i64>>,
    stamped: StoreHandle<TimestampedKeyValueStore<String, String>>,
    windows: StoreHandle<WindowStore<String, String>>,
    stream_time: Option<Schedule>,
}

impl Processor<String, Option<String>, String, String> for Everything {
    fn init(&mut self, context: &mut ProcessorContext<'_, String, String>) -> Result<()> {
        self.stream_time =
            Some(context.schedule(Duration::from_millis(10), PunctuationType::StreamTime));
        context.schedule(Duration::from_millis(15), PunctuationType::WallClock);
        Ok(())
    }

    fn process(
        &mut self,
        record: Record<'_, String, Option<String>>,
        context: &mut ProcessorContext<'_, String, String>,
    ) -> Result<()> {
        let start_ms = record.timestamp / 10 * 10;
        let Some(value) = record.value else {
            context.store(&self.plain)?.delete(record.key)?;
            context.store(&self.stamped)?.delete(record.key)?;
            return context.store(&self.windows)?.delete(record.key, start_ms);
        };
        let mut plain = context.store(&self.plain)?;
        let count = plain.get(record.key)?.unwrap_or(0) + 1;
        plain.put(record.key, count)?;
        context
            .store(&self.stamped)?
            .put(record.key, value.clone(), record.timestamp - 1)?;
        let mut windows = context.store(&self.windows)?;
        windows.put(record.key, value.clone(), start_ms)?;
        let metadata = context.record_metadata().expect("a record is at hand");
        let place = format!(
            "{} {} {}",
            metadata.topic,
            metadata.offset,
            context.current_stream_time_ms()
        );
        context.forward_to("first", record.with_value(&place))?;
        let mut own = Headers::new();
        own.add("own", Some(b"1"));
        let later = record
            .with_value(value)
            .with_timestamp(record.timestamp + 100);
        context.forward_to("second", later.with_headers(&own))?;
        let mut text = String::new();
        let mut windows = context.store(&self.windows)?;
        for window in windows.fetch_range(record.key, 0, 1000)? {
            let (start_ms, value) = window?;
            text += &format!("{start_ms}{value} ");
        }
        context.forward(record.key, &text, record.timestamp)
    }

    fn punctuate(
        &mut self,
        schedule: Schedule,
        timestamp_ms: i64,
        context: &mut ProcessorContext<'_, String, String>,
    ) -> Result<()> {
        if self.stream_time == Some(schedule) {
            let key = "punctuated".to_owned();
            context.store(&self.plain)?.put(&key, timestamp_ms)?;
            return context.forward(
                &"stream-time".to_owned(),
                &timestamp_ms.to_string(),
                timestamp_ms + 1,
            );
        }
        let entries: Vec<(String, i64)> =
            context.store(&self.plain)?.all()?.collect::<Result<_>>()?;
        for (key, value) in entries {
            context.forward(&format!("wall {key}"), &value.to_string(), timestamp_ms)?;
        }
        Ok(())
    }
}

#[test]
fn everything_a_processor_may_do() {
    check("processors", |builder| {
        let plain = builder.add_state_store(Stores::key_value("plain", Utf8, I64));
        let stamped = builder.add_state_store(Stores::timestamped_key_value("stamped", Utf8, Utf8));
        let windows = builder.add_state_store(Stores::window(
            "windows",
            Utf8,
            Utf8,
            Duration::from_millis(1000),
            Duration::from_millis(10),
        ));
        let processed = builder
            .stream("a", Consumed::with(Utf8, Nullable(Utf8)))
            .process(
                move || Everything {
                    plain: plain.clone(),
                    stamped: stamped.clone(),
                    windows: windows.clone(),
                    stream_time: None,
                },
                &["plain", "stamped", "windows"],
            );
        processed
            .named("first")
            .map_values(|value| format!("first {value}"))
            .to("out", Produced::with(Utf8, Utf8));
        processed
            .named("second")
            .map_values(|value| format!("second {value}"))
            .to("out2", Produced::with(Utf8, Utf8));
    });
}

/// Appends values to what the store has and forwards all it has.
struct Summing(StoreHandle<KeyValueStore<Option<String>, String>>);

impl FixedKeyProcessor<Option<String>, Option<String>, String> for Summing {
    fn process(
        &mut self,
        record: FixedKeyRecord<'_, Option<String>, Option<String>>,
        context: &mut FixedKeyContext<'_, '_, Option<String>, String>,
    ) -> Result<()> {
        let mut sums = context.store(&self.0)?;
        match record.value() {
            None => {
                sums.delete(record.key())?;
            }
            Some(value) => {
                let before = sums.get(record.key())?.unwrap_or_default();
                sums.put(record.key(), before + value)?;
            }
        }
        let mut text = String::new();
        for entry in sums.all()? {
            let (key, value) = entry?;
            text += &format!("{}={value} ", key.as_deref().unwrap_or("null"));
        }
        context.forward(record.with_value(&text))
    }
}

fn process_values(builder: &StreamsBuilder, cached: bool) {
    let store = Stores::key_value("sums", Nullable(Utf8), Utf8).in_memory();
    let sums = builder.add_state_store(match cached {
        true => store.with_caching_enabled(),
        false => store,
    });
    let nullable =
        |topic: &str| builder.stream(topic, Consumed::with(Nullable(Utf8), Nullable(Utf8)));
    let handle = sums.clone();
    nullable("a")
        .named("summing")
        .process_values(move || Summing(handle.clone()), &["sums"])
        .group_by_key()
        .drop_null_keys()
        .count_with(Materialized::named("counts"))
        .to_stream()
        .to("counts-out", numbers());
    nullable("b")
        .process_values(move || Summing(sums.clone()), &["sums"])
        .to("b-out", strings());
}

#[test]
fn process_values_cached() {
    check("process_values_cached", |builder| {
        process_values(builder, true)
    });
}

#[test]
fn process_values_uncached() {
    check("process_values_uncached", |builder| {
        process_values(builder, false)
    });
}

/// Forwards all rows of a table's store.
struct Lister(StoreHandle<TimestampedKeyValueStore<String, i64>>);

impl Processor<Option<String>, String, Option<String>, Option<String>> for Lister {
    fn process(
        &mut self,
        record: Record<'_, Option<String>, String>,
        context: &mut ProcessorContext<'_, Option<String>, Option<String>>,
    ) -> Result<()> {
        let mut text = String::new();
        for entry in context.store(&self.0)?.all()? {
            let (key, count, _) = entry?;
            text += &format!("{key}={count} ");
        }
        context.forward(record.key, &Some(text), record.timestamp)
    }
}

#[test]
fn the_store_of_a_table() {
    check("store_of_a_table", |builder| {
        let records = stream(builder, "a");
        records
            .group_by_key()
            .drop_null_keys()
            .count_with(Materialized::named("counts"))
            .to_stream()
            .to("counts-out", numbers());
        records
            .process(|| Lister(StoreHandle::named("counts")), &["counts"])
            .to("listed", nullable_strings());
    });
}
