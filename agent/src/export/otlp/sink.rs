//! The capture thread's side: what becomes of an observation, decided without waiting, and handed over as a copy.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use agent_core::identity::Sighting;
use agent_core::net::ConnId;
use agent_core::observation::{
    ClientCertificate, Observation, Phase, ProcessCertificates, Security, TlsFacts,
};
use agent_core::policy::judge;
use agent_core::time::Timestamp;
use hashlink::LruCache;
use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};

use super::counters::{Counters, count};
use super::metrics::Instruments;
use super::own::OwnConnections;
use super::queue::Sender;
use super::record::{Event, Handshake, Seen, SeenProcess};
use crate::audit::Auditor;
use crate::config::otlp::Ratio;
use crate::judging::{Judged, JudgedProcess};
use crate::pipeline::Sink;

/// Open connections of which something was said, so that it is not said again.
const CONNECTIONS: usize = 65_536;

/// Hands over what is exported. Nothing it does waits: what does not fit is dropped and counted.
#[derive(Debug)]
pub struct OtlpSink {
    pub(super) spans: Option<Sender<Handshake>>,
    pub(super) ratio: Ratio,
    pub(super) events: Option<EventSink>,
    pub(super) metrics: Option<Instruments>,
    pub(super) connections: LruCache<ConnId, Said>,
    pub(super) ids: RandomIdGenerator,
    pub(super) own: Arc<OwnConnections>,
    pub(super) counters: Arc<Counters>,
}

/// Log records.
#[derive(Debug)]
pub(super) struct EventSink {
    pub(super) to: Sender<Event>,
    pub(super) plaintext: bool,
    pub(super) findings: bool,
    pub(super) audit: Option<Auditor>,
}

/// What was said of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// The exporter's own, of which nothing is said: it may end long after its port was forgotten.
    is_own: bool,
    span: Span,
    plaintext: bool,
    counted: bool,
    handshake_counted: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Span {
    #[default]
    Nothing,
    /// Handed over, and more may come.
    Waiting(TraceId, SpanId),
    /// Handed over, or left out by the sampler.
    Done,
}

/// What is made of an observation, once at most.
type Shared<'a> = &'a mut dyn FnMut() -> Arc<Seen>;

impl OtlpSink {
    pub(super) fn new(own: Arc<OwnConnections>, counters: Arc<Counters>) -> Self {
        Self {
            spans: None,
            ratio: Ratio::ALL,
            events: None,
            metrics: None,
            connections: LruCache::new(CONNECTIONS),
            ids: RandomIdGenerator::default(),
            own,
            counters,
        }
    }

    fn see(&mut self, sighting: &Sighting, judged: Option<&Judged<'_>>, seen: Shared<'_>, now: Instant) {
        let o = &sighting.observation;
        let before = self.connections.peek(&o.conn).copied().unwrap_or_default();
        let mut said = before;
        if let Some(metrics) = &self.metrics {
            said.counted = metrics.connection(sighting, said.counted);
            said.handshake_counted = metrics.handshake(o, said.handshake_counted);
        }
        said.is_own = before.is_own || self.own.has(o, now);
        if said.is_own {
            if !before.is_own {
                count(&self.counters.own_connections);
            }
        } else {
            self.plaintext(o, &mut said, seen);
            self.audit(judged, seen);
            self.handshake(o, &mut said, seen);
        }
        if o.phase == Phase::Final {
            self.connections.remove(&o.conn);
        } else if said != before {
            if before == Said::default() && self.connections.len() >= self.connections.capacity() {
                count(&self.counters.connections_evicted);
            }
            self.connections.insert(o.conn, said);
        }
    }

    fn plaintext(&self, o: &Observation, said: &mut Said, seen: Shared<'_>) {
        let Some(events) = self.events.as_ref().filter(|events| events.plaintext) else { return };
        if said.plaintext || o.security != Security::Plaintext {
            return;
        }
        said.plaintext = true;
        self.event(events, || Event::Plaintext(seen()));
    }

    fn audit(&mut self, judged: Option<&Judged<'_>>, seen: Shared<'_>) {
        let Some(judged) = judged else { return };
        let auditor = self.events.as_mut().and_then(|events| events.audit.as_mut());
        if auditor.is_some_and(|auditor| auditor.is_due(judged))
            && let Some(events) = &self.events
        {
            self.event(events, || Event::Audit(seen()));
        }
    }

    fn event(&self, events: &EventSink, make: impl FnOnce() -> Event) {
        if !events.to.offer(make) {
            count(&self.counters.logs.dropped_queue);
        }
    }

    fn handshake(&self, o: &Observation, said: &mut Said, seen: Shared<'_>) {
        let (Some(spans), Some(tls)) = (&self.spans, o.tls.as_deref()) else { return };
        if said.span == Span::Done || !is_handshake(o, tls) {
            return;
        }
        let is_complete = o.phase == Phase::Final || !may_become_more(o, tls);
        let (trace, span) = match said.span {
            // Known already, and no better known.
            Span::Waiting(trace, span) => (trace, span),
            Span::Nothing | Span::Done => {
                let trace = self.ids.new_trace_id();
                if !is_sampled(trace, self.ratio) {
                    count(&self.counters.spans_sampled_out);
                    said.span = Span::Done;
                    return;
                }
                (trace, self.ids.new_span_id())
            }
        };
        said.span = if is_complete { Span::Done } else { Span::Waiting(trace, span) };
        if !spans.offer(|| Handshake { seen: seen(), trace, span, is_complete }) {
            count(&self.counters.spans.dropped_queue);
            // It is lost: what comes later is not half a second span.
            said.span = Span::Done;
        }
    }
}

