//! Settings of the application, and when it commits.

use super::Generator;
use serde_json::{Map, Value as Json};

impl Generator {
    pub(super) fn settings(&mut self) -> Map<String, Json> {
        let mut settings = Map::new();
        if self.random.percent(30) {
            self.cached = false;
            settings.insert("statestore.cache.max.bytes".into(), "0".into());
        }
        if self.random.percent(10) {
            let idle = self.random.one(&["-1", "0", "5", "100"]);
            // Which empty input begins to wait first is a matter of hash codes in Kafka Streams.
            self.waits = idle != "-1" && idle != "0";
            settings.insert("max.task.idle.ms".into(), idle.into());
        }
        if self.random.percent(15) {
            let optimization = self.random.one(&[
                "reuse.ktable.source.topics",
                "single.store.self.join",
                "merge.repartition.topics",
                "all",
            ]);
            self.merges_topics = matches!(optimization, "merge.repartition.topics" | "all");
            settings.insert("topology.optimization".into(), optimization.into());
        }
        let handler = "default.deserialization.exception.handler";
        if self.random.percent(30) {
            self.continues = true;
            settings.insert(handler.into(), "handler:deserialization:continue".into());
        } else if self.random.percent(5) {
            settings.insert(handler.into(), "handler:deserialization:fail".into());
        }
        self.commits = self.random.percent(25);
        settings
    }
}
