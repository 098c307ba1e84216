//! Any bytes as what the kernel answers over netlink.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    tlsight::enrich::fuzzing::conntrack(bytes);
    tlsight::source::live::fuzzing::sockets(bytes);
});
