//! Verbs of tables that look at one row at a time, and suppression.

use super::{Generator, Handle, Keys, Kind, TABLE};
use serde_json::{Value as Json, json};

impl Generator {
    pub(super) fn table_verb(&mut self, of: &Handle, versioned: bool) {
        match self.random.below(9) {
            0 | 1 => {
                let op = self.random.one(&["filter", "filter", "filter_not"]);
                let step = json!({"op": op, "of": of.name, "fn": self.predicate()});
                self.add_table(step, of, versioned, of.is_long);
            }
            2 | 3 => {
                let mapper = self.random.one(&[
                    "append:!",
                    "upper",
                    "with_key",
                    "first",
                    "inner_key",
                    "length",
                ]);
                let step = json!({"op": "map_values", "of": of.name, "fn": mapper});
                self.add_table(step, of, versioned, false);
            }
            4 => {
                let transformer = self
                    .random
                    .one(&["map:append:?", "map:with_key", "context"]);
                let step =
                    json!({"op": "transform_values", "of": of.name, "transformer": transformer});
                self.add_table(step, of, versioned, false);
            }
            _ => {
                let mut step = json!({"op": "to_stream", "of": of.name});
                self.maybe_named(&mut step);
                let mut keys = of.keys;
                if self.random.percent(15) {
                    step["key_fn"] = self.key_mapper().into();
                    keys = Keys::Text;
                }
                self.add(step, Kind::Stream, keys, of.is_long);
            }
        }
    }

    /// A table of another one, with a store or without.
    fn add_table(&mut self, mut step: Json, of: &Handle, versioned: bool, is_long: bool) {
        self.maybe_named(&mut step);
        let kind = match self.random.percent(40) {
            true => self.maybe_materialized(&mut step, 100),
            // Without a store it answers from that of the other one.
            false => Kind::Table { versioned },
        };
        self.add(step, kind, of.keys, is_long);
    }

    pub(super) fn suppress(&mut self, of: &Handle) {
        let closes = of.closes && self.random.percent(70);
        let mut options = match closes {
            true => json!({"until": "window_closes"}),
            false => json!({"until": "time_limit", "limit": self.random.one(&[0, 5, 10])}),
        };
        match self.random.below(10) {
            0..=2 => options["max_records"] = self.random.one(&[1, 2, 3]).into(),
            3 => options["max_bytes"] = self.random.one(&[100, 200, 300]).into(),
            _ => {}
        }
        let is_bounded = options
            .get("max_records")
            .or(options.get("max_bytes"))
            .is_some();
        if is_bounded && (closes || self.random.percent(15)) {
            options["full"] = "shut_down".into();
        }
        if self.random.percent(30) {
            options["name"] = self.name("suppress").into();
        }
        if self.random.percent(15) {
            options["logging"] = false.into();
        }
        let step = json!({"op": "suppress", "of": of.name, "suppressed": options});
        self.add(step, TABLE, of.keys, of.is_long);
    }
}
