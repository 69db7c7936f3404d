//! Random scenarios from the grammar.

use crate::random::Random;
use serde_json::{Map, Value as Json, json};

/// What a handle stands for, as far as the grammar's types go.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Stream,
    Table { versioned: bool },
    Global,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Keys {
    Text,
    Time,
    Session,
}

#[derive(Clone, Debug)]
struct Handle {
    name: String,
    kind: Kind,
    keys: Keys,
    is_long: bool,
    /// Windows are suppressed until they close only right behind their aggregation.
    closes: bool,
    used: bool,
    /// Straight from a topic: its keys are what it is partitioned by.
    is_source: bool,
}

struct Generator {
    random: Random,
    steps: Vec<Json>,
    handles: Vec<Handle>,
    topics: Vec<String>,
    number: usize,
    cached: bool,
    /// Whether time may leap over a store's retention: Kafka Streams loses sessions to be emitted when it does.
    leaps: bool,
}

const OPERATIONS_MAX: usize = 6;
const INPUTS_MAX: usize = 24;

/// The scenario of a seed.
pub fn scenario(seed: u64) -> Json {
    let mut generator = Generator {
        random: Random::new(seed),
        steps: Vec::new(),
        handles: Vec::new(),
        topics: Vec::new(),
        number: 0,
        cached: true,
        leaps: true,
    };
    let mut scenario = Map::new();
    scenario.insert(
        "shows".into(),
        format!("Random case of seed {seed}.").into(),
    );
    let mut settings = Map::new();
    if generator.random.percent(30) {
        generator.cached = false;
        settings.insert("statestore.cache.max.bytes".into(), "0".into());
    }
    if !settings.is_empty() {
        scenario.insert("settings".into(), settings.into());
    }
    let commits = generator.random.percent(25);
    if commits {
        scenario.insert("commit".into(), "explicit".into());
    }
    generator.topology();
    let input = generator.input(commits);
    scenario.insert("topology".into(), generator.steps.into());
    scenario.insert("input".into(), input.into());
    scenario.into()
}

impl Generator {
    fn topology(&mut self) {
        for _ in 0..1 + self.random.below(3) {
            self.source();
        }
        for _ in 0..1 + self.random.below(OPERATIONS_MAX) {
            self.operation();
        }
        for handle in self.handles.clone() {
            if handle.kind != Kind::Global && (!handle.used || self.random.percent(25)) {
                self.sink(&handle);
            }
        }
    }

    fn name(&mut self, prefix: &str) -> String {
        self.number += 1;
        format!("{prefix}{}", self.number)
    }

    fn add(&mut self, step: Json, kind: Kind, keys: Keys, is_long: bool) {
        let name = self.name("h");
        let is_source = step["op"] == "stream";
        self.push(&name, step);
        self.handles.push(Handle {
            name,
            kind,
            keys,
            is_long,
            closes: false,
            used: false,
            is_source,
        });
    }

    /// A step whose result has a name.
    fn push(&mut self, name: &str, mut step: Json) {
        step["as"] = name.into();
        self.steps.push(step);
    }

    fn source(&mut self) {
        let topic = format!("in-{}", self.topics.len());
        self.topics.push(topic.clone());
        let (op, kind) = match self.random.below(10) {
            0..=5 => ("stream", Kind::Stream),
            6..=8 => ("table", Kind::Table { versioned: false }),
            _ => ("global_table", Kind::Global),
        };
        let mut step = json!({"op": op, "topic": topic});
        let mut kind = kind;
        if op == "table" && self.random.percent(60) {
            let mut options = self.materialized(true);
            if self.random.percent(30) {
                let name = self.name("versioned");
                let history = self.random.one(&[0, 10, 1000]);
                options = json!({"name": name, "supplier": "versioned", "history": history});
                kind = Kind::Table { versioned: true };
            }
            step["materialized"] = options;
        }
        if op == "stream" && self.random.percent(10) {
            step["consumed"] = json!({"extractor": self.random.one(&["log_and_skip", "partition_time", "partition_time_or_record"])});
        }
        self.add(step, kind, Keys::Text, false);
    }

