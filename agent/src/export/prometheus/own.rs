//! What metrics tell of themselves.

use std::sync::Arc;
use std::time::Instant;

use super::descriptor::{Descriptor, Kind, Label};
use super::family::{Collect, Sample, Snapshot, Value};

const METRIC: Label = Label::closed("metric", "name of the metric");
const SERIES: Descriptor =
    Descriptor::own(Kind::Gauge, "tlsight_metric_series", "Series that are kept of a metric.", &[METRIC]);
const LIMITED: Descriptor = Descriptor::own(
    Kind::Counter,
    "tlsight_metric_series_limited_total",
    "Samples that went to a series with the value `other` because a bound was reached.",
    &[METRIC],
);

pub(super) const DESCRIPTORS: &[&Descriptor] = &[&SERIES, &LIMITED];

/// All metrics about what was seen, and how many series they have.
pub(super) fn collect(collected: &[(&'static Descriptor, Arc<dyn Collect>)], now: Instant) -> Vec<Snapshot> {
    let mut all: Vec<Snapshot> = collected.iter().map(|(_, family)| family.collect(now)).collect();
    let sizes: Vec<_> =
        collected.iter().map(|(descriptor, family)| (descriptor.name, family.size())).collect();
    let sample = |name: &'static str, n: u64| Sample {
        labels: Arc::from([(METRIC.name, Arc::from(name))]),
        value: Value::Integer(n),
    };
    let series =
        sizes.iter().map(|(name, (series, _))| sample(name, u64::try_from(*series).unwrap_or(u64::MAX)));
    let limited = sizes.iter().map(|(name, (_, limited))| sample(name, *limited));
    all.push(Snapshot { descriptor: &SERIES, samples: series.collect() });
    all.push(Snapshot { descriptor: &LIMITED, samples: limited.collect() });
    all
}
