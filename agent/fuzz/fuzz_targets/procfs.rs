//! Any bytes as the files of /proc/PID that are read: some of them hold what the process wrote there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tlsight::enrich::{cgroup, fuzzing};

fuzz_target!(|bytes: &[u8]| {
    fuzzing::procfs(bytes);
    tlsight::discovery::fuzz_maps(bytes);
    let _ = cgroup::parse(&String::from_utf8_lossy(bytes));
});
