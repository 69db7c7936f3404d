//! What a task costs that has nothing to do.

use crate::embedded;
use streams_core::{Error, Result};

/// Partitions, and so tasks, of the small application and of the large one.
const PARTITIONS: [u32; 2] = [8, 264];
/// As many records as leave nearly every task without one.
const RECORDS: &str = "8";
/// What one more task may have resident, in kilobytes.
const TASK_KB_MAX: f64 = 200.0;

/// Counts a few records with few partitions and with many, on the embedded broker, each in a process of its own, and shares what
/// the second has more resident when it is RUNNING (`VmRSS`) among its additional tasks: one store on disk and its changelog
/// each, with what the clients keep for their partitions.
///
/// # Errors
/// When that is more than 200 KB a task, or a process failed.
pub fn check() -> Result<()> {
    let resident_kb = |partitions: u32| -> Result<f64> {
        let partitions = partitions.to_string();
        let options = ["--records", RECORDS, "--partitions", &partitions];
        let said = embedded::drain("W9-10k", &options)?;
        said["running_memory_kb"]
            .as_f64()
            .ok_or_else(|| Error::fatal("the workload did not say what memory it has"))
    };
    let [few, many] = PARTITIONS;
    let (with_few, with_many) = (resident_kb(few)?, resident_kb(many)?);
    let task_kb = (with_many - with_few) / f64::from(many - few);
    println!(
        "{few} tasks with a store: {with_few:.0} KB resident; {many} tasks: {with_many:.0} KB; {task_kb:.0} KB for each idle task"
    );
    match task_kb <= TASK_KB_MAX {
        true => Ok(()),
        false => Err(Error::fatal(format!(
            "that is more than {TASK_KB_MAX} KB a task"
        ))),
    }
}
