//! Processors with every type of store.

use super::{DAY_MS, Generator, Handle, Kind};
use serde_json::{Map, Value as Json, json};

impl Generator {
    pub(super) fn processor(&mut self, of: &Handle) {
        let store = self.random.one(&[
            "",
            "",
            "",
            "key_value",
            "counts",
            "timestamped_key_value",
            "lru",
            "versioned",
            "window",
            "timestamped_window",
            "session",
        ]);
        // The stores of processors are of text.
        let store = match of.is_long {
            true => "",
            false => store,
        };
        let of_values = self.random.percent(40);
        let processor = self.logic(store, of_values);
        let op = match of_values {
            true => "process_values",
            false => "process",
        };
        let mut step = json!({"op": op, "of": of.name, "processor": processor});
        self.maybe_named(&mut step);
        match store {
            "" => {}
            _ => self.with_store(&mut step, store, processor),
        }
        self.add(step, Kind::Stream, of.keys, false);
    }

    fn logic(&mut self, store: &str, of_values: bool) -> &'static str {
        match store {
            "key_value" => self.random.one(&[
                "concat",
                "put_if_absent",
                "range:a,j",
                "range:,j",
                "range:b,",
            ]),
            "lru" => self.random.one(&["concat", "put_if_absent"]),
            "counts" => "count",
            "timestamped_key_value" => "latest",
            "versioned" => self.random.one(&["versioned:7", "versioned_delete"]),
            "window" => "window:10",
            "timestamped_window" => "timestamped_window:10",
            "session" => self
                .random
                .one(&["session:5", "session_keys:4,a,c", "session_keys:4,,"]),
            _ if of_values => self.random.one(&[
                "forward",
                "drop",
                "twice",
                "metadata",
                "headers:x",
                "shift:7",
                "map:upper",
                "map:null_if:a",
            ]),
            _ => self.random.one(&[
                "twice",
                "metadata",
                "headers:x",
                "shift:7",
                "punctuate_stream:10",
                "punctuate_wall:10",
                "rekey:value",
                "rekey:first",
                "map:with_key",
            ]),
        }
    }

    fn with_store(&mut self, step: &mut Json, store: &str, processor: &str) {
        // No store takes a null key; a null value deletes in most.
        step["of"] = self.filtered(&step["of"], "key_not_null");
        if processor.starts_with("range") || processor == "put_if_absent" {
            step["of"] = self.filtered(&step["of"], "value_not_null");
        }
        let name = self.name("own");
        let mut options = Map::new();
        options.insert("name".into(), name.clone().into());
        let kind = match store {
            "counts" => "key_value",
            other => other,
        };
        options.insert("type".into(), kind.into());
        let mut has_windows = false;
        match store {
            "counts" => drop(options.insert("value".into(), "long".into())),
            "lru" => drop(options.insert("max_entries".into(), self.random.one(&[1, 2, 3]).into())),
            "versioned" => {
                let history = self.random.one(&[0, 10, 1000]);
                options.insert("history".into(), history.into());
            }
            "window" | "timestamped_window" => {
                options.insert("retention".into(), 1000.into());
                options.insert("window_size".into(), 10.into());
                has_windows = true;
            }
            "session" => {
                options.insert("retention".into(), 1000.into());
                has_windows = true;
            }
            _ => {}
        }
        // Java's cache still answers with entries that a store of limited size has let go of.
        if self.random.percent(40) && !matches!(store, "versioned" | "lru") {
            options.insert("caching".into(), true.into());
            // Scanning backward, Java's cache answers with what is deleted.
            if processor.starts_with("session_keys") {
                step["of"] = self.filtered(&step["of"], "value_not_null");
            }
            // Java's cache still answers with windows that the store behind it has let go of.
            if has_windows {
                options.insert("retention".into(), DAY_MS.into());
            }
        }
        if self.random.percent(30) && !matches!(store, "versioned" | "lru") {
            options.insert("store".into(), "in_memory".into());
            // Windows in memory are forgotten as those on disk are.
            if has_windows {
                options.insert("retention".into(), DAY_MS.into());
            }
        }
        if self.random.percent(15) {
            options.insert("logging".into(), false.into());
        }
        self.steps
            .push(json!({"op": "add_store", "store": options}));
        step["stores"] = json!([name]);
    }
}
