//! Random scenarios from the grammar, one file for each family of verbs.
//!
//! What is different on purpose is not made up; where that is decided, a comment says what it is.

mod aggregations;
mod input;
mod processors;
mod settings;
mod sources;
mod stateless;
mod stream_joins;
mod table_joins;
mod tables;
mod topics;
mod windows;

use crate::random::Random;
use input::Topic;
use serde_json::{Map, Value as Json, json};

/// The longest that time ever leaps, and longer than all leaps of a case together: a day.
const DAY_MS: i64 = 86_400_000;
const OPERATIONS_MAX: usize = 7;

/// What a handle stands for, as far as the grammar's types go.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Stream,
    Table { versioned: bool },
    Global,
}

const TABLE: Kind = Kind::Table { versioned: false };

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
    /// How many joins of streams are behind it: each may square the number of records.
    joins: usize,
}

/// Makes up one scenario.
struct Generator {
    random: Random,
    steps: Vec<Json>,
    handles: Vec<Handle>,
    topics: Vec<Topic>,
    number: usize,
    cached: bool,
    commits: bool,
    continues: bool,
    /// Whether inputs wait for others that are empty.
    waits: bool,
    /// Whether Kafka Streams may move repartition topics, which it does not do right everywhere.
    merges_topics: bool,
    /// Whether time may leap over a store's retention.
    leaps: bool,
    /// Sizes of windows, grace periods and the like, around which times matter.
    spans: Vec<i64>,
    /// Joins of the operation that is being made up.
    joins: usize,
}

/// The scenario of a seed.
pub fn scenario(seed: u64) -> Json {
    let mut generator = Generator {
        random: Random::new(seed),
        steps: Vec::new(),
        handles: Vec::new(),
        topics: Vec::new(),
        number: 0,
        cached: true,
        commits: false,
        continues: false,
        waits: false,
        merges_topics: false,
        leaps: true,
        spans: Vec::new(),
        joins: 0,
    };
    let mut scenario = Map::new();
    let shows = format!("Random case of seed {seed}.");
    scenario.insert("shows".into(), shows.into());
    let settings = generator.settings();
    if !settings.is_empty() {
        scenario.insert("settings".into(), settings.into());
    }
    if generator.commits {
        scenario.insert("commit".into(), "explicit".into());
    }
    generator.topology();
    let input = generator.input();
    scenario.insert("topology".into(), generator.steps.into());
    scenario.insert("input".into(), input.into());
    scenario.into()
}

