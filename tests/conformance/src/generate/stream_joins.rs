//! Joins of streams with streams, tables and global tables.

use super::{Generator, Handle, Keys, Kind};
use serde_json::{Map, Value as Json, json};

/// A join of joins of joins has more records than anybody looks at.
const JOINS_MAX: usize = 2;

impl Generator {
    pub(super) fn stream_join(&mut self, of: &Handle) {
        let merges_topics = self.merges_topics;
        let fits = |other: &Handle| {
            let may_multiply = of.joins + other.joins < JOINS_MAX;
            other.keys == Keys::Text
                && (other.kind != Kind::Stream || may_multiply)
                // Kafka Streams moves repartition topics in front of joins with global tables.
                && !(merges_topics && other.kind == Kind::Global)
        };
        let Some(with) = self.pick(fits) else {
            return;
        };
        let joiner = self
            .random
            .one(&["plus", "plus", "plus", "left", "right", "null_if:b"]);
        let mut step = json!({"op": "", "of": of.name, "with": with.name, "fn": joiner});
        match with.kind {
            Kind::Stream => {
                step["op"] = self.random.one(&["join", "left_join", "outer_join"]).into();
                if self.random.percent(15) {
                    step["fn"] = "with_key".into();
                }
                self.windows_of_join(&mut step);
                self.joins = of.joins + with.joins + 1;
            }
            Kind::Table { versioned } => self.with_table(&mut step, of, versioned),
            Kind::Global => {
                step["op"] = self.random.one(&["join", "left_join"]).into();
                step["key_fn"] = self
                    .random
                    .one(&["key", "first", "value", "key_first", "null_if:a"])
                    .into();
                self.maybe_named(&mut step);
            }
        }
        self.add(step, Kind::Stream, Keys::Text, false);
    }

    fn windows_of_join(&mut self, step: &mut Json) {
        let difference = self.random.one(&[0, 5, 10]);
        let mut windows = json!({"difference": difference});
        if self.random.percent(70) {
            windows["grace"] = self.random.one(&[0, 5, 20]).into();
        }
        let (mut before, mut after) = (difference, difference);
        // A window of a single time does not get smaller.
        let smallest = match difference {
            0 => 0,
            _ => -2,
        };
        if self.random.percent(25) {
            before = self.random.one(&[0, 3, 10, smallest]);
            windows["before"] = before.into();
        }
        if self.random.percent(25) {
            after = self.random.one(&[2, 3, 10]);
            windows["after"] = after.into();
        }
        let size = before + after;
        self.spans.extend([before, after]);
        let grace = windows["grace"].as_i64().unwrap_or(0);
        self.spans.extend([before + grace, after + grace]);
        step["windows"] = windows;
        if !self.random.percent(35) {
            return;
        }
        let mut options = Map::new();
        if self.random.percent(60) {
            options.insert("name".into(), self.name("join").into());
        }
        if self.random.percent(40) {
            options.insert("store_name".into(), self.name("joinstore").into());
        }
        match self.random.below(8) {
            0 => drop(options.insert("logging".into(), false.into())),
            1 => {
                // A record without a value moves the time of a store in memory in Kafka Streams.
                step["of"] = self.filtered(&step["of"], "value_not_null");
                step["with"] = self.filtered(&step["with"], "value_not_null");
                options.insert("store".into(), "in_memory".into());
            }
            2 => {
                for side in ["this_store", "other_store"] {
                    let store = "rocksdb";
                    let supplier = json!({
                        "name": self.name("supplied"), "store": store, "retention": size + grace, "window_size": size,
                        "retain_duplicates": true
                    });
                    options.insert(side.into(), supplier);
                }
            }
            _ => {}
        }
        step["stream_joined"] = options.into();
    }

    fn with_table(&mut self, step: &mut Json, of: &Handle, versioned: bool) {
        // What the library is told to drop, because it has no value, never goes to a repartition topic.
        if !of.is_source {
            step["of"] = self.filtered(&step["of"], "value_not_null");
        }
        step["op"] = self.random.one(&["join", "left_join"]).into();
        let mut options = Map::new();
        if versioned && self.random.percent(50) {
            let grace = self.random.one(&[0, 5, 10]);
            options.insert("grace".into(), grace.into());
            self.spans.push(grace);
            // Kafka Streams fails when a left join with a grace period has a null key.
            step["of"] = self.filtered(&step["of"], "key_not_null");
        }
        if self.random.percent(20) {
            options.insert("name".into(), self.name("joined").into());
        }
        if !options.is_empty() {
            step["joined"] = options.into();
        }
    }
}
