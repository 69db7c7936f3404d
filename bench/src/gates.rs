//! What must be reached, and what is aimed at.

use crate::statistics::Spread;
use serde_json::Value;

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Gate {
    /// The result it is in: `bench/results/<workload>.json`.
    pub workload: &'static str,
    /// The figure of that result.
    pub metric: &'static str,
    /// What it is about.
    pub what: &'static str,
    /// What must be reached.
    pub gate: f64,
    /// What is aimed at.
    pub goal: f64,
}

const fn gate(
    workload: &'static str,
    metric: &'static str,
    what: &'static str,
    gate: f64,
    goal: f64,
) -> Gate {
    Gate {
        workload,
        metric,
        what,
        gate,
        goal,
    }
}

/// The share by which exactly-once costs more, in percent: the one figure that is to be small.
pub const OVERHEAD: &str = "overhead_percent";

/// All of them: CPU time per record of Kafka Streams over ours unless the metric says otherwise.
pub const GATES: [Gate; 23] = [
    gate("W1", "cpu", "pass-through", 2.0, 3.0),
    gate("W3-30", "cpu", "tumbling mean, 30 keys", 3.5, 5.0),
    gate("W3-10k", "cpu", "tumbling mean, 10 k keys", 3.5, 5.0),
    gate(
        "W4-100",
        "cpu",
        "hopping mean, overlap 30, 100 keys",
        20.0,
        55.0,
    ),
    gate(
        "W4-10k",
        "cpu",
        "hopping mean, overlap 30, 10 k keys",
        20.0,
        50.0,
    ),
    gate(
        "W4-10k-close",
        "cpu",
        "the same, results when windows close",
        40.0,
        100.0,
    ),
    gate("W5", "cpu", "sliding mean, 30 records a window", 15.0, 40.0),
    gate("W6", "cpu", "sessions, 10 k keys", 8.0, 15.0),
    gate("W7", "cpu", "stream-table join, 1 M rows", 5.0, 12.0),
    gate(
        "W8",
        "cpu",
        "stream-stream join, 100 k keys a side",
        5.0,
        12.0,
    ),
    gate("W9-10k", "cpu", "count, 10 k keys", 3.5, 5.0),
    gate(
        "W9-2M",
        "cpu",
        "count, 2 M keys, against the best",
        4.0,
        10.0,
    ),
    gate(
        "W9-2M",
        "cpu_default",
        "count, 2 M keys, against the default",
        8.0,
        20.0,
    ),
    gate("W11-random", "cpu", "restore, random keys", 3.0, 6.0),
    gate("W11-sorted", "cpu", "restore, sorted keys", 2.0, 4.0),
    gate(
        "W12",
        "p99",
        "99th percentile of latency, 10 k records/s",
        3.0,
        8.0,
    ),
    gate("W13", "wall", "start to RUNNING", 10.0, 20.0),
    gate("W13", "cpu", "CPU from start to RUNNING", 20.0, 50.0),
    gate(
        "W14",
        OVERHEAD,
        "exactly-once over at-least-once, commits every 100 ms",
        15.0,
        8.0,
    ),
    gate(
        "W15-stateless",
        "memory",
        "peak memory, stateless",
        8.0,
        20.0,
    ),
    gate("W15-10k", "memory", "peak memory, 10 k keys", 6.0, 15.0),
    gate("W15-2M", "memory", "peak memory, 2 M keys", 2.0, 10.0),
    gate(
        "W15-2M",
        "memory_default",
        "the same, against the default",
        2.0,
        10.0,
    ),
];

/// What is measured and must reach nothing.
pub const UNGATED: [Gate; 1] = [gate(
    "W2",
    "cpu",
    "words counted, through a repartition topic",
    f64::NEG_INFINITY,
    f64::INFINITY,
)];

/// How a figure stands to its gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The goal is reached.
    Goal,
    /// The gate is reached.
    Passed,
    /// It is not.
    Missed,
    /// There is no such figure.
    Unknown,
}

impl Gate {
    /// The figure in a result.
    pub fn figure(&self, result: &Value) -> Option<Spread> {
        Spread::from_json(&result["metrics"][self.metric])
    }

    /// Whether the figure is there and large enough, or small enough.
    pub fn standing(&self, figure: Option<Spread>) -> Standing {
        let Some(Spread { median, .. }) = figure else {
            return Standing::Unknown;
        };
        let reaches = |bound: f64| match self.metric {
            OVERHEAD => median <= bound,
            _ => median >= bound,
        };
        match () {
            () if reaches(self.goal) => Standing::Goal,
            () if reaches(self.gate) => Standing::Passed,
            () => Standing::Missed,
        }
    }

    /// The figure with its unit: `4.2x` or `+7 %`; nothing for a bound that there is not.
    pub fn text(&self, value: f64) -> String {
        match self.metric {
            _ if value.is_infinite() => String::new(),
            OVERHEAD => format!("{value:+.0} %"),
            _ if value < 10.0 => format!("{value:.1}x"),
            _ => format!("{value:.0}x"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn standing(gate: &Gate, median: f64) -> Standing {
        let spread = json!({"median": median, "min": median, "max": median});
        gate.standing(gate.figure(&json!({"metrics": {gate.metric: spread}})))
    }

    #[test]
    fn ratios_are_to_be_large() {
        let gate = &GATES[0];
        assert_eq!(standing(gate, 1.9), Standing::Missed);
        assert_eq!(standing(gate, 2.0), Standing::Passed);
        assert_eq!(standing(gate, 3.0), Standing::Goal);
        assert_eq!(gate.standing(gate.figure(&json!({}))), Standing::Unknown);
    }

    #[test]
    fn an_overhead_is_to_be_small() {
        let gate = GATES.iter().find(|gate| gate.metric == OVERHEAD);
        let gate = gate.expect("there is one");
        assert_eq!(standing(gate, 15.1), Standing::Missed);
        assert_eq!(standing(gate, 15.0), Standing::Passed);
        assert_eq!(standing(gate, -2.0), Standing::Goal);
        assert_eq!(gate.text(7.2), "+7 %");
    }

    #[test]
    fn goals_are_beyond_gates() {
        for gate in GATES {
            assert!(
                (gate.goal > gate.gate) == (gate.metric != OVERHEAD),
                "{gate:?}"
            );
        }
    }
}
