//! Stream-stream joins: each record meets those of the other stream that lie in its window.
//!
//! A record first looks for matches and is then put into its own side's store, so that it never meets itself. The rules are
//! those of Kafka's `KStreamJoinWindow` and `KStreamKStreamJoin`. A record without a match waits in a store that both sides
//! share until its window has closed, so that no result without a match is followed by one with.

use super::{StreamChildren, StreamOperator};
use crate::error::Result;
use crate::record::Record;
use crate::serdes::BoxSerde;
use crate::task::context::Context;
use crate::task::stores::{
    JoinSide, JoinWindowState, OuterJoinState, Unmatched, Waits, fetch_matches,
};
use std::sync::Arc;

/// Lets a record be joined, then keeps it for those of the other side.
pub(crate) struct JoinWindow<K, V> {
    pub(crate) store: usize,
    pub(crate) children: StreamChildren<K, V>,
}

impl<K: 'static, V: 'static> StreamOperator<K, V> for JoinWindow<K, V> {
    fn process(&mut self, record: Record<'_, K, V>, context: &mut Context) -> Result<()> {
        let (state, _) = context.state::<JoinWindowState<K, V>>(self.store);
        state.set_record(record.key, record.value)?;
        self.children.forward(record, context)?;
        let (state, io) = context.state::<JoinWindowState<K, V>>(self.store);
        state.put(record.timestamp, record.headers, io)
    }
}

/// The window of a join in milliseconds: how far before and after a record of the left side one of the right side may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JoinSpan {
    pub(crate) before_ms: i64,
    pub(crate) after_ms: i64,
    pub(crate) grace_ms: i64,
}

impl JoinSpan {
    /// How far before and after a record of that side its matches may be.
    pub(crate) fn reach(self, side: JoinSide) -> (i64, i64) {
        match side {
            JoinSide::Left => (self.before_ms, self.after_ms),
            JoinSide::Right => (self.after_ms, self.before_ms),
        }
    }

    /// How long records are kept for matches.
    pub(crate) fn retention_ms(self) -> i64 {
        self.before_ms
            .saturating_add(self.after_ms)
            .saturating_add(self.grace_ms)
    }

    fn waits(self) -> Waits {
        Waits {
            left_ms: self.after_ms.saturating_add(self.grace_ms),
            right_ms: self.before_ms.saturating_add(self.grace_ms),
        }
    }
}

/// Where the matches of a record may be.
pub(crate) fn bounds(timestamp: i64, (before_ms, after_ms): (i64, i64)) -> (i64, i64) {
    (
        timestamp.saturating_sub(before_ms).max(0),
        timestamp.saturating_add(after_ms).max(0),
    )
}

/// One side of a join.
pub(crate) struct StreamJoin<F, K, VThis, VOther, VOut> {
    pub(crate) side: JoinSide,
    pub(crate) span: JoinSpan,
    pub(crate) this_store: usize,
    pub(crate) other_store: usize,
    /// Of left and outer joins.
    pub(crate) outer_store: Option<usize>,
    /// Whether a record of this side makes a result without a match.
    pub(crate) outer: bool,
    /// Whether only records of the left side do.
    pub(crate) left_only: bool,
    pub(crate) key: BoxSerde<K>,
    pub(crate) this_value: BoxSerde<VThis>,
    pub(crate) other_value: BoxSerde<VOther>,
    /// From the values of this and the other side; `None` means no result.
    pub(crate) joiner: Arc<F>,
    pub(crate) key_bytes: Vec<u8>,
    pub(crate) matches: Vec<(i64, VOther)>,
    pub(crate) children: StreamChildren<K, VOut>,
}