    fn materialized(&mut self, in_memory: bool) -> Json {
        let mut options = Map::new();
        if self.random.percent(60) {
            options.insert("name".into(), self.name("store").into());
        }
        if self.random.percent(40) {
            options.insert("caching".into(), self.random.percent(50).into());
        }
        if in_memory && self.random.percent(20) {
            options.insert("store".into(), "in_memory".into());
        }
        if self.random.percent(10) {
            options.insert("logging".into(), false.into());
        }
        options.into()
    }

    fn maybe_materialized(&mut self, step: &mut Json, percent: usize) {
        if self.random.percent(percent) {
            step["materialized"] = self.materialized(true);
        }
    }

    fn maybe_named(&mut self, step: &mut Json) {
        if self.random.percent(15) {
            step["name"] = self.name("node").into();
        }
    }

    fn pick(&mut self, fits: impl Fn(&Handle) -> bool) -> Option<Handle> {
        let fitting: Vec<usize> = (0..self.handles.len())
            .filter(|at| fits(&self.handles[*at]))
            .collect();
        if fitting.is_empty() {
            return None;
        }
        // The newest most of the time, so that operations follow each other.
        let at = match self.random.percent(60) {
            true => *fitting.last().expect("there is one"),
            false => fitting[self.random.below(fitting.len())],
        };
        self.handles[at].used = true;
        Some(self.handles[at].clone())
    }

    fn operation(&mut self) {
        let Some(of) = self.pick(|handle| handle.kind != Kind::Global) else {
            return;
        };
        match of.kind {
            Kind::Stream => self.of_stream(&of),
            Kind::Table { versioned } => self.of_table(&of, versioned),
            Kind::Global => {}
        }
    }

