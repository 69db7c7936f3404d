//! Cost as something grows: keys, overlap of windows, records in a window, partitions.

use crate::application::Side;
use crate::plot::{self, Line};
use crate::suite::{self, Suite};
use crate::variant::Variant;
use crate::workload::Workload;
use serde_json::json;
use streams_core::{Error, Result};

/// One curve: a workload, what of it grows, and how far.
struct Curve {
    name: &'static str,
    title: &'static str,
    workload: &'static str,
    axis: &'static str,
    /// What grows, and how many records are enough there.
    points: &'static [(u64, u64)],
    grow: fn(&mut Workload, u64),
}

const CURVES: [Curve; 4] = [
    Curve {
        name: "curve-keys",
        title: "Count by key: CPU per record and number of keys",
        workload: "W9-10k",
        axis: "keys",
        points: &[
            (10_000, 2_000_000),
            (100_000, 2_000_000),
            (1_000_000, 2_000_000),
            (10_000_000, 2_000_000),
        ],
        grow: |workload, keys| workload.keys = keys,
    },
    Curve {
        name: "curve-overlap",
        title: "Hopping mean, 100 keys: CPU per record and overlap of windows",
        workload: "W4-100",
        axis: "windows a record is in",
        points: &[
            (1, 1_000_000),
            (3, 1_000_000),
            (10, 600_000),
            (30, 400_000),
            (100, 200_000),
            (300, 100_000),
        ],
        grow: |workload, overlap| {
            let set = |workload: &mut Workload, option, value: u64| {
                workload
                    .set(option, &value.to_string())
                    .expect("it has windows");
            };
            set(workload, "advance-ms", 1000);
            set(workload, "size-ms", 1000 * overlap);
        },
    },
    Curve {
        name: "curve-density",
        title: "Sliding mean over 30 s, 1 k keys: CPU per record and records in a window",
        workload: "W5",
        axis: "records in a window",
        points: &[
            (3, 200_000),
            (10, 150_000),
            (30, 100_000),
            (100, 60_000),
            (300, 30_000),
        ],
        grow: |workload, density| {
            // The fewer keys the sooner windows are full.
            workload.keys = 1000 / (density / 10).max(1);
            workload.rate = workload.keys * density / 30;
        },
    },
    Curve {
        name: "curve-partitions",
        title: "Tumbling mean, 10 k keys: CPU per record and partitions",
        workload: "W3-10k",
        axis: "partitions",
        points: &[
            (1, 2_000_000),
            (4, 2_000_000),
            (16, 2_000_000),
            (64, 2_000_000),
        ],
        grow: |workload, partitions| workload.partitions = partitions as i32,
    },
];

/// Measures all curves once a point, keeps them and draws them.
///
/// # Errors
/// When an application fails or a file cannot be written.
pub fn measure(suite: &mut Suite) -> Result<()> {
    for curve in &CURVES {
        let mut lines = [("Kafka Streams", Vec::new()), ("ours", Vec::new())];
        let mut points = Vec::new();
        for (at, records) in curve.points {
            let mut workload = Workload::named(curve.workload).expect("it is one of the table");
            workload.records = *records;
            if suite.quick {
                workload.records /= 4;
            }
            (curve.grow)(&mut workload, *at);
            // What is better at the end of the curve, where it matters.
            let variant = Variant::tuned(&workload).unwrap_or_else(Variant::default_of_java);
            let java = suite.run(Side::Java, &workload, &variant.settings, variant.heap)?;
            let ours = suite.run(Side::Rust, &workload, &[], "")?;
            suite.clean(&workload)?;
            let (java, ours) = (java.figures, ours.figures);
            println!(
                "{:<16} {at:>9}: Java {:.3} µs, ours {:.3} µs CPU per record",
                curve.name, java.cpu_us, ours.cpu_us
            );
            lines[0].1.push((*at as f64, java.cpu_us));
            lines[1].1.push((*at as f64, ours.cpu_us));
            points.push(json!({
                "at": at, "java_us": java.cpu_us, "ours_us": ours.cpu_us,
                "java_memory_mb": java.peak_memory_mb, "ours_memory_mb": ours.peak_memory_mb,
            }));
        }
        suite::keep(
            &suite::result(curve.name, None, points, &Vec::new()),
            suite.quick,
        )?;
        let lines = lines.map(|(name, points)| Line { name, points });
        let file = suite::directory(suite.quick).join(format!("{}.svg", curve.name));
        let image = plot::svg(curve.title, curve.axis, "µs CPU per record", &lines);
        std::fs::write(&file, image)
            .map_err(|error| Error::fatal(format!("{}: {error}", file.display())))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_is_a_workload_with_records_of_every_window() {
        for curve in &CURVES {
            for (at, _) in curve.points {
                let mut workload = Workload::named(curve.workload).expect("it is in the table");
                (curve.grow)(&mut workload, *at);
                assert!(workload.rate > 0 && workload.keys > 0, "{workload:?}");
            }
        }
        let density = |at| {
            let mut workload = Workload::named("W5").expect("it is in the table");
            (CURVES[2].grow)(&mut workload, at);
            workload.rate * 30 / workload.keys
        };
        assert_eq!([3, 30, 300].map(density), [3, 30, 300]);
    }
}
