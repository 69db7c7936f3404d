//! The comparison of two answers.

use crate::scenario::{Answers, Record};
use crate::text;
use std::collections::BTreeSet;
use std::fmt::Write;

/// What differs between what Kafka Streams answered and what this library did; `None` when nothing does.
pub fn difference(theirs: &Answers, ours: &Answers) -> Option<String> {
    match (&theirs.error, &ours.error) {
        (Some(_), Some(_)) => return None,
        (Some(error), None) => {
            return Some(format!("Kafka Streams refuses the topology: {error}\n"));
        }
        (None, Some(error)) => {
            return Some(format!("this library refuses the topology: {error}\n"));
        }
        (None, None) => {}
    }
    if theirs.describe != ours.describe {
        let what = lines("describe()", &theirs.describe, &ours.describe);
        return Some(what);
    }
    match (&theirs.failed, &ours.failed) {
        (Some((step, error)), None) => {
            return Some(format!("Kafka Streams fails at input {step}: {error}\n"));
        }
        (None, Some((step, error))) => {
            return Some(format!("this library fails at input {step}: {error}\n"));
        }
        (Some((theirs, _)), Some((ours, _))) if theirs != ours => {
            return Some(format!(
                "Kafka Streams fails at input {theirs}, this library at {ours}\n"
            ));
        }
        _ => {}
    }
    // What a failing input has written before it failed is nobody's answer: it is never committed.
    let end = theirs.failed.as_ref().map_or(usize::MAX, |(step, _)| *step);
    let topics: BTreeSet<&String> = theirs.produced.keys().chain(ours.produced.keys()).collect();
    let mut text = String::new();
    for topic in topics {
        let shown = |answers: &Answers| -> Vec<String> {
            let records = answers.produced.get(topic).into_iter().flatten();
            records.filter(|(step, _)| *step < end).map(show).collect()
        };
        let (theirs, ours) = (shown(theirs), shown(ours));
        if theirs != ours {
            text += &lines(topic, &theirs, &ours);
        }
    }
    (!text.is_empty()).then_some(text)
}

fn show((step, record): &(usize, Record)) -> String {
    let bytes = |bytes: &Option<Vec<u8>>| match bytes {
        Some(bytes) => format!("\"{}\"", text::show(bytes)),
        None => "null".to_owned(),
    };
    let mut line = format!(
        "[{step}] {} {} @{}",
        bytes(&record.key),
        bytes(&record.value),
        match record.timestamp {
            Some(timestamp) => timestamp.to_string(),
            None => "now".to_owned(),
        }
    );
    for (name, value) in &record.headers {
        let _ = write!(line, " {name}={}", bytes(value));
    }
    line
}

/// Lines side by side: common ones in front of the first difference, then each side's.
fn lines(what: &str, theirs: &[String], ours: &[String]) -> String {
    const BEFORE: usize = 2;
    const SHOWN: usize = 8;
    let same = theirs.iter().zip(ours).take_while(|(a, b)| a == b).count();
    let mut text = format!(
        "{what}: line {} of {} (Kafka Streams) and {} (this library) differs\n",
        same + 1,
        theirs.len(),
        ours.len()
    );
    for line in &theirs[same.saturating_sub(BEFORE)..same] {
        let _ = writeln!(text, "      {line}");
    }
    for (mark, side) in [("kafka", theirs), ("ours ", ours)] {
        for line in side[same..].iter().take(SHOWN) {
            let _ = writeln!(text, "{mark} {line}");
        }
        if side.len() > same + SHOWN {
            let _ = writeln!(text, "{mark} ...");
        }
    }
    text
}
