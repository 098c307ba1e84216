//! Metrics for Prometheus, and the endpoint that serves them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};

use super::{Switch, duration, write_duration};
use crate::export::prometheus::{Options, OptionsError};

/// Where metrics are served unless told otherwise: to this host alone.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9465);

/// Metrics, and where they are served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// Address and port of /metrics, /healthz and /readyz.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// HTTPS in place of HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<MetricsTls>,
    /// Who asks for /metrics has to know the token in this file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer_token_file: Option<PathBuf>,
    /// Labels that are kept of a metric, by its name; of one that is not named, all.
    pub labels: BTreeMap<String, Vec<String>>,
    /// Series of one metric; what does not fit goes to one more, all of whose labels are `other`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_series: Option<usize>,
    /// Values of one label of one metric; the others are `other`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_values: Option<usize>,
    /// A series that nothing was added to for this long goes.
    #[serde(
        deserialize_with = "duration",
        serialize_with = "write_duration",
        skip_serializing_if = "Option::is_none"
    )]
    pub series_retention: Option<Duration>,
    /// The series of a certificate that was not seen for this long goes.
    #[serde(
        deserialize_with = "duration",
        serialize_with = "write_duration",
        skip_serializing_if = "Option::is_none"
    )]
    pub certificate_retention: Option<Duration>,
    /// Whether there are native histograms besides the classic ones, for scrapes in protobuf.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub native_histograms: Option<Switch>,
}

/// PEM files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsTls {
    /// The chain that is shown, leaf first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Who asks for /metrics has to show a certificate of one of these authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
}

impl Metrics {
    /// With the flag over it, and defaults in place of what is absent.
    #[must_use]
    pub fn settled(self, listen: Option<SocketAddr>) -> Self {
        let options = self.unchecked();
        Self {
            listen: listen.or(self.listen).or(Some(DEFAULT_LISTEN)),
            max_series: Some(options.max_series),
            max_values: Some(options.max_values),
            series_retention: Some(options.series_retention),
            certificate_retention: Some(options.certificate_retention),
            native_histograms: Some(if options.native_histograms { Switch::On } else { Switch::Off }),
            ..self
        }
    }

    /// As the exporter wants them, with defaults in place of what is absent.
    ///
    /// # Errors
    /// The first setting that is out of its bounds, by name.
    pub fn options(&self) -> Result<Options, OptionsError> {
        let options = self.unchecked();
        options.check()?;
        Ok(options)
    }

    fn unchecked(&self) -> Options {
        let default = Options::default();
        Options {
            labels: self.labels.clone(),
            max_series: self.max_series.unwrap_or(default.max_series),
            max_values: self.max_values.unwrap_or(default.max_values),
            series_retention: self.series_retention.unwrap_or(default.series_retention),
            certificate_retention: self.certificate_retention.unwrap_or(default.certificate_retention),
            native_histograms: self.native_histograms != Some(Switch::Off),
            ..default
        }
    }
}

/// Settings within their bounds.
pub(super) fn checked<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Metrics, D::Error> {
    let metrics = Metrics::deserialize(deserializer)?;
    metrics.options().map_err(D::Error::custom)?;
    Ok(metrics)
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    #[test]
    fn reads_every_key_and_writes_what_it_reads() {
        let text = "metrics:\n  listen: 0.0.0.0:9465\n  \
                    tls: {certificate: a.crt, key: a.key, client_ca: ca.crt}\n  bearer_token_file: token\n  \
                    labels:\n    tlsight_connections_total: [security, role]\n  max_series: 500\n  \
                    max_values: 50\n  series_retention: 1h\n  certificate_retention: 2h 30m\n  \
                    native_histograms: off\n";
        let kept = vec!["security".to_owned(), "role".to_owned()];
        let metrics = Metrics {
            listen: Some(([0, 0, 0, 0], 9465).into()),
            tls: Some(MetricsTls {
                certificate: "a.crt".into(),
                key: "a.key".into(),
                client_ca: Some("ca.crt".into()),
            }),
            bearer_token_file: Some("token".into()),
            labels: [("tlsight_connections_total".to_owned(), kept.clone())].into(),
            max_series: Some(500),
            max_values: Some(50),
            series_retention: Some(Duration::from_secs(3600)),
            certificate_retention: Some(Duration::from_secs(9000)),
            native_histograms: Some(Switch::Off),
        };
        let options = Options {
            labels: [("tlsight_connections_total".to_owned(), kept)].into(),
            max_series: 500,
            max_values: 50,
            series_retention: Duration::from_secs(3600),
            certificate_retention: Duration::from_secs(9000),
            native_histograms: false,
            ..Options::default()
        };
        assert_eq!(metrics.options(), Ok(options));
        let config = Config { metrics, ..Config::default() };
        assert_eq!(Config::parse(text), Ok(config.clone()));
        assert_eq!(Config::parse(&config.to_string()), Ok(config));
    }

    #[test]
    fn settled_settings_are_the_defaults_where_nothing_is_said() {
        assert_eq!(Metrics::default().options(), Ok(Options::default()));
        let config = Config { metrics: Metrics::default().settled(None), ..Config::default() };
        let expected = Metrics {
            listen: Some(DEFAULT_LISTEN),
            max_series: Some(1000),
            max_values: Some(200),
            series_retention: Some(Duration::from_secs(86_400)),
            certificate_retention: Some(Duration::from_secs(86_400)),
            native_histograms: Some(Switch::On),
            ..Metrics::default()
        };
        assert_eq!(config.metrics, expected);
        assert_eq!(Config::parse(&config.to_string()), Ok(config));
    }

    #[test]
    fn errors_in_metrics_name_the_setting() {
        for (text, what) in [
            ("metrics: {lisen: \"127.0.0.1:1\"}\n", "lisen"),
            ("metrics: {listen: localhost}\n", "socket address"),
            ("metrics: {tls: {certificate: a.crt}}\n", "key"),
            ("metrics: {tls: {certificate: a.crt, key: a.key, ca: ca.crt}}\n", "ca"),
            ("metrics: {max_series: 0}\n", "metrics.max_series: 0 is not between 1 and 100000"),
            ("metrics: {max_values: 100001}\n", "metrics.max_values: 100001 is not between 1 and 100000"),
            (
                "metrics: {series_retention: 59s}\n",
                "metrics.series_retention: 59 is not between 60 and 31622400",
            ),
            ("metrics: {certificate_retention: soon}\n", "expected a time such as 10s"),
            (
                "metrics: {labels: {tlsight_connections: [role]}}\n",
                "metrics.labels: tlsight_connections is no metric whose labels can be chosen",
            ),
            (
                "metrics: {labels: {tlsight_connections_unknown_total: [why]}}\n",
                "metrics.labels.tlsight_connections_unknown_total: there is no label why; there are: reason",
            ),
            (
                "metrics: {labels: {tlsight_events_lost_total: [place]}}\n",
                "tlsight_events_lost_total is no metric whose labels can be chosen",
            ),
        ] {
            let error = Config::parse(text).expect_err(text);
            assert!(error.contains(what) && error.contains("line 1"), "{text:?}: {error}");
        }
    }
}