impl<F, K, VThis, VOther, VOut> StreamOperator<K, VThis> for StreamJoin<F, K, VThis, VOther, VOut>
where
    F: Fn(&K, Option<&VThis>, Option<&VOther>) -> Option<VOut>,
    K: 'static,
    VThis: 'static,
    VOther: 'static,
{
    fn process(&mut self, record: Record<'_, K, VThis>, context: &mut Context) -> Result<()> {
        let stream_ms = self.advance_time(record.timestamp, context);
        let (this, io) = context.state::<JoinWindowState<K, VThis>>(self.this_store);
        let (Some(key), Some(_)) = (this.key_bytes(), this.value_bytes()) else {
            let (key, value) = (this.key_bytes().is_some(), this.value_bytes().is_some());
            return self.process_null(record, (key, value), context);
        };
        let (from_ms, to_ms) = bounds(record.timestamp, self.span.reach(self.side));
        if let Some(outer_store) = self.outer_store {
            self.key_bytes.clear();
            self.key_bytes.extend_from_slice(key);
            if record.timestamp == stream_ms {
                self.emit_closed(outer_store, record, context)?;
            }
            let (_, io) = context.state::<OuterJoinState>(outer_store);
            let (store, other_value) = (self.other_store, &*self.other_value);
            fetch_matches(
                store,
                &self.key_bytes,
                from_ms,
                to_ms,
                other_value,
                io,
                &mut self.matches,
            )?;
            if self.outer && self.matches.is_empty() {
                return self.process_unmatched(outer_store, record, to_ms, stream_ms, context);
            }
        } else {
            let (store, other_value) = (self.other_store, &*self.other_value);
            fetch_matches(
                store,
                key,
                from_ms,
                to_ms,
                other_value,
                io,
                &mut self.matches,
            )?;
        }
        for (timestamp, value) in self.matches.drain(..) {
            if let Some(outer_store) = self.outer_store {
                let (outer, io) = context.state::<OuterJoinState>(outer_store);
                let side = self.side.other();
                outer.remove(side, timestamp, &self.key_bytes, record.timestamp, io)?;
            }
            if let Some(joined) = (self.joiner)(record.key, Some(record.value), Some(&value)) {
                let result = record.with_value(&joined);
                let timestamp = timestamp.max(record.timestamp);
                self.children
                    .forward(result.with_timestamp(timestamp), context)?;
            }
        }
        Ok(())
    }
}

