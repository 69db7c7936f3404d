//! Where topologies begin: streams, tables and stores of topics.

use super::input::Topic;
use super::{Generator, Keys, Kind, TABLE};
use serde_json::{Map, Value as Json, json};

impl Generator {
    pub(super) fn source(&mut self) {
        match self.random.below(20) {
            0..=10 => self.stream_source(),
            11..=16 => self.table_source(),
            17 | 18 => self.global_table_source(),
            _ => self.global_store(),
        }
    }

    fn topic(&mut self) -> String {
        let name = format!("in-{}", self.topics.len());
        self.topics.push(Topic {
            name: name.clone(),
            ..Topic::default()
        });
        name
    }

    fn newest_topic(&mut self) -> &mut Topic {
        let last = self.topics.len() - 1;
        &mut self.topics[last]
    }

    fn stream_source(&mut self) {
        let topic = self.topic();
        let mut step = json!({"op": "stream", "topic": topic});
        if self.random.percent(8) {
            let other = self.topic();
            step = json!({"op": "stream", "topics": [topic, other]});
        } else if self.random.percent(10) {
            self.newest_topic().is_long = true;
            step["value"] = "long".into();
        } else if self.random.percent(5) {
            // A topic that is read twice is one source.
            self.add(step.clone(), Kind::Stream, Keys::Text, false);
        }
        let is_long = self.newest_topic().is_long;
        let extractors = [
            "log_and_skip",
            "partition_time",
            "partition_time_or_record",
            "fail",
            "value",
            "value",
        ];
        if step.get("topics").is_none() && self.handles.iter().all(|handle| !handle.is_source) {
            self.consumed(&mut step, &extractors);
        }
        self.add(step, Kind::Stream, Keys::Text, is_long);
    }

    fn consumed(&mut self, step: &mut Json, extractors: &[&str]) {
        let mut consumed = Map::new();
        if self.random.percent(15) {
            let extractor = self.random.one(extractors);
            // Times before 1970 only come from an extractor; the record is dropped then.
            self.newest_topic().has_times = extractor == "value";
            consumed.insert("extractor".into(), extractor.into());
        }
        if self.random.percent(8) {
            consumed.insert("name".into(), self.name("source").into());
        }
        if self.random.percent(5) {
            let reset = self.random.one(&["earliest", "latest"]);
            consumed.insert("reset".into(), reset.into());
        }
        if !consumed.is_empty() {
            step["consumed"] = consumed.into();
        }
    }

    fn table_source(&mut self) {
        let topic = self.topic();
        let mut step = json!({"op": "table", "topic": topic});
        let is_long = self.random.percent(8);
        if is_long {
            self.newest_topic().is_long = true;
            step["value"] = "long".into();
        }
        let kind = match self.random.percent(20) {
            true => {
                let name = self.name("versioned");
                let history = self.random.one(&[0, 10, 1000]);
                step["materialized"] =
                    json!({"name": name, "supplier": "versioned", "history": history});
                Kind::Table { versioned: true }
            }
            false => self.maybe_materialized(&mut step, 50),
        };
        self.consumed(&mut step, &["log_and_skip", "value"]);
        if step["consumed"]["extractor"] != Json::Null {
            // A table's extractor is not asked about deletions here.
            self.newest_topic().is_never_null = true;
        }
        self.add(step, kind, Keys::Text, is_long);
    }

    fn global_table_source(&mut self) {
        let topic = self.topic();
        // Kafka Streams' test driver always skips what cannot be read.
        self.newest_topic().is_always_read = true;
        let mut step = json!({"op": "global_table", "topic": topic});
        if self.random.percent(30) {
            // Without a name Kafka Streams fails to build it.
            let mut options = json!({"name": self.name("global")});
            if self.random.percent(30) {
                options["store"] = "in_memory".into();
            }
            step["materialized"] = options;
        }
        self.add(step, Kind::Global, Keys::Text, false);
    }

    /// A store that a processor fills from a topic of its own.
    fn global_store(&mut self) {
        let topic = self.topic();
        self.newest_topic().is_always_read = true;
        self.newest_topic().is_keyed = true;
        let name = self.name("global");
        let mut store = json!({"name": name, "type": "key_value"});
        if self.random.percent(40) {
            store["store"] = "in_memory".into();
        }
        let processor = self.random.one(&["put", "put_upper"]);
        self.steps.push(
            json!({"op": "add_global_store", "store": store, "topic": topic, "processor": processor}),
        );
        // Something must read a topic of a partition's own.
        if self
            .handles
            .iter()
            .all(|handle| handle.kind == Kind::Global)
        {
            let topic = self.topic();
            self.add(
                json!({"op": "table", "topic": topic}),
                TABLE,
                Keys::Text,
                false,
            );
        }
    }
}
