//! Any bytes as the body of a ClientHello, in both formats.
#![no_main]

use agent_core::tls::ClientHello;
use agent_core::tls::fingerprint::{ja3, ja4};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    for hello in [ClientHello::parse(body), ClientHello::parse_sslv2(body)].into_iter().flatten() {
        let _ = hello.offered_versions();
        // 32 hex digits; 10 characters, then two hashes of 12 digits behind an underscore each.
        assert_eq!(ja3::hash(&hello).len(), 32);
        assert_eq!(ja4::hash(&hello).len(), 36, "{}", ja4::hash(&hello));
    }
});
