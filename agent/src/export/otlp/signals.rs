//! What becomes of records on their way out: spans, and log records.

use std::sync::Arc;

use opentelemetry::InstrumentationScope;
use opentelemetry_otlp::{LogExporter, SpanExporter};
use opentelemetry_sdk::logs::{LogBatch, LogExporter as _, SdkLogRecord};
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use tokio::time::Instant;

use super::batch::{Batch, Signal};
use super::client::LastError;
use super::counters::{Counters, SignalCounters, add};
use super::event::Events;
use super::exporters::explain;
use super::hold::{Hold, Let};
use super::record::{Event, Handshake};
use super::span::Spans;

/// Handshakes become spans.
pub(super) struct SpanSignal {
    pub(super) exporter: SpanExporter,
    pub(super) spans: Spans,
    pub(super) hold: Hold,
    pub(super) counters: Arc<Counters>,
    pub(super) last_error: LastError,
}

impl SpanSignal {
    fn push(&self, handshakes: &[Handshake], now: Instant, batch: &mut Batch<SpanData>) {
        for (span, bytes) in handshakes.iter().filter_map(|handshake| self.spans.span(handshake)) {
            let dropped = usize::try_from(span.dropped_attributes_count).unwrap_or(usize::MAX);
            add(&self.counters.attributes_dropped, dropped);
            batch.push(span, bytes, now);
        }
    }
}

impl Signal for SpanSignal {
    type Record = Handshake;
    type Item = SpanData;

    fn take(&mut self, record: Handshake, now: Instant, batch: &mut Batch<SpanData>) {
        let Let { go, early, late } = self.hold.take(record, now);
        add(&self.counters.spans_not_held, early);
        add(&self.counters.spans_late, late);
        self.push(&go, now, batch);
    }

    fn due(&self) -> Option<Instant> {
        self.hold.due()
    }

    fn release(&mut self, now: Option<Instant>, batch: &mut Batch<SpanData>) {
        let go = self.hold.release(now);
        self.push(&go, Instant::now(), batch);
    }

    async fn export(&self, items: Vec<SpanData>) -> Result<(), String> {
        self.exporter.export(items).await.map_err(|e| explain(&e, &self.last_error))
    }

    fn counters(&self) -> &SignalCounters {
        &self.counters.spans
    }
}

/// Events become log records.
pub(super) struct LogSignal {
    pub(super) exporter: LogExporter,
    pub(super) events: Events,
    pub(super) scope: InstrumentationScope,
    pub(super) counters: Arc<Counters>,
    pub(super) last_error: LastError,
}

impl Signal for LogSignal {
    type Record = Event;
    type Item = SdkLogRecord;

    fn take(&mut self, record: Event, now: Instant, batch: &mut Batch<SdkLogRecord>) {
        if let Some((record, dropped, bytes)) = self.events.record(&record) {
            add(&self.counters.attributes_dropped, usize::try_from(dropped).unwrap_or(usize::MAX));
            batch.push(record, bytes, now);
        }
    }

    fn due(&self) -> Option<Instant> {
        None
    }

    fn release(&mut self, _: Option<Instant>, _: &mut Batch<SdkLogRecord>) {}

    async fn export(&self, items: Vec<SdkLogRecord>) -> Result<(), String> {
        let records: Vec<_> = items.iter().map(|record| (record, &self.scope)).collect();
        self.exporter.export(LogBatch::new(&records)).await.map_err(|e| explain(&e, &self.last_error))
    }

    fn counters(&self) -> &SignalCounters {
        &self.counters.logs
    }
}
