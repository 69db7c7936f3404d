//! Records with ties, late and early times around the bounds of windows, nulls, commits and leaps of time.

use super::Generator;
use serde_json::{Value as Json, json};

const INPUTS_MAX: usize = 48;

/// A topic that the topology reads, and what may be in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Topic {
    pub(super) name: String,
    pub(super) is_long: bool,
    /// An extractor finds times in its values.
    pub(super) has_times: bool,
    pub(super) is_never_null: bool,
    /// Everything in it can be read.
    pub(super) is_always_read: bool,
    /// Every record has a key.
    pub(super) is_keyed: bool,
}

impl Generator {
    pub(super) fn input(&mut self) -> Vec<Json> {
        let mut input = Vec::new();
        let mut time = self.random.one(&[0, 0, 5, 100, 1000]);
        let nulls = self.random.one(&[0, 5, 20]);
        for _ in 0..6 + self.random.below(INPUTS_MAX) {
            if self.random.percent(5) && !self.waits {
                input.push(json!({"advance": self.random.one(&[1, 10, 100, 2000])}));
                continue;
            }
            if self.commits && self.random.percent(20) {
                input.push(json!({"commit": true}));
            }
            let ahead = self.random.one(&[0, 0, 0, 1, 1, 2, 4, 5, 9, 10, 11, 30]);
            time += match self.random.percent(20) {
                true => self.bound().unwrap_or(ahead),
                false => ahead,
            };
            if self.random.percent(3) && self.leaps {
                time += self.random.one(&[200, 5_000, 100_000, 200_000]);
            }
            let back = match self.random.percent(35) {
                true => {
                    let back = self.random.one(&[1, 2, 5, 10, 11, 15, 20, 40]);
                    match self.random.percent(75) {
                        true => self.bound().unwrap_or(back),
                        false => back,
                    }
                }
                false => 0,
            };
            let record = self.record(i64::max(0, time - back), nulls);
            input.push(record);
        }
        if self.commits {
            input.push(json!({"commit": true}));
        }
        input
    }

    /// As far as a window, a grace period or several of them reach, or just not, or just beyond.
    fn bound(&mut self) -> Option<i64> {
        if self.spans.is_empty() {
            return None;
        }
        let near = self.random.one(&[-1, 0, 0, 0, 1]);
        Some((self.random.one(&self.spans.clone()) + near).max(0))
    }

    fn record(&mut self, time: i64, nulls: usize) -> Json {
        let topic = self.topics[self.random.below(self.topics.len())].clone();
        let key = match self.random.percent(nulls / 2) && !topic.is_keyed {
            true => Json::Null,
            false => self.random.one(&["k", "k", "j", "a", "b"]).into(),
        };
        let value = match self.random.percent(nulls) && !topic.is_never_null {
            true => Json::Null,
            false => self.value(&topic, time),
        };
        let mut record = json!({"topic": topic.name, "key": key, "value": value, "ts": time});
        if self.random.percent(15) {
            record["headers"] = json!([["h", self.random.one(&["1", "2"])]]);
        }
        record
    }

    fn value(&mut self, topic: &Topic, time: i64) -> Json {
        if topic.is_long {
            // What is no long ends the application, or is skipped.
            let unreadable = match self.continues {
                true => 15,
                false => 1,
            };
            return match self.random.percent(unreadable) && !topic.is_always_read {
                true => "bad".into(),
                false => self.random.one(&[1, 2, 7, -3]).into(),
            };
        }
        let text = self
            .random
            .one(&["a", "b", "ab", "k,x", "j", "bb,a", "c", ""]);
        match topic.has_times && self.random.percent(60) {
            true => {
                let other = time + self.random.one(&[-20, -5, 0, 3, 15]);
                let other = match self.random.percent(10) {
                    true => -1,
                    false => other,
                };
                format!("{text}@{other}").into()
            }
            false => text.into(),
        }
    }
}
