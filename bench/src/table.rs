//! The table of figures, made from the results.

use crate::data::ROW_SIZE_BYTES;
use crate::gates::{GATES, Gate, OVERHEAD, Standing, UNGATED};
use crate::statistics::Spread;
use serde_json::Value;
use std::fmt::Write;

/// What a table stands between in a file.
const BEGIN: &str = "<!-- figures: ./dev bench table -->";
const END: &str = "<!-- end of figures -->";

/// Stands for the better of Java's variants of a run.
const BEST: &str = "BEST";

/// The lines that the README shows: typical uses first, what an algorithm wins at the end.
const SHORT: [(&str, &str); 6] = [
    ("W1", "cpu"),
    ("W3-10k", "cpu"),
    ("W9-2M", "cpu"),
    ("W7", "cpu"),
    ("W4-100", "cpu"),
    ("W13", "wall"),
];

/// The table of all gates, as Markdown, from the results that `kept` finds by name.
pub fn full(kept: impl Fn(&str) -> Option<Value>) -> String {
    let mut table = String::from(
        "| Workload | What | Java | ours | ratio (spread) | gate | goal | M records/s | peak MB |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for gate in GATES.iter().chain(&UNGATED) {
        let result = kept(gate.workload);
        let figure = result.as_ref().and_then(|result| gate.figure(result));
        let [java, ours] = absolute(gate, result.as_ref());
        let mark = match gate.standing(figure) {
            Standing::Goal => " ✓✓",
            Standing::Passed if gate.gate.is_infinite() => "",
            Standing::Passed => " ✓",
            Standing::Missed => " ✗",
            Standing::Unknown => "",
        };
        // A string takes everything.
        let _ = writeln!(
            table,
            "| {} | {} | {java} | {ours} | {}{mark} | {} | {} | {} | {} |",
            gate.workload,
            gate.what,
            spread(gate, figure),
            gate.text(gate.gate),
            gate.text(gate.goal),
            beside(gate, result.as_ref(), "records_per_second", |rate| format!(
                "{:.2}",
                rate / 1e6
            )),
            beside(gate, result.as_ref(), "peak_memory_mb", |mb| format!(
                "{mb:.0}"
            )),
        );
    }
    let machines = GATES.iter().filter_map(|gate| kept(gate.workload));
    let machines = machines.map(|result| result["machine"].clone());
    let mut machines: Vec<Value> = machines.filter(Value::is_object).collect();
    machines.sort_by(|a, b| a["date"].as_str().cmp(&b["date"].as_str()));
    if let (Some(first), Some(machine)) = (machines.first(), machines.last()) {
        let text = |machine: &Value, field| machine[field].as_str().unwrap_or("?").to_owned();
        let when = |machine| {
            format!(
                "{} (commit {})",
                text(machine, "date"),
                text(machine, "commit")
            )
        };
        // One session may get another machine than the one before.
        let mut processors: Vec<String> = machines.iter().map(|each| text(each, "cpu")).collect();
        processors.sort();
        processors.dedup();
        let _ = writeln!(
            table,
            "\n{} with {} cores, {}; Kafka {} on {}. Measured from {} to {}; each result in `results` names its own machine and commit. CPU \
             in µs per record.",
            processors.join(" or "),
            machine["cores"],
            text(machine, "kernel"),
            text(machine, "kafka"),
            text(machine, "java"),
            when(first),
            when(machine),
        );
    }
    for (name, what) in [("W11-random", "random"), ("W11-sorted", "sorted")] {
        if let Some([java, ours]) = kept(name).as_ref().and_then(restore_rates) {
            let _ = writeln!(
                table,
                "\nRestored with {what} keys: {java:.0} MB/s in Java, {ours:.0} MB/s here."
            );
        }
    }
    table
}

