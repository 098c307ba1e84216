//! What a scrape gets.

use std::sync::Arc;
use std::time::Instant;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet, prometheus_protobuf, text as openmetrics,
};
use prometheus_client::registry;

use super::descriptor::{Descriptor, Kind};
use super::family::{Collect, Snapshot, Value};
use super::health::{self, Health};
use super::negotiate::Format;
use super::{own, process, text};

/// All metrics, for whoever scrapes them. Clones show the same.
#[derive(Clone)]
pub struct Exposition {
    collected: Arc<[(&'static Descriptor, Arc<dyn Collect>)]>,
}

/// An exposition could not be written.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The encoder of text refused.
    #[error("the metrics could not be encoded")]
    Text(#[from] std::fmt::Error),
    /// The encoder of protobuf refused.
    #[error("the metrics could not be encoded: {0}")]
    Protobuf(#[from] prometheus_protobuf::EncodeError),
}

impl Exposition {
    pub(super) fn new(collected: Vec<(&'static Descriptor, Arc<dyn Collect>)>) -> Self {
        Self { collected: collected.into() }
    }

    /// All metrics as of now. The capture thread waits for it at most as long as it takes to copy a list.
    ///
    /// # Errors
    /// When an encoder refuses, which it has no reason for.
    pub fn render(&self, format: Format, health: &Health) -> Result<Vec<u8>, RenderError> {
        let mut families = vec![health::build()];
        families.extend(self.seen(Instant::now()));
        families.extend(health::collect(health));
        families.extend(process::collect());
        encode(format, families)
    }

    /// What was seen, and how many series it takes.
    pub(super) fn seen(&self, now: Instant) -> Vec<Snapshot> {
        own::collect(&self.collected, now)
    }

    /// Series kept of all metrics about what was seen.
    pub fn series(&self) -> usize {
        self.collected.iter().map(|(_, family)| family.size().0).sum()
    }
}

/// Families without a series are left out, the others stand in the order of their names, as do the series.
pub(super) fn encode(format: Format, mut families: Vec<Snapshot>) -> Result<Vec<u8>, RenderError> {
    families.retain(|family| !family.samples.is_empty());
    families.sort_by_key(|family| family.descriptor.name);
    for family in &mut families {
        family.samples.sort_by(|a, b| a.labels.cmp(&b.labels));
    }
    let mut all = registry::Registry::default();
    all.register_collector(Box::new(Scrape(families)));
    match format {
        Format::OpenMetrics => {
            let mut out = String::new();
            openmetrics::encode(&mut out, &all)?;
            Ok(out.into_bytes())
        }
        Format::Protobuf => Ok(prometheus_protobuf::encode_to_vec(&all)?),
        Format::Text => {
            let mut out = String::new();
            text::write(&mut out, &prometheus_protobuf::encode(&all)?)?;
            Ok(out.into_bytes())
        }
    }
}

#[derive(Debug)]
struct Scrape(Vec<Snapshot>);

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        for Snapshot { descriptor, samples } in &self.0 {
            let unit = descriptor.unit.map(super::descriptor::BaseUnit::unit);
            let kind = descriptor.kind;
            let mut metric = encoder.encode_descriptor(
                descriptor.base_name(),
                descriptor.help,
                unit.as_ref(),
                kind.metric_type(),
            )?;
            for sample in samples {
                let labels = &*sample.labels;
                match &sample.value {
                    Value::Histogram(histogram) => histogram.encode(metric.encode_family(&labels)?)?,
                    _ if kind == Kind::Info => metric.encode_info(&labels)?,
                    value if labels.is_empty() => number(&mut metric, kind, value)?,
                    value => number(&mut metric.encode_family(&labels)?, kind, value)?,
                }
            }
        }
        Ok(())
    }
}

fn number(metric: &mut MetricEncoder<'_>, kind: Kind, value: &Value) -> std::fmt::Result {
    match (kind, value) {
        (Kind::Counter, Value::Integer(n)) => metric.encode_counter::<NoLabelSet, u64, f64>(n, None),
        (Kind::Counter, Value::Float(n)) => metric.encode_counter::<NoLabelSet, f64, f64>(n, None),
        (_, Value::Integer(n)) => metric.encode_gauge(n),
        (_, Value::Float(n)) => metric.encode_gauge(n),
        (_, Value::Histogram(_)) => Err(std::fmt::Error),
    }
}