impl<F, K, VThis, VOther, VOut> StreamJoin<F, K, VThis, VOther, VOut>
where
    F: Fn(&K, Option<&VThis>, Option<&VOther>) -> Option<VOut>,
    K: 'static,
    VThis: 'static,
    VOther: 'static,
{
    /// The time of both sides, with this record; an inner join has no use for it.
    fn advance_time(&self, timestamp: i64, context: &mut Context) -> i64 {
        match self.outer_store {
            None => timestamp,
            Some(outer_store) => {
                let (outer, _) = context.state::<OuterJoinState>(outer_store);
                outer.time.stream_ms = outer.time.stream_ms.max(timestamp);
                outer.time.stream_ms
            }
        }
    }

    /// A record without a key belongs to no other, so it makes its result at once if it makes one alone (KIP-962).
    #[cold]
    fn process_null(
        &mut self,
        record: Record<'_, K, VThis>,
        (has_key, has_value): (bool, bool),
        context: &mut Context,
    ) -> Result<()> {
        if self.outer && !has_key && has_value {
            return self.forward_alone(record, context);
        }
        context.drop_record("its key or value is null, so it has no part in a join");
        Ok(())
    }

    fn forward_alone(&mut self, record: Record<'_, K, VThis>, context: &mut Context) -> Result<()> {
        match (self.joiner)(record.key, Some(record.value), None) {
            Some(joined) => self.children.forward(record.with_value(&joined), context),
            None => Ok(()),
        }
    }

    /// A record without a match waits for one, unless it is too late for any.
    fn process_unmatched(
        &mut self,
        outer_store: usize,
        record: Record<'_, K, VThis>,
        to_ms: i64,
        stream_ms: i64,
        context: &mut Context,
    ) -> Result<()> {
        if to_ms < stream_ms {
            return self.forward_alone(record, context);
        }
        let (this, _) = context.state::<JoinWindowState<K, VThis>>(self.this_store);
        let value = this.lend_value();
        let (outer, io) = context.state::<OuterJoinState>(outer_store);
        outer.add(self.side, record.timestamp, &self.key_bytes, &value, io)?;
        let (this, _) = context.state::<JoinWindowState<K, VThis>>(self.this_store);
        this.return_value(value);
        Ok(())
    }

    /// Forwards the records of both sides whose window has closed without a match, with their own time and the headers of the
    /// record at hand.
    fn emit_closed(
        &mut self,
        outer_store: usize,
        record: Record<'_, K, VThis>,
        context: &mut Context,
    ) -> Result<()> {
        let waits = self.span.waits();
        let wait_ms = match self.side {
            JoinSide::Left => waits.left_ms,
            JoinSide::Right => waits.right_ms,
        };
        let (now_ms, interval_ms) = (context.now_ms, context.outer_join_emit_interval_ms);
        let (outer, io) = context.state::<OuterJoinState>(outer_store);
        if !outer.begins_search(wait_ms, now_ms, interval_ms) {
            return Ok(());
        }
        let closed = outer.take_closed(waits, self.left_only, io)?;
        for unmatched in &closed {
            self.forward_unmatched(unmatched, record, context)?;
        }
        let (outer, io) = context.state::<OuterJoinState>(outer_store);
        outer.remove_closed(&closed, record.timestamp, io)
    }

    fn forward_unmatched(
        &mut self,
        unmatched: &Unmatched,
        record: Record<'_, K, VThis>,
        context: &mut Context,
    ) -> Result<()> {
        let (_, timestamp, key) = unmatched.parse()?;
        let key = self.key.deserialize(key)?;
        for value in unmatched.values() {
            let (side, bytes) = value?;
            let joined = if side == self.side {
                let value = self.this_value.deserialize(bytes)?;
                (self.joiner)(&key, Some(&value), None)
            } else {
                let value = self.other_value.deserialize(bytes)?;
                (self.joiner)(&key, None, Some(&value))
            };
            if let Some(joined) = joined {
                let result = Record::new(&key, &joined, timestamp, record.headers);
                self.children.forward(result, context)?;
            }
        }
        Ok(())
    }
}

/// Inputs and results as Kafka Streams 4.3.1 gives them.
#[cfg(all(test, feature = "test-driver"))]
mod tests {
    use crate::serdes::{Nullable, RawBytes, Utf8};
    use crate::{
        Consumed, Headers, JoinWindows, KStream, LocalState, Produced, StreamJoined,
        StreamsBuilder, TopologyTestDriver, WindowBytesStoreSupplier,
    };
    use std::time::Duration;

    type Texts = KStream<Option<String>, Option<String>>;

    /// Key, value, time and how many headers.
    type Logged = (Vec<u8>, Option<Vec<u8>>, i64, usize);

    const TEN: Duration = Duration::from_millis(10);

    fn windows() -> JoinWindows {
        JoinWindows::of_time_difference_and_grace(TEN, TEN / 2)
    }

    fn texts() -> StreamJoined<Option<String>, Option<String>, Option<String>> {
        StreamJoined::new()
    }

    fn both(left: Option<&Option<String>>, right: Option<&Option<String>>) -> String {
        let show = |value: Option<&Option<String>>| value.cloned().flatten().unwrap_or_default();
        format!("{}+{}", show(left), show(right))
    }

    fn driver(
        join: impl Fn(&Texts, &Texts) -> KStream<Option<String>, String>,
    ) -> TopologyTestDriver {
        let builder = StreamsBuilder::new();
        let left = builder.stream("l", Consumed::new());
        let right = builder.stream("r", Consumed::new());
        join(&left, &right).to("out", Produced::new());
        TopologyTestDriver::new(&builder.build().expect("a topology")).expect("a driver")
    }

