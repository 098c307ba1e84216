//! What can be chosen about metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use super::registry::descriptors;

/// What can be chosen about metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Labels that are kept of a metric; of one that is not named, all. What differs in the others only is one series.
    pub labels: BTreeMap<String, Vec<String>>,
    /// Series of one metric; what does not fit goes to one more, all of whose labels are `other`.
    pub max_series: usize,
    /// Values of one label of one metric, where they come from outside; the others are `other`.
    pub max_values: usize,
    /// A series that nothing was added to for this long goes.
    pub series_retention: Duration,
    /// The series of a certificate that was not seen for this long goes.
    pub certificate_retention: Duration,
    /// Native histograms besides the classic ones, for scrapes in protobuf.
    pub native_histograms: bool,
    /// Connection ends of which is remembered what was counted; of more, everything is counted at the end.
    pub max_connections: usize,
    /// Findings of which is remembered under which labels they stand.
    pub max_findings: usize,
}

impl Default for Options {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(86_400);
        Self {
            labels: BTreeMap::new(),
            max_series: 1000,
            max_values: 200,
            series_retention: DAY,
            certificate_retention: DAY,
            native_histograms: true,
            max_connections: 131_072,
            max_findings: 10_000,
        }
    }
}

/// A setting that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// A number out of its bounds.
    #[error("metrics.{field}: {value} is not between {min} and {max}")]
    OutOfBounds {
        /// The setting.
        field: &'static str,
        /// What it was set to.
        value: u64,
        /// Smallest value.
        min: u64,
        /// Largest value.
        max: u64,
    },
    /// A metric that there is not, or one about the agent itself.
    #[error("metrics.labels: {0} is no metric whose labels can be chosen")]
    UnknownMetric(String),
    /// A label that the metric does not have.
    #[error("metrics.labels.{metric}: there is no label {label}; there are: {labels}")]
    UnknownLabel {
        /// The metric.
        metric: String,
        /// What was asked for.
        label: String,
        /// The labels there are.
        labels: String,
    },
}

impl Options {
    /// Looks whether everything is within its bounds.
    ///
    /// # Errors
    /// The first setting that is not.
    pub fn check(&self) -> Result<(), OptionsError> {
        const YEAR: u64 = 366 * 86_400;
        let number = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        for (field, value, min, max) in [
            ("max_series", number(self.max_series), 1, 100_000),
            ("max_values", number(self.max_values), 1, 100_000),
            ("series_retention", self.series_retention.as_secs(), 60, YEAR),
            ("certificate_retention", self.certificate_retention.as_secs(), 60, YEAR),
        ] {
            if !(min..=max).contains(&value) {
                return Err(OptionsError::OutOfBounds { field, value, min, max });
            }
        }
        self.labels.iter().try_for_each(|(metric, kept)| check_labels(metric, kept))
    }
}

fn check_labels(metric: &str, kept: &[String]) -> Result<(), OptionsError> {
    let known = descriptors().find(|d| d.name == metric && d.is_capped && !d.labels.is_empty());
    let known = known.ok_or_else(|| OptionsError::UnknownMetric(metric.to_owned()))?;
    let Some(unknown) = kept.iter().find(|kept| known.labels.iter().all(|label| label.name != **kept)) else {
        return Ok(());
    };
    let labels: Vec<&str> = known.labels.iter().map(|label| label.name).collect();
    Err(OptionsError::UnknownLabel {
        metric: metric.to_owned(),
        label: unknown.clone(),
        labels: labels.join(", "),
    })
}
