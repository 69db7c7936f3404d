//! A stream-table join whose records wait until the table has had time to catch up (KIP-923).
//!
//! Kafka's `KStreamKTableJoinProcessor` with a buffer: a record is joined once the stream's time is a grace period ahead of it,
//! in the order of timestamps, with the row the table had at the record's own time. A record that is later than that when it
//! arrives is joined at once, and so is one without a key.

use super::StreamOperator;
use super::children::catch;
use super::stream_table_join::StreamTableJoin;
use crate::error::Result;
use crate::record::Record;
use crate::serdes::BoxSerde;
use crate::task::context::Context;
use crate::task::stores::{Due, GraceBufferState, Origin};

pub(crate) struct StreamTableGraceJoin<F, K, V, V2, VOut> {
    pub(crate) join: StreamTableJoin<F, K, V2, VOut>,
    pub(crate) key: BoxSerde<K>,
    pub(crate) value: BoxSerde<V>,
    pub(crate) grace_ms: i64,
    /// The buffer.
    pub(crate) store: usize,
    pub(crate) key_bytes: Vec<u8>,
    pub(crate) value_bytes: Vec<u8>,
}

impl<K, V, V2, VOut, F> StreamTableGraceJoin<F, K, V, V2, VOut>
where
    K: 'static,
    V: 'static,
    F: Fn(&K, &V, Option<&V2>) -> Option<VOut>,
{
    fn join_due(&mut self, due: &Due, context: &mut Context) -> Result<()> {
        let (from, value) = due.content()?;
        let key = self.key.deserialize(due.key())?;
        let value = self.value.deserialize_nullable(value)?;
        let input = context
            .input_topics
            .iter()
            .position(|topic| **topic == *from.topic);
        let outer = (context.origin, context.io.source.take());
        context.origin = Origin {
            input: input.map(|input| input as u32),
            offset: from.offset,
            timestamp: from.timestamp,
        };
        let record = Record::new(&key, &value, from.timestamp, &from.headers);
        let joined = catch(|| self.join.process(record, context));
        (context.origin, context.io.source) = outer;
        joined
    }
}

impl<K, V, V2, VOut, F> StreamOperator<K, V> for StreamTableGraceJoin<F, K, V, V2, VOut>
where
    K: 'static,
    V: 'static,
    F: Fn(&K, &V, Option<&V2>) -> Option<VOut>,
{
    fn process(&mut self, record: Record<'_, K, V>, context: &mut Context) -> Result<()> {
        self.key_bytes.clear();
        let has_key = self
            .key
            .serialize_nullable(record.key, &mut self.key_bytes)?;
        let (origin, partition) = (context.origin, context.id.partition);
        let topic = origin
            .input
            .map(|input| context.input_topics[input as usize].clone());
        let (buffer, io) = context.state::<GraceBufferState>(self.store);
        if !has_key || !buffer.takes(record.timestamp, self.grace_ms, io)? {
            return self.join.process(record, context);
        }
        self.value_bytes.clear();
        let has_value = self
            .value
            .serialize_nullable(record.value, &mut self.value_bytes)?;
        buffer.put(
            &self.key_bytes,
            has_value.then_some(self.value_bytes.as_slice()),
            (
                origin.offset,
                topic.as_deref().unwrap_or_default(),
                partition,
            ),
            (record.timestamp, record.headers),
            io,
        )?;
        for due in buffer.due(self.grace_ms, io)? {
            self.join_due(&due, context)?;
            let (buffer, io) = context.state::<GraceBufferState>(self.store);
            buffer.remove(&due, io)?;
        }
        Ok(())
    }
}

#[cfg(all(test, feature = "test-driver"))]
mod tests {
    use crate::serdes::{Nullable, Utf8};
    use crate::testing::LocalState;
    use crate::{
        Consumed, Headers, Joined, Materialized, Produced, StreamsBuilder, TopologyTestDriver,
    };
    use std::time::Duration;

    const GRACE: Duration = Duration::from_millis(10);

    /// Sales that wait 10 ms for prices, whose history is 50 ms long.
    fn driver() -> TopologyTestDriver {
        let builder = StreamsBuilder::new();
        let prices = builder.versioned_table::<Option<String>, String>(
            "prices",
            Consumed::with(Nullable(Utf8), Utf8),
            Materialized::versioned("prices", Duration::from_millis(50)),
        );
        builder
            .stream("sales", Consumed::with(Nullable(Utf8), Utf8))
            .left_join_with(
                &prices,
                |sale, price| format!("{sale} for {}", price.map_or("?", String::as_str)),
                Joined::with(Nullable(Utf8), Utf8)
                    .named("priced")
                    .with_grace_period(GRACE),
            )
            .to("out", Produced::with(Nullable(Utf8), Utf8));
        TopologyTestDriver::new(&builder.build().unwrap()).unwrap()
    }