    fn outer(
        joined: StreamJoined<Option<String>, Option<String>, Option<String>>,
    ) -> TopologyTestDriver {
        let joined = std::cell::Cell::new(Some(joined));
        driver(move |left, right| {
            let joined = joined.take().expect("called once");
            left.outer_join_stream_with(right, both, windows(), joined)
        })
    }

    /// Gives a record without text for `-`, and returns the results.
    fn give(driver: &mut TopologyTestDriver, input: &str) -> Vec<String> {
        let words: Vec<&str> = input.split(' ').collect();
        let bytes = |word: &str| (word != "-").then(|| word.as_bytes().to_vec());
        let mut headers = Headers::new();
        for header in &words[4..] {
            headers.add(*header, None);
        }
        let timestamp = words[3].parse().expect("a time");
        driver
            .pipe_bytes(
                words[0],
                bytes(words[1]),
                bytes(words[2]),
                timestamp,
                headers,
            )
            .expect("a record");
        let output = driver.output("out", Nullable(Utf8), Utf8);
        driver
            .read_records(&output)
            .expect("results")
            .into_iter()
            .map(|record| {
                let key = record.key.unwrap_or_else(|| "-".to_owned());
                let mut text = format!("{key} {} {}", record.value, record.timestamp);
                for header in &record.headers {
                    text += &format!(" {}", header.key);
                }
                text
            })
            .collect()
    }

    /// Everything written to a store's changelog, as bytes.
    fn logged(driver: &mut TopologyTestDriver, store: &str) -> Vec<Logged> {
        let topic = format!("test-{store}-changelog");
        let output = driver.output(&topic, RawBytes, Nullable(RawBytes));
        driver
            .read_records(&output)
            .expect("bytes")
            .into_iter()
            .map(|record| {
                (
                    record.key,
                    record.value,
                    record.timestamp,
                    record.headers.iter().count(),
                )
            })
            .collect()
    }

    #[test]
    fn results_without_a_match_come_when_their_window_has_closed() {
        let mut driver = outer(texts());
        for silent in [
            "l a A 10 h",
            "l a A2 10",
            "r b B 12 x",
            "r b - 13",
            "r c C 10",
        ] {
            assert!(give(&mut driver, silent).is_empty(), "{silent}");
        }
        assert_eq!(give(&mut driver, "l - N 14 k"), ["- N+ 14 k"]);
        assert_eq!(give(&mut driver, "r - N 14"), ["- +N 14"]);
        assert!(give(&mut driver, "l - - 14").is_empty());
        // Both windows of time 10 end at 25; right comes before left.
        assert!(give(&mut driver, "l d D 25").is_empty());
        assert_eq!(
            give(&mut driver, "l z Z 40 t"),
            ["c +C 10 t", "a A+ 10 t", "a A2+ 10 t", "b +B 12 t"]
        );
        assert_eq!(give(&mut driver, "r z Y 41"), ["d D+ 25", "z Z+Y 41"]);
        // Too late for a match that might still come, so the result is there at once.
        assert_eq!(give(&mut driver, "r a late 11"), ["a +late 11"]);
    }

