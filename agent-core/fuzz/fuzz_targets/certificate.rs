//! Any bytes as a DER certificate.
#![no_main]

use agent_core::x509::{CertificateCache, summarize};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|der: &[u8]| {
    let summary = summarize(der);
    // What a summary is made into must not fail either.
    assert_eq!(summary.sha256_hex().len(), 64);
    let _ = summary.spiffe_id();

    assert!(summary.bytes() >= der.len());

    let mut cache = CertificateCache::new(2, usize::MAX);
    for what in ["what is parsed", "what was parsed"] {
        let chain = cache.chain(&[der]).expect("room");
        assert_eq!(*chain[0], summary, "{what}");
    }
});
