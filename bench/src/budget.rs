//! Whether a process keeps to its memory budget when its state is larger.

use crate::embedded;
use crate::figures::Figures;
use crate::workload::Workload;
use streams_core::{Error, Result};

/// As many keys as have rows of several times the budget, and as many records.
const KEYS: u64 = 10_000_000;
/// `memory.max.bytes`.
const BUDGET_BYTES: u64 = 256 << 20;
/// By how much more the process may have resident, in percent: its code, stacks and what allocators hold back are not counted.
const TOLERANCE_PERCENT: f64 = 20.0;

/// Counts ten million keys on the embedded broker, in a process of its own, and compares the most memory that this process
/// ever had resident (`VmHWM`) with the budget it was given.
///
/// # Errors
/// When it had more than a fifth more, or failed.
pub fn check() -> Result<()> {
    let keys = KEYS.to_string();
    let setting = format!("memory.max.bytes={BUDGET_BYTES}");
    let options = ["--records", &keys, "--keys", &keys, "--set", &setting];
    let said = embedded::drain("W9-2M", &options)?;
    let workload = Workload::named("W9-2M").expect("it is one of the table");
    let figures = Figures::of(workload.shape, &said)
        .ok_or_else(|| Error::fatal("the workload did not say what it took"))?;
    let budget_mb = BUDGET_BYTES as f64 / f64::from(1 << 20);
    let over_percent = (figures.peak_memory_mb / budget_mb - 1.0) * 100.0;
    println!(
        "{KEYS} keys counted with memory.max.bytes={BUDGET_BYTES}: at most {:.0} MB of {budget_mb:.0} MB resident ({over_percent:+.0} %), {:.2} µs CPU per record",
        figures.peak_memory_mb, figures.cpu_us
    );
    match over_percent <= TOLERANCE_PERCENT {
        true => Ok(()),
        false => Err(Error::fatal(format!(
            "that is more than {TOLERANCE_PERCENT} % over the budget"
        ))),
    }
}
