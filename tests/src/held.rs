//! What a process holds, as the kernel tells: memory, descriptors, threads, entries of BPF maps.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::child::{command, output};

/// Open descriptors of a process, by what they are: `anon_inode:bpf_link`, `anon_inode:[perf_event]` ...
pub fn descriptors(pid: u32) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    for target in files.filter_map(|f| std::fs::read_link(f.path()).ok()) {
        let name = target.to_string_lossy();
        // A socket's, a pipe's number is its own.
        let kind = match name.split_once(":[") {
            Some((kind, _)) if kind != "anon_inode" => kind.to_owned(),
            _ => name.into_owned(),
        };
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}

/// Entries of each BPF map of a process that only it can empty, by name.
pub fn map_entries(pid: u32) -> BTreeMap<String, usize> {
    let files = std::fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten();
    let text: String = files.filter_map(|f| std::fs::read_to_string(f.path()).ok()).collect();
    let ids: BTreeSet<&str> = text.lines().filter_map(|l| Some(l.strip_prefix("map_id:")?.trim())).collect();
    let bpftool = |what: &str, id: &str| -> Value {
        let text = output(command("bpftool", ["--json", "map", what, "id", id]));
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("bpftool map {what} id {id}: {e}: {text}"))
    };
    let entries = |id: &&str| {
        let map = bpftool("show", id);
        let name = map["name"].as_str().unwrap_or_default().to_owned();
        (map["type"] == "hash").then(|| (name, bpftool("dump", id).as_array().map_or(0, Vec::len)))
    };
    ids.iter().filter_map(entries).collect()
}

/// A number of `/proc/PID/status`: `VmRSS` and `VmHWM` are in KiB, `Threads` is a count. 0 where there is none.
pub fn status(pid: u32, what: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}
