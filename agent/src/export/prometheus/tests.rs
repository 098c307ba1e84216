//! Whole expositions, and what keeps them bounded.

mod bounds;
mod observed;
mod other_formats;

use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_core::identity::{Party, Scope, Sighting, Workload};
use agent_core::net::ConnId;
use agent_core::observation::Observation;
use agent_core::policy::expectation::Mode;

use super::exposition::encode;
use super::*;

/// Sink and exposition without anything of the process and of its health.
struct Bench {
    sink: MetricsSink,
    exposition: Exposition,
    start: Instant,
}

impl Bench {
    fn new(options: Options) -> Self {
        let (sink, exposition) = metrics(options).expect("good options");
        Self { sink, exposition, start: Instant::now() }
    }

    /// Sees it that long after the start.
    fn see_after(&mut self, passed: Duration, sighting: &Sighting, expectation: Option<Mode>) {
        self.sink.see(sighting, expectation, self.start + passed);
    }

    fn see(&mut self, sighting: &Sighting) {
        self.see_after(Duration::ZERO, sighting, None);
    }

    fn finding(&mut self, news: &judge::Output) {
        self.sink.finding(news, Timestamp(0)).expect("counted");
    }

    /// The exposition that long after the start.
    fn show_after(&self, passed: Duration, format: Format) -> Vec<u8> {
        encode(format, self.exposition.seen(self.start + passed)).expect("encoded")
    }

    /// Lines of these metrics in the text format, comments left out.
    fn lines(&self, metrics: &[&str]) -> Vec<String> {
        self.lines_after(Duration::ZERO, metrics)
    }

    fn lines_after(&self, passed: Duration, metrics: &[&str]) -> Vec<String> {
        let text = String::from_utf8(self.show_after(passed, Format::Text)).expect("UTF-8");
        let is_of = |line: &&str| metrics.iter().any(|metric| line.split(['{', ' ']).next() == Some(*metric));
        text.lines().filter(is_of).map(str::to_owned).collect()
    }
}

/// An observation with nobody named.
fn plain(observation: Observation) -> Sighting {
    Sighting { observation, local: Party::default(), peer: Party::default(), scope: None }
}

fn workload(namespace: &str, name: &str) -> Party {
    let workload = Workload {
        namespace: namespace.to_owned(),
        kind: "Deployment".to_owned(),
        name: name.to_owned(),
        ..Workload::default()
    };
    Party { workload: Some(Arc::new(workload)), ..Party::default() }
}

/// Between two workloads of a cluster.
fn hop(observation: Observation, local: Party, peer: Party) -> Sighting {
    Sighting { observation, local, peer, scope: Some(Scope::Cluster) }
}

/// The same on another connection.
fn on(conn: u64, mut sighting: Sighting) -> Sighting {
    sighting.observation.conn = ConnId(conn);
    sighting
}

#[test]
fn every_metric_says_what_it_is() {
    let mut names = std::collections::BTreeSet::new();
    for descriptor in descriptors() {
        assert!(names.insert(descriptor.name), "{} is there twice", descriptor.name);
        assert!(descriptor.help.ends_with('.') && descriptor.help.len() > 15, "{}", descriptor.name);
        let is_ours = descriptor.name.starts_with("tlsight_") || descriptor.name.starts_with("process_");
        assert!(is_ours, "{}", descriptor.name);
        assert_eq!(
            descriptor.name.ends_with("_total"),
            descriptor.kind == descriptor::Kind::Counter,
            "{}",
            descriptor.name
        );
        for label in descriptor.labels {
            assert!(label.meaning.len() > 5, "{} {}", descriptor.name, label.name);
        }
    }
}