    fn predicate(&mut self) -> &'static str {
        self.random.one(&[
            "value_contains:a",
            "value_longer:1",
            "even",
            "key_is:k",
            "key_contains:j",
            "value_not_null",
        ])
    }

    fn of_stream(&mut self, of: &Handle) {
        let name = &of.name;
        match self.random.below(22) {
            0 | 1 => {
                let op = self.random.one(&["filter", "filter_not"]);
                let mut step = json!({"op": op, "of": name, "fn": self.predicate()});
                self.maybe_named(&mut step);
                self.add(step, Kind::Stream, of.keys, of.is_long);
            }
            2 => {
                let mapper =
                    self.random
                        .one(&["upper", "append:!", "show_append:?", "first", "null_if:b"]);
                let mut step = json!({"op": "map_values", "of": name, "fn": mapper});
                self.maybe_named(&mut step);
                self.add(step, Kind::Stream, of.keys, false);
            }
            3 => {
                let key = self.key_mapper();
                let value = self.random.one(&["value", "with_key", "key", "null_if:a"]);
                let step = json!({"op": "map", "of": name, "key_fn": key, "value_fn": value});
                self.add(step, Kind::Stream, Keys::Text, false);
            }
            4 => {
                let values = self.random.one(&["split:,", "twice", "none", "with_null"]);
                let step = match self.random.percent(50) {
                    true => json!({"op": "flat_map_values", "of": name, "values_fn": values}),
                    false => {
                        json!({"op": "flat_map", "of": name, "values_fn": values, "key_fn": self.key_mapper()})
                    }
                };
                let keys = match step.get("key_fn") {
                    Some(_) => Keys::Text,
                    None => of.keys,
                };
                self.add(step, Kind::Stream, keys, false);
            }
            5 | 6 => {
                let mut step = json!({"op": "select_key", "of": name, "fn": self.key_mapper()});
                self.maybe_named(&mut step);
                self.add(step, Kind::Stream, Keys::Text, of.is_long);
            }
            7 => {
                let alike = |other: &Handle| {
                    other.kind == Kind::Stream
                        && other.keys == Keys::Text
                        && of.keys == Keys::Text
                        && other.is_long == of.is_long
                };
                if let Some(with) = self.pick(alike) {
                    let step = json!({"op": "merge", "of": name, "with": with.name});
                    self.add(step, Kind::Stream, of.keys, of.is_long);
                }
            }
            8 if of.keys == Keys::Text => {
                let mut options = Map::new();
                if self.random.percent(50) {
                    options.insert("name".into(), self.name("through").into());
                }
                let step = json!({"op": "repartition", "of": name, "repartitioned": options});
                self.add(step, Kind::Stream, of.keys, of.is_long);
            }
            9 if of.keys == Keys::Text => {
                let mut step = json!({"op": "to_table", "of": name});
                self.maybe_materialized(&mut step, 60);
                let kind = Kind::Table { versioned: false };
                self.add(step, kind, of.keys, of.is_long);
            }
            20 | 21 if of.keys == Keys::Text => self.processor(of),
            10..=13 if of.keys == Keys::Text => self.aggregation(of),
            14..=19 if of.keys == Keys::Text => self.stream_join(of),
            _ => self.aggregation(of),
        }
    }

    fn processor(&mut self, of: &Handle) {
        let store = self
            .random
            .one(&["", "", "key_value", "timestamped_key_value", "window"]);
        // The stores of processors are of text.
        let store = if of.is_long { "" } else { store };
        let of_values = self.random.percent(40);
        let processor = match store {
            "key_value" => self.random.one(&["concat", "put_if_absent"]),
            "timestamped_key_value" => "latest",
            "window" => "window:10",
            _ if of_values => self
                .random
                .one(&["twice", "metadata", "headers:x", "shift:7"]),
            _ => self.random.one(&[
                "twice",
                "metadata",
                "headers:x",
                "shift:7",
                "punctuate_stream:10",
                "punctuate_wall:10",
                "rekey:value",
            ]),
        };
        let op = match of_values {
            true => "process_values",
            false => "process",
        };
        let mut step = json!({"op": op, "of": of.name, "processor": processor});
        if !store.is_empty() {
            // No store takes a null key, and this store no null value.
            let present = self.name("f");
            self.push(
                &present,
                json!({"op": "filter", "of": of.name, "fn": "value_not_null"}),
            );
            let keyed = self.name("f");
            self.push(
                &keyed,
                json!({"op": "filter", "of": present, "fn": "key_not_null"}),
            );
            step["of"] = keyed.into();
            let name = self.name("own");
            let mut options = json!({"name": name, "type": store});
            if store == "window" {
                options["retention"] = 1000.into();
                options["window_size"] = 10.into();
            }
            if self.random.percent(40) {
                options["caching"] = true.into();
                // Java's cache still answers with windows that the store behind it has let go of.
                self.leaps &= store != "window";
            }
            // Windows in memory forget later here, as those on disk do.
            if store != "window" && self.random.percent(30) {
                options["store"] = "in_memory".into();
            }
            self.steps
                .push(json!({"op": "add_store", "store": options}));
            step["stores"] = json!([name]);
        }
        let keys = of.keys;
        self.add(step, Kind::Stream, keys, false);
    }

    fn key_mapper(&mut self) -> &'static str {
        self.random.one(&[
            "value",
            "first",
            "key_append:2",
            "const:all",
            "key_first",
            "key",
            "null_if:a",
        ])
    }

    fn group(&mut self, of: &Handle) -> (String, Keys) {
        let group = self.name("g");
        let mut step = match of.keys == Keys::Text && self.random.percent(65) {
            true => json!({"op": "group_by_key", "of": of.name}),
            false => json!({"op": "group_by", "of": of.name, "fn": self.key_mapper()}),
        };
        if self.random.percent(25) {
            step["grouped"] = json!({"name": self.name("group")});
        }
        self.push(&group, step);
        (group, Keys::Text)
    }

    /// None that may end a row: such a one begins with nothing in the library, see below.
    fn aggregator(&mut self) -> &'static str {
        self.random
            .one(&["plus", "concat", "value", "max", "with_key"])
    }

    fn adder(&mut self) -> &'static str {
        self.random.one(&["plus", "concat", "with_key"])
    }

    fn initial(&mut self) -> &'static str {
        self.random.one(&["zero", "empty"])
    }

    fn aggregation(&mut self, of: &Handle) {
        let is_windowed = self.random.percent(55);
        let mut of = of.clone();
        let mut op = match of.is_long {
            true => "count",
            false => self.random.one(&["count", "reduce", "aggregate"]),
        };
        // The library reduces what is there: records without a value are a choice of the user's.
        if is_windowed && op == "reduce" {
            let name = self.name("f");
            self.push(
                &name,
                json!({"op": "filter", "of": of.name, "fn": "value_not_null"}),
            );
            of.name = name;
        }
        let (mut group, mut keys) = self.group(&of);
        let mut closes = false;
        let mut emits_at_close = false;
        let mut is_cogroup = false;
        if self.random.percent(12) && !of.is_long {
            let cogroup = self.name("c");
            let step = json!({"op": "cogroup", "of": group, "fn": self.adder()});
            self.push(&cogroup, step);
            group = cogroup;
            is_cogroup = true;
            op = "aggregate";
            let is_text = |other: &Handle| {
                other.kind == Kind::Stream && other.keys == Keys::Text && !other.is_long
            };
            if self.random.percent(60)
                && let Some(other) = self.pick(is_text)
            {
                let (other, _) = self.group(&other);
                let cogroup = self.name("c");
                let step = json!({"op": "cogroup", "of": group, "with": other, "fn": self.adder()});
                self.push(&cogroup, step);
                group = cogroup;
            }
        }
        if is_windowed {
            let (windows, kind) = self.windows();
            let windowed = self.name("w");
            let mut step = json!({"op": "windowed_by", "of": group, "windows": windows});
            let may_close = windows_close(&step);
            // Without a cache Kafka Streams loses closed windows to the store's retention: a difference on purpose.
            if !is_cogroup && may_close && self.cached && self.random.percent(25) {
                emits_at_close = true;
                self.leaps &= kind != Keys::Session;
                step["emit"] = "on_window_close".into();
            } else {
                closes = may_close;
            }
            self.push(&windowed, step);
            (group, keys) = (windowed, kind);
        }
        let mut step = json!({"op": op, "of": group});
        match op {
            "reduce" => {
                step["fn"] = self
                    .random
                    .one(&["plus", "value", "max", "aggregate"])
                    .into()
            }
            "aggregate" => {
                step["init"] = self.initial().into();
                if !is_cogroup {
                    // One that hands on the value would make null of null.
                    step["fn"] = match is_windowed {
                        true => self.adder().into(),
                        false => self.aggregator().into(),
                    };
                }
                // A row that may end begins with nothing in the library.
                if !is_cogroup && !is_windowed && self.random.percent(20) {
                    step["init"] = "null".into();
                    step["fn"] = "null_if:a".into();
                }
                if keys == Keys::Session {
                    step["merger"] = "bar".into();
                }
            }
            _ => {}
        }
        if self.random.percent(65) {
            step["materialized"] = self.materialized(keys == Keys::Text);
        }
        if emits_at_close && step["materialized"]["caching"] == false {
            step["materialized"]["caching"] = true.into();
        }
        let is_long = op == "count";
        self.add(step, Kind::Table { versioned: false }, keys, is_long);
        if let Some(handle) = self.handles.last_mut() {
            handle.closes = closes;
        }
    }

    fn windows(&mut self) -> (Json, Keys) {
        let grace = self.random.one(&[0, 5, 10, 30]);
        match self.random.below(10) {
            0..=4 => {
                let mut windows = json!({"type": "time", "size": 10, "grace": grace});
                if self.random.percent(40) {
                    windows["advance"] = self.random.one(&[3, 5, 10]).into();
                }
                (windows, Keys::Time)
            }
            5 | 6 => (
                json!({"type": "sliding", "difference": self.random.one(&[1, 5, 10]), "grace": grace}),
                Keys::Time,
            ),
            7 | 8 => (
                json!({"type": "session", "gap": self.random.one(&[1, 5, 10]), "grace": grace}),
                Keys::Session,
            ),
            _ => (json!({"type": "unlimited"}), Keys::Time),
        }
    }

    fn joiner(&mut self) -> &'static str {
        self.random.one(&["plus", "plus", "plus", "left"])
    }

    fn stream_join(&mut self, of: &Handle) {
        let fits = |other: &Handle| other.keys == Keys::Text;
        let Some(with) = self.pick(fits) else {
            return;
        };
        let mut step = json!({"of": of.name, "with": with.name, "fn": self.joiner()});
        match with.kind {
            Kind::Stream => {
                step["op"] = self.random.one(&["join", "left_join", "outer_join"]).into();
                let mut windows = json!({"difference": self.random.one(&[0, 5, 10])});
                if self.random.percent(70) {
                    windows["grace"] = self.random.one(&[0, 5, 20]).into();
                }
                if self.random.percent(25) {
                    windows["before"] = self.random.one(&[0, 3, 10]).into();
                }
                if self.random.percent(25) {
                    windows["after"] = self.random.one(&[0, 3, 10]).into();
                }
                step["windows"] = windows;
                if self.random.percent(30) {
                    let mut options = Map::new();
                    if self.random.percent(60) {
                        options.insert("name".into(), self.name("join").into());
                    }
                    if self.random.percent(40) {
                        options.insert("store_name".into(), self.name("joinstore").into());
                    }
                    step["stream_joined"] = options.into();
                }
            }
            Kind::Table { versioned } => {
                // What the library is told to drop, because it has no value, never goes to a repartition topic.
                if !of.is_source {
                    let name = self.name("f");
                    self.push(
                        &name,
                        json!({"op": "filter", "of": of.name, "fn": "value_not_null"}),
                    );
                    step["of"] = name.into();
                }
                step["op"] = self.random.one(&["join", "left_join"]).into();
                if versioned && self.random.percent(40) {
                    step["joined"] = json!({"grace": self.random.one(&[0, 5, 10])});
                }
            }
            Kind::Global => {
                step["op"] = self.random.one(&["join", "left_join"]).into();
                step["key_fn"] = self
                    .random
                    .one(&["key", "first", "value", "key_first"])
                    .into();
            }
        }
        self.add(step, Kind::Stream, Keys::Text, false);
    }

    fn of_table(&mut self, of: &Handle, versioned: bool) {
        let name = &of.name;
        let latest = Kind::Table { versioned: false };
        match self.random.below(14) {
            0 | 1 => {
                let op = self.random.one(&["filter", "filter", "filter_not"]);
                let mut step = json!({"op": op, "of": name, "fn": self.predicate()});
                self.maybe_named(&mut step);
                self.maybe_materialized(&mut step, 40);
                let stays = versioned && step.get("materialized").is_none();
                self.add(step, Kind::Table { versioned: stays }, of.keys, of.is_long);
            }
            2 => {
                let mapper =
                    self.random
                        .one(&["append:!", "upper", "with_key", "first", "null_if:b"]);
                let mut step = json!({"op": "map_values", "of": name, "fn": mapper});
                self.maybe_named(&mut step);
                self.maybe_materialized(&mut step, 40);
                let stays = versioned && step.get("materialized").is_none();
                self.add(step, Kind::Table { versioned: stays }, of.keys, false);
            }
            3 | 4 => {
                let mut step = json!({"op": "to_stream", "of": name});
                self.maybe_named(&mut step);
                self.add(step, Kind::Stream, of.keys, of.is_long);
            }
            5 | 6 => self.table_group(of),
            7..=9 => self.table_join(of),
            10 | 11 => self.foreign_key_join(of),
            12 => {
                let mut step = json!({"op": "transform_values", "of": name, "transformer": self.random.one(&["map:append:?", "map:with_key"])});
                self.maybe_materialized(&mut step, 40);
                self.add(step, latest, of.keys, false);
            }
            _ if !versioned => self.suppress(of),
            _ => {}
        }
    }

    fn suppress(&mut self, of: &Handle) {
        let mut options = match of.closes && self.random.percent(70) {
            true => json!({"until": "window_closes"}),
            false => json!({"until": "time_limit", "limit": self.random.one(&[0, 5, 10])}),
        };
        if options["until"] == "time_limit" && self.random.percent(40) {
            options["max_records"] = self.random.one(&[1, 2, 3]).into();
        }
        if self.random.percent(30) {
            options["name"] = self.name("suppress").into();
        }
        let step = json!({"op": "suppress", "of": of.name, "suppressed": options});
        let kind = Kind::Table { versioned: false };
        self.add(step, kind, of.keys, of.is_long);
    }

    fn table_group(&mut self, of: &Handle) {
        let group = self.name("g");
        let key = self
            .random
            .one(&["first", "key_first", "value", "const:all", "last"]);
        let value = self.random.one(&["value", "with_key"]);
        self.push(
            &group,
            json!({"op": "group_by", "of": of.name, "key_fn": key, "value_fn": value}),
        );
        let op = self.random.one(&["count", "reduce", "aggregate"]);
        let mut step = json!({"op": op, "of": group});
        if op != "count" {
            step["fn"] = "plus".into();
            step["subtractor"] = self.random.one(&["minus", "minus", "aggregate"]).into();
        }
        if op == "aggregate" {
            step["init"] = self.initial().into();
        }
        self.maybe_materialized(&mut step, 60);
        let kind = Kind::Table { versioned: false };
        self.add(step, kind, Keys::Text, op == "count");
    }

    fn table_join(&mut self, of: &Handle) {
        let fits = |other: &Handle| {
            matches!(other.kind, Kind::Table { .. })
                && other.keys == Keys::Text
                && of.keys == Keys::Text
                && other.name != of.name
        };
        let Some(with) = self.pick(fits) else {
            return;
        };
        let op = self.random.one(&["join", "left_join", "outer_join"]);
        let mut step = json!({"op": op, "of": of.name, "with": with.name, "fn": "plus"});
        self.maybe_named(&mut step);
        self.maybe_materialized(&mut step, 40);
        let kind = Kind::Table { versioned: false };
        self.add(step, kind, Keys::Text, false);
    }

    fn foreign_key_join(&mut self, of: &Handle) {
        let fits =
            |other: &Handle| matches!(other.kind, Kind::Table { .. }) && other.keys == Keys::Text;
        if of.keys != Keys::Text || of.is_long {
            return;
        }
        let Some(with) = self.pick(fits) else {
            return;
        };
        let op = self.random.one(&["join", "left_join"]);
        let key = self
            .random
            .one(&["first", "value", "before:,", "null_if:a"]);
        let mut step = json!({"op": op, "of": of.name, "with": with.name, "foreign_key_fn": key, "fn": "plus"});
        if self.random.percent(25) {
            step["table_joined"] = json!({"name": self.name("fk")});
        }
        self.maybe_materialized(&mut step, 40);
        let kind = Kind::Table { versioned: false };
        self.add(step, kind, Keys::Text, false);
    }

    fn sink(&mut self, handle: &Handle) {
        let topic = format!("out-{}", handle.name);
        let of = match handle.kind {
            Kind::Stream => handle.name.clone(),
            _ => {
                let name = self.name("s");
                self.push(&name, json!({"op": "to_stream", "of": handle.name}));
                name
            }
        };
        self.steps
            .push(json!({"op": "to", "of": of, "topic": topic}));
    }

    fn input(&mut self, commits: bool) -> Vec<Json> {
        let mut input = Vec::new();
        let mut time = self.random.one(&[0, 0, 5, 100, 1000]);
        let nulls = self.random.one(&[0, 5, 20]);
        for _ in 0..4 + self.random.below(INPUTS_MAX) {
            if self.random.percent(5) {
                input.push(json!({"advance": self.random.one(&[1, 10, 100, 2000])}));
                continue;
            }
            if commits && self.random.percent(20) {
                input.push(json!({"commit": true}));
            }
            time += self.random.one(&[0, 0, 0, 1, 1, 2, 4, 5, 9, 10, 11, 30]);
            if self.random.percent(3) && self.leaps {
                time += self.random.one(&[200, 5_000, 100_000, 200_000]);
            }
            let back = match self.random.percent(25) {
                true => self.random.one(&[1, 2, 5, 10, 11, 15, 20, 40]),
                false => 0,
            };
            let topic = self.topics[self.random.below(self.topics.len())].clone();
            let key = match self.random.percent(nulls / 2) {
                true => Json::Null,
                false => self.random.one(&["k", "k", "j", "a", "b"]).into(),
            };
            let value = match self.random.percent(nulls) {
                true => Json::Null,
                false => self
                    .random
                    .one(&["a", "b", "ab", "k,x", "j", "bb,a", "c"])
                    .into(),
            };
            let mut record =
                json!({"topic": topic, "key": key, "value": value, "ts": i64::max(0, time - back)});
            if self.random.percent(15) {
                record["headers"] = json!([["h", self.random.one(&["1", "2"])]]);
            }
            input.push(record);
        }
        if commits {
            input.push(json!({"commit": true}));
        }
        input
    }
}

fn windows_close(step: &Json) -> bool {
    step["windows"]["type"] != "unlimited"
}
