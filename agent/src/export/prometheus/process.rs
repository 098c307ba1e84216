//! The agent as a process, under the names that every exporter uses. Read from procfs by the thread of a scrape.

use std::fs;

use super::descriptor::{BaseUnit, Descriptor, Kind};
use super::family::{Snapshot, Value};
use super::health::single;

const CPU: Descriptor = Descriptor::own(
    Kind::Counter,
    "process_cpu_seconds_total",
    "User and system CPU time of the agent.",
    &[],
)
.in_unit(BaseUnit::Seconds);
const RESIDENT: Descriptor =
    Descriptor::own(Kind::Gauge, "process_resident_memory_bytes", "Resident memory of the agent.", &[])
        .in_unit(BaseUnit::Bytes);
const VIRTUAL: Descriptor =
    Descriptor::own(Kind::Gauge, "process_virtual_memory_bytes", "Virtual memory of the agent.", &[])
        .in_unit(BaseUnit::Bytes);
const OPEN_FDS: Descriptor =
    Descriptor::own(Kind::Gauge, "process_open_fds", "File descriptors that the agent has open.", &[]);
const MAX_FDS: Descriptor =
    Descriptor::own(Kind::Gauge, "process_max_fds", "File descriptors that the agent may have open.", &[]);
const START: Descriptor =
    Descriptor::own(Kind::Gauge, "process_start_time_seconds", "When the agent started, Unix time.", &[])
        .in_unit(BaseUnit::Seconds);
const THREADS: Descriptor = Descriptor::own(Kind::Gauge, "process_threads", "Threads of the agent.", &[]);

pub(super) const DESCRIPTORS: &[&Descriptor] =
    &[&CPU, &RESIDENT, &VIRTUAL, &OPEN_FDS, &MAX_FDS, &START, &THREADS];

/// What procfs tells; what it does not tell is left out.
pub(super) fn collect() -> Vec<Snapshot> {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let boot = fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = as_float(rustix::param::clock_ticks_per_second());
    let page = u64::try_from(rustix::param::page_size()).unwrap_or_default();
    let mut all = of_stat(&stat, &boot, ticks, page);
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        // One of them is the directory that is read.
        let count = entries.count().saturating_sub(1);
        all.push(single(&OPEN_FDS, Value::Integer(u64::try_from(count).unwrap_or(u64::MAX))));
    }
    if let Some(max) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        all.push(single(&MAX_FDS, Value::Integer(max)));
    }
    all
}

/// proc_pid_stat(5); `boot` is /proc/stat.
fn of_stat(stat: &str, boot: &str, ticks: f64, page: u64) -> Vec<Snapshot> {
    // The name in parentheses may have anything in it.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace().collect();
    // Numbers of the manual page; the first behind the name is the third.
    let field = |number: usize| fields.get(number.checked_sub(3)?)?.parse::<u64>().ok();
    let mut all = Vec::new();
    let mut push =
        |descriptor, value: Option<Value>| all.extend(value.map(|value| single(descriptor, value)));
    let cpu = field(14).zip(field(15)).map(|(user, system)| as_float(user.saturating_add(system)) / ticks);
    push(&CPU, cpu.map(Value::Float));
    push(&RESIDENT, field(24).map(|pages| Value::Integer(pages.saturating_mul(page))));
    push(&VIRTUAL, field(23).map(Value::Integer));
    push(&THREADS, field(20).map(Value::Integer));
    let booted = boot.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<u64>().ok());
    let started = booted.zip(field(22)).map(|(booted, start)| as_float(booted) + as_float(start) / ticks);
    push(&START, started.map(Value::Float));
    all
}

/// Exact below 2^53.
#[allow(clippy::cast_precision_loss)]
const fn as_float(n: u64) -> f64 {
    n as f64
}