/// How many megabytes of keys and values either side restored in a second.
fn restore_rates(result: &Value) -> Option<[f64; 2]> {
    let [java, ours] = both(result, &drained(BEST, "records_per_second"));
    let rate = |records: f64| records * ROW_SIZE_BYTES as f64 / 1e6;
    Some([rate(java?), rate(ours?)])
}

/// Where each run of a drained workload has a field of Java's and of ours.
fn drained(variant: &str, field: &str) -> [String; 2] {
    [format!("/java/{variant}/{field}"), format!("/ours/{field}")]
}

/// What either side's runs come to.
fn both(result: &Value, [java, ours]: &[String; 2]) -> [Option<f64>; 2] {
    [median(result, java), median(result, ours)]
}

/// The median of what the runs of a result have at `path`, in which [`BEST`] is the better of Java's variants.
fn median(result: &Value, path: &str) -> Option<f64> {
    let found = result["runs"].as_array()?.iter().filter_map(|run| {
        let best = run["best"].as_str().unwrap_or_default();
        run.pointer(&path.replace(BEST, best))?.as_f64()
    });
    Spread::of(found).map(|spread| spread.median)
}

/// The short table.
pub fn short(kept: impl Fn(&str) -> Option<Value>) -> String {
    let mut table = String::from("| What | Kafka Streams | ours | ratio |\n|---|---|---|---|\n");
    for (workload, metric) in SHORT {
        let gate = GATES
            .iter()
            .find(|gate| gate.workload == workload && gate.metric == metric);
        let (Some(gate), Some(result)) = (gate, kept(workload)) else {
            continue;
        };
        let [java, ours] = absolute(gate, Some(&result));
        let ratio = gate.figure(&result).map(|figure| gate.text(figure.median));
        let _ = writeln!(
            table,
            "| {} | {java} | {ours} | {} |",
            gate.what,
            ratio.unwrap_or_default(),
        );
    }
    table
}

fn spread(gate: &Gate, figure: Option<Spread>) -> String {
    match figure {
        None => "not measured".to_owned(),
        Some(Spread { median, min, max }) if min == max => gate.text(median),
        Some(Spread { median, min, max }) => format!(
            "{} ({} to {})",
            gate.text(median),
            gate.text(min),
            gate.text(max)
        ),
    }
}

/// What either side took, with its unit: the median of its runs.
fn absolute(gate: &Gate, result: Option<&Value>) -> [String; 2] {
    let Some(result) = result else {
        return [String::new(), String::new()];
    };
    let (paths, unit) = match (gate.workload, gate.metric) {
        (_, OVERHEAD) => {
            let percent = Spread::from_json(&result["metrics"]["java_overhead_percent"]);
            return [
                text(percent.map(|spread| spread.median), "%"),
                String::new(),
            ];
        }
        ("W12", metric) => (
            [format!("/java_us/{metric}"), format!("/ours_us/{metric}")],
            "µs",
        ),
        ("W13", metric) => (
            [format!("/java/{metric}_ms"), format!("/ours/{metric}_ms")],
            "ms",
        ),
        (_, "memory") => (["/java_small_mb".to_owned(), "/ours_mb".to_owned()], "MB"),
        (_, "memory_default") => (["/java_2g_mb".to_owned(), "/ours_mb".to_owned()], "MB"),
        _ => (drained(java_variant(gate), "cpu_us"), "µs"),
    };
    both(result, &paths).map(|value| text(value, unit))
}

/// Which of Java's variants a figure is against.
fn java_variant(gate: &Gate) -> &'static str {
    match gate.metric {
        "cpu_default" => "default",
        _ => BEST,
    }
}

fn text(value: Option<f64>, unit: &str) -> String {
    match value {
        None => String::new(),
        Some(value) if value < 10.0 => format!("{value:.2} {unit}"),
        Some(value) => format!("{value:.0} {unit}"),
    }
}

