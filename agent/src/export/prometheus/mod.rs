//! Metrics for Prometheus. docs/metrics.md is their reference, written from what stands here.
//!
//! [`MetricsSink`] listens to the pipeline and counts; [`Exposition`] is what a scrape asks, on another thread. Labels from the
//! wire are without number: each metric has a bounded number of series, and what does not fit is counted in one more.

mod certificates;
mod connections;
mod counters;
pub mod descriptor;
mod earliest;
mod exposition;
mod family;
mod findings;
mod handshakes;
mod health;
mod labels;
mod names;
mod negotiate;
mod options;
mod own;
mod process;
mod programs;
#[cfg(test)]
mod reference;
mod registry;
mod seen;
mod text;
mod values;

use std::io;
use std::time::Instant;

use agent_core::identity::{Party, Sighting};
use agent_core::observation::{Observation, ProcessCertificates};
use agent_core::policy::expectation::Mode;
use agent_core::policy::judge;
use agent_core::time::Timestamp;

pub use self::exposition::{Exposition, RenderError};
pub use self::health::{Health, Queue, Reload};
pub use self::negotiate::{Format, negotiate};
pub use self::options::{Options, OptionsError};
pub use self::registry::descriptors;
use self::registry::{Group, ProcessSeen, Registry, groups};
use self::seen::{Counted, Seen};
pub use self::values::{MAX_VALUE_BYTES, OTHER};
use crate::judging::{Judged, JudgedProcess};
use crate::pipeline::Sink;

/// Counts what the pipeline sees.
pub struct MetricsSink {
    groups: Vec<Box<dyn Group>>,
    counted: Counted,
}

/// Metrics with nothing in them.
///
/// # Errors
/// When a setting is out of its bounds, or names a metric or a label that there is not.
pub fn metrics(options: Options) -> Result<(MetricsSink, Exposition), OptionsError> {
    options.check()?;
    let counted = Counted::new(options.max_connections);
    let mut registry = Registry::new(options);
    let groups = groups(&mut registry);
    Ok((MetricsSink { groups, counted }, Exposition::new(registry.collected)))
}

impl MetricsSink {
    fn see(&mut self, sighting: &Sighting, expectation: Option<Mode>, now: Instant) {
        let news = self.counted.news(&sighting.observation);
        let seen = Seen::new(sighting, expectation, news, now);
        for group in &mut self.groups {
            group.seen(&seen);
        }
    }
}

impl Sink for MetricsSink {
    fn name(&self) -> &str {
        "the metrics"
    }

    fn observation(&mut self, observation: &Observation) -> io::Result<()> {
        // The agent has an enricher; this is for whoever has none.
        let observation = observation.clone();
        self.sighting(&Sighting { observation, local: Party::default(), peer: Party::default(), scope: None })
    }

    fn sighting(&mut self, sighting: &Sighting) -> io::Result<()> {
        self.see(sighting, None, Instant::now());
        Ok(())
    }

    fn judged(&mut self, judged: &Judged<'_>) -> io::Result<()> {
        let expectation = judged.expectation.map(|expectation| expectation.mode);
        self.see(judged.sighting, expectation, Instant::now());
        Ok(())
    }

    fn finding(&mut self, news: &judge::Output, _: Timestamp) -> io::Result<()> {
        let now = Instant::now();
        for group in &mut self.groups {
            group.finding(news, now);
        }
        Ok(())
    }

    fn process_certificates(&mut self, certificates: &ProcessCertificates) -> io::Result<()> {
        let seen = ProcessSeen { certificates, now: Instant::now() };
        for group in &mut self.groups {
            group.process(&seen);
        }
        Ok(())
    }

    fn judged_process(&mut self, judged: &JudgedProcess<'_>) -> io::Result<()> {
        self.process_certificates(judged.certificates)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
