//! What is sent, and to whom: all that file, environment and flags say, settled.

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use opentelemetry_sdk::metrics::Temporality;

use crate::config::otlp::{Headers, Protocol, Ratio};

/// All of it. [`Options::resolve`](super::resolve) makes one; the default sends nothing.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Spans, if they are sent.
    pub traces: Option<Traces>,
    /// Log records, if they are sent.
    pub logs: Option<Logs>,
    /// Metrics, if they are sent.
    pub metrics: Option<Metrics>,
    /// Attributes of the resource that somebody gave.
    pub resource: Vec<(String, String)>,
    /// Name of the Kubernetes node, where it is known.
    pub node_name: Option<String>,
}

impl Options {
    /// Whether anything is sent at all.
    pub const fn is_enabled(&self) -> bool {
        self.traces.is_some() || self.logs.is_some() || self.metrics.is_some()
    }
}

/// Spans.
#[derive(Clone, Debug)]
pub struct Traces {
    /// To whom.
    pub target: Target,
    /// Which share of the handshakes.
    pub ratio: Ratio,
    /// How they wait.
    pub queue: Queue,
    /// What one may hold.
    pub limits: Limits,
}

/// Log records.
#[derive(Clone, Debug)]
pub struct Logs {
    /// To whom.
    pub target: Target,
    /// An event for each plaintext connection.
    pub plaintext: bool,
    /// A record for each piece of news of a finding.
    pub findings: bool,
    /// A record for each certificate that a client showed.
    pub audit: bool,
    /// How they wait.
    pub queue: Queue,
    /// What one may hold.
    pub limits: Limits,
}

/// Metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// To whom.
    pub target: Target,
    /// How often.
    pub interval: Duration,
    /// What a sum counts from.
    pub temporality: Temporality,
}

/// A collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where it is; over HTTP the whole URL, over gRPC scheme, host and port.
    pub endpoint: Uri,
    /// What is spoken with it.
    pub protocol: Protocol,
    /// Headers of requests.
    pub headers: Headers,
    /// PEM file of the authorities that its certificate is held against; absent: those that the system trusts.
    pub certificate: Option<PathBuf>,
    /// PEM files of the certificate that is shown to it, and of its key.
    pub client: Option<(PathBuf, PathBuf)>,
    /// Requests are compressed.
    pub gzip: bool,
    /// Time that it has to take a batch, all attempts together.
    pub timeout: Duration,
}

/// How records wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Records at most.
    pub max_size: usize,
    /// Bytes at most, about.
    pub max_bytes: usize,
    /// Records in a request at most.
    pub max_batch: usize,
    /// How long a batch that is not full waits.
    pub delay: Duration,
    /// Time for a batch, whatever the target says.
    pub export_timeout: Duration,
}

/// What a span or a log record may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Attributes.
    pub count: usize,
    /// Characters of a text.
    pub value_length: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { count: 128, value_length: usize::MAX }
    }
}
