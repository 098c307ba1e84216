//! The endpoint for Prometheus.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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
        Self { listen: listen.or(self.listen).or(Some(DEFAULT_LISTEN)), ..self }
    }
}