    #[test]
    fn changelogs_are_those_of_kafka_streams() {
        let mut driver = outer(texts().named("j").with_store_name("s"));
        for input in ["l a A 10 h", "l a A2 10", "l a - 11 n", "r a B 12"] {
            give(&mut driver, input);
        }
        let key = |time: u8, sequence: u8| {
            [b"a", &[0, 0, 0, 0, 0, 0, 0, time][..], &[0, 0, 0, sequence]].concat()
        };
        assert_eq!(
            logged(&mut driver, "s-outer-this-join-store"),
            [
                (key(10, 1), Some(b"A".to_vec()), 10, 1),
                (key(10, 2), Some(b"A2".to_vec()), 10, 0),
                (key(11, 3), None, 11, 1),
            ]
        );
        let row = b"\0\0\0\0\0\0\0\x0a\x01a".to_vec();
        let one = b"\x01\0\0\0\x01\0\0\0\x02\x01A".to_vec();
        let two = b"\x01\0\0\0\x02\0\0\0\x02\x01A\0\0\0\x03\x01A2".to_vec();
        assert_eq!(
            logged(&mut driver, "s-outer-shared-join-store"),
            [
                (row.clone(), Some(one), 10, 0),
                (row.clone(), Some(two), 10, 0),
                (row, None, 12, 0),
            ]
        );
    }

    #[test]
    fn every_store_is_restored() {
        for state in [LocalState::Lost, LocalState::Kept] {
            let mut driver = outer(texts());
            give(&mut driver, "l a A 10");
            give(&mut driver, "l a A2 10");
            driver.restart(state).expect("a restart");
            // Its number begins anew, and it replaces none.
            give(&mut driver, "l a A3 10");
            driver.restart(state).expect("a restart");
            assert_eq!(
                give(&mut driver, "r a B 15"),
                ["a A+B 15", "a A2+B 15", "a A3+B 15"]
            );
            assert!(give(&mut driver, "l c C 16").is_empty());
            driver.restart(state).expect("a restart");
            assert_eq!(give(&mut driver, "l z Z 40"), ["c C+ 16"]);
        }
    }

    #[test]
    fn an_inner_join_drops_nothing_for_being_late() {
        let mut driver = driver(|left, right| {
            let join =
                |left: &Option<String>, right: &Option<String>| both(Some(left), Some(right));
            left.join_stream(right, join, windows())
        });
        give(&mut driver, "l a A 10");
        give(&mut driver, "r b B 50");
        assert_eq!(give(&mut driver, "r a late 12"), ["a A+late 12"]);
        assert!(give(&mut driver, "r - B 12").is_empty());
        assert_eq!(driver.dropped_records(), 1);
    }

    #[test]
    fn own_stores_must_have_the_measures_of_the_windows() {
        let build = |joined: StreamJoined<Option<String>, Option<String>, Option<String>>| {
            let builder = StreamsBuilder::new();
            let left: Texts = builder.stream("l", Consumed::new());
            let right: Texts = builder.stream("r", Consumed::new());
            left.outer_join_stream_with(&right, both, windows(), joined);
            builder.build().map(|topology| topology.describe())
        };
        let store = |name: &str, retention_ms: u64, size_ms: u64, duplicates: bool| {
            WindowBytesStoreSupplier::in_memory(
                name,
                Duration::from_millis(retention_ms),
                Duration::from_millis(size_ms),
                duplicates,
            )
        };
        let mine = store("mine", 25, 20, true);
        let described = build(texts().with_this_store(mine.clone())).expect("a topology");
        assert!(
            described.contains(
                "stores: [mine-outer-shared-join-store, KSTREAM-OUTEROTHER-0000000005-store]"
            ) || described.contains(
                "stores: [KSTREAM-OUTEROTHER-0000000005-store, mine-outer-shared-join-store]"
            ),
            "{described}"
        );
        let failed = |joined| build(joined).expect_err("an error").to_string();
        let twice = failed(texts().with_this_store(mine.clone()).with_other_store(mine));
        assert!(
            twice.contains("both stores of a join are called 'mine'"),
            "{twice}"
        );
        let single = failed(texts().with_other_store(store("o", 25, 20, false)));
        assert!(single.contains("must retain duplicates"), "{single}");
        for wrong in [store("o", 26, 20, true), store("o", 25, 19, true)] {
            let error = failed(texts().with_this_store(wrong));
            assert!(
                error.contains("the join's windows need 25 ms and 20 ms"),
                "{error}"
            );
        }
    }
}