/// What else was measured while the CPU time was, of either side.
fn beside(
    gate: &Gate,
    result: Option<&Value>,
    field: &str,
    text: impl Fn(f64) -> String,
) -> String {
    let result = result.filter(|_| gate.metric.starts_with("cpu"));
    match result.map(|result| both(result, &drained(java_variant(gate), field))) {
        Some([Some(java), Some(ours)]) => format!("{} / {}", text(java), text(ours)),
        _ => String::new(),
    }
}

/// The text with the table between its markers replaced, `None` when it has no such place.
pub fn replaced(text: &str, table: &str) -> Option<String> {
    let begin = text.find(BEGIN)? + BEGIN.len();
    let end = begin + text[begin..].find(END)?;
    Some(format!(
        "{}\n{}\n{}",
        &text[..begin],
        table.trim_end(),
        &text[end..]
    ))
}

/// The gates that the latest results miss or do not know, a line each.
pub fn misses(kept: impl Fn(&str) -> Option<Value>) -> Vec<String> {
    GATES
        .iter()
        .filter_map(|gate| {
            let figure = kept(gate.workload).and_then(|result| gate.figure(&result));
            match gate.standing(figure) {
                Standing::Goal | Standing::Passed => None,
                Standing::Missed | Standing::Unknown => Some(format!(
                    "{} ({}): {}, the gate is {}",
                    gate.workload,
                    gate.what,
                    spread(gate, figure),
                    gate.text(gate.gate)
                )),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn kept(name: &str) -> Option<Value> {
        let ratio = |median: f64| json!({"median": median, "min": 2.0, "max": 6.0});
        match name {
            "W1" => Some(json!({
                "metrics": {"cpu": ratio(2.5)},
                "runs": [{
                    "best": "tuned",
                    "java": {"tuned": {"cpu_us": 2.0, "records_per_second": 430_000.0, "peak_memory_mb": 1500.2}},
                    "ours": {"cpu_us": 0.8, "records_per_second": 1_400_000.0, "peak_memory_mb": 24.9},
                }],
                "machine": {"cpu": "a processor", "cores": 2, "date": "2026-02", "commit": "later"},
            })),
            "W3-30" => Some(json!({
                "metrics": {"cpu": ratio(3.0)},
                "machine": {"cpu": "another one", "date": "2026-01", "commit": "sooner"},
            })),
            "W11-sorted" => Some(json!({"runs": [{
                "best": "default",
                "java": {"default": {"records_per_second": 250_000.0}},
                "ours": {"records_per_second": 1_000_000.0},
            }]})),
            _ => None,
        }
    }

    #[test]
    fn the_table_says_how_figures_stand() {
        let table = full(kept);
        assert!(table.contains(
            "| W1 | pass-through | 2.00 µs | 0.80 µs | 2.5x (2.0x to 6.0x) ✓ | 2.0x | 3.0x | 0.43 / 1.40 | 1500 / 25 |"
        ));
        assert!(table.contains("3.0x (2.0x to 6.0x) ✗"));
        assert!(table.contains("| W5 | sliding mean, 30 records a window |  |  | not measured |"));
        assert!(table.contains("a processor or another one with 2 cores"));
        assert!(table.contains("from 2026-01 (commit sooner) to 2026-02 (commit later)"));
        assert!(table.contains("Restored with sorted keys: 27 MB/s in Java, 108 MB/s here."));
        assert!(!table.contains("Restored with random keys"));
    }

    #[test]
    fn what_is_missed_or_unknown_is_listed() {
        let misses = misses(kept);
        assert_eq!(misses.len(), GATES.len() - 1);
        assert!(misses[0].starts_with("W3-30"), "{}", misses[0]);
        assert!(short(kept).contains("| pass-through | 2.00 µs | 0.80 µs | 2.5x |"));
    }

    #[test]
    fn a_table_goes_between_its_markers() {
        let text = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let new = replaced(&text, "new\n").expect("it has a place");
        assert_eq!(new, format!("before\n{BEGIN}\nnew\n{END}\nafter\n"));
        assert_eq!(replaced("nothing", "new"), None);
    }
}
