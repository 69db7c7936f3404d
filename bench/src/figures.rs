//! The figures of one run, from what the application says of itself.

use crate::workload::Shape;
use serde_json::Value;

/// What one run took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// CPU time per record in microseconds: over the second half of the records, or the whole of a restoration.
    pub cpu_us: f64,
    /// The same from the start of the process to its end, the last commit included.
    pub cpu_us_whole: f64,
    /// CPU time of the last commit and the end of the application, per record of the whole input.
    pub cpu_us_close: f64,
    /// Records per second of wall time, over the same records as `cpu_us`.
    pub rate: f64,
    /// The most memory it had resident.
    pub peak_memory_mb: f64,
}

impl Figures {
    /// The figures in what an application said last, `None` when that is incomplete.
    pub fn of(shape: Shape, said: &Value) -> Option<Figures> {
        let records = said["records"].as_f64()?;
        let at = |mark: &str, what: &str| said[mark][what].as_f64();
        let (from, measured) = match shape {
            Shape::Restore { .. } => ("restore_start", records),
            _ => ("half", records - (records / 2.0).floor()),
        };
        let cpu_ms = at("full", "cpu_ms")? - at(from, "cpu_ms")?;
        let wall_ms = at("full", "wall_ms")? - at(from, "wall_ms")?;
        let closed_ms = at("closed", "cpu_ms")?;
        Some(Figures {
            cpu_us: cpu_ms * 1e3 / measured,
            cpu_us_whole: closed_ms * 1e3 / records,
            cpu_us_close: (closed_ms - at("full", "cpu_ms")?) * 1e3 / records,
            rate: measured * 1e3 / wall_ms,
            peak_memory_mb: said["peak_memory_kb"].as_f64()? / 1024.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said() -> Value {
        json!({
            "records": 1000,
            "restore_start": {"cpu_ms": 4.0, "wall_ms": 20.0},
            "half": {"cpu_ms": 10.0, "wall_ms": 30.0},
            "full": {"cpu_ms": 14.0, "wall_ms": 35.0},
            "closed": {"cpu_ms": 15.0, "wall_ms": 40.0},
            "peak_memory_kb": 2048,
        })
    }

    #[test]
    fn the_second_half_counts() {
        let figures = Figures::of(Shape::Pass, &said()).expect("it is complete");
        assert_eq!(figures.cpu_us, 8.0);
        assert_eq!(figures.rate, 100_000.0);
        assert_eq!((figures.cpu_us_whole, figures.cpu_us_close), (15.0, 1.0));
        assert_eq!(figures.peak_memory_mb, 2.0);
    }

    #[test]
    fn of_a_restoration_everything_from_its_start_counts() {
        let figures = Figures::of(Shape::Restore { sorted: true }, &said());
        assert_eq!(figures.expect("it is complete").cpu_us, 10.0);
    }

    #[test]
    fn what_is_missing_is_no_zero() {
        let mut said = said();
        said["half"] = Value::Null;
        assert_eq!(Figures::of(Shape::Pass, &said), None);
    }
}
