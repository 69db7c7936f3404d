//! Joins of tables, by their keys and by foreign keys.

use super::{Generator, Handle, Keys};
use serde_json::json;

impl Generator {
    pub(super) fn table_join(&mut self, of: &Handle) {
        let fits = |other: &Handle| {
            Self::is_text_table(other) && of.keys == Keys::Text && other.name != of.name
        };
        let Some(with) = self.pick(fits) else {
            return;
        };
        let op = self.random.one(&["join", "left_join", "outer_join"]);
        let mut step = json!({"op": op, "of": of.name, "with": with.name, "fn": "plus"});
        self.maybe_named(&mut step);
        let kind = self.maybe_materialized(&mut step, 40);
        self.add(step, kind, Keys::Text, false);
    }

    pub(super) fn foreign_key_join(&mut self, of: &Handle) {
        if of.keys != Keys::Text || of.is_long {
            return;
        }
        let Some(with) = self.pick(Self::is_text_table) else {
            return;
        };
        let op = self.random.one(&["join", "left_join"]);
        let key = self
            .random
            .one(&["first", "value", "before:,", "null_if:a", "key"]);
        let mut step = json!({"op": op, "of": of.name, "with": with.name, "foreign_key_fn": key, "fn": "plus"});
        if self.random.percent(25) {
            step["table_joined"] = json!({"name": self.name("fk")});
        }
        let kind = self.maybe_materialized(&mut step, 40);
        self.add(step, kind, Keys::Text, false);
    }
}