/// The handshake was seen, and what became of it is known, as far as it ever will be.
fn is_handshake(o: &Observation, tls: &TlsFacts) -> bool {
    let seen = tls.handshake_started.is_some() || tls.negotiated_version.is_some();
    seen && (tls.established.is_some() || o.phase == Phase::Final)
}

/// A later observation of the same handshake may say more, or otherwise: certificates from a probe, a refusal of the
/// client's certificate, or when a failed one ended.
fn may_become_more(o: &Observation, tls: &TlsFacts) -> bool {
    o.misses_peer_certificates()
        || tls.established == Some(false)
        || (tls.client_certificate == ClientCertificate::Sent
            && tls.negotiated_version.and_then(|version| version.otel_version()) == Some("1.3"))
}

/// OpenTelemetry's `TraceIdRatioBased`: by the low 63 bits of the id, so that every sampler of the same ratio agrees.
fn is_sampled(trace: TraceId, ratio: Ratio) -> bool {
    use opentelemetry::trace::SpanKind;
    use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample};
    let sampler = Sampler::TraceIdRatioBased(ratio.get());
    let result = sampler.should_sample(None, trace, "", &SpanKind::Internal, &[], &[]);
    result.decision == SamplingDecision::RecordAndSample
}

impl Sink for OtlpSink {
    fn name(&self) -> &str {
        "the collector"
    }

    fn observation(&mut self, observation: &Observation) -> io::Result<()> {
        let (local, peer) = Default::default();
        self.sighting(&Sighting { observation: observation.clone(), local, peer, scope: None })
    }

    fn sighting(&mut self, sighting: &Sighting) -> io::Result<()> {
        let mut shared = None;
        let mut seen = || Arc::clone(shared.get_or_insert_with(|| Arc::new(Seen::bare(sighting))));
        self.see(sighting, None, &mut seen, Instant::now());
        Ok(())
    }

    fn judged(&mut self, judged: &Judged<'_>) -> io::Result<()> {
        let mut shared = None;
        let mut seen = || Arc::clone(shared.get_or_insert_with(|| Arc::new(Seen::judged(judged))));
        self.see(judged.sighting, Some(judged), &mut seen, Instant::now());
        Ok(())
    }

    fn finding(&mut self, news: &judge::Output, now: Timestamp) -> io::Result<()> {
        if let Some(metrics) = &mut self.metrics {
            metrics.news(news);
        }
        if let Some(events) = self.events.as_ref().filter(|events| events.findings) {
            self.event(events, || Event::News(Box::new(news.clone()), now));
        }
        Ok(())
    }

    fn process_certificates(&mut self, certificates: &ProcessCertificates) -> io::Result<()> {
        if let Some(events) = &self.events {
            self.event(events, || Event::Process(Box::new(SeenProcess::bare(certificates))));
        }
        Ok(())
    }

    fn judged_process(&mut self, judged: &JudgedProcess<'_>) -> io::Result<()> {
        if let Some(events) = &self.events {
            self.event(events, || Event::Process(Box::new(SeenProcess::judged(judged))));
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        // Records are handed over one by one; when they are sent is the exporter's business.
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use super::super::queue::queue;
    use super::super::tests::sighting;
    use super::*;
    use crate::export::sample;

    #[test]
    fn a_connection_of_its_own_stays_so_to_its_end_however_late_that_is() {
        let (own, counters, now) =
            (Arc::<OwnConnections>::default(), Arc::<Counters>::default(), Instant::now());
        let mut sink = OtlpSink::new(Arc::clone(&own), Arc::clone(&counters));
        let (spans, mut handshakes) = queue(16, 1 << 20);
        let (to, mut events) = queue(16, 1 << 20);
        sink.spans = Some(spans);
        sink.events = Some(EventSink { to, plaintext: true, findings: true, audit: Some(Auditor::new(16)) });
        let mut see = |conn: u64, phase: Phase, now: Instant| {
            let mut seen = sighting(sample::everything());
            (seen.observation.conn, seen.observation.phase) = (ConnId(conn), phase);
            let judged = Judged {
                sighting: &seen,
                expectation: None,
                findings: &[],
                severities: &[],
                about_client: &[],
            };
            let mut shared = || Arc::new(Seen::judged(&judged));
            sink.see(&seen, Some(&judged), &mut shared, now);
            (handshakes.next_waiting().is_some(), events.next_waiting().is_some())
        };
        own.remember(40001, now).made("[::1]:40001".parse().expect("an address"));
        let later = now + Duration::from_secs(600);
        assert_eq!(see(1, Phase::Verdict, now), (false, false));
        assert_eq!(see(1, Phase::Verdict, later), (false, false));
        assert_eq!(see(1, Phase::Final, later), (false, false));
        assert_eq!(counters.own_connections.load(Ordering::Relaxed), 1);
        // Somebody else has the port by then.
        assert_eq!(see(2, Phase::Final, later), (true, true));
    }
}
