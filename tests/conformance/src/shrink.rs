//! A smaller scenario that still shows the same.

use serde_json::Value as Json;
use std::collections::BTreeSet;

/// Leaves out steps and inputs as long as `differs` holds.
pub fn shrink(mut scenario: Json, mut differs: impl FnMut(&Json) -> bool) -> Json {
    loop {
        let before = scenario.to_string().len();
        for field in ["input", "topology"] {
            let mut size = match field {
                "input" => length(&scenario, field),
                _ => 1,
            };
            while size > 0 {
                // From the end: sinks before what they are of.
                let mut end = length(&scenario, field);
                while end > 0 {
                    let at = end.saturating_sub(size);
                    let smaller = match field {
                        "topology" => without_step(&scenario, at),
                        _ => without_inputs(&scenario, at, size),
                    };
                    if differs(&smaller) {
                        scenario = smaller;
                    }
                    end = at.min(length(&scenario, field));
                }
                size /= 2;
            }
        }
        for smaller in simpler(&scenario) {
            if differs(&smaller) {
                scenario = smaller;
                break;
            }
        }
        if scenario.to_string().len() == before {
            return scenario;
        }
    }
}

fn length(scenario: &Json, field: &str) -> usize {
    scenario[field].as_array().map_or(0, Vec::len)
}

fn without_inputs(scenario: &Json, at: usize, count: usize) -> Json {
    let mut smaller = scenario.clone();
    if let Some(input) = smaller["input"].as_array_mut() {
        input.drain(at..input.len().min(at + count));
    }
    smaller
}

/// Without a step and all that follow from it, and without the inputs nobody reads any more.
fn without_step(scenario: &Json, at: usize) -> Json {
    let mut smaller = scenario.clone();
    let mut gone = BTreeSet::new();
    let mut number = 0;
    if let Some(steps) = smaller["topology"].as_array_mut() {
        steps.retain(|step| {
            let refers = ["of", "with"]
                .iter()
                .any(|field| step[field].as_str().is_some_and(|name| gone.contains(name)));
            let stays = number != at && !refers;
            number += 1;
            if !stays && let Some(name) = step["as"].as_str() {
                gone.insert(name.to_owned());
            }
            stays
        });
    }
    let topics: BTreeSet<String> = smaller["topology"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|step| step.get("of").is_none())
        .filter_map(|step| step["topic"].as_str().map(str::to_owned))
        .collect();
    if let Some(input) = smaller["input"].as_array_mut() {
        input.retain(|each| {
            each["topic"]
                .as_str()
                .is_none_or(|topic| topics.contains(topic))
        });
    }
    smaller
}

/// The scenario with an option, a header or a setting less.
fn simpler(scenario: &Json) -> Vec<Json> {
    let mut all = Vec::new();
    for field in ["settings", "commit"] {
        if scenario.get(field).is_some() {
            let mut smaller = scenario.clone();
            if let Some(whole) = smaller.as_object_mut() {
                whole.remove(field);
            }
            if field == "commit"
                && let Some(input) = smaller["input"].as_array_mut()
            {
                input.retain(|each| each.get("commit").is_none());
            }
            all.push(smaller);
        }
    }
    let options = [
        "name",
        "grouped",
        "joined",
        "materialized",
        "stream_joined",
        "table_joined",
        "consumed",
        "emit",
        "headers",
    ];
    for field in ["topology", "input"] {
        for at in 0..length(scenario, field) {
            for option in options {
                if scenario[field][at].get(option).is_some() {
                    let mut smaller = scenario.clone();
                    if let Some(step) = smaller[field][at].as_object_mut() {
                        step.remove(option);
                    }
                    all.push(smaller);
                }
            }
        }
    }
    all
}

/// The scenario as a file, a step a line.
pub fn layout(scenario: &Json) -> String {
    let mut parts = Vec::new();
    for (name, value) in scenario.as_object().into_iter().flatten() {
        let value = match value.as_array() {
            Some(lines) => {
                let lines: Vec<String> = lines.iter().map(|line| format!("    {line}")).collect();
                format!("[\n{}\n  ]", lines.join(",\n"))
            }
            None => value.to_string(),
        };
        parts.push(format!("  \"{name}\": {value}"));
    }
    format!("{{\n{}\n}}\n", parts.join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_matters_is_left() {
        let scenario = json!({
            "settings": {"a": "b"},
            "topology": [
                {"op": "stream", "topic": "a", "as": "a"},
                {"op": "stream", "topic": "b", "as": "b"},
                {"op": "filter", "of": "b", "as": "f", "name": "n"},
                {"op": "to", "of": "f", "topic": "o"},
                {"op": "to", "of": "a", "topic": "p"},
            ],
            "input": [
                {"topic": "a", "value": "1"}, {"topic": "b", "value": "2"},
                {"topic": "b", "value": "3"}, {"topic": "b", "value": "4"},
            ],
        });
        let differs = |scenario: &Json| {
            let text = scenario.to_string();
            text.contains("\"filter\"") && text.contains("\"3\"")
        };
        let shrunk = shrink(scenario, differs);
        let expected = json!({
            "topology": [
                {"op": "stream", "topic": "b", "as": "b"},
                {"op": "filter", "of": "b", "as": "f"},
            ],
            "input": [{"topic": "b", "value": "3"}],
        });
        assert_eq!(shrunk, expected);
    }
}
