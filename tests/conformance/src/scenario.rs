//! A scenario file: a topology, its input, and what was answered.

use crate::step::{Step, Wrong, plain};
use crate::text;
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// One thing that is done to a topology.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A record.
    Record {
        /// Its topic.
        topic: String,
        /// Its content.
        record: Record,
    },
    /// Wall-clock time moves by milliseconds.
    Advance(i64),
    /// Everything is committed.
    Commit,
}

/// Names and values of a record's headers.
pub type Headers = Vec<(String, Option<Vec<u8>>)>;

/// A record's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value.
    pub value: Option<Vec<u8>>,
    /// Milliseconds; `None` was left to the producer.
    pub timestamp: Option<i64>,
    /// Names and values.
    pub headers: Headers,
}

/// What a topology answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answers {
    /// It could not be built.
    pub error: Option<String>,
    /// Lines of its description.
    pub describe: Vec<String>,
    /// By topic, each record with the number of the input it came after.
    pub produced: BTreeMap<String, Vec<(usize, Record)>>,
    /// The input that made it fail, and why.
    pub failed: Option<(usize, String)>,
}

/// A scenario, its answers apart.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The file as it is.
    pub json: Json,
    /// Settings of the application.
    pub settings: BTreeMap<String, String>,
    /// Whether nothing is committed but where the input says so.
    pub commits_explicitly: bool,
    /// What is done.
    pub input: Vec<Input>,
}

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(json: Json) -> Result<Self, Wrong> {
        let whole = Step(&json);
        let input = whole
            .list("input")
            .into_iter()
            .map(read_input)
            .collect::<Result<_, _>>()?;
        Ok(Scenario {
            settings: whole.map("settings"),
            commits_explicitly: whole.text("commit") == Some("explicit"),
            input,
            json,
        })
    }

    /// The steps of its topology.
    pub fn steps(&self) -> Vec<Step<'_>> {
        Step(&self.json).list("topology")
    }

    /// What differs on purpose, as [`difference`](crate::compare::difference) shows it; `None` if nothing does.
    pub fn difference(&self) -> Option<String> {
        let whole = Step(&self.json);
        whole.text("differs")?;
        let lines = whole.texts("difference");
        Some(lines.into_iter().map(|line| format!("{line}\n")).collect())
    }

    /// What was recorded in its file.
    ///
    /// # Errors
    /// When it was not recorded, or not by the grammar.
    pub fn recorded(&self) -> Result<Answers, Wrong> {
        read_answers(Step(&self.json))
    }
}

fn read_input(step: Step<'_>) -> Result<Input, Wrong> {
    if let Some(ms) = step.number("advance") {
        return Ok(Input::Advance(ms));
    }
    if step.has("commit") {
        return Ok(Input::Commit);
    }
    let value = match step.number("value") {
        Some(number) => Some(number.to_be_bytes().to_vec()),
        None => bytes(step.0.get("value"))?,
    };
    let timestamp = step
        .number("ts")
        .ok_or_else(|| Wrong::new(format!("'ts' is missing in {}", step.0)))?;
    Ok(Input::Record {
        topic: step.required("topic")?.to_owned(),
        record: Record {
            key: bytes(step.0.get("key"))?,
            value,
            timestamp: Some(timestamp),
            headers: headers(step.0.get("headers"))?,
        },
    })
}

fn bytes(json: Option<&Json>) -> Result<Option<Vec<u8>>, Wrong> {
    match json {
        None | Some(Json::Null) => Ok(None),
        Some(json) => {
            let read = json.as_str().and_then(text::read);
            read.map(Some)
                .ok_or_else(|| Wrong::new(format!("{json} is no text of bytes")))
        }
    }
}

fn headers(json: Option<&Json>) -> Result<Headers, Wrong> {
    let list = json.and_then(Json::as_array);
    list.into_iter()
        .flatten()
        .map(|pair| {
            let name = pair.get(0).map(plain).unwrap_or_default();
            Ok((name, bytes(pair.get(1))?))
        })
        .collect()
}

/// Answers as the recorder writes them.
///
/// # Errors
/// When they are none.
pub fn read_answers(whole: Step<'_>) -> Result<Answers, Wrong> {
    if let Some(error) = whole.text("error") {
        return Ok(Answers {
            error: Some(error.to_owned()),
            ..Answers::default()
        });
    }
    let Some(topics) = whole.0.get("produced").and_then(Json::as_object) else {
        return Err(Wrong::new(
            "it was not recorded: run `./dev conformance --record`",
        ));
    };
    let mut produced = BTreeMap::new();
    for (topic, records) in topics {
        let records = records.as_array().into_iter().flatten();
        let records: Result<Vec<_>, Wrong> = records.map(read_produced).collect();
        produced.insert(topic.clone(), records?);
    }
    let failed = whole.options("failed");
    let failed = failed.number("step").map(|step| {
        let error = failed.text("error").unwrap_or_default();
        (usize::try_from(step).unwrap_or_default(), error.to_owned())
    });
    Ok(Answers {
        error: None,
        describe: whole
            .texts("describe")
            .into_iter()
            .map(str::to_owned)
            .collect(),
        produced,
        failed,
    })
}

fn read_produced(line: &Json) -> Result<(usize, Record), Wrong> {
    let number = |at: usize| line.get(at).and_then(Json::as_i64);
    let (Some(step), timestamp) = (number(0), number(3)) else {
        return Err(Wrong::new(format!("{line} is no produced record")));
    };
    let record = Record {
        key: bytes(line.get(1))?,
        value: bytes(line.get(2))?,
        timestamp,
        headers: headers(line.get(4))?,
    };
    Ok((usize::try_from(step).unwrap_or_default(), record))
}
