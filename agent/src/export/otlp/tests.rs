//! The exporter against a collector that does as it is told.

mod collector;
mod life;
mod settings;
mod spans;

use std::time::{Duration, Instant};

use agent_core::identity::{Party, Sighting};
use agent_core::observation::Observation;
use http::Uri;

use super::*;
use crate::config::otlp::{Headers, Protocol, Ratio};

/// What each test gives something that happens elsewhere.
const LONG: Duration = Duration::from_secs(20);

pub(super) fn sighting(observation: Observation) -> Sighting {
    Sighting { observation, local: Party::default(), peer: Party::default(), scope: None }
}

/// Small queues, quick batches.
const QUEUE: Queue = Queue {
    max_size: 16,
    max_bytes: 1 << 20,
    max_batch: 4,
    delay: Duration::from_millis(20),
    export_timeout: Duration::from_secs(30),
};

fn target(endpoint: &str) -> Target {
    Target {
        endpoint: endpoint.parse::<Uri>().unwrap(),
        protocol: Protocol::HttpJson,
        headers: Headers::default(),
        certificate: None,
        client: None,
        gzip: false,
        timeout: Duration::from_secs(2),
    }
}

/// Spans and log records to one address.
fn options(address: std::net::SocketAddr) -> Options {
    Options {
        traces: Some(Traces {
            target: target(&format!("http://{address}/v1/traces")),
            ratio: Ratio::ALL,
            queue: QUEUE,
            limits: Limits::default(),
        }),
        logs: Some(Logs {
            target: target(&format!("http://{address}/v1/logs")),
            plaintext: true,
            findings: true,
            audit: true,
            queue: QUEUE,
            limits: Limits::default(),
        }),
        ..Options::default()
    }
}

fn counter(handle: &OtlpHandle, name: &str) -> u64 {
    named(&handle.counters(), name)
}

fn named(counters: &[(&'static str, u64)], name: &str) -> u64 {
    counters.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no counter {name}")).1
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}
