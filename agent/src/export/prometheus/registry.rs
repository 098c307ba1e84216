//! Which metrics there are. A new group of metrics is one file and one line here.

use std::sync::Arc;
use std::time::Instant;

use agent_core::policy::judge;
use prometheus_client::metrics::histogram::{Histogram, NativeHistogramConfig};

use super::descriptor::Descriptor;
use super::earliest::Earliest;
use super::family::{Collect, Family, Hold, Limits};
use super::options::Options;
use super::seen::Seen;
use super::{certificates, connections, findings, handshakes, health, own, process, programs};

/// Upper bounds of the classic histogram's buckets, in seconds.
pub(super) const BUCKETS: [f64; 13] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Buckets of the native histogram, above which its resolution is halved.
pub(super) const NATIVE_BUCKETS: usize = 160;

/// A group of metrics that are about what was seen.
pub(super) trait Group: Send {
    /// A connection end was seen.
    fn seen(&mut self, seen: &Seen<'_>) {
        let _ = seen;
    }

    /// Certificates were seen that are of a process and of no single connection.
    fn process(&mut self, certificates: &ProcessSeen<'_>) {
        let _ = certificates;
    }

    /// A finding was raised, changed or cleared, or a certificate replaced.
    fn finding(&mut self, news: &judge::Output, now: Instant) {
        let _ = (news, now);
    }
}

pub(super) use super::certificates::ProcessSeen;

/// Every group that listens.
pub(super) fn groups(registry: &mut Registry) -> Vec<Box<dyn Group>> {
    vec![
        connections::group(registry),
        handshakes::group(registry),
        certificates::group(registry),
        findings::group(registry),
    ]
}

/// Every metric there can be, in the order in which they are shown.
pub fn descriptors() -> impl Iterator<Item = &'static Descriptor> {
    let all = [
        health::BUILD,
        connections::DESCRIPTORS,
        handshakes::DESCRIPTORS,
        certificates::DESCRIPTORS,
        findings::DESCRIPTORS,
        health::DESCRIPTORS,
        programs::DESCRIPTORS,
        own::DESCRIPTORS,
        process::DESCRIPTORS,
    ];
    all.into_iter().flatten().copied()
}

/// Makes metrics, and keeps what a scrape collects.
pub(super) struct Registry {
    pub(super) options: Options,
    pub(super) collected: Vec<(&'static Descriptor, Arc<dyn Collect>)>,
}

impl Registry {
    pub(super) fn new(options: Options) -> Self {
        Self { options, collected: Vec::new() }
    }

    pub(super) fn counter(&mut self, descriptor: &'static Descriptor) -> Arc<Family<u64>> {
        let limits = self.limits();
        self.family(descriptor, limits, || 0)
    }

    /// A number of things that are there now; each is taken out one by one.
    pub(super) fn standing(&mut self, descriptor: &'static Descriptor) -> Arc<Family<u64>> {
        let limits = Limits { retention: None, ..self.limits() };
        self.family(descriptor, limits, || 0)
    }

    pub(super) fn earliest(&mut self, descriptor: &'static Descriptor) -> Arc<Family<Earliest>> {
        let limits = Limits { retention: Some(self.options.certificate_retention), ..self.limits() };
        self.family(descriptor, limits, Earliest::default)
    }

    pub(super) fn histogram(&mut self, descriptor: &'static Descriptor) -> Arc<Family<Histogram>> {
        let limits = self.limits();
        let native = self.options.native_histograms;
        self.family(descriptor, limits, move || match native {
            true => {
                let config = NativeHistogramConfig::default().max_buckets(NATIVE_BUCKETS);
                Histogram::new_classic_and_native(BUCKETS, config)
            }
            false => Histogram::new(BUCKETS),
        })
    }

    fn limits(&self) -> Limits {
        Limits {
            max_series: self.options.max_series,
            max_values: self.options.max_values,
            retention: Some(self.options.series_retention),
        }
    }

    fn family<V: Hold + 'static>(
        &mut self,
        descriptor: &'static Descriptor,
        limits: Limits,
        make: impl Fn() -> V + Send + Sync + 'static,
    ) -> Arc<Family<V>> {
        let kept = self.options.labels.get(descriptor.name);
        let family = Arc::new(Family::new(descriptor, kept.map(Vec::as_slice), limits, make));
        self.collected.push((descriptor, Arc::clone(&family) as Arc<dyn Collect>));
        family
    }
}
