//! Where an application's CPU time goes, from samples of `perf`.

use crate::embedded;
use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use streams_core::{Error, Result};

/// Samples a second of CPU time: not a divisor of anything that happens regularly.
const FREQUENCY: &str = "997";

/// Parts of an application, by how the names of their functions begin; the first that fits counts.
const PARTS: [(&str, &[&str]); 6] = [
    (
        "Kafka client",
        &["rd_", "rdk_", "crc32c", "cnd_", "mtx_", "rwlock_"],
    ),
    (
        "allocation",
        &[
            "malloc",
            "_int_",
            "free",
            "cfree",
            "calloc",
            "realloc",
            "unlink_chunk",
            "__libc_",
            "tcache",
            "sysmalloc",
            "__rust",
            "<alloc::",
        ],
    ),
    (
        "locks and waits",
        &[
            "pthread_",
            "__pthread",
            "___pthread",
            "__GI___",
            "lll_",
            "__lll",
            "__futex",
            "futex",
        ],
    ),
    ("moving and comparing bytes", &["__mem", "mem"]),
    ("RocksDB", &["rocksdb", "std::_"]),
    (
        "stores",
        &[
            "streams_state",
            "<streams_state",
            "streams_core::task::stores",
            "<streams_core::task::stores",
        ],
    ),
];
/// What is Rust besides.
const TOPOLOGY: &str = "topology and tasks";
const KERNEL: &str = "kernel";
const REST: &str = "other";

/// Drains a workload on the embedded broker under `perf record`, and prints which share of the application's samples each part
/// has. The broker is a process of its own and does not count.
///
/// # Errors
/// When there is no `perf` that may be used, or the workload fails.
pub fn print(name: &str, records: u64) -> Result<()> {
    let samples = tempfile::NamedTempFile::new()
        .map_err(|error| Error::fatal(format!("a temporary file: {error}")))?;
    let path = samples.path().display().to_string();
    let mut recording = None;
    let (pid, _) = embedded::drain_watched(name, &["--records", &records.to_string()], |pid| {
        recording = Some(record(pid, &path)?);
        Ok(())
    })?;
    let recorded = recording.map(|mut perf| perf.wait());
    if !matches!(recorded, Some(Ok(status)) if status.success()) {
        return Err(Error::fatal("perf record failed: see its message above"));
    }
    let mut said = perf(&[
        "report",
        "--stdio",
        "--no-children",
        "--percentage",
        "relative",
        "--sort",
        "sym",
        "--pid",
        &pid.to_string(),
        "-i",
        &path,
    ]);
    let said = said
        .stderr(Stdio::null())
        .output()
        .map_err(|error| Error::fatal(format!("perf report: {error}")))?;
    let shares = shares(&String::from_utf8_lossy(&said.stdout));
    let shares: Vec<String> = shares
        .iter()
        .map(|(part, percent)| format!("{part} {percent:.0} %"))
        .collect();
    println!("{name}: {}", shares.join(", "));
    Ok(())
}

fn perf(arguments: &[&str]) -> Command {
    let mut command = Command::new("perf");
    command.args(arguments);
    command
}

/// Begins to take samples of a process.
fn record(pid: u32, path: &str) -> Result<Child> {
    perf(&[
        "record",
        "-q",
        "-F",
        FREQUENCY,
        "-o",
        path,
        "-p",
        &pid.to_string(),
    ])
    .stdout(Stdio::null())
    .spawn()
    .map_err(|error| {
        Error::fatal(format!(
            "perf is needed, of the linux-perf package: {error}"
        ))
    })
}

/// The share of each part, largest first, from lines such as `  3.21%  [.] malloc`.
fn shares(report: &str) -> Vec<(&'static str, f64)> {
    let mut shares = BTreeMap::new();
    for line in report.lines() {
        let mut words = line.split_whitespace();
        let percent = words.next().and_then(|word| word.strip_suffix('%'));
        let Some(percent) = percent.and_then(|number| number.parse::<f64>().ok()) else {
            continue;
        };
        let part = match words.next() {
            Some("[k]") => KERNEL,
            _ => part_of(words.next().unwrap_or_default()),
        };
        *shares.entry(part).or_insert(0.0) += percent;
    }
    let mut shares: Vec<(&str, f64)> = shares.into_iter().collect();
    shares.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    shares
}

fn part_of(function: &str) -> &'static str {
    let is_of = |names: &[&str]| names.iter().any(|name| function.starts_with(name));
    match PARTS.iter().find(|(_, names)| is_of(names)) {
        Some((part, _)) => part,
        None if function.starts_with('<') || function.contains("::") => TOPOLOGY,
        None => REST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_counted_by_what_functions_belong_to() {
        let report = "# Overhead  Symbol\n\n    40.00%  [.] rd_kafka_broker_serve\n    25.50%  [k] copy_user\n     \
                      4.50%  [.] malloc\n    6.00%  [.] <streams_state::row::Row as X>::find\n     4.00%  [.] \
                      streams_core::task::stores::Store::get\n     10.00%  [.] \
                      streams_core::task::run\n     10.00%  [.] something_else\n";
        assert_eq!(
            shares(report),
            [
                ("Kafka client", 40.0),
                ("kernel", 25.5),
                ("other", 10.0),
                ("stores", 10.0),
                ("topology and tasks", 10.0),
                ("allocation", 4.5),
            ]
        );
    }
}