    fn pipe(driver: &mut TopologyTestDriver, topic: &str, key: Option<&str>, at: i64) {
        let value = format!("{topic}@{at}").into_bytes();
        let key = key.map(|key| key.as_bytes().to_vec());
        let mut headers = Headers::new();
        headers.add("at", Some(at.to_string().as_bytes()));
        driver
            .pipe_bytes(topic, key, Some(value), at, headers)
            .unwrap();
    }

    fn read(driver: &mut TopologyTestDriver) -> Vec<(String, i64, usize)> {
        let output = driver.output("out", Nullable(Utf8), Utf8);
        driver
            .read_records(&output)
            .unwrap()
            .into_iter()
            .map(|record| (record.value, record.timestamp, record.headers.len()))
            .collect()
    }

    #[test]
    fn what_waits_survives_a_restart_with_its_time_and_headers() {
        for state in [LocalState::Lost, LocalState::Kept] {
            let mut driver = driver();
            pipe(&mut driver, "prices", Some("pen"), 1);
            pipe(&mut driver, "sales", Some("pen"), 20);
            pipe(&mut driver, "sales", Some("ink"), 12);
            pipe(&mut driver, "sales", Some("ink"), 12);
            assert_eq!(read(&mut driver), []);
            driver.restart(state).unwrap();
            // The time of the buffer is known again: this one is too late to wait.
            pipe(&mut driver, "sales", Some("pen"), 9);
            assert_eq!(
                read(&mut driver),
                [("sales@9 for prices@1".to_owned(), 9, 1)]
            );
            pipe(&mut driver, "prices", Some("pen"), 19);
            pipe(&mut driver, "sales", Some("ink"), 30);
            assert_eq!(
                read(&mut driver),
                [
                    ("sales@12 for ?".to_owned(), 12, 1),
                    ("sales@12 for ?".to_owned(), 12, 1),
                    ("sales@20 for prices@19".to_owned(), 20, 1)
                ]
            );
            driver.restart(state).unwrap();
            pipe(&mut driver, "sales", Some("ink"), 41);
            assert_eq!(read(&mut driver), [("sales@30 for ?".to_owned(), 30, 1)]);
        }
    }

    #[test]
    fn versions_survive_a_restart() {
        for state in [LocalState::Lost, LocalState::Kept] {
            let mut driver = driver();
            pipe(&mut driver, "prices", Some("pen"), 20);
            pipe(&mut driver, "prices", Some("pen"), 10);
            driver.restart(state).unwrap();
            pipe(&mut driver, "sales", Some("pen"), 15);
            pipe(&mut driver, "sales", Some("pen"), 40);
            assert_eq!(
                read(&mut driver),
                [("sales@15 for prices@10".to_owned(), 15, 1)]
            );
        }
    }

    #[test]
    fn without_a_key_nothing_waits() {
        let mut driver = driver();
        pipe(&mut driver, "sales", None, 20);
        assert_eq!(read(&mut driver), [("sales@20 for ?".to_owned(), 20, 1)]);
    }

    fn error_of(write_down: impl FnOnce(&StreamsBuilder, Joined<String, String>)) -> String {
        let builder = StreamsBuilder::new();
        write_down(&builder, Joined::new().with_grace_period(GRACE));
        builder.build().unwrap_err().to_string()
    }

    #[test]
    fn a_grace_period_needs_a_history_as_long() {
        let plain = error_of(|builder, joined| {
            let table =
                builder.table::<String, String>("t", Consumed::new(), Materialized::named("t"));
            let sales = builder.stream::<String, String>("s", Consumed::new());
            sales.join_with(&table, |x, y: &String| format!("{x}{y}"), joined);
        });
        assert!(plain.contains("needs a versioned table"), "{plain}");
        let short = error_of(|builder, joined| {
            let history = Duration::from_millis(9);
            let table = builder.versioned_table::<String, String>(
                "t",
                Consumed::new(),
                Materialized::versioned("t", history),
            );
            let sales = builder.stream::<String, String>("s", Consumed::new());
            sales.join_with(&table, |x, y: &String| format!("{x}{y}"), joined);
        });
        assert!(short.contains("store 't' forgets after 9 ms"), "{short}");
        let unnamed = error_of(|builder, joined| {
            let table = builder.versioned_table::<String, String>(
                "t",
                Consumed::new(),
                Materialized::versioned("t", Duration::from_secs(1)),
            );
            let table = table.filter_with(|_, _| true, Materialized::new());
            let sales = builder.stream::<String, String>("s", Consumed::new());
            sales.join_with(&table, |x, y| format!("{x}{y}"), joined);
        });
        assert!(unnamed.contains("needs a versioned table"), "{unnamed}");
    }
}
