//! The metrics of the process, from `/proc/self` (proc(5)).

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::NoLabelSet;
use prometheus_client::metrics::MetricType;

/// Clock ticks per second in `/proc`, the same on every Linux machine.
const TICKS: f64 = 100.0;

/// The metrics of the process, under their usual names.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        if let Some(spent) = cpu_ticks(&stat) {
            let help = "Total user and system CPU time";
            let mut metric = encoder.encode_descriptor(
                "process_cpu_seconds",
                help,
                None,
                MetricType::Counter,
            )?;
            metric.encode_counter::<NoLabelSet, _, f64>(&(spent / TICKS), None)?;
        }
        let booted = fs::read_to_string("/proc/stat").unwrap_or_default();
        let booted = booted
            .lines()
            .find_map(|it| number(it.strip_prefix("btime ")?));
        let kib = |key| Some(1024.0 * of_status(&status, key)?);
        let open = fs::read_dir("/proc/self/fd").ok();
        // Reading the folder opens a descriptor.
        let open = open.map(|open| count(open).max(1.0) - 1.0);
        for (name, help, value) in [
            (
                "process_start_time_seconds",
                "Start time of the process since the Unix epoch",
                booted.and_then(|booted| Some(booted + field(&stat, 21)? / TICKS)),
            ),
            (
                "process_resident_memory_bytes",
                "Resident memory size",
                kib("VmRSS:"),
            ),
            (
                "process_virtual_memory_bytes",
                "Virtual memory size",
                kib("VmSize:"),
            ),
            ("process_open_fds", "Number of open file descriptors", open),
            (
                "process_max_fds",
                "Maximum number of open file descriptors",
                most_descriptors(),
            ),
            (
                "process_threads",
                "Number of threads",
                of_status(&status, "Threads:"),
            ),
        ] {
            if let Some(value) = value {
                let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
                metric.encode_gauge(&value)?;
            }
        }
        Ok(())
    }
}

fn number(text: &str) -> Option<f64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

/// Returns a field of `/proc/self/stat`, counted from 0. The second is the name, in parentheses, and may
/// hold anything.
fn field(stat: &str, at: usize) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    number(rest.split_ascii_whitespace().nth(at.checked_sub(2)?)?)
}

/// Returns the clock ticks in user and kernel mode.
fn cpu_ticks(stat: &str) -> Option<f64> {
    Some(field(stat, 13)? + field(stat, 14)?)
}

fn of_status(status: &str, key: &str) -> Option<f64> {
    status.lines().find_map(|it| number(it.strip_prefix(key)?))
}

fn most_descriptors() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = |it: &str| number(it.strip_prefix("Max open files")?);
    limits.lines().find_map(line)
}

#[expect(clippy::cast_precision_loss, reason = "descriptors are few")]
fn count(folder: fs::ReadDir) -> f64 {
    folder.count() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_after_the_name_whatever_it_is() {
        let stat = "7 (a) b (c)) S 3 4 5 6 7 8 9 10 11 12 130 70 15 16 17 18 19 20 4711 22";
        assert_eq!(cpu_ticks(stat), Some(200.0));
        assert_eq!(field(stat, 21), Some(4711.0));
        assert_eq!(field("", 21), None);
    }
}
