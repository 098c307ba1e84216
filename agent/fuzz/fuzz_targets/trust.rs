//! Any bytes as a bundle of authorities.
#![no_main]

use agent_core::x509::summarize;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    for certificate in tlsight::trust::fuzz_pem(text) {
        let _ = summarize(&certificate);
    }
});
