//! Any bytes as requests to the metrics endpoint: nobody without the token sees metrics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tlsight::agent::fuzz_endpoint;

fuzz_target!(|request: &[u8]| {
    let answers = fuzz_endpoint(request);
    assert!(answers.is_empty() || answers.starts_with(b"HTTP/1."), "{answers:?}");
    if !request.windows(6).any(|bytes| bytes == b"s3cret") {
        assert!(!answers.windows(64).any(|bytes| bytes == [b'x'; 64]), "metrics without a token");
    }
});