impl Generator {
    fn topology(&mut self) {
        for _ in 0..self.random.one(&[1, 1, 2, 2, 3]) {
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

    fn operation(&mut self) {
        let Some(of) = self.pick(|handle| handle.kind != Kind::Global) else {
            return;
        };
        self.joins = of.joins;
        match of.kind {
            Kind::Stream => self.of_stream(&of),
            Kind::Table { versioned } => self.of_table(&of, versioned),
            Kind::Global => {}
        }
    }

    fn of_stream(&mut self, of: &Handle) {
        let is_text = of.keys == Keys::Text;
        match self.random.below(28) {
            0..=9 => self.stateless(of),
            10 | 11 if is_text => self.through_topic(of),
            12..=17 => self.aggregation(of),
            18..=23 if is_text => self.stream_join(of),
            24..=26 if is_text && !self.merges_topics => self.processor(of),
            27 => self.branches(of),
            _ => self.aggregation(of),
        }
    }

    fn of_table(&mut self, of: &Handle, versioned: bool) {
        match self.random.below(15) {
            0..=6 => self.table_verb(of, versioned),
            7 | 8 => self.table_aggregation(of),
            9..=11 => self.table_join(of),
            12 | 13 => self.foreign_key_join(of),
            _ if !versioned => self.suppress(of),
            _ => self.table_verb(of, versioned),
        }
    }

    /// A name that nothing else has.
    fn name(&mut self, prefix: &str) -> String {
        self.number += 1;
        format!("{prefix}{}", self.number)
    }

    /// A step whose result may be used by later ones.
    fn add(&mut self, step: Json, kind: Kind, keys: Keys, is_long: bool) -> &mut Handle {
        let name = self.name("h");
        let is_source = step["op"] == "stream";
        self.push(&name, step);
        self.known(name, kind, keys, is_long, is_source)
    }

    /// A handle that a step has made already.
    fn known(
        &mut self,
        name: String,
        kind: Kind,
        keys: Keys,
        is_long: bool,
        is_source: bool,
    ) -> &mut Handle {
        self.handles.push(Handle {
            name,
            kind,
            keys,
            is_long,
            closes: false,
            used: false,
            is_source,
            joins: self.joins,
        });
        let last = self.handles.len() - 1;
        &mut self.handles[last]
    }

    /// A step whose result has a name.
    fn push(&mut self, name: &str, mut step: Json) {
        step["as"] = name.into();
        self.steps.push(step);
    }

    /// A filter in front of a step; its name.
    fn filtered(&mut self, of: &Json, predicate: &str) -> Json {
        let name = self.name("f");
        self.push(&name, json!({"op": "filter", "of": of, "fn": predicate}));
        name.into()
    }

    fn pick(&mut self, fits: impl Fn(&Handle) -> bool) -> Option<Handle> {
        let fitting: Vec<usize> = (0..self.handles.len())
            .filter(|at| fits(&self.handles[*at]))
            .collect();
        let newest = *fitting.last()?;
        // The newest most of the time, so that operations follow each other.
        let at = match self.random.percent(60) {
            true => newest,
            false => fitting[self.random.below(fitting.len())],
        };
        self.handles[at].used = true;
        let picked = self.handles[at].clone();
        self.joins = self.joins.max(picked.joins);
        Some(picked)
    }

    fn maybe_named(&mut self, step: &mut Json) {
        if self.random.percent(15) {
            step["name"] = self.name("node").into();
        }
    }

    /// Options of a store of a table without windows, most of the time.
    fn maybe_materialized(&mut self, step: &mut Json, percent: usize) -> Kind {
        if !self.random.percent(percent) {
            return TABLE;
        }
        let (options, versioned) = self.materialized();
        step["materialized"] = options;
        Kind::Table { versioned }
    }

    /// Options of a store without windows, and whether it is versioned.
    fn materialized(&mut self) -> (Json, bool) {
        if self.random.percent(12) {
            let name = self.name("versioned");
            let history = self.random.one(&[0, 10, 1000]);
            let mut options = json!({"name": name, "supplier": "versioned", "history": history});
            if self.random.percent(30) {
                options["segment_interval"] = self.random.one(&[5, 100]).into();
            }
            return (options, true);
        }
        let mut options = self.store_options();
        if options.get("name").is_some() && self.random.percent(15) {
            options["supplier"] = self.random.one(&["rocksdb", "in_memory"]).into();
        } else if self.random.percent(20) {
            options["store"] = self.random.one(&["in_memory", "rocksdb"]).into();
        }
        (options, false)
    }

    /// What all stores of tables have.
    fn store_options(&mut self) -> Json {
        let mut options = Map::new();
        if self.random.percent(60) {
            options.insert("name".into(), self.name("store").into());
        }
        if self.random.percent(40) {
            options.insert("caching".into(), self.random.percent(50).into());
        }
        match self.random.below(20) {
            0 | 1 => drop(options.insert("logging".into(), false.into())),
            2 => drop(options.insert("logging".into(), json!({"retention.ms": "1000"}))),
            _ => {}
        }
        options.into()
    }

    fn predicate(&mut self) -> &'static str {
        self.random.one(&[
            "value_contains:a",
            "value_longer:1",
            "even",
            "key_is:k",
            "key_contains:j",
            "key_not_null",
            "value_not_null",
        ])
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
            "inner_key",
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_seed_decides_and_every_operation_comes() {
        assert_eq!(scenario(7), scenario(7));
        let mut made = BTreeSet::new();
        for seed in 0..2000 {
            let scenario = scenario(seed);
            for step in scenario["topology"].as_array().into_iter().flatten() {
                made.extend(step["op"].as_str().map(str::to_owned));
            }
        }
        let all = [
            "add_global_store",
            "add_store",
            "aggregate",
            "cogroup",
            "count",
            "filter",
            "filter_not",
            "flat_map",
            "flat_map_values",
            "global_table",
            "group_by",
            "group_by_key",
            "join",
            "left_join",
            "map",
            "map_values",
            "merge",
            "outer_join",
            "peek",
            "process",
            "process_values",
            "reduce",
            "repartition",
            "select_key",
            "split",
            "stream",
            "suppress",
            "table",
            "to",
            "to_extracted",
            "to_stream",
            "to_table",
            "transform_values",
            "windowed_by",
        ];
        let missing: Vec<_> = all.iter().filter(|op| !made.contains(**op)).collect();
        assert!(missing.is_empty(), "{missing:?} are never made up");
    }
}
