//! The most important numbers as metrics, where somebody asked for them. The Prometheus endpoint has more.
//!
//! Attributes are from closed sets, and the SDK keeps 2000 series of each metric at most: what is more goes to the one with
//! `otel.metric.overflow`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use agent_core::identity::{Scope, Sighting};
use agent_core::net::Side;
use agent_core::observation::{Observation, Phase, Security};
use agent_core::policy::finding::Severity;
use agent_core::policy::judge;
use agent_core::policy::ledger::{Change, Standing};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter, MeterProvider, UpDownCounter};
use opentelemetry_otlp::MetricExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::client::LastError;
use super::counters::{Counters, count};
use super::exporters::explain;
use super::resource::scope;
use super::span::error_type;
use super::trouble::Trouble;

/// Findings that are followed, so that their end is counted under the severity that they had.
const FINDINGS: usize = 16_384;

/// Bounds of the histogram of durations, in seconds.
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// The instruments.
#[derive(Debug)]
pub(super) struct Instruments {
    connections: Counter<u64>,
    handshakes: Counter<u64>,
    failures: Counter<u64>,
    duration: Histogram<f64>,
    raised: Counter<u64>,
    standing: UpDownCounter<i64>,
    /// Severity of each finding that stands, by rule and subject.
    known: HashMap<String, Severity>,
}

impl Instruments {
    pub(super) fn new(provider: &SdkMeterProvider) -> Self {
        let meter: Meter = provider.meter_with_scope(scope());
        Self {
            connections: meter
                .u64_counter("tlsight.connections")
                .with_unit("{connection}")
                .with_description("Connection ends, each at its first proven verdict or its end")
                .build(),
            handshakes: meter
                .u64_counter("tlsight.tls.handshakes")
                .with_unit("{handshake}")
                .with_description("TLS handshakes that completed")
                .build(),
            failures: meter
                .u64_counter("tlsight.tls.handshake.failures")
                .with_unit("{handshake}")
                .with_description("TLS handshakes that failed")
                .build(),
            duration: meter
                .f64_histogram("tlsight.tls.handshake.duration")
                .with_unit("s")
                .with_description("From the ClientHello to the end of the handshake")
                .with_boundaries(SECONDS.to_vec())
                .build(),
            raised: meter
                .u64_counter("tlsight.findings.raised")
                .with_unit("{finding}")
                .with_description("Findings raised")
                .build(),
            standing: meter
                .i64_up_down_counter("tlsight.findings")
                .with_unit("{finding}")
                .with_description("Findings that stand")
                .build(),
            known: HashMap::new(),
        }
    }

    /// Counts a connection end once; whether it is counted now.
    pub(super) fn connection(&self, sighting: &Sighting, counted: bool) -> bool {
        let o = &sighting.observation;
        if counted || (o.security == Security::Unknown && o.phase != Phase::Final) {
            return counted;
        }
        let mut attributes = vec![KeyValue::new("tlsight.security", o.security.as_str())];
        attributes.extend(o.local_side.map(|side| KeyValue::new("tlsight.role", Side::as_str(side))));
        attributes.extend(sighting.scope.map(|scope| KeyValue::new("tlsight.scope", Scope::as_str(scope))));
        attributes.extend(o.protocol.map(|protocol| KeyValue::new("network.protocol.name", protocol)));
        self.connections.add(1, &attributes);
        true
    }

    /// Counts a handshake once; whether it is counted now.
    pub(super) fn handshake(&self, o: &Observation, counted: bool) -> bool {
        let Some(tls) = o.tls.as_deref().filter(|_| !counted) else { return counted };
        let role = o.local_side.map(|side| KeyValue::new("tlsight.role", Side::as_str(side)));
        if let Some(error) = error_type(o, tls) {
            let error = KeyValue::new("error.type", error);
            self.failures.add(1, &role.into_iter().chain([error]).collect::<Vec<_>>());
            return true;
        }
        if tls.established != Some(true) {
            return false;
        }
        let mut attributes: Vec<KeyValue> = role.into_iter().collect();
        let version = tls.negotiated_version.and_then(|version| version.otel_version());
        attributes.extend(version.map(|version| KeyValue::new("tls.protocol.version", version)));
        attributes.extend(tls.resumed.map(|resumed| KeyValue::new("tls.resumed", resumed)));
        self.handshakes.add(1, &attributes);
        if let Some(duration) = tls.handshake_duration {
            self.duration.record(duration.as_secs_f64(), &attributes);
        }
        true
    }

