//! Verbs of streams that look at one record at a time.

use super::{Generator, Handle, Keys, Kind};
use serde_json::{Value as Json, json};

impl Generator {
    pub(super) fn stateless(&mut self, of: &Handle) {
        let name = &of.name;
        match self.random.below(14) {
            // Behind what only passes records on Kafka Streams fails to merge repartition topics.
            0 | 1 if !self.merges_topics => {
                let op = self.random.one(&["filter", "filter_not"]);
                let mut step = json!({"op": op, "of": name, "fn": self.predicate()});
                self.maybe_named(&mut step);
                self.add(step, Kind::Stream, of.keys, of.is_long);
            }
            2 | 3 => {
                let mapper = self.random.one(&[
                    "upper",
                    "append:!",
                    "show_append:?",
                    "first",
                    "last",
                    "null_if:b",
                    "with_key",
                    "inner_key",
                    "length",
                    "before:,",
                ]);
                let mut step = json!({"op": "map_values", "of": name, "fn": mapper});
                self.maybe_named(&mut step);
                self.add(step, Kind::Stream, of.keys, false);
            }
            4 | 5 => {
                let key = self.key_mapper();
                let value = self
                    .random
                    .one(&["value", "with_key", "key", "null_if:a", "null"]);
                let mut step = json!({"op": "map", "of": name, "key_fn": key, "value_fn": value});
                self.maybe_named(&mut step);
                self.add(step, Kind::Stream, Keys::Text, false);
            }
            6 | 7 => {
                let values = self.random.one(&["split:,", "twice", "none", "with_null"]);
                let (mut step, keys) = match self.random.percent(50) {
                    true => (
                        json!({"op": "flat_map_values", "of": name, "values_fn": values}),
                        of.keys,
                    ),
                    false => (
                        json!({"op": "flat_map", "of": name, "values_fn": values, "key_fn": self.key_mapper()}),
                        Keys::Text,
                    ),
                };
                self.maybe_named(&mut step);
                self.add(step, Kind::Stream, keys, false);
            }
            8..=10 => {
                let mut step = json!({"op": "select_key", "of": name, "fn": self.key_mapper()});
                self.maybe_named(&mut step);
                self.add(step, Kind::Stream, Keys::Text, of.is_long);
            }
            11 if !self.merges_topics => {
                let mut step = json!({"op": "peek", "of": name});
                self.maybe_named(&mut step);
                self.add(step, Kind::Stream, of.keys, of.is_long);
            }
            _ => self.merge(of),
        }
    }

    fn merge(&mut self, of: &Handle) {
        // Kafka Streams moves repartition topics in front of merged streams, and loses where records belong.
        if self.merges_topics || of.keys != Keys::Text {
            return;
        }
        let alike = |other: &Handle| {
            other.kind == Kind::Stream && other.keys == Keys::Text && other.is_long == of.is_long
        };
        if let Some(with) = self.pick(alike) {
            let mut step = json!({"op": "merge", "of": of.name, "with": with.name});
            self.maybe_named(&mut step);
            self.add(step, Kind::Stream, of.keys, of.is_long);
        }
    }

    pub(super) fn branches(&mut self, of: &Handle) {
        // Behind a split, Kafka Streams fails to merge repartition topics.
        if self.merges_topics {
            return;
        }
        let mut names = Vec::new();
        let mut branches = Vec::new();
        for _ in 0..1 + self.random.below(2) {
            let name = self.name("h");
            let mut branch = json!({"fn": self.predicate(), "as": name});
            if self.random.percent(40) {
                branch["name"] = format!("-{}", self.name("branch")).into();
            }
            branches.push(branch);
            names.push(name);
        }
        let mut step = json!({"op": "split", "of": of.name, "branches": branches});
        if self.random.percent(50) {
            let name = self.name("h");
            step["default"] = json!({"as": name});
            names.push(name);
        }
        if self.random.percent(30) {
            step["name"] = Json::String(self.name("split"));
        }
        self.steps.push(step);
        for name in names {
            self.known(name, Kind::Stream, of.keys, of.is_long, false);
        }
    }
}
