//! What a second stream thread brings.

use crate::embedded;
use crate::machine;
use crate::statistics::Spread;
use streams_core::{Error, Result};

const WORKLOAD: &str = "W3-10k";
/// Enough for seconds.
const RECORDS: &str = "12000000";
/// Members of a group hear with their next heartbeat that another has come: both threads are to have their tasks before the
/// measurement begins.
const HEARTBEATS: &str = "consumer.heartbeat.interval.ms=100";
/// How many times as fast two threads must be.
const RATIO_MIN: f64 = 1.8;

/// Drains a tumbling mean with one thread and with two, by turns, on all cores of the machine, which the embedded broker shares,
/// and compares the rates between half and seven eighths of the records: towards the end the faster thread has none left.
///
/// # Errors
/// When two threads are not 1.8 times as fast in the median, there is one core only, or a process failed.
pub fn check(pairs: usize) -> Result<()> {
    if machine::cores() < 2 {
        return Err(Error::fatal("two threads need two cores"));
    }
    let rate = |threads: u32| -> Result<f64> {
        let threads = format!("num.stream.threads={threads}");
        let options = ["--records", RECORDS, "--set", HEARTBEATS, "--set", &threads];
        let said = embedded::drain(WORKLOAD, &options)?;
        let at = |mark: &str| said[mark]["wall_ms"].as_f64();
        match (at("half"), at("most")) {
            (Some(half), Some(most)) => Ok(1.0 / (most - half)),
            _ => Err(Error::fatal("the workload did not say what it took")),
        }
    };
    let mut ratios = Vec::new();
    for _ in 0..pairs {
        let one = rate(1)?;
        ratios.push(rate(2)? / one);
    }
    let Some(Spread { median, min, max }) = Spread::of(ratios) else {
        return Err(Error::fatal("--pairs 0 measures nothing"));
    };
    println!("two threads against one: {median:.2}x ({min:.2}x to {max:.2}x)");
    match median >= RATIO_MIN {
        true => Ok(()),
        false => Err(Error::fatal(format!("that is less than {RATIO_MIN}x"))),
    }
}