    /// Follows findings.
    pub(super) fn news(&mut self, news: &judge::Output) {
        let judge::Output::Finding(change) = news else { return };
        let key = |standing: &Standing| format!("{} {}", standing.finding.rule, standing.finding.about);
        match change {
            Change::Raised(standing) => {
                self.raised.add(1, &labels(standing, standing.finding.severity));
                self.stands(key(standing), standing);
            }
            Change::Updated(standing) => self.stands(key(standing), standing),
            Change::Cleared(standing, _) => {
                if let Some(severity) = self.known.remove(&key(standing)) {
                    self.standing.add(-1, &labels(standing, severity));
                }
            }
        }
    }

    fn stands(&mut self, key: String, standing: &Standing) {
        let now = standing.finding.severity;
        match self.known.get_mut(&key) {
            Some(before) if *before != now => {
                self.standing.add(-1, &labels(standing, *before));
                self.standing.add(1, &labels(standing, now));
                *before = now;
            }
            Some(_) => {}
            None => {
                // One beyond them is not counted, and neither is its end.
                if self.known.len() < FINDINGS {
                    self.standing.add(1, &labels(standing, now));
                    self.known.insert(key, now);
                }
            }
        }
    }
}

fn labels(standing: &Standing, severity: Severity) -> [KeyValue; 2] {
    [
        KeyValue::new("tlsight.finding.rule", standing.finding.rule.to_string()),
        KeyValue::new("tlsight.finding.severity", severity.as_str()),
    ]
}

/// Sends every so often. The SDK's reader has a thread of its own, from which requests are made within the exporter's runtime.
pub(super) fn provider(exporter: OnRuntime, interval: Duration, resource: Resource) -> SdkMeterProvider {
    let reader = PeriodicReader::builder(exporter).with_interval(interval).build();
    SdkMeterProvider::builder().with_reader(reader).with_resource(resource).build()
}

/// An exporter that is asked from outside its runtime.
pub(super) struct OnRuntime {
    pub(super) exporter: MetricExporter,
    pub(super) runtime: Handle,
    pub(super) timeout: Duration,
    pub(super) counters: Arc<Counters>,
    pub(super) last_error: LastError,
    pub(super) trouble: std::sync::Mutex<Trouble>,
    /// Told when the time for the end is over.
    pub(super) stopped: watch::Receiver<Option<Instant>>,
    pub(super) gate: Gate,
}

/// Keeps the runtime until the request that is being made within it is over: what is left in a runtime that is gone panics.
#[derive(Clone, Debug)]
pub(super) struct Gate(Arc<Semaphore>);

impl Gate {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }

    /// Nobody is within, and nobody comes in any more.
    pub(super) async fn close(&self) {
        let last = self.0.acquire().await;
        self.0.close();
        drop(last);
    }
}

impl OnRuntime {
    /// Within the time that a request may take, and not beyond the end.
    async fn send(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let Ok(_within) = self.gate.0.acquire().await else { return Err(OTelSdkError::AlreadyShutdown) };
        let mut stopped = self.stopped.clone();
        tokio::select! {
            result = tokio::time::timeout(self.timeout, self.exporter.export(metrics)) => {
                result.unwrap_or(Err(OTelSdkError::Timeout(self.timeout)))
            }
            // So it is when nobody is left to tell.
            _ = stopped.wait_for(Option::is_some) => Err(OTelSdkError::AlreadyShutdown),
        }
    }
}

impl PushMetricExporter for OnRuntime {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let result = self.runtime.block_on(self.send(metrics));
        let counter = match &result {
            Ok(()) => &self.counters.metric_requests,
            Err(_) => &self.counters.metric_requests_failed,
        };
        count(counter);
        let error = result.as_ref().err().map(|error| explain(error, &self.last_error));
        self.trouble.lock().unwrap_or_else(std::sync::PoisonError::into_inner).note(error.as_deref(), 1);
        result
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}
