//! Any bytes as an event from the ring buffer.
#![no_main]

use agent_common::read::read;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = read(bytes);
});
