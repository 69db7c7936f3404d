//! What a process says of itself: CPU time and memory.

use rustix::time::{ClockId, clock_gettime};
use std::fs;
use std::time::Duration;

/// User and system time of this process, all threads, those that have ended too.
pub fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The most memory this process had resident.
pub fn peak_memory_kb() -> u64 {
    status_kb("VmHWM:")
}

/// The memory this process has resident.
pub fn memory_kb() -> u64 {
    status_kb("VmRSS:")
}

fn status_kb(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|number| number.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_time_and_memory() {
        let before = cpu_time();
        let mut filled = vec![1_u8; 32 << 20];
        for index in 0..filled.len() {
            filled[index] = filled[index / 2].wrapping_mul(3).wrapping_add(index as u8);
        }
        assert!(cpu_time() > before, "{}", filled[filled.len() - 1]);
        assert!(memory_kb() > 32 << 10);
        assert!(peak_memory_kb() >= memory_kb());
    }
}
