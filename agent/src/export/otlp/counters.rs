//! What was sent, and what was not, and why.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of one signal.
#[derive(Debug, Default)]
pub(super) struct SignalCounters {
    /// Records that the collector took.
    pub(super) exported: AtomicU64,
    /// Records for which there was no room in the queue.
    pub(super) dropped_queue: AtomicU64,
    /// Records in requests that failed for good.
    pub(super) failed: AtomicU64,
    /// Records that the collector took the request of and said it rejects (HTTP only).
    pub(super) rejected: AtomicU64,
    /// Records left at the end, when the deadline came.
    pub(super) dropped_shutdown: AtomicU64,
    /// Requests that were sent, attempts counted once.
    pub(super) requests: AtomicU64,
}

/// All counts.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) spans: SignalCounters,
    pub(super) logs: SignalCounters,
    /// Handshakes that the sampler left out.
    pub(super) spans_sampled_out: AtomicU64,
    /// Spans that did not wait for what might still come, as too many waited.
    pub(super) spans_not_held: AtomicU64,
    /// What was learned of a handshake when its span was sent already.
    pub(super) spans_late: AtomicU64,
    /// Connections of the exporter itself, of which nothing is sent.
    pub(super) own_connections: AtomicU64,
    /// Connections forgotten before they ended: what was said of them may be said again.
    pub(super) connections_evicted: AtomicU64,
    /// Attributes beyond the limit of a span or record.
    pub(super) attributes_dropped: AtomicU64,
    /// Requests with metrics that the collector took.
    pub(super) metric_requests: AtomicU64,
    /// Requests with metrics that failed for good.
    pub(super) metric_requests_failed: AtomicU64,
    /// Times that files of certificates could not be read again; those of before stay.
    pub(super) tls_reload_errors: AtomicU64,
}

/// Counts one.
pub(super) fn count(counter: &AtomicU64) {
    add(counter, 1);
}

/// Counts so many.
pub(super) fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(u64::try_from(n).unwrap_or(u64::MAX), Ordering::Relaxed);
}

impl Counters {
    /// Every counter with its name.
    pub(super) fn named(&self) -> Vec<(&'static str, u64)> {
        let Self { spans, logs, .. } = self;
        let counters = [
            ("otlp.spans_exported", &spans.exported),
            ("otlp.spans_dropped_queue", &spans.dropped_queue),
            ("otlp.spans_failed", &spans.failed),
            ("otlp.spans_rejected", &spans.rejected),
            ("otlp.spans_dropped_shutdown", &spans.dropped_shutdown),
            ("otlp.spans_sampled_out", &self.spans_sampled_out),
            ("otlp.spans_not_held", &self.spans_not_held),
            ("otlp.spans_late", &self.spans_late),
            ("otlp.span_requests", &spans.requests),
            ("otlp.logs_exported", &logs.exported),
            ("otlp.logs_dropped_queue", &logs.dropped_queue),
            ("otlp.logs_failed", &logs.failed),
            ("otlp.logs_rejected", &logs.rejected),
            ("otlp.logs_dropped_shutdown", &logs.dropped_shutdown),
            ("otlp.log_requests", &logs.requests),
            ("otlp.own_connections_left_out", &self.own_connections),
            ("otlp.connections_evicted", &self.connections_evicted),
            ("otlp.attributes_dropped", &self.attributes_dropped),
            ("otlp.metric_requests", &self.metric_requests),
            ("otlp.metric_requests_failed", &self.metric_requests_failed),
            ("otlp.tls_reload_errors", &self.tls_reload_errors),
        ];
        counters.map(|(name, counter)| (name, counter.load(Ordering::Relaxed))).into()
    }
}
