//! Options of the export over OTLP: those that one gives by hand. The rest is in the file and in OpenTelemetry's own
//! environment variables. Headers are not here, as everybody on a host can read the arguments of its processes.

use clap::Args;

use crate::config::Switch;
use crate::config::otlp::{Otlp, Protocol};
use crate::exit::Failure;
use crate::export::otlp;

/// Where spans, log records and metrics go.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Exporters")]
pub struct OtlpArgs {
    /// Send a span for each TLS handshake, and log records of plaintext connections, findings and client certificates, to
    /// this OpenTelemetry collector (OTEL_EXPORTER_OTLP_ENDPOINT and its like say so too)
    #[arg(long, value_name = "URL")]
    pub otlp_endpoint: Option<String>,

    /// What is spoken with it [default: http/protobuf]
    #[arg(long, value_name = "PROTOCOL")]
    pub otlp_protocol: Option<Protocol>,

    /// Send metrics to it too
    #[arg(long)]
    pub otlp_metrics: bool,
}

impl OtlpArgs {
    /// As a section of the file would say it.
    fn section(&self) -> Otlp {
        let mut otlp =
            Otlp { endpoint: self.otlp_endpoint.clone(), protocol: self.otlp_protocol, ..Otlp::default() };
        otlp.metrics.enabled = self.otlp_metrics.then_some(Switch::On);
        otlp
    }

    /// What these, the environment and the file come to.
    ///
    /// # Errors
    /// [`Failure`] that names what is wrong.
    pub fn settle(&self, file: &Otlp) -> Result<Otlp, Failure> {
        otlp::settle(file, &|name| std::env::var(name).ok(), &self.section())
    }
}
