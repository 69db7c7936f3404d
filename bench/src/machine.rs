//! Where figures were measured.

use serde_json::{Value, json};
use std::fs;
use std::process::Command;
use std::sync::OnceLock;
use std::thread::available_parallelism;

/// The machine and the versions of what ran on it.
pub fn describe() -> Value {
    json!({
        "cpu": field("/proc/cpuinfo", "model name"),
        "cores": cores(),
        "memory_mb": field("/proc/meminfo", "MemTotal")
            .split(' ')
            .next()
            .and_then(|kilobytes| kilobytes.parse::<u64>().ok())
            .map(|kilobytes| kilobytes / 1024),
        "kernel": said("uname", &["-sr"]),
        "java": java(),
        "kafka": env("BENCH_KAFKA_VERSION"),
        "streams": env!("CARGO_PKG_VERSION"),
        "commit": said("git", &["describe", "--always", "--dirty", "--exclude=*"]),
        "date": said("date", &["-u", "+%Y-%m-%dT%H:%MZ"]),
    })
}

/// How many cores this process could use when it was first asked; later it may keep to one itself.
pub fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| available_parallelism().map_or(1, usize::from))
}

/// Memory that programs can still have, in megabytes.
pub fn free_memory_mb() -> u64 {
    let available = field("/proc/meminfo", "MemAvailable");
    let kilobytes = available.split(' ').next().and_then(|kb| kb.parse().ok());
    kilobytes.unwrap_or(0_u64) / 1024
}

/// A variable that `./dev bench` sets.
pub fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

fn field(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.split_once(':'))
        .map(|(_, value)| value.trim().to_owned())
        .unwrap_or_default()
}

fn said(program: &str, arguments: &[&str]) -> String {
    Command::new(program)
        .args(arguments)
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default()
}

/// It says its version on standard error.
fn java() -> String {
    Command::new("java")
        .arg("-version")
        .output()
        .ok()
        .and_then(|output| {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            Some(text.lines().nth(1)?.trim().to_owned())
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_a_name_and_memory() {
        let machine = describe();
        assert_ne!(machine["kernel"], "");
        assert!(machine["cores"].as_u64() > Some(0));
        assert!(free_memory_mb() > 0);
    }
}
