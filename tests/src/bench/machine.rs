//! What it was measured on.

use std::fs;

use serde_json::{Value, json};

use crate::child::{command, output};

/// Processor, kernel, and what else the machine has to do.
pub fn describe() -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let memory = read("/proc/meminfo");
    json!({
        "cpu": model.map_or("", |(_, name)| name),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "hypervisor": info.lines().any(|line| line.starts_with("flags") && line.contains(" hypervisor")),
        "memory": memory.lines().next().unwrap_or_default().trim_start_matches("MemTotal:").trim(),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "load": read("/proc/loadavg").trim(),
        "openssl": output(command("openssl", ["version"])).trim(),
    })
}
