//! Aggregations over windows of every kind.

use super::{DAY_MS, Generator, Handle, Keys, Kind, TABLE};
use serde_json::{Value as Json, json};

impl Generator {
    pub(super) fn windowed_aggregation(&mut self, of: &Handle) {
        let op = match of.is_long {
            true => "count",
            false => self.random.one(&["count", "reduce", "aggregate"]),
        };
        let mut of = of.clone();
        // The library reduces what is there: records without a value are a choice of the user's.
        if op == "reduce"
            && let Json::String(name) = self.filtered(&of.name.clone().into(), "value_not_null")
        {
            of.name = name;
        }
        let group = self.group(&of);
        let (windows, keys) = self.windows();
        let windowed = self.name("w");
        let mut step = json!({"op": "windowed_by", "of": group, "windows": windows});
        let may_close = windows["type"] != "unlimited";
        let emits_at_close = may_close && self.random.percent(25);
        if emits_at_close {
            step["emit"] = "on_window_close".into();
        } else if self.random.percent(10) {
            step["emit"] = "on_window_update".into();
        }
        self.push(&windowed, step);
        let mut step = json!({"op": op, "of": windowed});
        match op {
            "reduce" => {
                step["fn"] = self
                    .random
                    .one(&["plus", "value", "max", "aggregate"])
                    .into()
            }
            "aggregate" => {
                step["init"] = self.initial().into();
                step["fn"] = self.adder().into();
                if self.random.percent(15) {
                    step["fn"] = self.random.one(&["null_if:a", "value"]).into();
                }
                if keys == Keys::Session {
                    step["merger"] = self.random.one(&["bar", "bar", "left"]).into();
                }
            }
            _ => {}
        }
        self.window_store(&mut step, keys, emits_at_close);
        self.maybe_named(&mut step);
        let handle = self.add(step, TABLE, keys, op == "count");
        handle.closes = may_close && !emits_at_close;
    }

    pub(super) fn windowed_cogroup(&mut self, cogroup: &str) {
        let (windows, keys) = self.windows();
        let windowed = self.name("w");
        self.push(
            &windowed,
            json!({"op": "windowed_by", "of": cogroup, "windows": windows}),
        );
        let mut step = json!({"op": "aggregate", "of": windowed, "init": self.initial()});
        if keys == Keys::Session {
            step["merger"] = "bar".into();
        }
        self.window_store(&mut step, keys, false);
        // In Kafka Streams its rows cannot be looked up, so nothing of tables can be done with it.
        let table = self.name("t");
        self.push(&table, step);
        self.add(
            json!({"op": "to_stream", "of": table}),
            Kind::Stream,
            keys,
            false,
        );
    }

    fn window_store(&mut self, step: &mut Json, keys: Keys, emits_at_close: bool) {
        if self.random.percent(65) {
            let mut options = self.store_options();
            // Windows in memory are forgotten as those on disk are.
            // Closed sessions come in another order out of memory.
            let may_be_in_memory = !emits_at_close || keys != Keys::Session;
            if self.random.percent(20) && may_be_in_memory {
                options["store"] = "in_memory".into();
                options["retention"] = DAY_MS.into();
            }
            step["materialized"] = options;
        }
        // Kafka Streams loses closed windows to the store's retention.
        if emits_at_close {
            if step.get("materialized").is_none() {
                step["materialized"] = json!({});
            }
            step["materialized"]["retention"] = DAY_MS.into();
        }
    }

    fn windows(&mut self) -> (Json, Keys) {
        let grace = self.random.one(&[0, 5, 10, 30]);
        let (mut windows, keys) = match self.random.below(10) {
            0..=3 => {
                let mut windows = json!({"type": "time", "size": self.random.one(&[10, 10, 7])});
                if self.random.percent(40) {
                    windows["advance"] = self.random.one(&[3, 5, 7]).into();
                }
                (windows, Keys::Time)
            }
            4..=6 => (
                json!({"type": "sliding", "difference": self.random.one(&[1, 5, 10])}),
                Keys::Time,
            ),
            7 | 8 => (
                json!({"type": "session", "gap": self.random.one(&[1, 5, 10])}),
                Keys::Session,
            ),
            _ => {
                let mut windows = json!({"type": "unlimited"});
                if self.random.percent(50) {
                    windows["start"] = self.random.one(&[0, 10, 1005]).into();
                }
                return (windows, Keys::Time);
            }
        };
        let mut closes = 0;
        for span in ["size", "advance", "difference", "gap"] {
            let span = windows[span].as_i64().unwrap_or(0);
            self.spans.extend((span > 0).then_some(span));
            closes = closes.max(span);
        }
        if self.random.percent(85) {
            windows["grace"] = grace.into();
            closes += grace;
        }
        self.spans.push(closes);
        (windows, keys)
    }
}
