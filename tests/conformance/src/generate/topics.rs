//! Streams into topics and through them.

use super::{Generator, Handle, Keys, Kind};
use serde_json::{Map, Value as Json, json};

impl Generator {
    /// `repartition` and `to_table`.
    pub(super) fn through_topic(&mut self, of: &Handle) {
        if self.random.percent(50) {
            let mut step = json!({"op": "to_table", "of": of.name});
            self.maybe_named(&mut step);
            // Kafka Streams has forgotten the serdes of merged streams, and takes the default ones, of text.
            let percent = match of.is_long {
                true => 100,
                false => 60,
            };
            let kind = self.maybe_materialized(&mut step, percent);
            self.add(step, kind, of.keys, of.is_long);
            return;
        }
        let mut options = Map::new();
        if self.random.percent(50) {
            options.insert("name".into(), self.name("through").into());
        }
        if self.random.percent(15) {
            options.insert("partitions".into(), 1.into());
        }
        if self.random.percent(15) {
            let partitioner = self.random.one(&["const:0", "drop", "default"]);
            options.insert("partitioner".into(), partitioner.into());
        }
        let step = json!({"op": "repartition", "of": of.name, "repartitioned": options});
        self.add(step, Kind::Stream, of.keys, of.is_long);
    }

    /// Sends what a handle stands for to a topic of its own.
    pub(super) fn sink(&mut self, handle: &Handle) {
        let of = match handle.kind {
            Kind::Stream => handle.name.clone(),
            _ => {
                let name = self.name("s");
                self.push(&name, json!({"op": "to_stream", "of": handle.name}));
                name
            }
        };
        let topic = format!("out-{}", handle.name);
        let mut step = match self.random.percent(10) {
            true => {
                let extractor = self.random.one(&["key:out-k-", "value:out-v-", "header:h"]);
                json!({"op": "to_extracted", "of": of, "extractor": extractor})
            }
            false => json!({"op": "to", "of": of, "topic": topic}),
        };
        if self.random.percent(15) {
            step["produced"] = self.produced();
        }
        self.steps.push(step);
    }

    fn produced(&mut self) -> Json {
        let mut produced = json!({});
        if self.random.percent(40) {
            produced["name"] = self.name("sink").into();
        }
        if self.random.percent(60) {
            produced["partitioner"] = self
                .random
                .one(&["const:0", "multicast:0", "drop", "default"])
                .into();
        }
        produced
    }

    /// A table of text keys, to be joined with.
    pub(super) fn is_text_table(other: &Handle) -> bool {
        matches!(other.kind, Kind::Table { .. }) && other.keys == Keys::Text
    }
}
