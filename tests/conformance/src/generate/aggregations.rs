//! Groups, and aggregations without windows.

use super::{Generator, Handle, Keys, Kind};
use serde_json::json;

impl Generator {
    pub(super) fn aggregation(&mut self, of: &Handle) {
        match self.random.below(20) {
            0..=1 => self.cogroup(of),
            2..=11 => self.windowed_aggregation(of),
            _ => self.plain_aggregation(of),
        }
    }

    /// A group of a stream.
    pub(super) fn group(&mut self, of: &Handle) -> String {
        let group = self.name("g");
        let mut step = match of.keys == Keys::Text && self.random.percent(65) {
            true => json!({"op": "group_by_key", "of": of.name}),
            false => json!({"op": "group_by", "of": of.name, "fn": self.key_mapper()}),
        };
        if self.random.percent(25) {
            step["grouped"] = json!({"name": self.name("group")});
        }
        self.push(&group, step);
        group
    }

    fn plain_aggregation(&mut self, of: &Handle) {
        let op = match of.is_long {
            true => "count",
            false => self.random.one(&["count", "reduce", "aggregate"]),
        };
        let group = self.group(of);
        let mut step = json!({"op": op, "of": group});
        match op {
            "reduce" => {
                let reducers = ["plus", "value", "max", "aggregate", "null_if:b"];
                step["fn"] = self.random.one(&reducers).into();
            }
            "aggregate" => {
                step["init"] = self.initial().into();
                step["fn"] = self
                    .random
                    .one(&["plus", "concat", "value", "max", "with_key"])
                    .into();
                // A row that may end begins with nothing here; Kafka Streams hands on what its initializer made.
                if self.random.percent(20) {
                    step["init"] = "null".into();
                    step["fn"] = "null_if:a".into();
                }
            }
            _ => {}
        }
        let kind = self.maybe_materialized(&mut step, 65);
        if step.get("materialized").is_some() {
            self.maybe_named(&mut step);
        }
        self.add(step, kind, Keys::Text, op == "count");
    }

    pub(super) fn initial(&mut self) -> &'static str {
        self.random.one(&["zero", "empty"])
    }

    /// An aggregator that never answers null.
    pub(super) fn adder(&mut self) -> &'static str {
        self.random.one(&["plus", "concat", "with_key"])
    }

    /// Streams of text aggregated together, in windows or not.
    fn cogroup(&mut self, of: &Handle) {
        if of.is_long {
            return;
        }
        let group = self.group(of);
        let mut cogroup = self.name("c");
        let step = json!({"op": "cogroup", "of": group, "fn": self.adder()});
        self.push(&cogroup, step);
        let is_text = |other: &Handle| {
            other.kind == Kind::Stream && other.keys == Keys::Text && !other.is_long
        };
        // Two groups of one stream that need the same repartition topic are refused here even where it would be merged.
        if self.random.percent(60)
            && !self.merges_topics
            && let Some(other) = self.pick(is_text)
        {
            let other = self.group(&other);
            let both = self.name("c");
            let step = json!({"op": "cogroup", "of": cogroup, "with": other, "fn": self.adder()});
            self.push(&both, step);
            cogroup = both;
        }
        if self.random.percent(50) {
            self.windowed_cogroup(&cogroup);
            return;
        }
        let mut step = json!({"op": "aggregate", "of": cogroup, "init": self.initial()});
        let kind = self.maybe_materialized(&mut step, 65);
        self.add(step, kind, Keys::Text, false);
    }

    /// A table grouped by another key.
    pub(super) fn table_aggregation(&mut self, of: &Handle) {
        let group = self.name("g");
        let key = self
            .random
            .one(&["first", "key_first", "value", "const:all", "last"]);
        let value = self.random.one(&["value", "with_key"]);
        let mut grouping =
            json!({"op": "group_by", "of": of.name, "key_fn": key, "value_fn": value});
        if self.random.percent(20) {
            grouping["grouped"] = json!({"name": self.name("group")});
        }
        self.push(&group, grouping);
        let op = self.random.one(&["count", "reduce", "aggregate"]);
        let mut step = json!({"op": op, "of": group});
        if op != "count" {
            step["fn"] = self.random.one(&["plus", "plus", "value"]).into();
            step["subtractor"] = self.random.one(&["minus", "minus", "aggregate"]).into();
        }
        if op == "aggregate" {
            step["init"] = self.initial().into();
        }
        let kind = self.maybe_materialized(&mut step, 60);
        if step.get("materialized").is_some() || op == "count" {
            self.maybe_named(&mut step);
        }
        self.add(step, kind, Keys::Text, op == "count");
    }
}
