//! Any bytes as an object of the Kubernetes API.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tlsight::enrich::kubernetes::delta::Kind;
use tlsight::enrich::kubernetes::read;

fuzz_target!(|bytes: &[u8]| {
    for kind in [Kind::Pod, Kind::Service, Kind::Node, Kind::EndpointSlice, Kind::ReplicaSet, Kind::Job] {
        let _ = read(kind, bytes);
    }
});
