//! Any bytes as the body of a ServerHello.
#![no_main]

use agent_core::tls::ServerHello;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    if let Ok(hello) = ServerHello::parse(body) {
        let _ = (hello.negotiated_version(), hello.is_hello_retry_request(), hello.downgrade());
    }
});
