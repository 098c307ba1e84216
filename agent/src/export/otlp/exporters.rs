//! OpenTelemetry's exporters, with connections, headers and retries as they are wanted here.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use opentelemetry_otlp::{
    Compression, LogExporter, MetricExporter, Protocol as OtlpProtocol, RetryPolicy, SpanExporter,
    WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::metrics::Temporality;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue};
use tonic::transport::{Channel, Endpoint};

use super::client::{HyperClient, LastError, Pick};
use super::connect::Connector;
use super::counters::Counters;
use super::options::Target;
use super::own::OwnConnections;
use super::tls::Tls;
use crate::config::otlp::{Headers, Protocol};
use crate::exit::{Exit, Failure};

/// Bytes of a request at most; batches end well below.
const MAX_REQUEST: usize = 32 << 20;
/// How often the other end of a connection with requests under way is asked whether it is still there, and how long it may
/// take to say so.
const PING: Duration = Duration::from_secs(20);
const PONG: Duration = Duration::from_secs(10);

/// Makes exporters. Only within the runtime that they are to run in.
pub(super) struct Maker {
    pub(super) own: Arc<OwnConnections>,
    pub(super) counters: Arc<Counters>,
}

/// What is needed to reach one collector.
struct Way {
    connector: Connector,
    headers: HeaderMap,
}

/// Attempts with growing pauses, or as long as the collector asks for, until the time for the request is over.
fn retries() -> RetryPolicy {
    RetryPolicy::default()
        .with_max_retries(8)
        .with_initial_delay(Duration::from_millis(250))
        .with_max_delay(Duration::from_secs(5))
        .with_max_jitter(Duration::from_millis(250))
}

macro_rules! exporter {
    ($self:ident, $builder:expr, $target:ident, $pick:expr, $last_error:ident) => {{
        let way = $self.way($target)?;
        let built = match $target.protocol {
            Protocol::Grpc => {
                let metadata = metadata(&way.headers);
                // The crate adds headers of the environment by itself; these are to replace them.
                let headers = move |mut request: tonic::Request<()>| {
                    for (name, value) in &metadata {
                        request.metadata_mut().insert(name.clone(), value.clone());
                    }
                    Ok(request)
                };
                let builder = $builder
                    .with_tonic()
                    .with_channel($self.channel($target, way.connector)?)
                    .with_interceptor(headers)
                    .with_timeout($target.timeout);
                let builder = WithTonicConfig::with_retry_policy(builder, retries());
                match $target.gzip {
                    true => WithTonicConfig::with_compression(builder, Compression::Gzip).build(),
                    false => builder.build(),
                }
            }
            Protocol::HttpProtobuf | Protocol::HttpJson => {
                let client = HyperClient::new(
                    way.connector,
                    way.headers,
                    $target.timeout,
                    (Arc::clone(&$self.counters), $pick),
                    $last_error,
                );
                let builder = $builder
                    .with_http()
                    .with_http_client(client)
                    .with_endpoint($target.endpoint.to_string())
                    .with_protocol(match $target.protocol {
                        Protocol::HttpJson => OtlpProtocol::HttpJson,
                        Protocol::Grpc | Protocol::HttpProtobuf => OtlpProtocol::HttpBinary,
                    })
                    .with_timeout($target.timeout)
                    .with_max_request_body_size(MAX_REQUEST);
                let builder = WithHttpConfig::with_retry_policy(builder, retries());
                match $target.gzip {
                    true => WithHttpConfig::with_compression(builder, Compression::Gzip).build(),
                    false => builder.build(),
                }
            }
        };
        built.map_err(|e| cannot($target, &e))
    }};
}

fn cannot(target: &Target, cause: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Usage, format!("set up the export to {}", target.endpoint), cause)
}

impl Maker {
    pub(super) fn spans(&self, target: &Target, last_error: LastError) -> Result<SpanExporter, Failure> {
        let pick: Pick = |counters| Some(&counters.spans);
        exporter!(self, SpanExporter::builder(), target, pick, last_error)
    }

    pub(super) fn logs(&self, target: &Target, last_error: LastError) -> Result<LogExporter, Failure> {
        let pick: Pick = |counters| Some(&counters.logs);
        exporter!(self, LogExporter::builder(), target, pick, last_error)
    }

    pub(super) fn metrics(
        &self,
        target: &Target,
        temporality: Temporality,
        last_error: LastError,
    ) -> Result<MetricExporter, Failure> {
        let pick: Pick = |_| None;
        exporter!(self, MetricExporter::builder().with_temporality(temporality), target, pick, last_error)
    }

    fn way(&self, target: &Target) -> Result<Way, Failure> {
        let tls = Tls::load(target, &self.counters)?.map(Arc::new);
        Ok(Way { connector: Connector::new(tls, Arc::clone(&self.own)), headers: headers(&target.headers) })
    }

    fn channel(&self, target: &Target, connector: Connector) -> Result<Channel, Failure> {
        let origin = target.endpoint.clone();
        // TLS is the connector's business: the channel is told nothing of it but the name in requests.
        let mut parts = origin.clone().into_parts();
        parts.scheme = Some(http::uri::Scheme::HTTP);
        let uri = Uri::from_parts(parts).map_err(|e| cannot(target, &e))?;
        let endpoint = Endpoint::from(uri)
            .origin(origin)
            .timeout(target.timeout)
            .http2_keep_alive_interval(PING)
            .keep_alive_timeout(PONG);
        Ok(endpoint.connect_with_connector_lazy(connector))
    }
}

fn headers(headers: &Headers) -> HeaderMap {
    let pair = |(name, value): (&String, &String)| {
        let mut value = HeaderValue::try_from(value).ok()?;
        value.set_sensitive(true);
        Some((HeaderName::try_from(name).ok()?, value))
    };
    headers.0.iter().filter_map(pair).collect()
}

/// The same for gRPC, whose headers of binary values are left out: nobody can write them down.
fn metadata(headers: &HeaderMap) -> Vec<(AsciiMetadataKey, AsciiMetadataValue)> {
    let pair = |(name, value): (&HeaderName, &HeaderValue)| {
        let name = AsciiMetadataKey::from_bytes(name.as_str().as_bytes()).ok()?;
        Some((name, AsciiMetadataValue::try_from(value.as_bytes()).ok()?))
    };
    headers.iter().filter_map(pair).collect()
}

/// What a failed export says, with what the client knows of it.
pub(super) fn explain(
    error: &opentelemetry_sdk::error::OTelSdkError,
    last: &Mutex<Option<String>>,
) -> String {
    use opentelemetry_sdk::error::OTelSdkError;
    let text = match error {
        OTelSdkError::InternalFailure(text) => text.clone(),
        other => other.to_string(),
    };
    match last.lock().unwrap_or_else(PoisonError::into_inner).take() {
        Some(cause) => format!("{text}: {cause}"),
        None => text,
    }
}
