//! What a metric is: its name, what it counts, and what its labels mean. docs/metrics.md is written from these.

use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

/// What kind of number it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, until the agent starts anew.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
    /// Facts in labels; the value is 1. A gauge outside of OpenMetrics.
    Info,
}

impl Kind {
    /// As `# TYPE` of the Prometheus text format names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge | Kind::Info => "gauge",
            Kind::Histogram => "histogram",
        }
    }

    pub(super) const fn metric_type(self) -> MetricType {
        match self {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
            Kind::Info => MetricType::Info,
        }
    }

    /// What OpenMetrics leaves out of a metric's name.
    const fn suffix(self) -> &'static str {
        match self {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        }
    }
}

/// Base units, in the spelling that ends a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaseUnit {
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
}

impl BaseUnit {
    /// `bytes` or `seconds`.
    pub const fn as_str(self) -> &'static str {
        match self {
            BaseUnit::Bytes => "bytes",
            BaseUnit::Seconds => "seconds",
        }
    }

    pub(super) const fn unit(self) -> Unit {
        match self {
            BaseUnit::Bytes => Unit::Bytes,
            BaseUnit::Seconds => Unit::Seconds,
        }
    }
}

/// Where the values of a label come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// A closed set of tlsight's own.
    Closed,
    /// Names and numbers from outside: at most so many as the settings allow, the others are `other`.
    Capped,
    /// Names and numbers from outside that nearly each series has its own of: bounded by the number of series.
    PerSeries,
}

/// A label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub meaning: &'static str,
    /// Where its values come from.
    pub values: Values,
}

impl Label {
    pub(super) const fn closed(name: &'static str, meaning: &'static str) -> Self {
        Self { name, meaning, values: Values::Closed }
    }

    pub(super) const fn per_series(name: &'static str, meaning: &'static str) -> Self {
        Self { name, meaning, values: Values::PerSeries }
    }

    pub(super) const fn capped(name: &'static str, meaning: &'static str) -> Self {
        Self { name, meaning, values: Values::Capped }
    }
}

/// A metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Its name as queries write it, `_total` and unit included.
    pub name: &'static str,
    /// What it says, in one sentence.
    pub help: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// Its unit, where it has one.
    pub unit: Option<BaseUnit>,
    /// Its labels, all that it can have.
    pub labels: &'static [Label],
    /// Which labels are kept can be chosen, and how many series there are is bounded, by settings.
    pub is_capped: bool,
}

impl Descriptor {
    /// A metric about what was seen: its labels can be chosen, its series are bounded.
    pub(super) const fn seen(
        kind: Kind,
        name: &'static str,
        help: &'static str,
        labels: &'static [Label],
    ) -> Self {
        Self { name, help, kind, unit: None, labels, is_capped: true }
    }

    /// A metric about the agent itself: as many series as the agent has parts.
    pub(super) const fn own(
        kind: Kind,
        name: &'static str,
        help: &'static str,
        labels: &'static [Label],
    ) -> Self {
        Self { name, help, kind, unit: None, labels, is_capped: false }
    }

    pub(super) const fn in_unit(self, unit: BaseUnit) -> Self {
        Self { unit: Some(unit), ..self }
    }

    /// The name without what the encoders add: the unit, then the kind's suffix.
    pub(super) fn base_name(&self) -> &'static str {
        let name = self.name.strip_suffix(self.kind.suffix()).unwrap_or(self.name);
        match self.unit.and_then(|unit| name.strip_suffix(unit.as_str())) {
            Some(base) => base.strip_suffix('_').unwrap_or(base),
            None => name,
        }
    }
}
